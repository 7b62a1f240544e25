"""The canonical spelling of addresses, so that the same picture is fetched once.

`canonical` normalises an http(s) address as RFC 3986 and browsers do. Two addresses with the same
canonical form name the same resource; two with different forms may do so too.
"""

import ipaddress
import os
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urljoin

import idna

from crawler.errors import BadUrl
from pixsim.core.patterns import Match, Sub, pattern

MAX_LENGTH = 4096
_MAX_BYTES = 4 * MAX_LENGTH
_PICTURE_NAME_END = 6
DEFAULT_PORTS = {"http": 80, "https": 443}

_match_parts = pattern(
    r"(?s)(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*+):)?(?://(?P<authority>[^/?#]*+))?"
    r"(?P<path>[^?#]*+)(?:\?(?P<query>[^#]*+))?(?:#.*+)?",
    longest=MAX_LENGTH,
    method="fullmatch",
)
_match_host_and_port = pattern(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]++)\]|(?P<host>[^:]*+))(?::(?P<port>\d*+))?",
    longest=MAX_LENGTH,
    method="fullmatch",
)
_match_picture_name = pattern(
    r"(?i)[^/]\.(apng|avif|bmp|gif|heic|heif|jfif|jpe|jpe?g|jxl|png|tiff?|webp)\Z",
    longest=_PICTURE_NAME_END,
    method="search",
)
_match_label = pattern(r"[a-z0-9_-]{1,63}", longest=63, method="fullmatch")
_match_number = pattern(r"\d+|0x[0-9a-f]*", longest=63, method="fullmatch")
_match_absolute = pattern(r"[A-Za-z][A-Za-z0-9+.-]*+://", longest=MAX_LENGTH, method="match")
_find_control = pattern(r"[\x00-\x1f\x7f]", longest=MAX_LENGTH, method="search")
_EDGES = "".join(map(chr, range(0x21)))
_NEWLINES_AND_TABS = {ord("\t"): None, ord("\r"): None, ord("\n"): None}
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# An escape, whose spelling may change, or a byte that must be escaped.
_respell_path = pattern(
    rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/-]", longest=_MAX_BYTES, method="sub"
)
_respell_query = pattern(
    rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]", longest=_MAX_BYTES, method="sub"
)
# Parameters that say where a visitor came from; they do not change the picture.
_match_tracking = pattern(
    r"(?i)(utm_[^=]*+|fbclid|gclid|dclid|msclkid)(=|$)", longest=3 * _MAX_BYTES, method="match"
)


