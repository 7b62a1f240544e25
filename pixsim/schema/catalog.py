"""One schema of a live database, read from `pg_catalog`: tables and all that belongs to them.

Texts of expressions are PostgreSQL's own, with names as they are seen from inside the schema, so
two snapshots of the same server can be compared. Objects of extensions are left out, and so are
the NOT NULL constraints that PostgreSQL 18 names: they are the columns' nullability.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.schema import catalog_sql


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    """With its modifiers, like `character varying(20)`."""
    nullable: bool
    default: str | None = None
    """An expression; None also for a counter."""
    counter: str = ""
    """How it counts by itself: `by default` (an identity column or a serial, which count as the
    same), `always` (an identity that refuses other values), or empty."""
    sequence: str = ""
    """The name of a counter's sequence."""
    generated: str | None = None
    """The expression of a generated column."""
    collation: str = ""
    """If it is not the type's own."""


@dataclass(frozen=True)
class Constraint:
    name: str
    kind: str
    """`primary key`, `unique`, `check`, `foreign key` or `exclusion`."""
    definition: str
    """As after ADD CONSTRAINT … in ALTER TABLE, without NOT VALID."""
    columns: tuple[str, ...]
    expression: str | None = None
    """What a CHECK checks."""
    to_table: str = ""
    """What a foreign key points at; with its schema if that is another one."""
    to_columns: tuple[str, ...] = ()
    validated: bool = True
    """False: rows that were there before have not been looked at."""
    enforced: bool = True


@dataclass(frozen=True)
class IndexKey:
    """One key of an index."""

    expression: str
    """The quoted name of a column, or an expression, in parentheses where SQL wants them."""
    column: str = ""
    """Its name, if it is a column."""
    options: str = ""
    """Collation, operator class and order, where they are not the default."""

    def __str__(self) -> str:
        return f"{self.expression} {self.options}".strip()


@dataclass(frozen=True)
class Index:
    """An index that no constraint made."""

    name: str
    method: str
    keys: tuple[IndexKey, ...]
    unique: bool = False
    nulls_not_distinct: bool = False
    include: tuple[str, ...] = ()
    predicate: str | None = None
    options: str = ""
    """Storage parameters, like `fillfactor=70`."""
    valid: bool = True
    """False: building it was interrupted; it slows writing and serves nobody."""

    @property
    def definition(self) -> str:
        """As after ON table in CREATE INDEX."""
        parts = [f"USING {self.method} ({', '.join(map(str, self.keys))})"]
        if self.include:
            parts.append(f"INCLUDE ({', '.join(map(quoted, self.include))})")
        if self.nulls_not_distinct:
            parts.append("NULLS NOT DISTINCT")
        if self.options:
            parts.append(f"WITH ({self.options})")
        if self.predicate is not None:
            parts.append(f"WHERE {self.predicate}")
        return " ".join(parts)


@dataclass(frozen=True)
class Trigger:
    name: str
    definition: str
    """The whole CREATE TRIGGER."""
    enabled: bool = True


@dataclass(frozen=True)
class Sequence:
    name: str
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cycles: bool
    owner: str = ""
    """`table.column` that it goes with; empty: it stands alone."""
    last: int | None = None
    """The last number it gave; None: none yet. No part of the schema."""


@dataclass(frozen=True)
class Type:
    """An enumeration or a domain."""

    name: str
    kind: str
    """`enum` or `domain`."""
    definition: str
    """As after CREATE … AS."""


@dataclass
class Table:
    name: str
    columns: dict[str, Column] = field(default_factory=dict)
    """In their order."""
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    """Storage parameters, like those of autovacuum."""
    logged: bool = True
    """False: a crash of the server empties it."""
    row_security: bool = False
    """Whether policies decide which rows are seen."""


@dataclass
class Schema:
    name: str
    tables: dict[str, Table] = field(default_factory=dict)
    sequences: dict[str, Sequence] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)

    def counter(self, column: Column) -> Sequence | None:
        """The sequence that a counter takes its numbers from."""
        return self.sequences.get(column.sequence)


def read_schema(connection: BaseDatabaseWrapper, name: str | None = None) -> Schema:
    """The schema `name`, or the one in which new tables are made.

    Reads one moment of the database and changes nothing; in a transaction of the caller it sees
    what that has done. Takes some milliseconds.
    """
    with _inside(connection, name) as (cursor, schema):
        for row in _rows(cursor, catalog_sql.TABLES):
            options = dict(one.partition("=")[::2] for one in row.pop("options"))
            schema.tables[row["name"]] = Table(options=options, **row)
        for row in _rows(cursor, catalog_sql.SEQUENCES):
            schema.sequences[row["name"]] = Sequence(**row)
        for row in _rows(cursor, catalog_sql.TYPES):
            schema.types[row["name"]] = Type(**row)
        for table, row in _of_tables(cursor, catalog_sql.COLUMNS, schema):
            table.columns[row["name"]] = Column(**row)
        for table, row in _of_tables(cursor, catalog_sql.CONSTRAINTS, schema):
            row |= {each: tuple(row[each]) for each in ("columns", "to_columns")}
            table.constraints[row["name"]] = Constraint(**row)
        for table, row in _of_tables(cursor, catalog_sql.INDEXES, schema):
            keys = tuple(IndexKey(**key) for key in row.pop("keys"))
            row["include"] = tuple(row["include"])
            table.indexes[row["name"]] = Index(keys=keys, **row)
        for table, row in _of_tables(cursor, catalog_sql.TRIGGERS, schema):
            table.triggers[row["name"]] = Trigger(**row)
    return schema


def quoted(name: str) -> str:
    """The name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _inside(
    connection: BaseDatabaseWrapper, name: str | None
) -> Iterator[tuple[CursorWrapper, Schema]]:
    """A cursor that sees one moment, and names as they are seen from inside the schema."""
    joins = connection.in_atomic_block
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        if not joins:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(
            "SELECT coalesce(%s, current_schema()), current_setting('search_path')", [name]
        )
        schema, before = cursor.fetchone()
        cursor.execute("SELECT set_config('search_path', quote_ident(%s), true)", [schema])
        yield cursor, Schema(schema)
        cursor.execute("SELECT set_config('search_path', %s, true)", [before])


def _rows(cursor: CursorWrapper, query: str) -> Iterator[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    for row in cursor.fetchall():
        yield dict(zip(names, row, strict=True))


def _of_tables(
    cursor: CursorWrapper, query: str, schema: Schema
) -> Iterator[tuple[Table, dict[str, Any]]]:
    for row in _rows(cursor, query):
        yield schema.tables[row.pop("in_table")], row
