"""Content codings of answers, undone.

We ask for bodies as they are; some servers encode them all the same. zlib runs in this process, unlike
the parsers of untrusted input: as chunks and TLS do, a coding belongs to reading an answer. zlib keeps
no more than a window of 32 KiB, and each step is small (`pixsim.core.inflate`), so nobody else of the
event loop waits.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from pixsim.core.inflate import GZIP, GZIP_MAGIC, RAW, ZLIB, CutOff, Damaged, blocks, inflate

MAX_CODINGS = 5
"""As in curl."""
_OTHER_NAMES = {"x-gzip": "gzip", "x-compress": "compress"}
_DECODED = frozenset({"gzip", "deflate"})
# Registered, without a decoder here. Any other name says nothing; browsers ignore it, too.
_NOT_DECODED = frozenset({"br", "zstd", "compress", "dcb", "dcz", "exi", "aes128gcm"})


class BadCoding(Exception):
    """A body whose coding cannot be undone. The message says why."""


class TooLarge(Exception):
    """A body that is larger than allowed when its codings are undone."""


def codings(headers: Mapping[str, str]) -> list[str]:
    """Return the codings of a body in the order in which they are undone, by their usual names."""
    if "Content-Encoding" not in headers:
        return []
    values = [value for name, value in headers.items() if name.lower() == "content-encoding"]
    names = [name.strip().lower() for name in ",".join(values).split(",")]
    usual = [_OTHER_NAMES.get(name, name) for name in reversed(names)]
    return [name for name in usual if name in _DECODED | _NOT_DECODED]


async def undo(
    names: Sequence[str], body: bytes, *, most: int, on_bytes: Callable[[int], None] | None = None
) -> bytes:
    """Return a body without its `codings`; as it is if it is only called gzip or deflate.

    `on_bytes(n)` is called for each n bytes that it becomes larger than it was. Raise BadCoding, or
    TooLarge for more than `most` bytes.
    """
    if len(names) > MAX_CODINGS:
        raise BadCoding(f"it is encoded {len(names)} times")
    counted = len(body)

    def count(size: int) -> None:
        nonlocal counted
        if size > most:
            raise TooLarge
        if size > counted and on_bytes is not None:
            on_bytes(size - counted)
        counted = max(size, counted)

    for name in names:
        if name in _NOT_DECODED:
            raise BadCoding(f"it is encoded as {name}, which nobody asked for and we do not read")
        body = await _undo(name, body, count)
    return body


async def _undo(name: str, body: bytes, count: Callable[[int], None]) -> bytes:
    try:
        if body.startswith(GZIP_MAGIC):
            return await _inflated(body, GZIP, count)
        if name == "deflate" and _begins_zlib(body):
            return await _inflated(body, ZLIB, count)
    except Damaged as error:
        raise BadCoding(f"its {name} data is damaged: {error}") from None
    if name == "deflate" and body:
        try:
            return await _inflated(body, RAW, count)
        except CutOff as error:
            raise BadCoding(f"its deflate data is damaged: {error}") from None
        except Damaged:
            pass  # RAW has no mark by which it is known
    return body


async def _inflated(body: bytes, format: int, count: Callable[[int], None]) -> bytes:
    """Return what a body inflates to. Raise Damaged, or what `count` raises."""
    pieces: list[bytes] = []
    size = 0
    for piece in inflate(blocks(body), format):
        size += len(piece)
        count(size)
        if piece:
            pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces)


def _begins_zlib(body: bytes) -> bool:
    """Return whether a body begins as RFC 1950 has it: deflate, a window, and a multiple of 31."""
    return len(body) > 1 and body[0] & 0x8F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
