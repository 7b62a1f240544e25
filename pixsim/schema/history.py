"""The applied migrations in their order, the pending ones, heads, and rows whose file is missing."""

import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.exceptions import InconsistentMigrationHistory, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from pixsim.schema.errors import SchemaError
from pixsim.schema.target_parsing import Key, listed


@dataclass(frozen=True)
class Row:
    """One row of `django_migrations`."""

    app: str
    name: str
    at: datetime
    has_file: bool
    """False: nobody knows any more what this migration did."""
    is_installed: bool = True
    """Whether the app is one of this project's."""

    @property
    def key(self) -> Key:
        return self.app, self.name


@dataclass(frozen=True)
class History:
    """The applied and pending migrations of a database."""

    applied: tuple[Row, ...]
    """In the order of application."""
    pending: tuple[Key, ...]
    """In the order in which they would be applied."""
    heads: Mapping[str, tuple[str, ...]]
    """The leaf migrations of each app; more than one is a fork."""

    @property
    def keys(self) -> list[Key]:
        """Return the applied migrations, in their order."""
        return [row.key for row in self.applied]

    @property
    def unknown(self) -> tuple[Row, ...]:
        """Return the rows without a file."""
        return tuple(row for row in self.applied if not row.has_file)

    @property
    def last(self) -> Row | None:
        """Return the migration that was applied last."""
        return self.applied[-1] if self.applied else None


def load_migrations(connection: BaseDatabaseWrapper | None) -> MigrationLoader:
    """Load the migration files, and with a connection what is applied of them.

    Raise SchemaError if a file cannot be imported, or names one that does not exist, or if the
    database has applied only a part of what a squashed migration replaces and the files are gone.
    """
    try:
        loader = MigrationLoader(connection)
    except DatabaseError:
        raise
    except Exception as error:  # a migration file may raise anything when it is imported
        raise SchemaError(
            f"The migration files cannot be read: {type(error).__name__}: {error}{_where(error)}. "
            f"Nothing was changed. Mend or bring back the file that is named."
        ) from error
    _refuse_partly_replaced(loader)
    return loader


def read_history(
    connection: BaseDatabaseWrapper, *, loader: MigrationLoader | None = None
) -> History:
    """Return the history of the database. Read only; without the table nothing is applied."""
    loader = loader or load_migrations(connection)
    return History(
        applied=_rows(connection, loader),
        pending=tuple(pending(loader)),
        heads=heads(loader),
    )


def row_names(rows: Iterable[Row]) -> str:
    """Return the migrations in one line, as the commands take them."""
    return ", ".join(" ".join(row.key) for row in rows)


def graph_order(loader: MigrationLoader) -> list[Key]:
    """Return all migrations in the order in which an empty database applies them."""
    leaves = loader.graph.leaf_nodes()
    return list(dict.fromkeys(key for leaf in leaves for key in loader.graph.forwards_plan(leaf)))


def pending(loader: MigrationLoader) -> list[Key]:
    """Return what is not applied, in the order in which it would be."""
    return [key for key in graph_order(loader) if key not in loader.applied_migrations]


def heads(loader: MigrationLoader) -> dict[str, tuple[str, ...]]:
    """Return the leaf migrations of each app."""
    found: dict[str, tuple[str, ...]] = {}
    for app, name in sorted(loader.graph.leaf_nodes()):
        found[app] = (*found.get(app, ()), name)
    return found


@dataclass(frozen=True)
class Fork:
    """An app with more than one leaf migration."""

    app: str
    after: str | None
    """The last migration that all heads share; None if they share none."""
    branches: Mapping[str, tuple[str, ...]]
    """Of each head the migrations since then, itself at the end."""


def forks(loader: MigrationLoader) -> list[Fork]:
    """Return every app with more than one head."""
    found = []
    for app, names in heads(loader).items():
        if len(names) < 2:
            continue
        lines = {
            head: [name for each, name in loader.graph.forwards_plan((app, head)) if each == app]
            for head in names
        }
        shared = set.intersection(*(set(line) for line in lines.values()))
        found.append(
            Fork(
                app,
                after=next((name for name in reversed(lines[names[0]]) if name in shared), None),
                branches={
                    head: tuple(name for name in line if name not in shared)
                    for head, line in lines.items()
                },
            )
        )
    return found


