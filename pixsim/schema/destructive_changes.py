"""What going back drops: tables and columns, and how many rows they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field, ManyToManyField

from pixsim.schema.errors import SchemaError
from pixsim.schema.history import graph_order
from pixsim.schema.targets import Plan

COUNT_UP_TO = 1_000_000
"""Of more rows than this the server's estimate is taken: counting would take too long."""

COLUMN = """
SELECT FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped
"""


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


def destructive_changes_of(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, plan: Plan
) -> list[DestructiveChange]:
    """Return what the plan drops, tables first. Read the database for the numbers of rows."""
    dropped = list(dict.fromkeys(_dropped(loader, plan)))
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
            cursor.execute(COLUMN, [quote(table), column])
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


def _dropped(loader: MigrationLoader, plan: Plan) -> Iterator[tuple[str, str | None]]:
    steps = [loader.graph.nodes[step.key] for step in plan.steps]
    for migration, state in walk(loader, steps):
        for operation in _flat(migration.operations):
            operation.state_forwards(migration.app_label, state)
            yield from _made(operation, migration.app_label, state)


def _flat(each: Iterable[Operation]) -> Iterator[Operation]:
    for operation in each:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _made(operation: Operation, app: str, state: ProjectState) -> Iterator[tuple[str, str | None]]:
    """Yield the tables and columns that an operation makes."""
    if isinstance(operation, operations.CreateModel):
        if operation.options.get("proxy") or not operation.options.get("managed", True):
            return
        table = table_name(state, app, operation.name)
        yield table, None
        fields = list(operation.fields)
    elif isinstance(operation, operations.AddField):
        table = table_name(state, app, operation.model_name)
        if not operation.field.many_to_many:
            yield table, column_name(operation.name, operation.field)
        fields = [(operation.name, operation.field)]
    else:
        return
    for name, field in fields:
        if isinstance(field, ManyToManyField) and not field.remote_field.through:
            yield vars(field)["db_table"] or f"{table}_{name}", None
