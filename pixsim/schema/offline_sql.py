"""A plan as a script for psql, written without a database: what a run would do, with the rows of
`django_migrations`, the hashes of the files, and what Django adds after a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import apps as installed
from django.contrib.auth import get_permission_codename
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RenameModel, RunPython
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from psycopg import sql

from pixsim.core.db.steps import refusal
from pixsim.schema import files
from pixsim.schema.errors import SchemaError
from pixsim.schema.lock_retry import IS_CONCURRENT, Patience
from pixsim.schema.sql_collector import NeedsDatabase, Paper, statements
from pixsim.schema.target_parsing import Key
from pixsim.schema.targets import Plan

HEADER = """\
-- {target}: migrations to be {way}: {count}.
-- Run it with: psql -v ON_ERROR_STOP=1 -f FILE
\\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET lock_timeout = '{timeout:.0f}ms';"""

SET_CONSTRAINTS = re.compile(r"\s*SET CONSTRAINTS \S+ IMMEDIATE;")


class CannotWrite(SchemaError):
    """A step of the plan cannot be said in SQL without a database."""


def script(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, applied: Sequence[Key], plan: Plan
) -> str:
    """The plan, for a database that has `applied`. Nothing is asked of `connection`.

    Raises CannotWrite, naming the step, if one does not say what it does in SQL.
    """
    backwards = any(step.backwards for step in plan.steps)
    timeout = Patience.from_settings().lock_timeout
    lines = [
        HEADER.format(
            target=plan.target,
            count=len(plan.steps),
            way="taken back" if backwards else "applied",
            timeout=timeout * 1000,
        )
    ]
    if plan.steps:
        lines += ["", *_bookkeeping(connection), _refuse_another(plan, backwards)]
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for migration, state in _states(loader, applied, plan, backwards):
        lines += ["", f"-- {migration.app_label} {migration.name}"]
        lines += _migration(connection, migration, state, backwards)
    if plan.steps and not backwards:
        lines += _afterwards(state)
    return "\n".join(lines) + "\n"


def _states(
    loader: MigrationLoader, applied: Sequence[Key], plan: Plan, backwards: bool
) -> Iterator[tuple[Migration, ProjectState]]:
    """The migrations of the plan, in its order, each with the state before it was applied.

    Going forwards it is one state, which the caller takes from each migration to the next.
    """
    nodes = loader.graph.nodes
    order = dict.fromkeys(
        key for leaf in loader.graph.leaf_nodes() for key in loader.graph.forwards_plan(leaf)
    )
    planned = {step.key for step in plan.steps}
    there = set(applied)
    before: dict[Key, ProjectState] = {}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for key in order:
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
    """The operations in the order in which they are done, with the states before and after."""
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
    """The statements of one operation."""
    if isinstance(operation, RunPython):
        yield from _data_step(operation, from_state, backwards)
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
            timeout = Patience.from_settings().lock_timeout
            statement = (
                f"SET lock_timeout = 0;\n{statement}\nSET lock_timeout = '{timeout * 1000:.0f}ms';"
            )
        yield statement
    if isinstance(operation, RenameModel) and ("contenttypes", "contenttype") in from_state.models:
        names = (operation.old_name_lower, operation.new_name_lower)
        yield _rename_content_type(migration.app_label, *(names[::-1] if backwards else names))


def _data_step(operation: RunPython, state: ProjectState, backwards: bool) -> Sequence[str]:
    code = operation.reverse_code if backwards else operation.code
    if code is RunPython.noop:
        return ()
    where = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '')}"
    if where in DJANGOS_OWN:
        return DJANGOS_OWN[where](state.apps)
    declared: Sequence[str] | None = getattr(code, "sql", None)
    if declared is None:
        raise NeedsDatabase(
            f"{where} does not say what it does in SQL (@in_sql of pixsim.core.db.steps)"
        )
    return declared


def _bookkeeping(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """The tables that are no migration's."""
    with Paper(connection).editor() as editor:
        editor.create_model(MigrationRecorder(connection).Migration)
    for statement in editor.collected_sql:
        yield statement.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
    yield f"{files.CREATE};"


def _refuse_another(plan: Plan, backwards: bool) -> str:
    """A statement that stops the script where the database stands elsewhere."""
    keys = ", ".join(f"({_literal(step.app)}, {_literal(step.name)})" for step in plan.steps)
    rows = f"(SELECT count(*) FROM django_migrations WHERE (app, name) IN ({keys}))"
    if backwards:
        return refusal(f"{rows} < {len(plan.steps)}", "Some of this is not applied here.")
    return refusal(f"{rows} > 0", "Some of this is applied here already.")


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


