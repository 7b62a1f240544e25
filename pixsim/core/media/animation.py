"""How long an animation takes, from its containers: no frame is decoded.

Sources: GIF89a (graphic control extension), PNG (fcTL), the WebP container (ANMF). Called on
untrusted bytes in a confined child only.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress


def duration_sec(data: bytes, format: str) -> float:
    """Return the seconds of all frames of a file of Pillow's `format`, as far as it can be read."""
    seconds = 0.0
    with suppress(IndexError, struct.error):
        for one in FRAMES.get(format, _none)(data):
            seconds += one
    return seconds


def _gif_frames(data: bytes) -> Iterator[float]:
    at = 13 + _table_bytes(data[10])
    while data[at] != 0x3B:
        if data[at] == 0x2C:  # a frame's picture
            at += 11 + _table_bytes(data[at + 9])
        else:
            if data[at + 1] == 0xF9:
                yield struct.unpack_from("<H", data, at + 4)[0] / 100
            at += 2
        while data[at]:
            at += data[at] + 1
        at += 1


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _png_frames(data: bytes) -> Iterator[float]:
    at = 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"fcTL":
            part, whole = struct.unpack_from(">HH", data, at + 28)
            yield part / (whole or 100)
        at += 12 + length


def _webp_frames(data: bytes) -> Iterator[float]:
    at = 12
    while True:
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"ANMF":
            yield (struct.unpack_from("<I", data, at + 20)[0] & 0xFFFFFF) / 1000
        at += 8 + length + length % 2


def _none(_data: bytes) -> Iterator[float]:
    return iter(())


FRAMES: Mapping[str, Callable[[bytes], Iterator[float]]] = {
    "GIF": _gif_frames,
    "PNG": _png_frames,
    "WEBP": _webp_frames,
}
