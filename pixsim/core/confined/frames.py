"""Frames: how requests and answers travel through the pipes.

A frame is two lengths of four bytes (big endian), a header in JSON and a body of bytes.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

LENGTHS = struct.Struct(">II")
MAX_HEADER_BYTES = 4 * 1024**2


def head(header: Any, body_bytes: int = 0) -> bytes:
    """Return what comes before the body."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return LENGTHS.pack(len(text), body_bytes) + text


def read_head(read: Callable[[int], bytes], *, max_body: int = 2**32 - 1) -> tuple[Any, int]:
    """Return the header and the length of the body that follows.

    `read` returns exactly so many bytes. Raise ValueError for what is no frame, or is too long.
    """
    header_bytes, body_bytes = LENGTHS.unpack(read(LENGTHS.size))
    if header_bytes > MAX_HEADER_BYTES or body_bytes > max_body:
        raise ValueError("the frame is too long")
    try:
        return json.loads(read(header_bytes)), body_bytes
    except RecursionError:
        raise ValueError("the header is nested too deeply") from None
