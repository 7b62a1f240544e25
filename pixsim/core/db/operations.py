"""Migration operations for what Django 5.2 cannot say: named foreign keys with ON DELETE."""

from typing import Any, Literal

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation

OnDelete = Literal["CASCADE", "SET NULL", "RESTRICT", "NO ACTION"]


class AddForeignKey(Operation):
    """Give a `db_constraint=False` foreign key a named constraint in the database.

    Django's own constraints have hashed names, are deferrable and cannot cascade in the
    database. The constraint is added NOT VALID (a short lock, existing rows are not read) and
    then validated (reads rows, blocks nobody), so it is safe on a large live table. Going back
    drops it.

    `column` is a column name, `to` a table whose key is `id`.
    """

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
    ) -> None:
        self.table = table
        self.column = column
        self.to = to
        self.name = name
        self.on_delete = on_delete

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
        on_delete = "" if self.on_delete == "NO ACTION" else f" ON DELETE {self.on_delete}"
        schema_editor.execute(
            f"ALTER TABLE {q(self.table)} DROP CONSTRAINT IF EXISTS {q(self.name)}, "
            f"ADD CONSTRAINT {q(self.name)} FOREIGN KEY ({q(self.column)}) REFERENCES "
            f"{q(self.to)} (id){on_delete} NOT VALID"
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
