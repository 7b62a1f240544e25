"""Migration operations that replace a column of a live table: a second column beside it, which a
trigger keeps equal and a backfill fills in ranges of keys.

They change the database only; what the models say changes in `state_operations`. The migration needs
`atomic = False`: each statement commits by itself, holds its lock for an instant, and may be repeated.
"""

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import names_digest
from django.db.migrations.operations.base import Operation, OperationCategory
from django.utils.deconstruct import deconstructible

from pixsim.core.db.operations import fill_in_ranges

ADD = "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {copy} {type}"
FUNCTION = """\
CREATE OR REPLACE FUNCTION {sync}() RETURNS trigger LANGUAGE plpgsql AS $copy$
BEGIN
{body}
    RETURN NEW;
END $copy$"""
TRIGGER = (
    "CREATE OR REPLACE TRIGGER {sync} BEFORE INSERT OR UPDATE ON {table} "
    "FOR EACH ROW EXECUTE FUNCTION {sync}()"
)
FOLLOW = "    NEW.{copy} := NEW.{column};"
# Who knows only one of the two columns leaves the other as it was, or null in a new row.
BOTH_WAYS = """\
    IF TG_OP = 'INSERT' THEN
        IF NEW.{copy} IS NULL THEN NEW.{copy} := NEW.{column}; ELSE NEW.{column} := NEW.{copy}; END IF;
    ELSIF NEW.{copy} IS DISTINCT FROM OLD.{copy} THEN NEW.{column} := NEW.{copy};
    ELSIF NEW.{column} IS DISTINCT FROM OLD.{column} THEN NEW.{copy} := NEW.{column};
    END IF;"""
STOP = "DROP TRIGGER IF EXISTS {sync} ON {table}; DROP FUNCTION IF EXISTS {sync}()"
# One statement, so one transaction: nobody sees the table without the column.
DROP = f"{STOP}; ALTER TABLE {{table}} DROP COLUMN IF EXISTS {{copy}}"
SWAP = (
    f"{STOP}; ALTER TABLE {{table}} DROP COLUMN {{column}}; "
    f"ALTER TABLE {{table}} RENAME COLUMN {{copy}} TO {{column}}"
)


class CopyColumn(Operation):
    """Add the column `copy` of `type` and keep it equal to `column`, whichever of both is written.

    Code that knows only the old name and code that knows only the new one can run together. Going
    back drops the copy; `column` has all that was written to it.
    """

    category = OperationCategory.ADDITION
    reversible = True
    reduces_to_sql = True

    def __init__(self, *, table: str, column: str, copy: str, type: str, key: str = "id") -> None:
        self.table = table
        self.column = column
        self.copy = copy
        self.type = type
        self.key = key

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The database alone has two columns."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        copying = _Copying(schema_editor, self.table, self.column, self.copy, self.key)
        copying.add(self.type, BOTH_WAYS)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        copying = _Copying(schema_editor, self.table, self.column, self.copy, self.key)
        copying.execute(DROP)

    def describe(self) -> str:
        return f"Copy {self.table}.{self.column} to {self.copy}, and keep both equal"


class DropColumnCopy(CopyColumn):
    """Drop `copy` and what keeps it equal to `column`. Going back adds and fills it again."""

    category = OperationCategory.REMOVAL

    def database_forwards(self, *args: Any) -> None:
        super().database_backwards(*args)

    def database_backwards(self, *args: Any) -> None:
        super().database_forwards(*args)

    def describe(self) -> str:
        return f"Drop {self.table}.{self.copy}, a copy of {self.column}"


@deconstructible
class ColumnVersion:
    """A type that a column has, with what belongs to the column."""

    def __init__(
        self, *, type: str, prepare: Sequence[str] = (), finish: Sequence[str] = ()
    ) -> None:
        self.type = type
        self.prepare = list(prepare)
        """Statements for the copy, while the column is still in use: indexes, constraints."""
        self.finish = list(finish)
        """Statements of the transaction in which the copy takes the column's name: its default."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ColumnVersion) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class ReplaceColumn(Operation):
    """Give a column another type, `old` becoming `new`: a copy that a trigger fills takes its name.

    Readers and writers go on; the last step, in one transaction, takes an instant. Going back is the
    same with `old` and `new` exchanged.
    """

    category = OperationCategory.ALTERATION
    reversible = True
    reduces_to_sql = True

    def __init__(
        self, *, table: str, column: str, new: ColumnVersion, old: ColumnVersion, key: str = "id"
    ) -> None:
        self.table = table
        self.column = column
        self.new = new
        self.old = old
        self.key = key

    def state_forwards(self, app_label: str, state: Any) -> None:
        """The models' part is an AlterField."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        self._replace(schema_editor, self.new, new_copy(self.column))

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: Any,
        to_state: Any,
    ) -> None:
        self._replace(schema_editor, self.old, old_copy(self.column))

    def describe(self) -> str:
        return f"Replace {self.table}.{self.column} by a column of type {self.new.type}"

    def _replace(
        self, schema_editor: BaseDatabaseSchemaEditor, version: ColumnVersion, copy: str
    ) -> None:
        copying = _Copying(schema_editor, self.table, self.column, copy, self.key)
        copying.add(version.type, FOLLOW)
        for statement in version.prepare:
            schema_editor.execute(statement, params=None)
        swap = "; ".join([copying.text(SWAP), *version.finish])
        schema_editor.execute(swap, params=None)


def new_copy(column: str) -> str:
    """Return the name of the column that `ReplaceColumn` fills on the way forward."""
    return f"{column[:50]}_new"


def old_copy(column: str) -> str:
    """Return the name of the column that `ReplaceColumn` fills on the way back."""
    return f"{column[:50]}_old"


class _Copying:
    """The statements for one column and its copy."""

    def __init__(
        self, editor: BaseDatabaseSchemaEditor, table: str, column: str, copy: str, key: str
    ) -> None:
        self._editor = editor
        self._table, self._key = table, key
        digest = names_digest(table, *sorted([column, copy]), length=8)
        self._names = {
            "table": editor.quote_name(table),
            "column": editor.quote_name(column),
            "copy": editor.quote_name(copy),
            "sync": editor.quote_name(f"{table[:44]}_copy_{digest}"),
        }

    def text(self, template: str, **more: str) -> str:
        return template.format(**self._names, **more)

    def execute(self, template: str, **more: str) -> None:
        self._editor.execute(self.text(template, **more), params=None)

    def add(self, type: str, body: str) -> None:
        """Add the copy, keep it equal from now on, and fill it."""
        self.execute(ADD, type=type)
        self.execute(FUNCTION, body=self.text(body))
        self.execute(TRIGGER)
        column, copy = self._names["column"], self._names["copy"]
        pending = f"{copy} IS NULL AND {column} IS NOT NULL"
        fill_in_ranges(self._editor, self._table, f"{copy} = {column}", pending, self._key)
