"""What continuous integration checks before a deployment: forgotten models, edited files, drift, unsafe
operations, keys near their end."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState

from pixsim.schema import accepting, drift, files, unsafe
from pixsim.schema.catalog import Schema, read_schema
from pixsim.schema.connecting import explain, look
from pixsim.schema.destructive_changes import walk
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import (
    heads,
    inconsistency,
    load_migrations,
    pending,
    read_history,
)
from pixsim.schema.migration_docstrings import missing_paragraphs
from pixsim.schema.ownership import foreign_history, own_apps

NARROW = {"smallint": 2**15 - 1, "integer": 2**31 - 1}
"""Types of keys that run out in a lifetime, with the last number each can hold."""
WHAT_TO_SAY = (
    "a docstring says what the migration does and why, which lock it takes on which table and for how "
    "long (`Lock:`), and the way back (`Back:`)."
)


@dataclass(frozen=True)
class Problem:
    """Something to correct before a deployment."""

    kind: str
    """`models`, `heads`, `files`, `database`, `docstring`, `unsafe`, `drift` or `keys`."""
    text: str
    """One line: what it is, and what to do."""

    def __str__(self) -> str:
        return f"{self.kind}: {' '.join(self.text.split())}"


@dataclass(frozen=True)
class NarrowKey:
    """A key of 32 bits or fewer of which more than half is used."""

    table: str
    column: str
    last: int
    highest: int
    referring: tuple[str, ...]
    """The columns that refer to it, `table.column`, which are as narrow."""

    def __str__(self) -> str:
        also = f" and, before it, {', '.join(self.referring)}" if self.referring else ""
        return (
            f"{self.table}.{self.column}: expected at most half of {self.highest:,} used, found "
            f"{self.last:,} ({100 * self.last // self.highest} %). Widen it to bigint{also}: see "
            f'docs/migrations.md, "A wider key".'
        )


def problems(connection: BaseDatabaseWrapper | None) -> list[Problem]:
    """Return all that is wrong with the files and, given a connection, with the database.

    A database that does not answer is one problem of several, and so are files that cannot be
    read; the rest is checked all the same. Changes nothing.
    """
    try:
        found = list(_of_files(load_migrations(None)))
        readable = True
    except SchemaError as error:
        found, readable = [Problem("files", str(error))], False
    if connection is not None:
        found += _of_database(connection, readable=readable)
    return found


def narrow_keys(schema: Schema) -> Iterator[NarrowKey]:
    """Yield the keys that have used more than half of their range."""
    referring: dict[tuple[str, str], list[str]] = {}
    for table in schema.tables.values():
        for key in table.constraints.values():
            for ours, theirs in zip(key.columns, key.to_columns, strict=bool(key.to_columns)):
                referring.setdefault((key.to_table, theirs), []).append(f"{table.name}.{ours}")
    for table in schema.tables.values():
        for column in table.columns.values():
            sequence = schema.counter(column)
            if sequence is None or sequence.last is None or column.type not in NARROW:
                continue
            highest = min(NARROW[column.type], sequence.maximum)
            if sequence.last > highest // 2:
                names = referring.get((table.name, column.name), [])
                yield NarrowKey(table.name, column.name, sequence.last, highest, tuple(names))


def _of_files(loader: MigrationLoader) -> Iterator[Problem]:
    forked = {app: names for app, names in heads(loader).items() if len(names) > 1}
    for app, names in forked.items():
        yield Problem(
            "heads",
            f"{app} has more than one head ({', '.join(names)}): join them with `manage.py db "
            f"merge {app}`, or rebase one (`manage.py db branches`). Models were not compared.",
        )
    if not forked:
        yield from _models_without_migration(loader)


def _models_without_migration(loader: MigrationLoader) -> Iterator[Problem]:
    detector = MigrationAutodetector(
        loader.project_state(),
        ProjectState.from_apps(apps),
        NonInteractiveMigrationQuestioner(specified_apps=set(), dry_run=True),
    )
    for app, migrations in sorted(detector.changes(graph=loader.graph).items()):
        changes = [each.describe() for migration in migrations for each in migration.operations]
        yield Problem(
            "models",
            f"{app} changed without a migration ({'; '.join(changes)}): make it with `manage.py db "
            f"revision`.",
        )


def _of_database(connection: BaseDatabaseWrapper, *, readable: bool) -> Iterator[Problem]:
    """Yield what is wrong with the database, as far as it can be read."""
    try:
        look(connection)
        yield from (Problem("keys", str(each)) for each in narrow_keys(read_schema(connection)))
        if readable:
            yield from _beside_the_files(connection)
    except DatabaseError as error:
        yield Problem("database", f"It was not looked at. {explain(error, connection)}")
    except SchemaError as error:
        yield Problem("database", str(error))


def _beside_the_files(connection: BaseDatabaseWrapper) -> Iterator[Problem]:
    """Yield the differences between the database and the migration files."""
    loader = load_migrations(connection)
    if foreign := foreign_history(connection, loader):
        yield Problem("database", str(foreign))
        return
    history = read_history(connection, loader=loader)
    yield from (
        Problem(
            "files",
            f"{' '.join(row.key)} is applied, but its file is missing: bring it back, or forget the "
            f"row with `manage.py db prune`.",
        )
        for row in history.unknown
        if row.is_installed
    )
    yield from (
        Problem(
            "files",
            f"{' '.join(key)} was edited after it was applied: restore the file, and make what it "
            f"should do now a new migration.",
        )
        for key in files.edited(connection, loader)
    )
    yield from (Problem("files", str(each)) for each in files.unfinished(connection, loader))
    if broken := inconsistency(connection, loader):
        yield Problem("files", broken)
    yield from _unsafe(connection, loader)
    if history.applied:
        found = accepting.judge(
            connection,
            drift.differences(connection),
            tables=read_schema(connection).tables,
        )
        yield from (Problem("drift", str(each)) for each in found.open)


def _unsafe(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> Iterator[Problem]:
    """Yield what the docstrings of pending migrations in apps of this project do not say, and their
    dangerous operations, but for those that the docstring announces."""
    ours = own_apps()
    waiting = [loader.graph.nodes[key] for key in pending(loader) if key[0] in ours]
    for migration, state in walk(loader, waiting):
        name = f"{migration.app_label} {migration.name}"
        if missing := missing_paragraphs(migration, state, connection):
            yield Problem("docstring", f"{name} lacks {' and '.join(missing)}: {WHAT_TO_SAY}")
        for finding in unsafe.review(migration, state, connection):
            if unsafe.is_announced(migration, finding):
                continue
            yield Problem("unsafe", f"{name}: {finding}")
