"""The SQL of migration operations, without a server: a connection that only writes on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.postgresql.psycopg_any import get_adapters_template, sql
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field, Model
from django.utils.functional import cached_property

from pixsim.schema.connecting import OLDEST
from pixsim.schema.errors import SchemaError


class NeedsDatabase(SchemaError):
    """An operation looks at the database to know what to do."""


class _Operations(DatabaseOperations):
    def compose_sql(self, statement: str, params: Any) -> str:
        if not params:
            return statement
        adapters = get_adapters_template(settings.USE_TZ, self.connection.timezone)
        return statement % tuple(sql.quote(param, adapters) for param in params)


class _NoCursor:
    """May be opened, as some operations do in advance, but not used."""

    def __enter__(self) -> _NoCursor:
        return self

    def __exit__(self, *args: object) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise NeedsDatabase("it asks the database")


class _Editor(DatabaseSchemaEditor):
    """Knows the names of constraints that Django derives from tables and columns."""

    _drops_column = False

    def remove_field(self, model: type[Model], field: Field) -> None:
        self._drops_column = True
        super().remove_field(model, field)
        self._drops_column = False

    def _constraint_names(
        self, model: type[Model], column_names: Any = None, **kinds: Any
    ) -> list[str]:
        wanted = {kind for kind, is_wanted in kinds.items() if is_wanted and kind != "exclude"}
        if wanted == {"foreign_key"} and self._drops_column:
            return []  # they go with the column
        table = model._meta.db_table
        if wanted == {"unique"} and len(column_names or ()) > 1:
            name = self._unique_constraint_name(table, column_names, quote=False)  # type: ignore[attr-defined]
            return [str(name)]
        raise NeedsDatabase(f"the names of constraints on {table} are only known there")


class Paper(DatabaseWrapper):
    """A connection to no server, which writes for the oldest server that is supported."""

    ops_class = _Operations
    SchemaEditorClass = _Editor

    def __init__(self, like: BaseDatabaseWrapper) -> None:
        super().__init__(like.settings_dict, like.alias)

    @cached_property
    def pg_version(self) -> int:
        return OLDEST * 10000

    def ensure_connection(self) -> None:
        raise NeedsDatabase("it asks the database")

    def cursor(self) -> Any:
        return _NoCursor()

    @contextmanager
    def editor(self) -> Iterator[BaseDatabaseSchemaEditor]:
        """An editor whose `collected_sql` is what it would have done."""
        with self.schema_editor(collect_sql=True, atomic=False) as editor:
            yield editor


def statements(
    operation: Operation,
    app: str,
    connection: BaseDatabaseWrapper,
    from_state: ProjectState,
    to_state: ProjectState,
    *,
    backwards: bool = False,
) -> Sequence[str]:
    """What an operation does, with what Django keeps for the end of a migration.

    Nothing is asked of `connection`. Raises NeedsDatabase if that cannot be known without.
    """
    with Paper(connection).editor() as editor:
        change = operation.database_backwards if backwards else operation.database_forwards
        change(app, editor, from_state, to_state)
    return editor.collected_sql
