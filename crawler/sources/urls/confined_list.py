"""A list that is open in a confined process, which reads it: see `reading`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from crawler.errors import SourceRefused
from crawler.parsing.batches import MAX_ROWS
from crawler.parsing.parser import Parser, Unreadable, text, whole
from crawler.sources.base import Cursor
from crawler.sources.urls.reading import MAX_NAME, MAX_SEEN
from crawler.sources.urls.rows import Row, longest_value

MODULE = "crawler.sources.urls.reading"
MEMORY_BYTES = 512 * 1024**2
"""More than a thousand rows of long texts need, and what the writer of a Parquet file held at once."""
CURSOR_KEYS = frozenset({"byte", "row", "bad", "group"})


@dataclass(frozen=True, slots=True)
class Look:
    """The columns of a list, whether its rows can be read as it is, and whether its text in blocks
    is recoded to UTF-8."""

    columns: list[str]
    is_plain: bool
    is_recoded: bool


class ConfinedList:
    """A list in a file of this machine. Close it.

    `is_plain` is a text that was unpacked already. Each method raises SourceRefused or
    SourceUnavailable.
    """

    def __init__(
        self, path: Path, *, format: str, encoding: str, delimiter: str, is_plain: bool = False
    ) -> None:
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise SourceRefused("location", f"{path} cannot be read: {error.strerror}") from None
        self._parser = Parser(
            MODULE,
            memory_bytes=MEMORY_BYTES,
            files=[self.file.fileno()],
            options={
                "file": self.file.fileno(),
                "format": format,
                "encoding": encoding,
                "delimiter": delimiter,
                "is_plain": is_plain,
            },
        )

    @property
    def pid(self) -> int | None:
        return self._parser.pid

    def look(self) -> Look:
        """Return what the list's first bytes say."""
        try:
            return self._parser.ask("look", check=_looked)
        except Unreadable as error:
            raise SourceRefused("location", f"it cannot be read: {error}") from None

    def blocks(self) -> Iterator[bytes]:
        """Yield the list's text in blocks: unpacked, and recoded if that is necessary."""
        number = 0
        try:
            while (block := self._parser.ask("block", number, check=_block)) is not None:
                yield block
                number += 1
        except Unreadable as error:
            raise SourceRefused("location", f"it cannot be unpacked: {error}") from None

    def rows(self, cursor: Cursor | None, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield the rows after `cursor`, with those of the wanted columns that they have."""
        number = 0
        while True:
            try:
                rows, is_end = self._parser.ask("rows", cursor, [*wanted], check=_rows)
            except Unreadable as error:
                raise SourceRefused("location", f"unreadable after row {number}: {error}") from None
            yield from rows
            if is_end:
                return
            number, cursor = rows[-1].number, rows[-1].cursor

    def close(self) -> None:
        self._parser.close()
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _looked(answer: Any, _body: bytes) -> Look:
    columns, *are = answer["columns"], answer["plain"], answer["recoded"]
    if not isinstance(columns, list) or not all(type(each) is bool for each in are):
        raise ValueError("not what a list looks like")
    return Look([text(name, MAX_NAME) for name in columns], *are)


def _block(answer: Any, body: bytes) -> bytes | None:
    return None if answer["end"] else body


def _rows(answer: Any, _body: bytes) -> tuple[list[Row], bool]:
    rows = [_row(*row) for row in answer["rows"]]
    is_end = answer["end"] is True
    if len(rows) > MAX_ROWS or not (rows or is_end):
        raise ValueError("no batch of rows")
    return rows, is_end


def _row(number: Any, cursor: Any, values: Any, problem: Any, seen: Any) -> Row:
    if not CURSOR_KEYS.issuperset(cursor):
        raise ValueError("not a cursor")
    return Row(
        whole(number),
        {key: whole(place) for key, place in cursor.items()},
        None if values is None else {name: _value(name, value) for name, value in values.items()},
        text(problem, MAX_SEEN),
        text(seen, MAX_SEEN),
    )


def _value(column: str, value: Any) -> object:
    if isinstance(value, str):
        return text(value, longest_value(column))
    if value is None or isinstance(value, (int, float)):
        return value
    raise ValueError("not a value of a row")
