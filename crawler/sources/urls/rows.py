"""What readers of all list formats return: rows with the wanted columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from crawler.errors import SourceRefused
from crawler.sources.base import Cursor


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number (the first line is 1), the cursor after it, its wanted values.

    `problem` says why the row cannot be read, and `seen` has its text then. A row with neither
    values nor a problem is empty.
    """

    number: int
    cursor: Cursor
    values: dict[str, object] | None = None
    problem: str = ""
    seen: object = ""


class RowReader(Protocol):
    """A list that is open for reading."""

    columns: list[str]

    def rows(self, cursor: Cursor | None, wanted: Sequence[str]) -> Iterator[Row]:
        """Yield the rows after `cursor`, with those of the wanted columns that they have."""


def named_column(columns: Sequence[str], name: str) -> str | None:
    """Return the column of this name: the exact one, else one that differs in case."""
    if name in columns:
        return name
    return next((c for c in columns if c.strip().casefold() == name.casefold()), None)


def required_column(columns: Sequence[str], name: str, option: str) -> str:
    """Return the column of this name. Raise SourceRefused, listing the columns there are."""
    found = named_column(columns, name)
    if found is None:
        there = ", ".join(repr(column)[:60] for column in columns[:30]) or "none"
        raise SourceRefused(f"options.{option}", f"there is no column {name!r}; there are: {there}")
    return found