def _afterwards(state: ProjectState) -> Iterator[str]:
    """The rows that Django adds after a run: content types and permissions of all models."""
    kinds = ("contenttypes", "contenttype") in state.models
    rights = ("auth", "permission") in state.models
    if not kinds:
        return
    yield from ("", "-- Content types and permissions", "BEGIN;")
    for config in installed.get_app_configs():
        if not config.models_module or config.label not in state.apps.app_configs:
            continue
        for model in state.apps.get_app_config(config.label).get_models():
            meta = model._meta
            kind = (meta.app_label, str(meta.model_name))
            yield _content_type(*kind)
            builtin = [
                (get_permission_codename(action, meta), f"Can {action} {meta.verbose_name_raw}")
                for action in meta.default_permissions
            ]
            for codename, title in [*builtin, *meta.permissions] if rights else []:
                yield (
                    "INSERT INTO auth_permission (name, content_type_id, codename) "
                    f"SELECT {_literal(str(title))}, id, {_literal(codename)} "
                    f"FROM django_content_type WHERE {_is(*kind)} "
                    "ON CONFLICT DO NOTHING;"
                )
    yield "COMMIT;"


def _content_type(app: str, model: str) -> str:
    return (
        "INSERT INTO django_content_type (app_label, model) "
        f"VALUES ({_literal(app)}, {_literal(model)}) ON CONFLICT DO NOTHING;"
    )


def _rename_content_type(app: str, old: str, new: str) -> str:
    return (
        f"UPDATE django_content_type SET model = {_literal(new)} WHERE {_is(app, old)} "
        f"AND NOT EXISTS (SELECT FROM django_content_type WHERE {_is(app, new)});"
    )


def _proxy_permissions(apps: Any, *, backwards: bool = False) -> Sequence[str]:
    """What Django's auth 0011 does: permissions of proxy models belong to the proxy."""
    said = []
    for model in apps.get_models():
        meta = model._meta
        if not meta.proxy:
            continue
        of_table, own = meta.concrete_model._meta, meta
        said += [_content_type(each.app_label, each.model_name) for each in (of_table, own)]
        old, new = (own, of_table) if backwards else (of_table, own)
        codenames = [f"{action}_{meta.model_name}" for action in meta.default_permissions]
        codenames += [codename for codename, _ in meta.permissions]
        said.append(
            "UPDATE auth_permission SET content_type_id = new.id "
            "FROM django_content_type AS old, django_content_type AS new "
            f"WHERE {_is(old.app_label, old.model_name, 'old')} "
            f"AND {_is(new.app_label, new.model_name, 'new')} AND content_type_id = old.id "
            f"AND codename IN ({', '.join(map(_literal, codenames))});"
        )
    return said


def _proxy_permissions_back(apps: Any) -> Sequence[str]:
    return _proxy_permissions(apps, backwards=True)


def _names_of_content_types(apps: Any) -> Sequence[str]:
    """What going back over Django's contenttypes 0002 does: each row gets the model's name."""
    return [
        "UPDATE django_content_type SET name = model;",
        *(
            f"UPDATE django_content_type SET name = {_literal(model._meta.object_name)} "
            f"WHERE {_is(model._meta.app_label, model._meta.model_name)};"
            for model in apps.get_models()
        ),
    ]


DJANGOS_OWN: dict[str, Callable[[Any], Sequence[str]]] = {
    f"django.contrib.{function}": sql_of
    for function, sql_of in (
        (
            "auth.migrations.0011_update_proxy_permissions.update_proxy_model_permissions",
            _proxy_permissions,
        ),
        (
            "auth.migrations.0011_update_proxy_permissions.revert_proxy_model_permissions",
            _proxy_permissions_back,
        ),
        (
            "contenttypes.migrations.0002_remove_content_type_name.add_legacy_name",
            _names_of_content_types,
        ),
    )
}
"""The data steps of Django's own apps, which cannot be asked to declare their SQL."""


def _is(app: str, model: str, table: str = "") -> str:
    dot = f"{table}." if table else ""
    return f"{dot}app_label = {_literal(app)} AND {dot}model = {_literal(model)}"


def _literal(value: str) -> str:
    return sql.quote(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
