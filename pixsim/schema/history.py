"""The applied migrations in their order, the pending ones, heads, and rows whose file is missing."""

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class HalfSquashed(SchemaError):
    """The database has applied only a part of what a squashed migration replaces."""


def load_migrations(
    connection: BaseDatabaseWrapper | None, *, allow_half: bool = False
) -> MigrationLoader:
    """Load the migration files, and with a connection what is applied of them.

    Raise SchemaError if a file cannot be imported, or names one that does not exist; HalfSquashed if
    the database has applied only a part of what a squashed migration replaces and the files are gone.
    With `allow_half` that squashed migration counts as not applied instead.
    """
    loader = _Loader(connection, load=False)
    try:
        loader.build_graph()
    except DatabaseError:
        raise
    except Exception as error:  # a migration file may raise anything when it is imported
        half = _half_squashed(loader) if isinstance(error, NodeNotFoundError) else ""
        if not half:
            raise SchemaError(
                f"The migration files cannot be read: {type(error).__name__}: {error}"
                f"{_where(error)}. Nothing was changed. Mend or bring back the file that is named."
            ) from error
    else:
        half = _half_squashed(loader)
    if not half:
        return loader
    if not allow_half:
        raise HalfSquashed(half)
    return _as_not_applied(loader)


class _Loader(MigrationLoader):
    def load_disk(self) -> None:
        """Read the files; a squashed migration comes after those that it replaces, so that Django
        knows whether these are applied when it looks at one that replaces squashed ones."""
        super().load_disk()
        found: dict[Key, Migration] = {}

        def place(key: Key) -> None:
            if key in self.disk_migrations and key not in found:
                for each in self.disk_migrations[key].replaces:
                    place(each)
                found[key] = self.disk_migrations[key]

        for key in sorted(self.disk_migrations):
            place(key)
        self.disk_migrations = found


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
    replaced: dict[Key, Key] = {}
    for key, migration in loader.replacements.items():
        if rows.issuperset(migration.replaces):
            rows.add(key)
            replaced |= dict.fromkeys(migration.replaces, key)
    squashed = set(replaced.values())
    last: dict[Key, None] = {}
    for row in applied:
        if row in squashed:  # its own row is written when the whole run ends
            continue
        key = row
        while key in replaced:
            key = replaced[key]
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


def _half_squashed(loader: MigrationLoader) -> str:
    """Return what to do if Django would leave a half applied squashed migration out of the graph and
    go on with what comes after it, or apply it a second time; else an empty text."""
    squashed, applied, graph = loader.replacements, loader.applied_migrations, loader.graph.nodes

    def parts(key: Key) -> Iterator[Key]:
        if key in squashed and key not in applied:
            for each in squashed[key].replaces:
                yield from parts(each)
        else:
            yield key

    def has_file(key: Key) -> bool:
        return key in loader.disk_migrations or any(
            key in each.replaces and other in graph for other, each in squashed.items()
        )

    for (app, name), migration in sorted(squashed.items()):
        replaced = [part for each in migration.replaces for part in parts(each)]
        done = [each for each in replaced if each in applied]
        missing = [each for each in replaced if each not in applied]
        are_gone = not all(map(has_file, replaced))
        if done and missing and (are_gone or (app, name) in graph):
            why = "and the files are gone" if are_gone else "and Django would apply all of it again"
            before = "that still has these files" if are_gone else f"before {name}"
            return (
                f"The database stands in the middle of what {app} {name} replaces: {_named(done)} "
                f"applied, {_named(missing)} not, {why}. Nothing was changed. Upgrade to the head of "
                f"the release {before}, then to this one; or, if the rest is in the database "
                f"already, record it with `manage.py db stamp {app} {name}`, which compares first."
            )
    return ""


def _as_not_applied(loader: MigrationLoader) -> MigrationLoader:
    """Return the graph with the squashed migrations in the stead of all that they replace, and as
    applied those of which all is."""
    fresh = _Loader(None)
    fresh.connection = loader.connection
    fresh.applied_migrations = dict(loader.applied_migrations)
    for key, migration in fresh.replacements.items():
        if fresh.applied_migrations.keys() >= {*migration.replaces}:
            fresh.applied_migrations[key] = migration
        else:
            fresh.applied_migrations.pop(key, None)
    return fresh


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
