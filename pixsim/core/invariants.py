"""Invariants: what is always true of the rows, each with a query for the rows that break it.

`db verify`, `queue check` and `credits check` examine them on the live database. Constraints can be
missing or not validated, and no constraint can say that a counter equals its rows.
"""

import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, DataError, transaction
from django.db.backends.utils import CursorWrapper
from psycopg.errors import UndefinedColumn, UndefinedTable

from pixsim.core.db.sql import one_moment

MAX_ROWS = 10

# The server counts all rows and sends few; a long list goes to its disk, not into memory.
SOME = "SELECT *, count(*) OVER () AS broken_rows FROM (\n{query}\n) AS broken LIMIT {limit}"


@dataclass(frozen=True)
class Invariant:
    """A sentence that is always true, and the query for the rows that break it."""

    name: str
    sentence: str
    sql: str
    params: Mapping[str, Any] | None = None
    """The query's parameters; None: a `%` in the query stands for itself."""
    subject: str = ""
    """What the rows are, such as a kind of work."""
    needs_worker: bool = False
    """Rows may break it until a running worker has repaired them."""


@dataclass(frozen=True)
class Finding:
    """What the examination of one invariant found."""

    invariant: Invariant
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The first MAX_ROWS rows that break it."""
    count: int | None = 0
    """How many rows break it; None: a value could not be read, and `rows` holds the error."""
    skipped: bool = False
    """It was not examined, for a table or column that it names is missing."""
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.invariant.name

    @property
    def holds(self) -> bool:
        return not (self.rows or self.skipped)

    @property
    def more(self) -> bool:
        """Whether more rows break it than `rows` shows."""
        return (self.count or 0) > len(self.rows)

    def __str__(self) -> str:
        found = (
            "values that cannot be read" if self.count is None else f"{self.count} rows where not"
        )
        rows = "; ".join(self.row_texts())
        return f"{self.name}: expected: {self.invariant.sentence} Found {found}: {rows}"

    def row_texts(self) -> list[str]:
        """Return each row of `rows` as text."""
        return [", ".join(f"{name}={value}" for name, value in row.items()) for row in self.rows]


def read_invariants(path: Path, **parts: str) -> tuple[Invariant, ...]:
    """Return the invariants of a TOML file, one in each table; a part's `[name]` stands for its SQL."""
    text = path.read_text()
    for name, sql in parts.items():
        text = text.replace(f"[{name}]", sql)
    return tuple(Invariant(name, **values) for name, values in tomllib.loads(text).items())


def examine(
    invariants: Iterable[Invariant],
    *,
    using: str = DEFAULT_DB_ALIAS,
    skip_missing: bool = False,
) -> list[Finding]:
    """Look for rows that break the invariants, all at one moment; write nothing.

    Reads whole tables in one snapshot, which slows claims while it lasts: seconds with millions
    of rows. With `skip_missing` an invariant that names a missing table or column is skipped, else
    the database's error is raised.
    """
    with one_moment(using=using) as cursor:
        return [_examine(cursor, each, using, skip_missing) for each in invariants]


def _examine(
    cursor: CursorWrapper, invariant: Invariant, using: str, skip_missing: bool
) -> Finding:
    began = time.monotonic()
    query = SOME.replace("{query}", invariant.sql).replace("{limit}", str(MAX_ROWS))
    try:
        with transaction.atomic(using=using):
            cursor.execute(query, invariant.params)
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except DataError as error:  # a value that cannot be read is none that PixSim wrote
        return Finding(invariant, [{"error": str(error).strip()}], count=None)
    except DatabaseError as error:
        if not skip_missing or not isinstance(error.__cause__, (UndefinedColumn, UndefinedTable)):
            raise
        return Finding(invariant, skipped=True)
    count = rows[0]["broken_rows"] if rows else 0
    for row in rows:
        del row["broken_rows"]
    return Finding(invariant, rows, count, seconds=time.monotonic() - began)
