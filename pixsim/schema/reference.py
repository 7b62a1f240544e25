"""The schema as the migrations make it, built each time in a scratch schema of the same database: that
needs no CREATEDB, and one server prints both schemas.

The scratch schema is called `pixsim_reference_<pid>_<seconds since 1970>`, and so is the session that
uses it. A scratch schema without such a session was left behind by a killed run, and is dropped.

A publication FOR ALL TABLES would send its rows to subscribers that have no such tables: publish
tables or schemas by name.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from pixsim.schema.catalog import Schema, quoted, read_schema
from pixsim.schema.connecting import only_database, place, require_own_session, session_beside
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import load_migrations
from pixsim.schema.target_parsing import Key

PREFIX = "pixsim_reference_"
ALIAS = "pixsim_reference"

ABANDONED = f"""
SELECT nspname FROM pg_namespace
 WHERE nspname ~ '^{PREFIX}[0-9]+_[0-9]+$' AND pg_has_role(nspowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.application_name = nspname)
"""


class NoReference(SchemaError):
    """The reference schema cannot be built."""


@dataclass(frozen=True)
class Reference:
    """A schema as the migrations make it."""

    schema: Schema
    connection: BaseDatabaseWrapper
    """A session of its own, which sees nothing but this schema."""
    made: tuple[Key, ...]
    """The migrations that made it, in their order."""


@contextmanager
def reference(
    connection: BaseDatabaseWrapper,
    *,
    at: Sequence[Key] | None = None,
    loader: MigrationLoader | None = None,
) -> Iterator[Reference]:
    """Build the schema after the migrations `at` and all they depend on; without `at`, after those
    that are recorded as applied.

    `loader` are the migrations; without it they are loaded. Drop the schema after the block. Raise
    NoReference if the server refuses or a migration fails.
    """
    loader = copy(loader) if loader else load_migrations(connection)
    if at is None:
        at = [key for key in loader.applied_migrations if key in loader.graph.nodes]
    with _scratch(connection) as scratch:
        made = _migrate(scratch, loader, at)
        yield Reference(read_schema(scratch), scratch, made)


def continue_to(built: Reference, at: Sequence[Key]) -> Schema:
    """Apply the migrations `at` to the reference too, and return the schema."""
    _migrate(built.connection, load_migrations(built.connection), at, done=built.made)
    return read_schema(built.connection)


@contextmanager
def _scratch(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Open a session beside `connection` with a new schema as its only search path."""
    require_own_session(connection)
    with session_beside(connection, ALIAS) as scratch:
        with closing(scratch.cursor()) as cursor:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::bigint")
            name = f"{PREFIX}{os.getpid()}_{cursor.fetchone()[0]}"
            cursor.execute("SELECT set_config('application_name', %s, false)", [name])
            cursor.execute(ABANDONED)
            for (abandoned,) in cursor.fetchall():
                cursor.execute(f"DROP SCHEMA IF EXISTS {quoted(abandoned)} CASCADE")
            try:
                cursor.execute(f"CREATE SCHEMA {quoted(name)}")
            except DatabaseError as error:
                raise _refused(connection, error) from error
            cursor.execute("SELECT set_config('search_path', quote_ident(%s), false)", [name])
            # A crash may lose the scratch schema.
            cursor.execute("SET synchronous_commit = off")
        try:
            yield scratch
        finally:
            with closing(scratch.cursor()) as cursor:
                cursor.execute(f"DROP SCHEMA IF EXISTS {quoted(name)} CASCADE")


def _migrate(
    scratch: BaseDatabaseWrapper,
    loader: MigrationLoader,
    at: Sequence[Key],
    *,
    done: Sequence[Key] = (),
) -> tuple[Key, ...]:
    """Apply the migrations, without the signals of `migrate`; return them in their order."""
    # The graph as the live database has it: whether a squashed migration stands for those that it
    # replaces depends on what was applied. Here nothing is but what is `done`.
    executor = _Executor(scratch, loader)
    loader.applied_migrations = {key: loader.graph.nodes[key] for key in done}
    with ExitStack() as stack:
        stack.enter_context(scratch.execute_wrapper(_without_concurrency))
        stack.enter_context(only_database(ALIAS, refusal=NoReference))
        try:
            # Not the executor's own plan: rows that are out of order would make it go back.
            keys = dict.fromkeys(key for each in at for key in loader.graph.forwards_plan(each))
            plan = [(loader.graph.nodes[key], False) for key in keys if key not in done]
            executor.recorder.ensure_schema()
            executor.migrate(None, plan=plan)
        except SchemaError:
            raise
        except Exception as error:  # a migration may raise anything
            raise NoReference(
                f"The migrations cannot be applied from nothing: {type(error).__name__}: "
                f"{str(error).strip()}. The database itself was not touched."
            ) from error
    return tuple((migration.app_label, migration.name) for migration, _ in plan)


class _Executor(MigrationExecutor):
    def __init__(self, connection: BaseDatabaseWrapper, loader: MigrationLoader) -> None:
        """Take `loader`. Django's own cannot read squashed migrations that replace squashed ones."""
        self.connection = connection
        self.loader = loader
        self.recorder = MigrationRecorder(connection)
        self.progress_callback = None


def _without_concurrency(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Build indexes without CONCURRENTLY, and look for them in this schema only.

    A concurrent build waits for every transaction of the database, and operations that build
    indexes look for the name in all schemas.
    """
    if isinstance(sql, str):
        sql = sql.replace(" CONCURRENTLY", "")
        if "FROM pg_class, pg_index" in sql:
            sql = sql.replace("relname =", "pg_table_is_visible(pg_class.oid) AND relname =")
    return execute(sql, params, many, context)


def _refused(connection: BaseDatabaseWrapper, error: DatabaseError) -> NoReference:
    return NoReference(
        f"There is no place to build the reference schema in {place(connection)}: "
        f"{str(error).strip()}. The user needs CREATE on this database (GRANT CREATE ON DATABASE "
        f"… TO …); on a read-only replica verify the primary. Nothing was changed."
    )
