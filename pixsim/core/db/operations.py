"""Migration operations for what Django 5.2 cannot say: named foreign keys with ON DELETE, and rows
that are filled in ranges."""

from typing import Any, Literal

from django.core.management.base import CommandError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory

from pixsim.core.db.backfill import (
    BackfillRefused,
    progress_lines,
    range_script,
    run_in_key_ranges,
)

GOAL_SECONDS = 0.1
"""Of a range of rows in a migration: how long others wait for a row of it, about."""
OnDelete = Literal["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]


class AddForeignKey(Operation):
    """Give a `db_constraint=False` foreign key a named constraint in the database.

    Django's own constraints have hashed names, are deferrable and cannot cascade in the
    database. The constraint is added NOT VALID (a short lock, existing rows are not read) and
    then validated (reads rows, blocks nobody), so it is safe on a large live table. Going back
    drops it.

    `column` and `to_column` are column names, `to` a table name. With `deferrable` it is checked
    when a transaction ends, as Django's own are.
    """

    category = OperationCategory.ADDITION
    reversible = True
    reduces_to_sql = True

    def __init__(
        self,
        *,
        table: str,
        column: str,
        to: str,
        name: str,
        on_delete: OnDelete = "NO ACTION",
        to_column: str = "id",
        deferrable: bool = False,
    ) -> None:
        self.table = table
        self.column = column
        self.to = to
        self.name = name
        self.on_delete = on_delete
        self.to_column = to_column
        self.deferrable = deferrable

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The model state knows the key already; only the database changes."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        q = schema_editor.quote_name
        action = "" if self.on_delete == "NO ACTION" else f" ON DELETE {self.on_delete}"
        action += " DEFERRABLE INITIALLY DEFERRED" if self.deferrable else ""
        schema_editor.execute(
            f"ALTER TABLE {q(self.table)} DROP CONSTRAINT IF EXISTS {q(self.name)}, "
            f"ADD CONSTRAINT {q(self.name)} FOREIGN KEY ({q(self.column)}) REFERENCES "
            f"{q(self.to)} ({q(self.to_column)}){action} NOT VALID"
        )
        schema_editor.execute(f"ALTER TABLE {q(self.table)} VALIDATE CONSTRAINT {q(self.name)}")

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        q = schema_editor.quote_name
        schema_editor.execute(
            f"ALTER TABLE {q(self.table)} DROP CONSTRAINT IF EXISTS {q(self.name)}"
        )

    def describe(self) -> str:
        return f"Add foreign key {self.name} on {self.table}.{self.column}"


class RunBackfill(Operation):
    """Change the rows of a table that are `pending`, in small ranges of keys that each commit.

    A run that was stopped goes on with the rows that are still pending. Going back leaves the
    values as they are. The migration needs `atomic = False`.

    `change` is what stands behind SET, `pending` an SQL condition, `key` a unique integer column.
    """

    category = OperationCategory.SQL
    reversible = True
    reduces_to_sql = True

    def __init__(self, *, table: str, change: str, pending: str, key: str = "id") -> None:
        self.table = table
        self.change = change
        self.pending = pending
        self.key = key

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Rows change, the models do not."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        fill_in_ranges(schema_editor, self.table, self.change, self.pending, self.key)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        """The values stay."""

    def describe(self) -> str:
        return f"Fill {self.table} in ranges of keys: {self.change}"


def fill_in_ranges(
    schema_editor: BaseDatabaseSchemaEditor, table: str, change: str, pending: str, key: str
) -> None:
    """Change the pending rows of a table, or collect the statement for a script.

    Raise CommandError if somebody holds rows locked for too long; what was filled stays.
    """
    q = schema_editor.quote_name
    statement = (
        f"UPDATE {q(table)} SET {change.replace('%', '%%')} "
        f"WHERE ({pending.replace('%', '%%')}) AND {q(key)} BETWEEN %s AND %s"
    )
    if schema_editor.collect_sql:
        script = range_script(q(table), pending=pending, change=statement, key=q(key))
        schema_editor.execute(script, params=None)
        return
    try:
        run_in_key_ranges(
            schema_editor.connection,
            table=table,
            pending=pending,
            change=statement,
            key=key,
            goal_seconds=GOAL_SECONDS,
            on_batch=progress_lines(),
        )
    except BackfillRefused as refusal:
        raise CommandError(str(refusal)) from refusal
