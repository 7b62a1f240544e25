"""Removes what a camera or an editor wrote about a picture from its file, without re-encoding.

What changes the look stays: colour profile, colour transform, transparency, animation, and the
orientation, as an EXIF block with nothing else (see `crawler.fetch.orientation`).
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import takewhile

from crawler.fetch.containers import (
    JPEG_FRAMES,
    JPEG_SCAN,
    PNG_NEEDED,
    PNG_START,
    Chunk,
    Malformed,
    Segment,
    jpeg_segments,
    png_checksum,
    png_chunks,
    webp_chunks,
)
from crawler.fetch.orientation import EXIF_NAME, minimal_exif

STRIPPED_FORMATS = ("jpeg", "png", "webp")
"""Files of all other formats are left as they are."""

_JPEG_BEGINS = b"\xff\xd8\xff"
_JPEG_APP, _JPEG_APP1, _JPEG_COMMENT = range(0xE0, 0xF0), 0xE1, 0xFE
_JPEG_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_PROFILE_NAME = b"ICC_PROFILE\0"
_JPEG_PROFILE, _JPEG_COLOURS = (0xE2, _PROFILE_NAME), (0xEE, b"Adobe")
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
_PNG_MOST_UNPACKED = 1024**2
"""Bytes of a profile or text; Pillow opens no file with a longer one."""
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_EXIF, _PNG_EXIF_IN_HEX, _PNG_XMP = b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp"

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
    has_profile = _has_whole_profile(data, segments)
    is_sequential = frame is not None and frame.marker in _SEQUENTIAL
    exif = _jpeg_exif(data, segments)
    yield data[:2]
    for one in segments:
        body = data[one.body : one.end]
        if one.marker == _JPEG_APP1:
            yield exif
            exif = b""
        elif one.marker in _JPEG_APP:
            if has_profile or (one.marker, body[: len(_PROFILE_NAME)]) != _JPEG_PROFILE:
                yield _jpeg_app(one.marker, body, components)
        elif one.marker == JPEG_SCAN and is_sequential:
            yield _jpeg_scan(data, one)
        elif one.marker != _JPEG_COMMENT:
            yield data[one.start : one.end]


def _jpeg_exif(data: bytes, segments: Sequence[Segment]) -> bytes:
    """Return a segment with the orientation alone. To Pillow all EXIF segments are one block."""
    parts, xmp = [], b""
    for one in takewhile(lambda one: one.marker != JPEG_SCAN, segments):
        name, _, body = data[one.body : one.end].partition(b"\0")
        if one.marker == _JPEG_APP1 and name + b"\0" == _JPEG_XMP_NAME:
            xmp = body
        elif one.marker == _JPEG_APP1 and name == b"Exif" and body[1:] and body[:1] == b"\0":
            parts.append(body[1:])
    block = b"".join(parts)
    is_in_first = len(parts) < 2 or minimal_exif(parts[0]) == minimal_exif(block)
    exif = minimal_exif(block, xmp, is_plain=is_in_first)
    return _jpeg_segment(_JPEG_APP1, EXIF_NAME + exif) if exif else b""


def _has_whole_profile(data: bytes, segments: Sequence[Segment]) -> bool:
    """Return whether each part of a colour profile is there once. Decoders use no other profile."""
    parts = [
        data[one.body + len(_PROFILE_NAME) : one.end]
        for one in segments
        if one.marker == _JPEG_PROFILE[0] and data.startswith(_PROFILE_NAME, one.body)
    ]
    heads = sorted(part[:2] for part in parts)
    expected = [bytes((number, len(parts) & 0xFF)) for number in range(1, min(len(parts), 255) + 1)]
    return heads == expected and any(len(part) > 2 for part in parts)


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
    has_pixels, has_profile, colours = False, False, 0
    chunks = list(png_chunks(data))
    place, exif = _png_exif(chunks)
    for number, chunk in enumerate(chunks):
        name, body = chunk.name, chunk.body
        has_pixels |= name == b"IDAT"
        if name == b"iCCP":
            if has_profile:
                continue  # browsers use the first one; unpacking thousands would take long
            has_profile = True
        if name == b"IHDR":
            colours = body[9] if len(body) > 9 else 0
        if exif and number == place:
            yield _png_chunk(b"eXIf", exif)
        elif name in PNG_NEEDED or (name in _PNG_KEPT and not chunk.is_wrong):
            yield _png_chunk(name, body) if _says_something(name, body, colours) else b""
    if not has_pixels:
        raise Malformed("there is no picture in it")
    yield _png_chunk(b"IEND", b"")


def _png_exif(chunks: Sequence[Chunk]) -> tuple[int, bytes]:
    """Return an EXIF block with the orientation alone, and the number of the chunk that says it.

    To Pillow the last of several counts, and an EXIF block may be text. None of that is plain.
    """
    said: dict[bytes, tuple[int, bytes]] = {}
    for number, chunk in enumerate(chunks):
        if chunk.is_wrong or chunk.is_cut:
            continue
        if chunk.name == b"eXIf":
            said[_PNG_EXIF] = number, chunk.body
        elif chunk.name in _PNG_TEXTS and (text := _png_text(chunk)):
            keyword, value = text
            said[keyword] = number, value
    place, exif = said.get(_PNG_EXIF) or said.get(_PNG_EXIF_IN_HEX) or (0, b"")
    xmp_place, xmp = said.get(_PNG_XMP, (0, b""))
    is_plain = [one.name for one in chunks].count(b"eXIf") == 1 and chunks[place].name == b"eXIf"
    return place if minimal_exif(exif) else xmp_place, minimal_exif(exif, xmp, is_plain=is_plain)


def _png_text(chunk: Chunk) -> tuple[bytes, bytes] | None:
    """Return keyword and value of a text in which an orientation may be."""
    keyword, _, value = chunk.body.partition(b"\0")
    if keyword == _PNG_EXIF and chunk.name == b"tEXt":
        return keyword, value.removeprefix(EXIF_NAME)
    if keyword not in (_PNG_EXIF_IN_HEX, _PNG_XMP):
        return None
    is_packed = chunk.name == b"zTXt"
    if is_packed:
        value = value[1:]  # behind the method
    elif chunk.name == b"iTXt":
        is_packed = value[:1] != b"\0"
        value = value[2:].split(b"\0", 2)[-1]  # behind flag, method, language and keyword
    if is_packed:
        value = _unpacked(value) or b""
    return keyword, _from_hex(value) if keyword == _PNG_EXIF_IN_HEX else value


def _from_hex(profile: bytes) -> bytes:
    """Return what a profile has: after an empty line its name and length, and then lines of hex."""
    *_, block = profile.split(b"\n", 3)
    try:
        return bytes.fromhex(block.decode("ascii")).removeprefix(EXIF_NAME)
    except ValueError:
        return b""


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
    return rest[:1] == b"\0" and _unpacked(rest[1:]) is not None


def _unpacked(data: bytes) -> bytes | None:
    """Return what is not too long; None if it is, or is damaged."""
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, _PNG_MOST_UNPACKED)
    except zlib.error:
        return None
    return None if unpacking.unconsumed_tail else unpacked


# WebP


def _webp(data: bytes) -> bytes:
    chunks = list(webp_chunks(data))
    kept = [(name, body) for name, body in chunks if name in _WEBP_KEPT]
    extended = next(
        (place for place, (name, body) in enumerate(kept) if name == b"VP8X" and body), None
    )
    if extended is not None:
        flags, rest = kept[extended][1][0], kept[extended][1][1:]
        said = dict(reversed(chunks))  # the first of several counts
        exif = said.get(b"EXIF", b"") if flags & _WEBP_EXIF_FLAG else b""
        xmp = said.get(b"XMP ", b"") if flags & _WEBP_XMP_FLAG else b""
        flags &= ~(_WEBP_EXIF_FLAG | _WEBP_XMP_FLAG)
        if exif := minimal_exif(exif.removeprefix(EXIF_NAME), xmp):
            kept.append((b"EXIF", exif))
            flags |= _WEBP_EXIF_FLAG
        kept[extended] = b"VP8X", bytes([flags]) + rest
    body = b"WEBP" + b"".join(
        struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2) for name, body in kept
    )
    return struct.pack("<4sI", b"RIFF", len(body)) + body
