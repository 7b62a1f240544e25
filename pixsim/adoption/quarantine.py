"""Rows that break a rule of ours, at the point that the database equals or at any later migration.

The rules are read from the schema at that point and at the head of our history, as far as they use
columns that exist already. A row goes to quarantine together with the rows that depend on it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.apps import apps
from django.db import models

from pixsim.schema.catalog import Table, quoted

QUARANTINE = "adoption_quarantine_"
"""Begins the name of the table that takes the rows of a table of ours."""


@dataclass(frozen=True)
class Reference:
    """A foreign key of a table of ours."""

    column: str
    to: str
    name: str


@dataclass(frozen=True)
class Rules:
    """The rules for the rows of one table."""

    table: str
    filled: tuple[str, ...]
    """Columns that may not be NULL."""
    checks: Mapping[str, str]
    """Conditions by their constraint's name."""
    keys: Mapping[str, tuple[tuple[str, ...], str]]
    """Expressions that no two rows have alike, and the condition of rows that count."""
    needed: tuple[Reference, ...]
    """References without which the row means nothing."""
    loose: tuple[Reference, ...]
    """References that become empty when what they point at is not there."""

    def broken(self, rows: str) -> str:
        """Return a query of `id` and `reason` over `rows`, which may be missing; referred tables
        hold only good rows."""
        tests = [f"WHEN r.{quoted(name)} IS NULL THEN '{name} is empty'" for name in self.filled]
        tests += [
            f"WHEN r.{quoted(each.column)} IS NOT NULL AND NOT EXISTS (SELECT FROM {each.to} AS p"
            f" WHERE p.id = r.{quoted(each.column)})"
            f" THEN '{each.column} points at no row of {each.to} ({each.name})'"
            for each in self.needed
        ]
        tests += [
            f"WHEN NOT ({text}) THEN 'it breaks {name}'" for name, text in self.checks.items()
        ]
        broken = f"CASE {' '.join(tests)} END" if tests else "NULL::text"
        again = [
            f"WHEN {' AND '.join(f'{key} IS NOT NULL' for key in keys)} AND row_number() OVER"
            f" (PARTITION BY broken IS NULL, {where}, {', '.join(keys)} ORDER BY id) > 1"
            f" AND {where} THEN 'there is an older row with the same {_plain(keys)} ({name})'"
            for name, (keys, where) in self.keys.items()
        ]
        reason = f"coalesce(broken, CASE {' '.join(again)} END)" if again else "broken"
        return (
            f"SELECT id, reason FROM (SELECT id, {reason} AS reason FROM"
            f" (SELECT r.*, {broken} AS broken FROM {rows} AS r) AS tested) AS judged"
            " WHERE reason IS NOT NULL"
        )


def rules_of(
    versions: Sequence[Table],
    columns: set[str],
    *,
    tables: set[str],
    emptied: frozenset[tuple[str, str]],
) -> Rules:
    """Return the rules of all `versions` of a table that use `columns` and refer to `tables` only."""
    name = versions[0].name
    may_be_empty = _set_null(name) | {column for table, column in emptied if table == name}
    references = {
        (each.column, each.to): each
        for version in versions
        for each in _references(version, columns, tables)
    }
    checks: dict[str, str] = {}
    for version in versions:
        for each, text in _checks(version, columns):
            known = checks.get(each, text)
            checks[each] = text if known == text else f"({known}) AND ({text})"
    return Rules(
        table=name,
        filled=tuple(
            dict.fromkeys(
                column.name
                for version in versions
                for column in version.columns.values()
                if column.name in columns and not column.nullable
            )
        ),
        checks=checks,
        keys=dict(key for version in versions for key in _keys(version, columns)),
        needed=tuple(each for each in references.values() if each.column not in may_be_empty),
        loose=tuple(each for each in references.values() if each.column in may_be_empty),
    )


def _references(version: Table, columns: set[str], tables: set[str]) -> Iterator[Reference]:
    for each in version.constraints.values():
        if each.kind == "foreign key" and set(each.columns) <= columns and each.to_table in tables:
            yield Reference(each.columns[0], each.to_table, each.name)


def _checks(version: Table, columns: set[str]) -> Iterator[tuple[str, str]]:
    for each in version.constraints.values():
        if each.kind == "check" and each.expression and set(each.columns) <= columns:
            yield each.name, each.expression


def _keys(version: Table, columns: set[str]) -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    for each in version.constraints.values():
        if each.kind == "unique" and set(each.columns) <= columns:
            yield each.name, (tuple(map(quoted, each.columns)), "true")
    missing = set(version.columns) - columns
    for index in version.indexes.values():
        keys = tuple(key.expression for key in index.keys)
        where = f"({index.predicate})" if index.predicate else "true"
        if index.unique and not _mentions(" ".join([*keys, where]), missing):
            yield index.name, (keys, where)


def _mentions(text: str, names: set[str]) -> bool:
    return bool(set(re.findall(r"\w+", text)) & names)


def _plain(keys: tuple[str, ...]) -> str:
    return ", ".join(keys).replace('"', "").replace("'", "")


def _set_null(table: str) -> set[str]:
    """Return the columns of a table that become empty when the referred row is deleted, by its
    model."""
    return {
        str(field.column)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.db_table == table
        for field in model._meta.local_fields
        if field.remote_field and field.remote_field.on_delete is models.SET_NULL
    }
