"""Web addresses as browsers send them: the part of the WHATWG URL Standard for http and https.

What a site or a person wrote decides what is sent. A signature in an address covers its spelling, so
nothing is respelled that a request may contain.
"""

import codecs
import ipaddress
from functools import lru_cache
from urllib.parse import unquote_to_bytes

import idna

from pixsim.core.patterns import Match, Sub, pattern

MAX_LENGTH = 8000
_MAX_BYTES = 4 * MAX_LENGTH
REFERENCE = "pixsim.core.urls.reference"
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
_match_label = pattern(r"[a-z0-9_-]{1,63}", longest=63, method="fullmatch")
_match_number = pattern(r"\d+|0x[0-9a-f]*", longest=63, method="fullmatch")
_find_control = pattern(r"[\x00-\x1f\x7f]", longest=MAX_LENGTH, method="search")
# The standard's percent-encode sets of a path and of the query of a special URL.
_escape_path = pattern(rb"[^!$-;=@-\]_a-z|~]", longest=_MAX_BYTES, method="sub")
_escape_query = pattern(rb"[^!$-&(-;=?-~]", longest=_MAX_BYTES, method="sub")
_EDGES = "".join(map(chr, range(0x21)))
_NEWLINES_AND_TABS = {ord("\t"): None, ord("\r"): None, ord("\n"): None}


class BadUrl(ValueError):
    """An address that cannot be fetched as it is written."""


def sendable(url: str, base: str = "", encoding: str = "utf-8") -> str:
    """Return an http(s) address, or a reference in a document at the sendable `base`, as it is sent.

    It is absolute and ASCII: white space around it, line breaks, user info and fragment are gone,
    scheme and host in lower case, the host's IDNA name, no default port; dot segments are resolved,
    and characters that no request may contain are escaped. Everything else stays as written: escapes
    and their case, the query with empty parts. Idempotent. `encoding` is the document's: browsers send
    queries in it, and all else in UTF-8. Raise BadUrl, and nothing else.
    """
    url = _tidy(url)
    _refuse_long(url)
    if bad := _find_control(url):
        raise BadUrl(f"the address contains the control character U+{ord(bad[0]):04X}")
    scheme, authority, path, query = _absolute(url, base)
    host, port = _host_and_port(authority)
    netloc = host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    path = _escaped(_without_dot_segments(path), _escape_path) or "/"
    query = "" if query is None else "?" + _escaped(query, _escape_query, encoding)
    sent = f"{scheme}://{netloc}{path}{query}"
    _refuse_long(sent)
    return sent


def has_user_info(url: str) -> bool:
    """Return whether an http(s) address names a user, whose password may stand beside the name."""
    parts = _match_parts(_tidy(url)[:MAX_LENGTH])
    if parts is None or (parts["scheme"] or "").lower() not in DEFAULT_PORTS:
        return False
    return "@" in (parts["authority"] or "")


def _absolute(url: str, base: str) -> tuple[str, str, str, str | None]:
    """Return scheme, authority, path and query of a reference (RFC 3986, 5.2.2). Raise BadUrl."""
    parts = _match_parts(url)
    scheme = (parts["scheme"] or "").lower() if parts else ""
    if parts is None or not (scheme or base):
        raise BadUrl("the address does not start with http:// or https://")
    authority, path, query = parts.group("authority", "path", "query")
    if scheme and scheme not in DEFAULT_PORTS:
        raise BadUrl(f"only http and https are fetched, not {scheme[:20]!r}")
    above = _match_parts(base) if base else None
    # Browsers read http:a.jpg in a document of the same scheme as a.jpg.
    if authority is not None or above is None or scheme not in ("", above["scheme"]):
        return scheme or base.partition(":")[0], authority or "", path, query
    if not path:
        path, query = above["path"], above["query"] if query is None else query
    elif not path.startswith("/"):
        path = above["path"].rpartition("/")[0] + "/" + path
    return above["scheme"], above["authority"], path, query


def _refuse_long(url: str) -> None:
    if len(url) > MAX_LENGTH:
        raise BadUrl(f"the address is {len(url)} characters long; at most {MAX_LENGTH} are allowed")


def _tidy(url: str) -> str:
    """Strip white space, remove line breaks and turn backslashes into slashes."""
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
    host = host.lower()
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_match_label, labels)):
        raise BadUrl("the host is no valid name")
    if _match_number(labels[-1]):
        # Resolvers read 0x7f.1 or 2130706433 as addresses; only the dotted decimal form is accepted.
        host = host.removesuffix(".")
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise BadUrl("the host is no IPv4 address in its plain spelling") from None
    return host


def _escaped(text: str, escape: Sub[bytes], encoding: str = "utf-8") -> str:
    errors = "strict" if encoding == "utf-8" else REFERENCE
    try:
        return escape(_escape, text.encode(encoding, errors)).decode("ascii")
    except UnicodeEncodeError:
        raise BadUrl("the address contains half of a surrogate pair") from None


def _reference(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by their escaped character references."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(f"%26%23{ord(each)}%3B" for each in lacking), error.end


codecs.register_error(REFERENCE, _reference)


def _escape(match: Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _without_dot_segments(path: str) -> str:
    if "/." not in path and "/%2" not in path:
        return path
    kept: list[str] = []
    dots = 0
    for segment in path.split("/")[1:]:
        plain = segment.replace("%2e", ".").replace("%2E", ".") if len(segment) <= 6 else ""
        dots = len(plain) if plain in (".", "..") else 0
        if dots == 2:
            del kept[-1:]
        elif not dots:
            kept.append(segment)
    return "/" + "/".join([*kept, ""] if dots else kept)
