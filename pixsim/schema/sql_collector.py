"""The SQL of migrations, without a database: of one operation, and of a plan as a script for psql.

The script is what a run would do, with the rows of `django_migrations` and the hashes of the files. It
leaves out what Django adds after a run (content types, permissions): the next run of `migrate` does that.
"""

from __future__ import annotations

import re
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
from django.db.migrations import Migration, RenameModel, RunPython
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.db.models import Field, Model
from django.utils.functional import cached_property

from pixsim.core.db.steps import refusal
from pixsim.schema import files
from pixsim.schema.connecting import OLDEST
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import graph_order
from pixsim.schema.lock_retry import IS_CONCURRENT, LockPolicy
from pixsim.schema.target_parsing import Key
from pixsim.schema.targets import Plan

HEADER = """\
-- {target}: migrations to be {way}: {count}. Where the database stands before: {start}.
-- Run it with: psql -v ON_ERROR_STOP=1 -f FILE
\\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET lock_timeout = '{timeout:.0f}ms';"""

FROM = "Write the script from where the database stands: manage.py db sql START:END."

SET_CONSTRAINTS = re.compile(r"\s*SET CONSTRAINTS \S+ IMMEDIATE;")


DJANGOS_STEPS = {
    "django.contrib.auth.migrations.0011_update_proxy_permissions.update_proxy_model_permissions",
    "django.contrib.auth.migrations.0011_update_proxy_permissions.revert_proxy_model_permissions",
}
"""Data steps of Django that change permissions alone, of which a new database has none."""
LEGACY_NAMES = (
    "django.contrib.contenttypes.migrations.0002_remove_content_type_name.add_legacy_name"
)


class CannotWrite(SchemaError):
    """A step of the plan cannot be written as SQL without a database."""


class NeedsDatabase(SchemaError):
    """An operation looks at the database to know what to do."""


def script(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, applied: Sequence[Key], plan: Plan
) -> str:
    """Return the plan as a script, for a database that has `applied`. Sends nothing to `connection`.

    Raise CannotWrite, naming the step, if a step does not say what it does in SQL.
    """
    backwards = any(step.backwards for step in plan.steps)
    timeout = LockPolicy.from_settings().lock_timeout
    lines = [
        HEADER.format(
            target=plan.target,
            count=len(plan.steps),
            way="taken back" if backwards else "applied",
            start=f"{len(applied)} are applied" if applied else "nothing is applied",
            timeout=timeout * 1000,
        )
    ]
    if plan.steps:
        lines += ["", *_bookkeeping(connection), _refuse_another(plan, backwards)]
    for migration, state in _states(loader, applied, plan, backwards):
        lines += ["", f"-- {migration.app_label} {migration.name}"]
        lines += _migration(connection, migration, state, backwards)
    if plan.steps and not backwards:
        lines += ["", "-- Now run `manage.py migrate`: it adds content types and permissions."]
    return "\n".join(lines) + "\n"


def _states(
    loader: MigrationLoader, applied: Sequence[Key], plan: Plan, backwards: bool
) -> Iterator[tuple[Migration, ProjectState]]:
    """Yield the migrations of the plan, in its order, each with the state before it was applied.

    Forwards it is one state, which the caller changes from each migration to the next.
    """
    nodes = loader.graph.nodes
    planned = {step.key for step in plan.steps}
    there = set(applied)
    before: dict[Key, ProjectState] = {}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for key in graph_order(loader):
        if key not in there:
            continue
        if key in planned:
            before[key] = state.clone()
        state = nodes[key].mutate_state(state, preserve=False)
    for step in plan.steps:
        yield nodes[step.key], before[step.key] if backwards else state


def _migration(
    connection: BaseDatabaseWrapper, migration: Migration, state: ProjectState, backwards: bool
) -> Iterator[str]:
    if migration.atomic:
        yield "BEGIN;"
    for operation, from_state, to_state in _operations(migration, state, backwards):
        yield f"-- {_one_line(operation.describe())}"
        try:
            said = list(_said(connection, migration, operation, from_state, to_state, backwards))
        except NeedsDatabase as error:
            raise CannotWrite(
                f"{migration.app_label} {migration.name} cannot be written as SQL: "
                f"{_one_line(operation.describe())!r}: {error}. Nothing was written. Write the "
                f"script up to it, run that one with `manage.py db upgrade`, and write the rest."
            ) from error
        yield from said
    yield from _record(migration, backwards)
    if migration.atomic:
        yield "COMMIT;"


def _operations(
    migration: Migration, state: ProjectState, backwards: bool
) -> Iterator[tuple[Operation, ProjectState, ProjectState]]:
    """Yield the operations in the order in which they run, with the states before and after."""
    steps = []
    state.apps  # noqa: B018  rendered once, since copies keep what is rendered
    for operation in migration.operations:
        old = state.clone()
        if backwards and not operation.reversible:
            raise CannotWrite(
                f"{migration.app_label} {migration.name} cannot be taken back: "
                f"{operation.describe()!r} says no way back. Nothing was written."
            )
        operation.state_forwards(migration.app_label, state)
        if backwards:
            steps.append((operation, state.clone(), old))
        else:
            yield operation, old, state
    yield from reversed(steps)


