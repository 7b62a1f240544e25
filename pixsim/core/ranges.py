"""A part of a file, as players and broken downloads ask for it (RFC 9110, section 14)."""

from collections.abc import Iterator
from typing import IO

from pixsim.core.patterns import pattern

match_range = pattern(r"bytes=(\d{1,18})?-(\d{1,18})?", longest=50, method="fullmatch")
CHUNK = 64 * 1024


def part_of(header: str | None, *, size: int) -> range | None:
    """The bytes of a file of `size` that a Range header asks for; empty if it has none of them.

    None: the whole file, which is also the answer to several ranges and to what is not understood.
    """
    match = match_range(header or "")
    if match is None or match[1] is match[2] is None:
        return None
    if match[1] is None:  # the last so many
        return range(max(0, size - int(match[2])), size)
    first = int(match[1])
    last = min(size, int(match[2]) + 1) if match[2] else size
    if match[2] and int(match[2]) < first:
        return None
    return range(first, last)


def bytes_of(file: IO[bytes], part: range) -> Iterator[bytes]:
    """These bytes of an open file, in chunks; the file is closed after the last."""
    with file:
        file.seek(part.start)
        left = len(part)
        while left and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
