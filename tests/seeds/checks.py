"""Checks that many rows share: a command, a query, what the catalogue says."""

from collections.abc import Callable
from typing import Any

from django.db import connection

from tests.seeds.place import Place
from tests.seeds.table import Check, On, Run
from tests.tables import Column, Table, describe_table


def check(*, on: On = On.HEAD) -> Callable[[Run], Check]:
    """Make a function of a place a check on this database."""
    return lambda run: Check(run, on)


def command(line: str, *says: str, code: int = 0, on: On = On.HEAD) -> Check:
    """`manage.py <line>` ends with this exit code, and writes each of these texts."""
    return Check(lambda place: _discard(place.says(line, *says, code=code)), on)


def query(statement: str, *rows: tuple[Any, ...], on: On = On.HEAD) -> Check:
    """The statement returns just these rows."""

    def run(place: Place) -> None:
        assert place.sql(statement) == list(rows)

    return Check(run, on)


def column(
    table: str, name: str, type_: str, *, null: bool = False, default: str | None = None
) -> Check:
    """The catalogue has this column so."""

    def run(place: Place) -> None:
        found = {each.name: each for each in _described(place, table).columns}
        assert found[name] == Column(name, type_, null, default)

    return Check(run)


def index(table: str, name: str, definition: str) -> Check:
    """The catalogue has this index so."""

    def run(place: Place) -> None:
        assert _described(place, table).indexes[name] == definition

    return Check(run)


def constraint(table: str, name: str, *parts: str) -> Check:
    """The catalogue has this check or foreign key, and its definition has these parts."""

    def run(place: Place) -> None:
        definition = _described(place, table).constraints[name]
        for part in parts:
            assert part in definition, definition

    return Check(run)


def foreign_key(table: str, columns: str, to: str, *, unique: bool = False) -> Check:
    """`columns` of this table refer to the table `to`; with `unique`, at most one row to one."""

    def run(place: Place) -> None:
        described = _described(place, table)
        keys = [text for text in described.constraints.values() if text.startswith("FOREIGN KEY")]
        assert any(f"({columns}) REFERENCES {to}(" in text for text in keys), keys
        if unique:
            assert f"unique btree ({columns})" in described.indexes.values()

    return Check(run)


def uses_index(statement: str, *names: str) -> Check:
    """The planner can answer the statement from one of these indexes."""

    def run(place: Place) -> None:
        place.ask("SET enable_seqscan = off")
        place.ask("SET enable_bitmapscan = off")
        try:
            plan = "\n".join(line for (line,) in place.sql(f"EXPLAIN {statement}"))
        finally:
            place.ask("RESET enable_seqscan")
            place.ask("RESET enable_bitmapscan")
        assert any(f"using {name}" in plan for name in names), plan

    return Check(run)


def read(path: str, *texts: str) -> Check:
    """The file has each of these texts."""

    def run(place: Place) -> None:
        text = place.text(path)
        for each in texts:
            assert each in text, f"{path} does not say {each!r}"

    return Check(run)


def every(*checks: Check) -> Check:
    """All of these hold, on the one database that they name."""
    [on] = {each.on for each in checks}

    def run(place: Place) -> None:
        for each in checks:
            each.run(place)

    return Check(run, on)


def _described(place: Place, table: str) -> Table:
    place.ran.append(f"catalogue: {table}")
    return describe_table(connection, table)


def _discard(_result: object) -> None:
    """Make a function that returns something one that returns nothing."""
