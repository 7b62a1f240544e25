"""Removes what a camera or an editor wrote about a picture from its file, without re-encoding.

What changes the look stays: colour profile, colour transform, transparency, animation, and the
orientation, as an EXIF block with nothing else.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import TypeVar

from pixsim.core.patterns import pattern

STRIPPED_FORMATS = ("jpeg", "png", "webp")
"""Files of all other formats are left as they are."""

_ORIENTATION = 0x0112
_EXIF_NAME = b"Exif\0\0"
MAX_PARTS = 100_000
"""Segments or chunks of a file: one of its own for every few bytes would take memory many times over."""

_JPEG_START = b"\xff\xd8\xff"
_JPEG_APP, _JPEG_COMMENT = range(0xE0, 0xF0), 0xFE
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_BLOCK = 64 * 1024
# A marker, with fill bytes before it; stuffed bytes and restart markers belong to a scan.
_match_marker = pattern(rb"\xff++[^\x00\xff\xd0-\xd7]", longest=_BLOCK, method="match")
_find_marker = pattern(rb"\xff[^\x00\xff\xd0-\xd7]", longest=_BLOCK, method="search")
# What an application segment that changes the look begins with.
_JPEG_PROFILE, _JPEG_COLOUR_TRANSFORM = (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
_JFIF_NAME, _JFIF_LENGTH = b"JFIF\0", 14

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT"
    b" acTL fcTL fdAT".split()
)

_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
_WEBP_EXIF_FLAG, _WEBP_XMP_FLAG = 0x08, 0x04


_Part = TypeVar("_Part")


class Malformed(ValueError):
    """A file whose structure cannot be read, so nothing can be removed from it."""


def strip_metadata(data: bytes) -> bytes:
    """Return a picture file without EXIF, XMP, IPTC, comments, thumbnails and bytes after its end.

    The bytes decide the type; a file of another type than STRIPPED_FORMATS is returned unchanged.
    Raise Malformed.
    """
    try:
        if data.startswith(_JPEG_START):
            return b"".join(_jpeg(data))
        if data.startswith(_PNG_START):
            return b"".join(_png(data))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except struct.error as error:
        raise Malformed("its parts end before they are complete") from error
    return data


def _few(parts: Iterator[_Part]) -> Iterator[_Part]:
    for number, part in enumerate(parts):
        if number == MAX_PARTS:
            raise Malformed(f"it has more than {MAX_PARTS:,} parts")
        yield part


# JPEG


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    oriented = False
    for marker, start, end in _few(_jpeg_segments(data)):
        body = data[start + 4 : end]
        if marker == 0xE1 and body.startswith(_EXIF_NAME) and not oriented:
            if exif := _orientation_only(body[len(_EXIF_NAME) :]):
                oriented = True
                yield _jpeg_segment(marker, _EXIF_NAME + exif)
        elif marker == 0xE0 and body.startswith(_JFIF_NAME):
            # Version and density; the last two bytes are the size of a thumbnail.
            yield _jpeg_segment(marker, body[: _JFIF_LENGTH - 2].ljust(_JFIF_LENGTH, b"\0"))
        elif marker in _JPEG_APP:
            if any(
                marker == kept and body.startswith(name)
                for kept, name in (_JPEG_PROFILE, _JPEG_COLOUR_TRANSFORM)
            ):
                yield data[start:end]
        elif marker != _JPEG_COMMENT:
            yield data[start:end]


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment; picture data belongs to its scan's segment."""
    at = 2
    while True:
        found = _match_marker(data, at)
        if found is None:
            raise Malformed(f"no JPEG segment begins at byte {at:,}")
        marker, start = data[found.end() - 1], found.end() - 2
        if marker == _JPEG_END:
            yield marker, start, start + 2
            return
        end = start + 2 + struct.unpack_from(">H", data, start + 2)[0]
        if marker == _JPEG_SCAN:
            end = _end_of_scan(data, end)
        if end > len(data):
            raise Malformed(f"the JPEG segment at byte {start:,} is longer than the file")
        yield marker, start, end
        if end == len(data):
            return  # decoders read it although its end marker is missing
        at = end


def _end_of_scan(data: bytes, at: int) -> int:
    """Return where the marker after a scan begins, or its fill bytes; without one the file's end."""
    begin = at
    while at < len(data):
        if found := _find_marker(data, at):
            return begin + len(data[begin : found.start()].rstrip(b"\xff"))
        at += _BLOCK - 1  # a marker may lie across two blocks
    return len(data)


def _jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


# PNG


def _png(data: bytes) -> Iterator[bytes]:
    yield _PNG_START
    for name, at, end in _few(_png_chunks(data)):
        if name in _PNG_KEPT:
            yield data[at:end]
        elif name == b"eXIf" and (exif := _orientation_only(data[at + 8 : end - 4])):
            yield struct.pack(">I", len(exif)) + name + exif
            yield struct.pack(">I", zlib.crc32(name + exif))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk."""
    at, name = len(_PNG_START), b""
    while at < len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise Malformed(f"the PNG chunk at byte {at:,} is longer than the file")
        yield name, at, end
        at = end


# WebP


def _webp(data: bytes) -> bytes:
    kept = []
    flags_at = None
    for name, body in _few(_webp_chunks(data)):
        if name == b"EXIF":
            exif = _orientation_only(body.removeprefix(_EXIF_NAME))
            if exif:
                kept.append((name, exif))
        elif name in _WEBP_KEPT:
            if name == b"VP8X":
                flags_at = len(kept)
            kept.append((name, body))
    if flags_at is not None:
        name, body = kept[flags_at]
        flags = body[0] & ~(_WEBP_EXIF_FLAG | _WEBP_XMP_FLAG)
        if any(chunk == b"EXIF" for chunk, _body in kept):
            flags |= _WEBP_EXIF_FLAG
        kept[flags_at] = (name, bytes([flags]) + body[1:])
    body = b"WEBP" + b"".join(
        struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2) for name, body in kept
    )
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    total = 8 + struct.unpack_from("<I", data, 4)[0]
    if total > len(data):
        raise Malformed("the WebP file is shorter than it says")
    at = 12
    while at + 8 <= total:
        name, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > total:
            raise Malformed(f"the WebP chunk at byte {at:,} is longer than the file")
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


# EXIF


def _orientation_only(tiff: bytes) -> bytes | None:
    """Return an EXIF block with this one's orientation alone; None if the picture is upright."""
    orientation = _orientation(tiff)
    if not 2 <= orientation <= 8:
        return None
    entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, orientation, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, 1) + entry + bytes(4)


def _orientation(tiff: bytes) -> int:
    """Return the orientation in an EXIF block; 0 if it has none or cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
        for number in range(entries):
            at = directory + 2 + 12 * number
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, at)
            if (tag, kind, count) == (_ORIENTATION, 3, 1):
                return int(value)
    except struct.error:
        pass  # no decoder finds an orientation in such a block either
    return 0