def _said(
    connection: BaseDatabaseWrapper,
    migration: Migration,
    operation: Operation,
    from_state: ProjectState,
    to_state: ProjectState,
    backwards: bool,
) -> Iterator[str]:
    """Yield the statements of one operation."""
    if isinstance(operation, RunPython):
        yield from _data_step(operation, backwards)
        return
    if not operation.reduces_to_sql:
        raise NeedsDatabase("it does not say what it does in SQL")
    for statement in statements(
        operation, migration.app_label, connection, from_state, to_state, backwards=backwards
    ):
        if not migration.atomic:  # where each statement is a transaction, whose end checks it
            statement = SET_CONSTRAINTS.sub("", statement)
        # Operations of the tools switch the timeout by what the session has, which nobody can ask.
        if statement.startswith("SET lock_timeout"):
            continue
        if "--" in statement.rpartition("\n")[2]:
            statement += "\n;"
        if IS_CONCURRENT.search(statement):
            timeout = LockPolicy.from_settings().lock_timeout
            statement = (
                f"SET lock_timeout = 0;\n{statement}\nSET lock_timeout = '{timeout * 1000:.0f}ms';"
            )
        yield statement
    if isinstance(operation, RenameModel) and ("contenttypes", "contenttype") in from_state.models:
        yield _rename_content_type(migration.app_label, operation, backwards)


def _rename_content_type(app: str, operation: RenameModel, backwards: bool) -> str:
    """Return what Django does beside RenameModel, so that permissions stay with the model."""
    names = (operation.old_name_lower, operation.new_name_lower)
    old, new = map(_literal, names[::-1] if backwards else names)
    return (
        f"UPDATE django_content_type SET model = {new} "
        f"WHERE app_label = {_literal(app)} AND model = {old};"
    )


def _data_step(operation: RunPython, backwards: bool) -> Sequence[str]:
    code = operation.reverse_code if backwards else operation.code
    where = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '')}"
    if code is RunPython.noop or where in DJANGOS_STEPS:
        return ()
    if where == LEGACY_NAMES:
        return ["UPDATE django_content_type SET name = model;"]
    declared: Sequence[str] | None = getattr(code, "sql", None)
    if declared is None:
        raise NeedsDatabase(
            f"{where} does not say what it does in SQL (@in_sql of pixsim.core.db.steps)"
        )
    return declared


def _bookkeeping(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield the statements for the tables that no migration makes."""
    with CollectingConnection(connection).editor() as editor:
        editor.create_model(MigrationRecorder(connection).Migration)
    for statement in editor.collected_sql:
        yield statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
    yield f"{files.CREATE};"


def _refuse_another(plan: Plan, backwards: bool) -> str:
    """Return a statement that stops the script if the database is at another point."""
    keys = ", ".join(f"({_literal(step.app)}, {_literal(step.name)})" for step in plan.steps)
    rows = f"(SELECT count(*) FROM django_migrations WHERE (app, name) IN ({keys}))"
    if backwards:
        return refusal(f"{rows} < {len(plan.steps)}", f"Some of this is not applied here. {FROM}")
    return refusal(f"{rows} > 0", f"Some of this is applied here already. {FROM}")


def _record(migration: Migration, backwards: bool) -> Iterator[str]:
    own = (migration.app_label, migration.name)
    for app, name in migration.replaces or [own]:
        yield _row(app, name, backwards)
    if migration.replaces:
        yield _row(*own, backwards)
    statement = files.FORGET if backwards else files.RECORD
    values = own if backwards else (*own, files.digest(migration))
    yield (statement % tuple(_literal(value) for value in values)).strip() + ";"


def _row(app: str, name: str, backwards: bool) -> str:
    app, name = _literal(app), _literal(name)
    if backwards:
        return f"DELETE FROM django_migrations WHERE app = {app} AND name = {name};"
    return f"INSERT INTO django_migrations (app, name, applied) VALUES ({app}, {name}, now());"


def _literal(value: str) -> str:
    return str(sql.quote(value))


def _one_line(text: str) -> str:
    return " ".join(text.split())


class _Operations(DatabaseOperations):
    def compose_sql(self, statement: str, params: Any) -> str:
        if not params:
            return statement
        adapters = get_adapters_template(settings.USE_TZ, self.connection.timezone)
        return statement % tuple(sql.quote(param, adapters) for param in params)


class _NoCursor:
    """A cursor that can be opened, as some operations do in advance, but not used."""

    def __enter__(self) -> _NoCursor:
        return self

    def __exit__(self, *args: object) -> None: ...

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise NeedsDatabase("it asks the database")


class _Editor(DatabaseSchemaEditor):
    """An editor that derives the names of constraints as Django does, since it cannot look them up.

    It drops without CASCADE: a script cannot ask first what others made of a table or column.
    """

    sql_delete_table = DatabaseSchemaEditor.sql_delete_table.removesuffix(" CASCADE")
    sql_delete_column = DatabaseSchemaEditor.sql_delete_column.removesuffix(" CASCADE")
    _drops_column = False

    def remove_field(self, model: type[Model], field: Field[Any, Any]) -> None:
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


class CollectingConnection(DatabaseWrapper):
    """A connection to no server, which collects SQL for the oldest server that is supported."""

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
        """Open an editor that only collects statements, in `collected_sql`."""
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
    """Return the SQL of an operation, with what Django keeps for the end of a migration.

    Sends nothing to `connection`. Raise NeedsDatabase if the operation has to look at the database.
    """
    with CollectingConnection(connection).editor() as editor:
        change = operation.database_backwards if backwards else operation.database_forwards
        change(app, editor, from_state, to_state)
    statements: Sequence[str] = editor.collected_sql
    return statements