def canonical(url: str) -> str:
    """Return the canonical spelling of an http(s) address.

    Scheme and host in lower case, IDNA host, no default port, user info, fragment, dot segments or
    tracking parameters; escapes in upper case and only where needed. Idempotent.
    Raise BadUrl, and nothing else, for anything but an http(s) address.
    """
    url = _tidy(url)
    _refuse_long(url)
    if bad := _find_control(url):
        raise BadUrl(f"the address contains the control character U+{ord(bad[0]):04X}")
    parts = _match_parts(url)
    if parts is None or not parts["scheme"]:
        raise BadUrl("the address does not start with http:// or https://")
    scheme = parts["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise BadUrl(f"only http and https are fetched, not {scheme[:20]!r}")
    host, port = _host_and_port(parts["authority"] or "")
    netloc = host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    path = _without_dot_segments(_escaped(parts["path"], _respell_path)) or "/"
    query = _without_tracking(_escaped(parts["query"] or "", _respell_query))
    return f"{scheme}://{netloc}{path}{'?' if query else ''}{query}"


def join(base: str, reference: str) -> str:
    """Return the canonical address of `reference` in a document at `base`. Raise BadUrl."""
    reference = _tidy(reference)
    _refuse_long(reference)
    if _match_absolute(reference):
        return canonical(reference)  # urljoin would read a bare "http://" as the base itself
    try:
        return canonical(urljoin(base, reference))
    except BadUrl:
        raise
    except ValueError as error:  # urljoin parses the host and complains about brackets
        raise BadUrl(f"the address cannot be read: {error}") from None


def url_key(canonical_url: str) -> bytes:
    """Return the sha256 (32 bytes) of a canonical address: the key of a candidate in its job."""
    return sha256(canonical_url.encode()).digest()


def host_of(canonical_url: str) -> str:
    """Return the host name or address, without port and brackets; empty for file addresses."""
    netloc = canonical_url.split("/", 3)[2]
    return netloc.rpartition("]")[0][1:] if netloc.startswith("[") else netloc.partition(":")[0]


def origin_of(canonical_url: str) -> str:
    """Return scheme, host and port: the scope of one robots.txt."""
    return "/".join(canonical_url.split("/", 3)[:3])


def has_picture_suffix(canonical_url: str) -> bool:
    """Return whether the path ends like a picture's name; a hint, since servers may answer anything."""
    path = canonical_url.partition("?")[0]
    return _match_picture_name(path[-_PICTURE_NAME_END:]) is not None


def file_url(path: Path) -> str:
    """Return the file:// address of an absolute path, whatever bytes its name has."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def path_of(url: str) -> Path:
    """Return the path of a file:///… address. Raise BadUrl for other addresses."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() != "file" or not rest.startswith("/"):
        raise BadUrl("a file address starts with file:/// and an absolute path")
    raw = unquote_to_bytes(rest)
    if b"\0" in raw:
        raise BadUrl("a path cannot contain U+0000")
    return Path(os.fsdecode(raw))


def _refuse_long(url: str) -> None:
    if len(url) > MAX_LENGTH:
        raise BadUrl(f"the address is {len(url)} characters long; at most {MAX_LENGTH} are allowed")


def _tidy(url: str) -> str:
    """Strip white space, remove line breaks and turn backslashes into slashes, as browsers do."""
    url = url.strip(_EDGES).translate(_NEWLINES_AND_TABS)
    end = min((i for i in (url.find("?"), url.find("#")) if i >= 0), default=len(url))
    return url[:end].replace("\\", "/") + url[end:]


@lru_cache(maxsize=4096)
def _host_and_port(authority: str) -> tuple[str, int | None]:
    match = _match_host_and_port(authority.rpartition("@")[2])
    if match is None:
        raise BadUrl("the host or port cannot be read")
    port = int(match["port"]) if match["port"] and len(match["port"]) <= 5 else None
    if (port is not None and not 1 <= port <= 65535) or len(match["port"] or "") > 5:
        raise BadUrl(f"there is no port {match['port'][:20]}")
    if match["ipv6"] is None:
        return _host(match["host"]), port
    try:
        return f"[{ipaddress.IPv6Address(match['ipv6'])}]", port
    except ValueError:
        raise BadUrl("the host is no IPv6 address") from None


def _host(raw: str) -> str:
    if not raw:
        raise BadUrl("the address names no host")
    try:
        host = unquote_to_bytes(raw).decode() if "%" in raw else raw
        if not host.isascii():
            host = idna.encode(host[:1000], uts46=True).decode()
    except UnicodeError:  # idna's errors are UnicodeErrors too
        raise BadUrl("the host is no valid international name") from None
    host = host.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(map(_match_label, labels)):
        raise BadUrl("the host is no valid name")
    if _match_number(labels[-1]):
        # Resolvers read 0x7f.1 or 2130706433 as addresses; only the dotted decimal form is accepted.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise BadUrl("the host is no IPv4 address in its plain spelling") from None
    return host


def _escaped(text: str, respell: Sub[bytes]) -> str:
    try:
        return respell(_spell, text.encode()).decode("ascii")
    except UnicodeEncodeError:
        raise BadUrl("the address contains half of a surrogate pair") from None


def _spell(match: Match[bytes]) -> bytes:
    byte = int(match[1], 16) if match[1] else match[0][0]
    return bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte


def _without_dot_segments(path: str) -> str:
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _without_tracking(query: str) -> str:
    return "&".join(part for part in query.split("&") if not _match_tracking(part))
