"""Removes what a camera or an editor wrote about a picture from its file, without re-encoding.

What changes the look stays: colour profile, colour transform, transparency, animation, and the
orientation, as an EXIF block with nothing else.
"""

import struct
import zlib
from collections.abc import Iterator

from crawler.fetch.containers import (
    JPEG_FRAMES,
    JPEG_SCAN,
    PNG_NEEDED,
    PNG_START,
    Malformed,
    Segment,
    jpeg_segments,
    png_checksum,
    png_chunks,
    webp_chunks,
)

STRIPPED_FORMATS = ("jpeg", "png", "webp")
"""Files of all other formats are left as they are."""

_ORIENTATION = 0x0112
_EXIF_NAME = b"Exif\0\0"

_JPEG_BEGINS = b"\xff\xd8\xff"
_JPEG_APP, _JPEG_COMMENT = range(0xE0, 0xF0), 0xFE
_JPEG_PROFILE, _JPEG_COLOURS = (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
"""Application segments that change the look, and what they begin with."""
_JFIF_NAME, _JFIF_LENGTH = b"JFIF\0", 14
_ADOBE_LENGTH, _ADOBE_TRANSFORM = 12, 11
_ADOBE_TRANSFORMS = {3: b"\1\0", 4: b"\2\0"}
"""Colour transforms by the number of components; the first is what an unknown one counts for."""
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_WHOLE_BLOCK = bytes((0, 63, 0))

_PNG_KEPT = PNG_NEEDED | frozenset(
    b"cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT".split()
)
_PNG_LEAST = {b"cHRM": 32, b"gAMA": 4, b"sRGB": 1, b"pHYs": 9, b"acTL": 8}
_PNG_LEAST_TRANSPARENCY = {0: 2, 2: 6}
"""Bytes below which a chunk says nothing; for tRNS by the type of colours."""
_PNG_MOST_PROFILE = 1024**2

_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP")
_WEBP_EXIF_FLAG, _WEBP_XMP_FLAG = 0x08, 0x04

_AVIF_OPENED = (b"avif", b"avis", b"mif1", b"msf1")


def strip_metadata(data: bytes) -> bytes:
    """Return a picture file without EXIF, XMP, IPTC, comments, thumbnails and bytes after its end.

    What decoders skip or mend in its structure is skipped and mended. The bytes decide the type; a
    file of another type than STRIPPED_FORMATS is returned unchanged. Raise Malformed.
    """
    if data.startswith(_JPEG_BEGINS):
        return b"".join(_jpeg(data))
    if data.startswith(PNG_START):
        return b"".join(_png(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp" and data[8:12] not in _AVIF_OPENED and b"avif" in data[16:144]:
        return data[:8] + b"avif" + data[12:]  # libraries that can read it look at this brand only
    return data


# JPEG


def _jpeg(data: bytes) -> Iterator[bytes]:
    segments = list(jpeg_segments(data))
    if not any(one.marker == JPEG_SCAN for one in segments):
        raise Malformed("there is no picture in it")
    frame = next((one for one in segments if one.marker in JPEG_FRAMES), None)
    components = data[frame.body + 5] if frame and frame.body + 5 < frame.end else 0
    is_sequential = frame is not None and frame.marker in _SEQUENTIAL
    yield data[:2]
    oriented = False
    for one in segments:
        body = data[one.body : one.end]
        if one.marker == 0xE1 and body.startswith(_EXIF_NAME) and not oriented:
            if exif := _orientation_only(body[len(_EXIF_NAME) :]):
                oriented = True
                yield _jpeg_segment(one.marker, _EXIF_NAME + exif)
        elif one.marker in _JPEG_APP:
            yield _jpeg_app(one.marker, body, components)
        elif one.marker == JPEG_SCAN and is_sequential:
            yield _jpeg_scan(data, one)
        elif one.marker != _JPEG_COMMENT:
            yield data[one.start : one.end]


def _jpeg_app(marker: int, body: bytes, components: int) -> bytes:
    """Return what stays of an application segment."""
    if marker == 0xE0 and body.startswith(_JFIF_NAME) and len(body) >= _JFIF_LENGTH:
        # Version 1 and the density; the last two bytes are the size of a thumbnail.
        return _jpeg_segment(marker, _JFIF_NAME + b"\1" + body[6 : _JFIF_LENGTH - 2] + bytes(2))
    kind, name = _JPEG_COLOURS
    if marker == kind and body.startswith(name) and len(body) >= _ADOBE_LENGTH:
        known = _ADOBE_TRANSFORMS.get(components)
        if known and body[_ADOBE_TRANSFORM] not in known:
            body = body[:_ADOBE_TRANSFORM] + known[:1] + body[_ADOBE_LENGTH:]
        return _jpeg_segment(marker, body)
    kind, name = _JPEG_PROFILE
    return _jpeg_segment(marker, body) if marker == kind and body.startswith(name) else b""


def _jpeg_scan(data: bytes, scan: Segment) -> bytes:
    """Return a scan that says what every decoder assumes: that it has all of each block."""
    components = data[scan.body] if scan.body < scan.end else 0
    at = scan.body + 1 + 2 * components
    return data[scan.start : at] + _WHOLE_BLOCK + data[at + len(_WHOLE_BLOCK) : scan.end]


def _jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


# PNG


def _png(data: bytes) -> Iterator[bytes]:
    yield PNG_START
    has_pixels, colours = False, 0
    for chunk in png_chunks(data):
        name, body = chunk.name, chunk.body
        has_pixels |= name == b"IDAT"
        if name == b"IHDR":
            colours = body[9] if len(body) > 9 else 0
        if name == b"eXIf" and (exif := _orientation_only(body)):
            yield _png_chunk(name, exif)
        elif name in PNG_NEEDED or (name in _PNG_KEPT and not chunk.is_wrong):
            yield _png_chunk(name, body) if _says_something(name, body, colours) else b""
    if not has_pixels:
        raise Malformed("there is no picture in it")
    yield _png_chunk(b"IEND", b"")


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + png_checksum(name, body)


def _says_something(name: bytes, body: bytes, colours: int) -> bool:
    """Return whether a chunk can be read. Browsers skip the others, Pillow gives up."""
    if name == b"iCCP":
        return _is_profile(body)
    least = _PNG_LEAST.get(name, 0)
    return len(body) >= (_PNG_LEAST_TRANSPARENCY.get(colours, 1) if name == b"tRNS" else least)


def _is_profile(body: bytes) -> bool:
    _name, _, rest = body.partition(b"\0")
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(rest[1:], _PNG_MOST_PROFILE)
    except zlib.error:
        return False
    return rest[:1] == b"\0" and not unpacking.unconsumed_tail


# WebP


def _webp(data: bytes) -> bytes:
    kept = []
    flags_at = None
    for name, body in webp_chunks(data):
        if name == b"EXIF":
            exif = _orientation_only(body.removeprefix(_EXIF_NAME))
            if exif:
                kept.append((name, exif))
        elif name in _WEBP_KEPT:
            if name == b"VP8X" and body:
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
