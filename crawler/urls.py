"""The key of addresses, so that the same picture is fetched once; and addresses of files.

What is sent is the address as found (`sendable`); its canonical spelling is only compared. Two
addresses with the same canonical spelling name the same resource; two with different ones may, too.
"""

import os
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pixsim.core.patterns import Match, Sub, pattern
from pixsim.core.urls import MAX_LENGTH, BadUrl, sendable

_MAX_ESCAPED = 3 * MAX_LENGTH
_PICTURE_NAME_END = 6

_match_picture_name = pattern(
    r"(?i)[^/]\.(apng|avif|bmp|gif|heic|heif|jfif|jpe|jpe?g|jxl|png|tiff?|webp)\Z",
    longest=_PICTURE_NAME_END,
    method="search",
)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# An escape, whose spelling may change, or a byte that must be escaped.
_respell_path = pattern(
    rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/-]", longest=MAX_LENGTH, method="sub"
)
_respell_query = pattern(
    rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]", longest=MAX_LENGTH, method="sub"
)
# Parameters that say where a visitor came from; they do not change the picture.
_match_tracking = pattern(
    r"(?i)(utm_[^=]*+|fbclid|gclid|dclid|msclkid)(=|$)", longest=_MAX_ESCAPED, method="match"
)


def canonical(url: str) -> str:
    """Return the canonical spelling of an http(s) address. Never send it.

    Of the address as it is sent, escapes are in upper case and only where needed, and tracking
    parameters, an empty query and the host's last dot are gone. Idempotent.
    Raise BadUrl, and nothing else, for anything but an http(s) address.
    """
    scheme, _, netloc, rest = sendable(url).split("/", 3)
    host, colon, port = netloc.partition(":")
    path, _, query = rest.partition("?")
    path = _respelled(path, _respell_path)
    query = _without_tracking(_respelled(query, _respell_query))
    return f"{scheme}//{host.removesuffix('.')}{colon}{port}/{path}{'?' if query else ''}{query}"


def join(base: str, reference: str, encoding: str = "utf-8") -> str:
    """Return what is sent for a `reference` in a document at the sendable `base`. Raise BadUrl."""
    return sendable(reference, base, encoding)


def url_key(url: str) -> bytes:
    """Return the sha256 (32 bytes) of an address's canonical spelling: a candidate's key in its job."""
    return sha256((url if url.startswith("file:") else canonical(url)).encode()).digest()


def host_of(url: str) -> str:
    """Return the host name or address, without port and brackets; empty for file addresses."""
    netloc = url.split("/", 3)[2]
    if netloc.startswith("["):
        return netloc.rpartition("]")[0][1:]
    return netloc.partition(":")[0].removesuffix(".")


def server_of(url: str) -> str:
    """Return what limits and rests apply to: host_of with the port, unless it is the scheme's own."""
    netloc = url.split("/", 3)[2]
    if netloc.endswith("]"):
        return host_of(url)
    host, colon, port = netloc.rpartition(":") if ":" in netloc else (netloc, "", "")
    return f"{host.removesuffix('.')}{colon}{port}"


def origin_of(url: str) -> str:
    """Return scheme, host and port: the scope of one robots.txt."""
    return "/".join(url.split("/", 3)[:3])


def has_picture_suffix(url: str) -> bool:
    """Return whether the path ends like a picture's name; a hint, since servers may answer anything."""
    return is_picture_name(
        _respelled(url.partition("?")[0][-3 * _PICTURE_NAME_END :], _respell_path)
    )


def is_picture_name(name: str) -> bool:
    """Return whether a file's name, which is no address, ends like a picture's."""
    return _match_picture_name(name[-_PICTURE_NAME_END:]) is not None


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


def _respelled(text: str, respell: Sub[bytes]) -> str:
    return respell(_spell, text.encode("utf-8", "replace")).decode()


def _spell(match: Match[bytes]) -> bytes:
    byte = int(match[1], 16) if match[1] else match[0][0]
    return bytes([byte]) if byte in _UNRESERVED else b"%%%02X" % byte


def _without_tracking(query: str) -> str:
    return "&".join(part for part in query.split("&") if not _match_tracking(part))
