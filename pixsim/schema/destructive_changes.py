"""What going back drops: tables and columns, and how many rows they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field, ManyToManyField

from pixsim.core.db.column_copies import CopyColumn, DropColumnCopy, ReplaceColumn
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import graph_order
from pixsim.schema.sql_text import ALTER, COLUMN, NAME, bare, split
from pixsim.schema.target_parsing import Key
from pixsim.schema.targets import Plan, executable

COUNT_UP_TO = 1_000_000
"""Of more rows than this the server's estimate is taken: counting would take too long."""

HAS_COLUMN = """
SELECT FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped
"""


DROP_TABLE = re.compile(rf"\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?P<table>{NAME})", re.I)
ALTER_TABLE = re.compile(ALTER, re.I | re.S)
DROP_COLUMN = re.compile(rf"\sDROP\s+COLUMN\s+(?:IF\s+EXISTS\s+)?{COLUMN}", re.I)


@dataclass(frozen=True)
class Rows:
    """A number of rows."""

    count: int
    is_exact: bool = True

    def __str__(self) -> str:
        return f"{'' if self.is_exact else 'about '}{self.count:,} row{'s' * (self.count != 1)}"


@dataclass(frozen=True)
class DestructiveChange:
    """A table or column that is dropped with its contents."""

    table: str
    column: str | None
    rows: Rows
    """Of a column those that are not null."""

    def __str__(self) -> str:
        if self.column:
            return f"column {self.table}.{self.column}: {self.rows} with a value"
        return f"table {self.table}: {self.rows}"


Thing = tuple[str, str | None]
"""A table, or a column or constraint of one."""
Place = tuple[str, str]
"""A model and a field of it."""
Kind = Literal["table", "column", "copied column", "constraint"]
"""The values of a copied column stay in another."""


@dataclass(frozen=True)
class Drop:
    """A table, column or constraint that a migration drops."""

    kind: Kind
    table: str
    part: str | None
    """The column or the constraint."""
    table_now: str
    """Its name before the run, which may rename it."""
    part_now: str | None
    migration: Key

    def __str__(self) -> str:
        if self.is_column:
            return f"column {self.table_now}.{self.part_now}"
        of = f"{self.part_now} of " if self.part_now else ""
        return f"{self.kind} {of}{self.table_now}"

    @property
    def is_column(self) -> bool:
        return self.kind in ("column", "copied column")


@dataclass(frozen=True)
class Drops:
    """What a run drops."""

    things: list[Drop]
    names: set[str]
    """Of indexes and constraints that the migrations make."""
    columns: dict[str, set[str]]
    """Those that the migrations make of each table, all by their names before the run."""


def destructive_changes_of(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, plan: Plan
) -> list[DestructiveChange]:
    """Return what the plan drops, tables first. Read the database for the numbers of rows."""
    drops = read_drops(loader, executable(loader, plan))
    dropped = dict.fromkeys(
        (each.table_now, each.part_now) for each in drops.things if each.kind in ("table", "column")
    )
    tables = {table for table, column in dropped if column is None}
    found = []
    for table, column in sorted(dropped, key=lambda each: (each[1] is not None, each)):
        if column is None or table not in tables:
            rows = count_rows(connection, table, column=column)
            if rows is not None:
                found.append(DestructiveChange(table, column, rows))
    return found


def refuse_irreversible(loader: MigrationLoader, plan: Plan) -> None:
    """Raise SchemaError if a step of the plan cannot be taken back."""
    for step in plan.steps:
        for operation in loader.graph.nodes[step.key].operations:
            if not operation.reversible:
                raise SchemaError(
                    f"{step.app} {step.name} cannot be taken back: {operation.describe()!r} says no "
                    f"way back. Nothing was changed. Restore a backup instead, or give the operation "
                    f"its reverse."
                )


def count_rows(
    connection: BaseDatabaseWrapper,
    table: str,
    *,
    column: str | None = None,
    up_to: int = COUNT_UP_TO,
) -> Rows | None:
    """Return how many rows a table has, or how many with a value in a column; None if it is
    missing.

    The number is exact up to `up_to`; above, it is the server's estimate, at least `up_to`.
    """
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)::oid", [quote(table)])
        (oid,) = cursor.fetchone()
        if oid is None:
            return None
        if column:
            cursor.execute(HAS_COLUMN, [quote(table), column])
            if cursor.fetchone() is None:
                return None
        where = f" WHERE {quote(column)} IS NOT NULL" if column else ""
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM {quote(table)}{where} LIMIT %s) AS counted",
            [up_to + 1],
        )
        (count,) = cursor.fetchone()
        if count <= up_to:
            return Rows(count)
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s", [oid])
        return Rows(max(count, cursor.fetchone()[0]), is_exact=False)


def walk(
    loader: MigrationLoader, migrations: Iterable[Migration]
) -> Iterator[tuple[Migration, ProjectState]]:
    """Yield each of the migrations, in the order of the graph, with the state before it.

    The caller may change the state.
    """
    wanted = set(migrations)
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for key in graph_order(loader):
        migration = loader.graph.nodes[key]
        if migration in wanted:
            yield migration, state.clone()
        state = migration.mutate_state(state, preserve=False)


def table_name(state: ProjectState, app: str, model: str) -> str:
    """Return the table of a model in the state."""
    found = state.models.get((app, model.lower()))
    return str((found and found.options.get("db_table")) or f"{app}_{model.lower()}")


