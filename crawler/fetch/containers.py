"""Whether a picture's file is complete, by its container.

Image libraries stop reading when the first frame is complete, and skip checksums: a file that was
cut after that frame, or changed inside, would pass.
"""

import zlib
from typing import Literal


class Refusal(Exception):
    """A picture that is refused."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


def check_container(data: bytes, kind: str) -> None:
    """Raise Refusal if the file ends before its container says, or a checksum is wrong."""
    match kind:
        case "jpeg":
            # An end of image before the last scan is that of an embedded preview.
            if data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda"):
                raise Refusal("truncated", "no end of the picture")
        case "png":
            _check_png(data)
        case "gif":
            _check_gif(data)
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


def _check_png(data: bytes) -> None:
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        _check_end(data, end)
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(data[position + 4 : end - 4]) != checksum:
            raise Refusal("corrupt", f"wrong checksum in the chunk at byte {position}")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end
    raise Refusal("truncated", "no end of the file")


def _check_gif(data: bytes) -> None:
    """Read the blocks. A missing trailer is common and harmless; a cut block is not."""
    position = 13 + _colour_table(data, 10)
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
    _check_end(data, position)


def _colour_table(data: bytes, position: int) -> int:
    _check_end(data, position + 1)
    flags = data[position]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _check_boxes(data: bytes) -> None:
    """Read the top level boxes of an ISO media file. A size of 0 means up to the end."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return
        position += max(size, 8)
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
