"""The parts of a picture's file, and whether it is complete.

Image libraries stop reading when the first frame is complete, and skip checksums: a file that was
cut after that frame, or changed inside, would pass. Parts are found as decoders find them, and who
takes metadata out finds them here too: what decoders skip is skipped.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeVar

from pixsim.core.patterns import Find, pattern

MAX_PARTS = 100_000
"""Segments or chunks of a file: one of its own for every few bytes would take memory many times over."""

JPEG_SCAN, JPEG_START, JPEG_END = 0xDA, 0xD8, 0xD9
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length, which mean nothing between segments: TEM and RST0 to RST7."""
MAX_STRAY = 8
"""Bytes; what a misread scan leaves over is more than that."""
_BLOCK = 64 * 1024
# A marker follows the last of its fill bytes. In a scan stuffed bytes and restart markers are data.
_find_marker = pattern(rb"\xff[^\x00\xff]", longest=_BLOCK, method="search")
_find_end_of_scan = pattern(rb"\xff[^\x00\xff\xd0-\xd7]", longest=_BLOCK, method="search")

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_NEEDED = frozenset((b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"acTL", b"fcTL", b"fdAT"))
"""Chunks without which pixels or frames are lost."""
_PNG_BYTES_PER_PIXEL, _PNG_SPARE_BYTES = 9, 1024**2
"""The most that its data has when unpacked, and the names of its rows' filters."""

_Part = TypeVar("_Part")


class Refusal(Exception):
    """A picture that is refused."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


class Malformed(ValueError):
    """A file in whose parts no picture is."""


class TooManyParts(Malformed):
    """A file with more than MAX_PARTS segments or chunks."""


def check_container(data: bytes, kind: str, *, is_decoded: bool) -> None:
    """Raise Refusal if the file ends before its container says, or a checksum is wrong.

    When its first frame was decoded, only what belongs to a frame counts: a missing trailer, or a
    comment that was cut, is common and harmless.
    """
    match kind:
        case "jpeg":
            if not is_decoded and all(one.marker != JPEG_END for one in jpeg_segments(data)):
                raise Refusal("truncated", "no end of the picture")
        case "png":
            _check_png(data, is_decoded=is_decoded)
        case "gif":
            _check_gif(data, is_decoded=is_decoded)
        case "webp":
            _check_end(data, 8 + int.from_bytes(data[4:8], "little"))
        case "bmp":
            # Some writers put a wrong size there; where the pixels begin is always right.
            _check_end(data, int.from_bytes(data[10:14], "little"))
        case "tiff":
            order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
            where = slice(8, 16) if b"+" in data[2:4] else slice(4, 8)
            _check_end(data, int.from_bytes(data[where], order))
        case "avif":
            _check_boxes(data)


def _check_end(data: bytes, end: int) -> None:
    if end > len(data):
        raise Refusal("truncated", f"{len(data)} of {end} bytes")


def _few(parts: Iterator[_Part]) -> Iterator[_Part]:
    for number, part in enumerate(parts):
        if number == MAX_PARTS:
            raise TooManyParts(f"it has more than {MAX_PARTS:,} parts")
        yield part


# JPEG


class Segment(NamedTuple):
    """A marker, and where its segment, the body without its length, and its end are in the file.

    Picture data belongs to the segment of its scan.
    """

    marker: int
    start: int
    body: int
    end: int


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments as libjpeg finds them: what is none is skipped. The last one may be cut.

    Raise TooManyParts.
    """
    return _few(_jpeg_segments(data))


def _jpeg_segments(data: bytes) -> Iterator[Segment]:
    at = 2
    while (start := _next(_find_marker, data, at)) is not None:
        marker, at = data[start + 1], start + 2
        if marker in _ALONE:
            continue
        if marker in (JPEG_START, JPEG_END):
            yield Segment(marker, start, at, at)
            if marker == JPEG_END:
                return
            continue
        # A length below 2, which would not even count itself, is 2 to libjpeg.
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == JPEG_SCAN:
            end = _next(_find_end_of_scan, data, at)
            at += len(data[at:end].rstrip(b"\xff"))
        at = min(at, len(data))
        yield Segment(marker, start, min(start + 4, at), at)


def without_stray_bytes(data: bytes, count: int, marker: int) -> bytes | None:
    """Return a file without what stands between the data of a scan and such a marker.

    Zeros and text, or MAX_STRAY bytes of any kind; None if there is something else, which could be
    data that was not understood. If zeros are data after all, the scan without them is too short.
    """
    if marker in _ALONE:
        return None
    parts = [data[:2]]
    for one in jpeg_segments(data):
        part = data[one.start : one.end]
        if one.marker == JPEG_SCAN:
            unpadded = part.rstrip(b"\0")
            part = unpadded + b"\0" * unpadded.endswith(b"\xff")
        parts.append(part)
    if len(unpadded := b"".join(parts)) < len(data):
        return unpadded
    at = data.rfind(bytes((0xFF, marker)))
    stray = data[max(0, at - count) : at]
    is_text = stray.isascii() and stray.decode().isprintable()
    return data[: at - count] + data[at:] if is_text or count <= MAX_STRAY else None