def column_name(name: str, field: Field[Any, Any]) -> str:
    """Return the column of a field that belongs to no model yet."""
    return field.db_column or (f"{name}_id" if field.remote_field else name)


def read_drops(loader: MigrationLoader, plan: Sequence[tuple[Migration, bool]]) -> Drops:
    """Return what the migrations drop, in their order; with True a migration is taken back.

    Django's operations are read from their states, RunSQL from its text, and our own as they are.
    """
    before = {
        migration: state.clone() for migration, state in walk(loader, [each for each, _ in plan])
    }
    drops = Drops([], set(), {})
    now: dict[Thing, Thing] = {}
    for migration, backwards in plan:
        changes = list(_changes(migration.operations, migration.app_label, before[migration]))
        for operation, *states in reversed(changes) if backwards else changes:
            old, new = reversed(states) if backwards else states
            _follow(drops, now, migration, operation, backwards, old, new)
    return drops


def _changes(
    each: Iterable[Operation], app: str, state: ProjectState
) -> Iterator[tuple[Operation, ProjectState, ProjectState]]:
    """Yield the operations on the database with the states before and after. Change `state`."""
    for operation in each:
        old = state.clone()
        operation.state_forwards(app, state)
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _changes(operation.database_operations, app, old)
        else:
            yield operation, old, state.clone()


def _follow(
    drops: Drops,
    now: dict[Thing, Thing],
    migration: Migration,
    operation: Operation,
    backwards: bool,
    old: ProjectState,
    new: ProjectState,
) -> None:
    """Add what an operation drops, and remember in `now` what it renames."""
    key = (migration.app_label, migration.name)

    def drop(kind: Kind, thing: Thing) -> None:
        drops.things.append(Drop(kind, *thing, *now.get(thing, thing), key))

    if isinstance(operation, operations.RunSQL):
        for thing in _in_sql(operation.reverse_sql if backwards else operation.sql):
            drop("column" if thing[1] else "table", thing)
        return
    if isinstance(operation, ReplaceColumn):
        drop("copied column", (operation.table, operation.column))
        return
    if isinstance(operation, CopyColumn):
        if isinstance(operation, DropColumnCopy) != backwards:
            drop("copied column", (operation.table, operation.copy))
        return
    layouts = [_layout(state, migration.app_label, drops.names) for state in (old, new)]
    renamed = {}
    for place, thing in layouts[0].items():
        table_now, column_now = now.get(thing, thing)
        if column_now:
            drops.columns.setdefault(table_now, set()).add(column_now)
        later = layouts[1].get(_renamed(place, operation, backwards))
        if later is None and not isinstance(operation, operations.AlterModelOptions):
            if thing[1] is None:
                drop("table", thing)
            elif (place[0], "") in layouts[1]:  # else it goes with its table
                drop("column", thing)
        elif later and later != thing:
            renamed[later] = now.pop(thing, thing)
    now |= renamed
    # On an index that is no constraint's nothing depends.
    if isinstance(operation, operations.RemoveConstraint) and not backwards:
        table = table_name(old, migration.app_label, operation.model_name)
        drop("constraint", (table, operation.name))
    if isinstance(operation, operations.AddConstraint) and backwards:
        table = table_name(old, migration.app_label, operation.model_name)
        drop("constraint", (table, operation.constraint.name))


def _renamed(place: Place, operation: Operation, backwards: bool) -> Place:
    """Return the model and field under the name that they have after the operation."""
    if isinstance(operation, operations.RenameModel | operations.RenameField):
        names = (operation.old_name.lower(), operation.new_name.lower())
        was, becomes = reversed(names) if backwards else names
        if isinstance(operation, operations.RenameModel) and place[0] == was:
            return becomes, place[1]
        if isinstance(operation, operations.RenameField) and place == (
            operation.model_name.lower(),
            was,
        ):
            return place[0], becomes
    return place


def _layout(state: ProjectState, app: str, names: set[str]) -> dict[Place, Thing]:
    """Return the tables and columns of an app by model and field; the table itself under no field.
    Add the names of indexes and constraints to `names`."""
    found: dict[Place, Thing] = {}
    for (label, model), each in state.models.items():
        if label != app or each.options.get("proxy") or not each.options.get("managed", True):
            continue
        table = table_name(state, app, model)
        found[model, ""] = (table, None)
        for name, field in each.fields.items():
            if not isinstance(field, ManyToManyField):
                found[model, name.lower()] = (table, column_name(name, field))
            elif not field.remote_field.through:
                found[model, name.lower()] = (vars(field)["db_table"] or f"{table}_{name}", None)
        if each.options.get("order_with_respect_to"):
            found[model, "_order"] = (table, "_order")
        names.update(
            named.name
            for kind in ("indexes", "constraints")
            for named in each.options.get(kind, ())
        )
    return found


def _in_sql(said: Any) -> Iterator[Thing]:
    """Yield the tables and columns that statements drop."""
    texts = [said] if isinstance(said, str) else [each for each in said or () if each]
    for text in split(each if isinstance(each, str) else each[0] for each in texts):
        if match := DROP_TABLE.match(text):
            yield bare(match["table"]), None
        elif table := ALTER_TABLE.match(text):
            for match in DROP_COLUMN.finditer(text):
                yield bare(table["table"]), bare(match["column"])
