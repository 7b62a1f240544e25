"""Inflates gzip and deflate in steps, each of bounded size."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

GZIP, ZLIB, RAW = 31, 15, -15
"""Formats, as zlib numbers them. What is called deflate is ZLIB; some writers take it for RAW."""
GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES, PIECE_BYTES = 16 * 1024, 64 * 1024
"""What a step takes, and what it gives at most."""
MAX_LAYERS = 2
"""A file that is packed, and packed again by its server."""


class Damaged(Exception):
    """Data that cannot be inflated to its end. The message says why."""


class CutOff(Damaged):
    """Data that ends before its end."""


def blocks(body: bytes) -> Iterator[bytes]:
    """Return a body in the blocks that `inflate` takes."""
    return (body[at : at + BLOCK_BYTES] for at in range(0, len(body), BLOCK_BYTES))


def inflate(blocks: Iterable[bytes], format: int = GZIP) -> Iterator[bytes]:
    """Yield what blocks inflate to, one piece a step; a piece may be empty.

    Of gzip all members are read. What follows the end is ignored. Raise Damaged, after what comes before
    the damage.
    """
    coming = iter(blocks)
    rest = b""
    while True:
        stream, most = zlib.decompressobj(format), PIECE_BYTES
        while not stream.eof:
            block = rest or next(coming, b"")
            before = stream.copy()
            try:
                piece = stream.decompress(block, most)
            except zlib.error as error:
                if most == 1:
                    raise Damaged(str(error)) from None
                stream, rest, most = before, block, most // 16
                continue
            if not (block or piece):
                raise CutOff("it is cut off")
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
            yield piece
        if format != GZIP:
            return
        # Zeros may stand between members.
        while len(rest := rest.lstrip(b"\0")) < len(GZIP_MAGIC) and (more := next(coming, b"")):
            rest += more
        if not rest.startswith(GZIP_MAGIC):
            return


def unpack(blocks: Iterable[bytes], layers: int = MAX_LAYERS) -> Iterator[bytes]:
    """Yield blocks, inflated as long as they begin like gzip, in so many layers. Raise Damaged."""
    coming = iter(blocks)
    first = next(filter(None, coming), b"")
    coming = chain([first], coming)
    if layers and first.startswith(GZIP_MAGIC):
        yield from unpack(inflate(coming), layers - 1)
    else:
        yield from coming


def gather(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield pieces in blocks of `size` bytes, and the rest. Raise Damaged after what came before it."""
    block = bytearray()
    try:
        for piece in pieces:
            block += piece
            while len(block) >= size:
                yield bytes(block[:size])
                del block[:size]
    except Damaged:
        if block:
            yield bytes(block)
        raise
    if block:
        yield bytes(block)
