"""From a description of tables to the statements that make them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.tables import Column, Table

Run = Callable[[str], Any]
"""Executes one SQL statement."""


def create(
    run: Run,
    tables: Mapping[str, Table],
    *,
    enums: Mapping[str, Sequence[str]] | None = None,
    unique_constraints: Iterable[str] = (),
    revisions: Sequence[str] = (),
) -> None:
    """Make `tables` with everything on them, and `alembic_version` with one row per revision."""
    for name, labels in (enums or {}).items():
        run(f"CREATE TYPE {name} AS ENUM ({', '.join(repr(label) for label in labels)})")
    statements = [
        statement
        for name, table in tables.items()
        for statement in _statements(name, table, set(unique_constraints))
    ]
    foreign_keys = [statement for statement in statements if " FOREIGN KEY " in statement]
    for statement in [one for one in statements if one not in foreign_keys] + foreign_keys:
        run(statement)
    if revisions:
        run(
            "CREATE TABLE alembic_version (version_num character varying(32) NOT NULL"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY)"
        )
    for revision in revisions:
        run(f"INSERT INTO alembic_version VALUES ('{revision}')")


def without(table: Table, *columns: str) -> Table:
    """The table before these columns were added, with what stands on them."""

    def names_none(definition: str) -> bool:
        return not any(re.search(rf"\b{column}\b", definition) for column in columns)

    return replace(
        table,
        columns=[column for column in table.columns if column.name not in columns],
        indexes={name: text for name, text in table.indexes.items() if names_none(text)},
        constraints={name: text for name, text in table.constraints.items() if names_none(text)},
    )


def with_columns(
    table: Table,
    *columns: Column,
    indexes: Mapping[str, str] | None = None,
    constraints: Mapping[str, str] | None = None,
) -> Table:
    """The table after ALTER TABLE has put these columns at its end."""
    return replace(
        table,
        columns=[*table.columns, *columns],
        indexes={**table.indexes, **(indexes or {})},
        constraints={**table.constraints, **(constraints or {})},
    )


def _statements(table: str, described: Table, unique_constraints: set[str]) -> list[str]:
    columns = ", ".join(_column(column) for column in described.columns)
    statements = [f"CREATE TABLE {table} ({columns})"]
    for name, definition in described.indexes.items():
        unique, keys, rest = re.fullmatch(r"(unique )?btree (\(.+?\))(.*)", definition).groups()
        if name.endswith("_pkey"):
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY {keys}")
        elif name in unique_constraints:
            statements.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE {keys}")
        else:
            statements.append(
                f"CREATE {unique or ''}INDEX {name} ON {table} USING btree {keys}{rest}"
            )
    statements += [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {_as_written(definition)}"
        for name, definition in described.constraints.items()
    ]
    return statements


def _as_written(definition: str) -> str:
    """The check as somebody wrote it: what the catalogue prints reads differently once executed."""
    return re.sub(
        r"\((\w+)\)::text = ANY \(\(ARRAY\[(.+?)\]\)::text\[\]\)",
        lambda found: f"{found[1]} IN ({found[2].replace('::character varying', '')})",
        definition,
    )


def _column(column: Column) -> str:
    if (column.default or "").startswith("nextval("):
        return f"{column.name} serial NOT NULL"
    null = "" if column.nullable else " NOT NULL"
    default = f" DEFAULT {column.default}" if column.default else ""
    return f"{column.name} {column.type}{null}{default}"