def _next(find: Find[bytes], data: bytes, at: int) -> int | None:
    """Return where the next marker is, however far; None if there is none."""
    while at < len(data):
        if found := find(data, at):
            return found.start()
        at += _BLOCK - 1  # a marker may lie across two blocks
    return None


# PNG


class Chunk(NamedTuple):
    """A chunk of a PNG file. Its body may be cut; a checksum that is there may be wrong."""

    name: bytes
    body: bytes
    at: int
    is_cut: bool
    is_wrong: bool


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks, up to IEND or the end of the file. Raise TooManyParts."""
    return _few(_png_chunks(data))


def png_checksum(name: bytes, body: bytes) -> bytes:
    return zlib.crc32(body, zlib.crc32(name)).to_bytes(4, "big")


def _png_chunks(data: bytes) -> Iterator[Chunk]:
    at, name = len(PNG_START), b""
    while at + 8 <= len(data) and name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        body, checksum = data[at + 8 : end], data[end : end + 4]
        is_wrong = len(checksum) == 4 and checksum != png_checksum(name, body)
        yield Chunk(name, body, at, is_cut=end > len(data), is_wrong=is_wrong)
        at = end + 4


def _check_png(data: bytes, *, is_decoded: bool) -> None:
    name, frames, pixels = b"", 0, 0
    stream: list[bytes] = []
    wrong: list[Chunk] = []
    for chunk in png_chunks(data):
        name, body = chunk.name, chunk.body
        if name == b"IHDR":
            pixels = math.prod(struct.unpack(">II", body[:8].ljust(8, b"\0")))
        elif name == b"IDAT":
            stream.append(body)
        elif name == b"acTL":
            frames = int.from_bytes(body[:4], "big")
        elif name == b"fcTL":
            frames -= 1
        if name in PNG_NEEDED and chunk.is_wrong:
            wrong.append(chunk)
        # Whether the first frame is whole is seen by decoding it.
        if name in PNG_NEEDED and chunk.is_cut and not (is_decoded and name == b"IDAT"):
            raise Refusal("truncated", f"{len(data)} bytes end in the chunk at byte {chunk.at}")
    # The pixels have a checksum of their own, the only one on which browsers and Pillow rely.
    if any(chunk.name != b"IDAT" for chunk in wrong) or (wrong and not _is_whole(stream, pixels)):
        raise Refusal("corrupt", f"wrong checksum in the chunk at byte {wrong[0].at}")
    if name != b"IEND" and (frames > 0 or not is_decoded):
        raise Refusal("truncated", "no end of the file")


def _is_whole(stream: list[bytes], pixels: int) -> bool:
    """Return whether zlib finds the end and the right checksum, in no more than pixels may need."""
    unpacking, left = zlib.decompressobj(), _PNG_BYTES_PER_PIXEL * pixels + _PNG_SPARE_BYTES
    try:
        for part in stream:
            while part and not unpacking.eof and left > 0:
                left -= len(unpacking.decompress(part, _PNG_SPARE_BYTES))
                part = unpacking.unconsumed_tail
    except zlib.error:
        return False
    return unpacking.eof


# WebP


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and body of each chunk; the last one may be cut. Raise TooManyParts."""
    return _few(_webp_chunks(data))


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = min(8 + int.from_bytes(data[4:8], "little"), len(data))
    at = 12
    while at + 8 <= end:
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : min(at + 8 + length, end)]
        at += 8 + length + length % 2


# Others


def _check_gif(data: bytes, *, is_decoded: bool) -> None:
    """Read the blocks, up to the trailer or to what is none."""
    position, block = 13 + _colour_table(data, 10), 0
    while position < len(data):
        block = data[position]
        if block == 0x2C:
            position += 11 + _colour_table(data, position + 9)
        elif block == 0x21:
            position += 2
        else:
            return
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    if not is_decoded:
        _check_end(data, position)
    elif block == 0x2C:
        _check_end(data, position - 1)  # the byte that is left says only that its data ends


def _colour_table(data: bytes, position: int) -> int:
    _check_end(data, position + 1)
    flags = data[position]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _check_boxes(data: bytes) -> None:
    """Read the top level boxes of an ISO media file. A size of 0 means up to the end."""
    position, name = 0, b""
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return
        position += max(size, 8)
    if name in (b"ftyp", b"meta", b"moov", b"mdat"):  # anything else may stand at the end
        _check_end(data, position)


def has_many_scans(data: bytes) -> bool:
    """Return whether a JPEG file comes in several passes: it is progressive, or says so (ITU T.81, B.2)."""
    position, components = 2, 0
    while position + 9 < len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xC2:
            return True
        if marker == 0xDA:
            return data[position + 4] < components
        if marker in (0xC0, 0xC1):
            components = data[position + 9]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True
