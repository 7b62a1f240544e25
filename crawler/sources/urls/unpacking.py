"""The text of a list that is packed or in an encoding whose lines end with other bytes."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO

from crawler.errors import SourceRefused

BLOCK_BYTES = 512 * 1024
"""Recoded it is at most three times as long, which an answer can hold."""
SAMPLE_BYTES = 256 * 1024
GZIP_MAGIC = b"\x1f\x8b"


def is_packed(raw: IO[bytes]) -> bool:
    raw.seek(0)
    return raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def sample(raw: IO[bytes]) -> bytes:
    """Return the first bytes of a list, unpacked. Raise SourceRefused for damaged data."""
    return next(unpacked(raw, SAMPLE_BYTES), b"")


def unpacked(raw: IO[bytes], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Yield a list in blocks, unpacked. Raise SourceRefused for damaged data."""
    packed = is_packed(raw)
    raw.seek(0)
    file: IO[bytes] = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
    try:
        while block := file.read(size):
            yield block
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceRefused("location", f"its gzip data is damaged: {error}") from None


def recoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield blocks in UTF-8 with \\n. Raise SourceRefused for what is not in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    done = 0
    for block in blocks:
        try:
            yield newlines.decode(decoder.decode(block)).encode()
        except UnicodeDecodeError as error:
            raise SourceRefused(
                "options.encoding", f"not valid {encoding} near byte {done + error.start}"
            ) from None
        done += len(block)
    yield newlines.decode("", final=True).encode()


def recode(blob: bytes, encoding: str) -> bytes:
    """Return a sample in UTF-8 with \\n, without a character that its end cuts."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(blob)
    return text.replace("\r\n", "\n").replace("\r", "\n").encode()
