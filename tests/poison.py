"""Small files that cost whoever decodes them much time or memory, made on the fly."""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image

from tests.crawler.pictures import encode, progressive_bomb

FLAT_BYTES = 100 * 1024**2
"""Less is no sign of decoding: the widest of these pictures need four times as much, or more."""


@cache
def wide_png(side: int = 10_000) -> bytes:
    """880 MB to decode into RGB, and 12 kB."""
    return encode(Image.new("1", (side, side)), "PNG")


@cache
def gif(side: int, frames: int) -> bytes:
    """An animation of that many frames on a canvas of `side` squared, each 30 bytes."""
    small = encode(Image.new("P", (1, 1)), "GIF")
    start = small[:6] + struct.pack("<HH", side, side) + small[10:]
    frame = b"\x21\xf9\x04\x04\x05\0\0\0" + small[small.index(b",\0\0\0\0") : -1]
    return start[:-1] + frame * (frames - 1) + b";"


@cache
def slow_jpeg(side: int = 7000, scans: int = 200) -> bytes:
    """A progressive picture whose last scan is repeated: each costs a pass over all pixels."""
    return progressive_bomb(side, scans)


def memory_of(pid: int | str, what: str) -> int:
    """Return VmRSS or VmHWM (the most there was) of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) * 1024


@contextmanager
def flat_memory() -> Iterator[None]:
    """Assert that this process never has FLAT_BYTES more memory than before."""
    before = most = memory_of("self", "VmRSS")
    done = threading.Event()

    def observe() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, memory_of("self", "VmRSS"))

    observer = threading.Thread(target=observe)
    observer.start()
    try:
        yield
    finally:
        done.set()
        observer.join()
    assert most - before < FLAT_BYTES
