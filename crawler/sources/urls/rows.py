"""What readers of all list formats return: rows with the wanted columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from crawler.errors import SourceRefused
from crawler.parsing.batches import MAX_CELL
from crawler.sources.base import MAX_CAPTION, Cursor

URL_COLUMNS = ("url", "image_url", "img_url", "picture_url", "photo_url")
CAPTION_COLUMNS = ("caption", "text", "alt_text", "alt")
# The names of columns that are taken as each key of the provenance.
PROVENANCE_COLUMNS = {
    "source_id": ("source_id", "id"),
    "landing_page": ("landing_page", "page_url", "source_url", "foreign_landing_url"),
    "title": ("title",),
    "caption": CAPTION_COLUMNS,
    "creator": ("creator", "author", "photographer", "artist"),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "attribution": ("attribution", "credit"),
}
_AROUND_NAMES = " \t\r\n\xa0\u200b\ufeff\"'"


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
    """Return the column of this name: the exact one, else the first with the same plain name."""
    if name in columns:
        return name
    plain = plain_name(name)
    return next((column for column in columns if plain_name(column) == plain), None)


@lru_cache(maxsize=4096)
def plain_name(column: str) -> str:
    """Return a column's name without case, quotes and byte order mark; `Image URL` is `image_url`."""
    words = column.strip(_AROUND_NAMES).casefold().replace("-", " ").replace("_", " ")
    return "_".join(words.split())


def longest_value(column: str) -> int:
    """Return how many characters of a column's values are read: of captions one more than allowed."""
    return MAX_CAPTION + 1 if plain_name(column) in CAPTION_COLUMNS else MAX_CELL


def required_column(columns: Sequence[str], name: str, option: str) -> str:
    """Return the column of this name. Raise SourceRefused, listing the columns there are."""
    found = named_column(columns, name)
    if found is None:
        there = ", ".join(repr(column)[:60] for column in columns[:30]) or "none"
        raise SourceRefused(f"options.{option}", f"there is no column {name!r}; there are: {there}")
    return found