def inconsistency(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> str:
    """Return what is wrong if a migration is applied before one that it depends on; else an empty
    text."""
    try:
        loader.check_consistent_history(connection)
    except InconsistentMigrationHistory as error:
        return str(error)
    return ""


def docstring(migration: Migration) -> str:
    """Return the docstring of the migration's file; it may be empty."""
    return _docstring_of(type(migration).__module__)


def remarks(migration: Migration) -> list[str]:
    """Return the paragraphs of the file's docstring, and those of the package's docstring whose
    first line is the name of the migration: a file that was applied anywhere is not edited."""
    package = _docstring_of(type(migration).__module__.rpartition(".")[0])
    heading = f"{migration.name}\n"
    later = [each for each in package.split("\n\n") if each.startswith(heading)]
    return docstring(migration).split("\n\n") + [each.removeprefix(heading) for each in later]


def _docstring_of(module: str) -> str:
    found = sys.modules.get(module)
    return ((found and found.__doc__) or "").strip()


def summary(migration: Migration) -> str:
    """Return the first paragraph of the docstring in one line; it may be empty."""
    return " ".join(docstring(migration).partition("\n\n")[0].split())


def _where(error: Exception) -> str:
    """Return the file that could not be imported, and its line, unless the error names it."""
    if isinstance(error, NodeNotFoundError | SyntaxError):
        return ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.name == "<module>":  # the first that was being imported
            return f" ({os.path.relpath(frame.filename)}, line {frame.lineno})"
    return ""


def in_order(loader: MigrationLoader, applied: Sequence[Key]) -> list[Key]:
    """The rows of what is applied, in the order of application, with a squashed migration in the
    stead of all that it replaces, where that is applied: in the place of the last of them, but before
    what needs it."""
    rows = set(applied)
    replaced = {
        each: key
        for key, migration in loader.replacements.items()
        if key in loader.graph.nodes and rows.issuperset(migration.replaces)
        for each in migration.replaces
    }
    squashed = set(replaced.values())
    last: dict[Key, None] = {}
    for row in applied:
        if row not in squashed:  # its own row is written when the whole run ends
            key = replaced.get(row, row)
            last.pop(key, None)
            last[key] = None
    nodes = loader.graph.node_map
    order: dict[Key, None] = {}

    def place(key: Key) -> None:
        needed = {parent.key for parent in nodes[key].parents} if key in nodes else set()
        for parent in sorted(needed & squashed - order.keys()):
            place(parent)
        order.setdefault(key)

    for key in last:
        place(key)
    return list(order)


def _refuse_partly_replaced(loader: MigrationLoader) -> None:
    """Raise SchemaError where Django would leave a squashed migration out of the graph, and go on
    with what comes after it."""
    for (app, name), migration in sorted(loader.replacements.items()):
        done = [key for key in migration.replaces if key in loader.applied_migrations]
        missing = [key for key in migration.replaces if key not in loader.applied_migrations]
        if done and any(key not in loader.disk_migrations for key in missing):
            raise SchemaError(
                f"The database stands in the middle of what {app} {name} replaces: {_named(done)} "
                f"applied, {_named(missing)} not, and the files are gone. Nothing was changed. "
                f"Upgrade to the head of the release that still has these files, then to this one."
            )


def _named(keys: Iterable[Key]) -> str:
    return listed([" ".join(key) for key in keys])


def _rows(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> tuple[Row, ...]:
    """What is applied, with one row for what a squashed migration replaces."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return ()
    rows = recorder.migration_qs.order_by("id").values_list("app", "name", "applied")
    times = {(app, name): at for app, name, at in rows}
    installed = loader.migrated_apps | loader.unmigrated_apps
    found = []
    for key in in_order(loader, list(times)):
        app, name = key
        file = loader.disk_migrations.get(key)
        parts = [times[each] for each in (file.replaces if file else ()) if each in times]
        at = max(parts, default=None) or times[key]
        found.append(Row(app, name, at, has_file=file is not None, is_installed=app in installed))
    return tuple(found)
