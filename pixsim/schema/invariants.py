"""Sentences that always hold for the rows, proved on the live database.

Constraints can be missing, not validated, or switched off while rows are loaded; and no constraint
can say that a counter equals its rows. Invariants of foreign keys are read from the schema;
plug-ins register more of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, DataError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import UndefinedColumn, UndefinedTable

from pixsim.schema.catalog import Constraint, Schema, Table, quoted

EXAMPLES = 5
"""How many of the rows that break an invariant are named."""

# The server counts all of them and sends few; a long list goes to its disk, not into memory.
SOME = "SELECT *, count(*) OVER () AS broken_rows FROM ({query}) AS broken LIMIT {examples}"

DANGLING = """
SELECT {named} FROM {table} AS row
 WHERE {present} AND NOT EXISTS (SELECT FROM {to_table} AS target WHERE {matches})
"""


@dataclass(frozen=True)
class Invariant:
    """A sentence that always holds. `sql` selects the rows that break it.

    It runs without parameters: a `%` in it is itself.
    """

    name: str
    sentence: str
    sql: str


@dataclass(frozen=True)
class Finding:
    """An invariant that does not hold."""

    invariant: Invariant
    count: int
    """How many rows break it; -1: they cannot be read."""
    examples: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        rows = "; ".join(
            ", ".join(f"{name}={value}" for name, value in row.items()) for row in self.examples
        )
        found = f"{self.count} rows where not" if self.count >= 0 else "values that cannot be read"
        return f"{self.invariant.name}: expected: {self.invariant.sentence} Found {found}: {rows}"


def references(schema: Schema) -> Iterator[Invariant]:
    """Return an invariant for each validated foreign key: the row that it names exists."""
    for table in schema.tables.values():
        for constraint in table.constraints.values():
            if constraint.kind == "foreign key" and constraint.validated:
                yield _reference(table, constraint)


def prove(
    connection: BaseDatabaseWrapper, invariants: Iterable[Invariant]
) -> tuple[list[Finding], list[Invariant]]:
    """Return the invariants that do not hold, and those that were skipped, since a table or column
    of theirs is missing.

    Reads whole tables in one snapshot: seconds with millions of rows. Writes nothing.
    """
    found, skipped = [], []
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for invariant in invariants:
            try:
                with transaction.atomic(using=connection.alias):
                    rows = _rows(cursor, invariant)
            except DataError as error:  # a value that cannot be read was written by hand
                found.append(Finding(invariant, -1, [{"error": str(error).strip()}]))
                continue
            except DatabaseError as error:
                if not isinstance(error.__cause__, (UndefinedColumn, UndefinedTable)):
                    raise
                skipped.append(invariant)
                continue
            if rows:
                count = rows[0]["broken_rows"]
                for row in rows:
                    del row["broken_rows"]
                found.append(Finding(invariant, count, rows))
    return found, skipped


def _rows(cursor: Any, invariant: Invariant) -> list[dict[str, Any]]:
    cursor.execute(SOME.format(query=invariant.sql, examples=EXAMPLES))
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _reference(table: Table, key: Constraint) -> Invariant:
    pairs = list(zip(key.columns, key.to_columns, strict=True))
    primary = next(
        (each.columns for each in table.constraints.values() if each.kind == "primary key"), ()
    )
    named = dict.fromkeys([*primary, *key.columns])
    return Invariant(
        name=f"{table.name}.{','.join(key.columns)}",
        sentence=f"It names a row of {key.to_table}, or nothing.",
        sql=DANGLING.format(
            named=", ".join(f"row.{quoted(name)}" for name in named),
            table=quoted(table.name),
            present=" AND ".join(f"row.{quoted(ours)} IS NOT NULL" for ours, _ in pairs),
            to_table=key.to_table,
            matches=" AND ".join(
                f"target.{quoted(theirs)} = row.{quoted(ours)}" for ours, theirs in pairs
            ),
        ),
    )
