"""The text of a list that is packed or in an encoding whose lines end with other bytes."""

import codecs
import io
from collections.abc import Iterator
from functools import partial
from typing import IO

from crawler.errors import SourceRefused
from pixsim.core.inflate import GZIP_MAGIC, Damaged, gather, unpack

BLOCK_BYTES = 512 * 1024
"""Recoded it is at most three times as long, which an answer can hold."""
SAMPLE_BYTES = 256 * 1024
READ_BYTES = 64 * 1024


def is_packed(raw: IO[bytes]) -> bool:
    raw.seek(0)
    return raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def sample(raw: IO[bytes]) -> bytes:
    """Return the first bytes of a list, unpacked. Raise SourceRefused if its first line is damaged."""
    found = bytearray()
    try:
        for block in unpacked(raw):
            found += block
            if len(found) >= SAMPLE_BYTES:
                break
    except SourceRefused:
        if b"\n" not in found and b"\r" not in found:
            raise
    return bytes(found[:SAMPLE_BYTES])


def unpacked(raw: IO[bytes]) -> Iterator[bytes]:
    """Yield a list in blocks, unpacked. Raise SourceRefused where its data is damaged."""
    raw.seek(0)
    try:
        yield from gather(unpack(iter(partial(raw.read, READ_BYTES), b"")), BLOCK_BYTES)
    except Damaged as error:
        raise SourceRefused("location", f"its gzip data is damaged: {error}") from None


def recoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield blocks in UTF-8 with \\n. Raise SourceRefused where they are not in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    done = 0
    for block in blocks:
        before = decoder.getstate()
        try:
            yield newlines.decode(decoder.decode(block)).encode()
        except UnicodeDecodeError as error:
            decoder.setstate(before)
            sound = len(block) - (len(error.object) - error.start)
            yield newlines.decode(decoder.decode(block[: max(sound, 0)])).encode()
            raise SourceRefused(
                "options.encoding", f"not valid {encoding} near byte {done + error.start}"
            ) from None
        done += len(block)
    yield newlines.decode("", final=True).encode()


def recode(blob: bytes, encoding: str) -> bytes:
    """Return a sample in UTF-8 with \\n, without a character that its end cuts."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(blob)
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()
