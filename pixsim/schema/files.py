"""The hash of every applied migration file, and the journal of interrupted migrations.

The table is made by the first run that changes anything; no migration makes it. Like
`django_migrations` it is bookkeeping, and no part of the compared schema.
"""

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.errors import SchemaError
from pixsim.schema.target_parsing import Key

TABLE = "pixsim_migration_files"

CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    app varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    sha256 varchar(64) NOT NULL,
    applied_at timestamptz,
    done text[],
    PRIMARY KEY (app, name)
)"""
"""`applied_at` is null until the migration is applied; `done` are the operations that an unfinished
run has behind it, forwards or, with `applied_at` set, on the way back."""

RECORD = f"""
INSERT INTO {TABLE} (app, name, sha256, applied_at) VALUES (%s, %s, %s, now())
ON CONFLICT (app, name) DO UPDATE
SET sha256 = EXCLUDED.sha256, applied_at = EXCLUDED.applied_at, done = NULL
"""
BEGIN_FORWARDS = f"""
INSERT INTO {TABLE} (app, name, sha256, done) VALUES (%s, %s, %s, '{{}}')
ON CONFLICT (app, name) DO UPDATE
SET sha256 = EXCLUDED.sha256, applied_at = NULL, done = EXCLUDED.done
"""
BEGIN_BACKWARDS = f"""
INSERT INTO {TABLE} AS file (app, name, sha256, applied_at, done) VALUES (%s, %s, %s, now(), '{{}}')
ON CONFLICT (app, name) DO UPDATE
SET applied_at = coalesce(file.applied_at, EXCLUDED.applied_at), done = EXCLUDED.done
"""
FORGET = f"DELETE FROM {TABLE} WHERE app = %s AND name = %s"


class Interrupted(SchemaError):
    """A migration without a transaction was stopped midway and cannot be continued."""


@dataclass(frozen=True)
class Unfinished:
    """A migration that was stopped midway."""

    app: str
    name: str
    sha256: str
    """Of its file when it began."""
    backwards: bool
    done: tuple[str, ...]
    """Its operations that are done, in the order in which they were."""
    has_file: bool
    """False: it can be neither finished nor taken back."""

    @property
    def key(self) -> Key:
        return self.app, self.name

    def __str__(self) -> str:
        way, verb = ("taken back", "downgrade") if self.backwards else ("applied", "upgrade")
        stopped = (
            f"{self.app} {self.name} was being {way} when it was stopped, after {len(self.done)} of "
            f"its operations"
        )
        if self.has_file:
            return f"{stopped}: finish it with `manage.py db {verb}`."
        return (
            f"{stopped}, and its file is gone: bring the file back and finish it, or see to what it "
            f"did ({'; '.join(self.done) or 'nothing for sure'}) and forget it with `manage.py db "
            f"prune {self.app}`."
        )


def digest(migration: Migration) -> str:
    """Return the sha256 of the migration's file with any line ends; empty if there is no file."""
    source = inspect.getsourcefile(type(migration))
    if not source or not Path(source).exists():
        return ""
    return hashlib.sha256(Path(source).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def make_table(connection: BaseDatabaseWrapper) -> None:
    """Create the table, if it is missing."""
    if not has_table(connection):
        _execute(connection, CREATE)


def has_table(connection: BaseDatabaseWrapper) -> bool:
    """Return whether any run has recorded anything yet."""
    return bool(_execute(connection, "SELECT to_regclass(%s) IS NOT NULL", TABLE)[0][0])


def record(connection: BaseDatabaseWrapper, migration: Migration) -> None:
    """Record the hash of a migration that was applied."""
    _execute(connection, RECORD, migration.app_label, migration.name, digest(migration))


def forget(connection: BaseDatabaseWrapper, key: Key) -> None:
    """Delete the record of a migration."""
    if has_table(connection):
        _execute(connection, FORGET, *key)


def edited(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> list[Key]:
    """Return the applied migrations whose file has changed since, in their order."""
    if not has_table(connection):
        return []
    rows = _execute(
        connection,
        f"SELECT app, name, sha256 FROM {TABLE} "
        f"WHERE applied_at IS NOT NULL AND sha256 <> '' ORDER BY applied_at, app, name",
    )
    return [
        (app, name)
        for app, name, sha256 in rows
        if (app, name) in loader.applied_migrations
        and (migration := loader.disk_migrations.get((app, name)))
        and digest(migration) != sha256
    ]


def unfinished(connection: BaseDatabaseWrapper, loader: MigrationLoader) -> list[Unfinished]:
    """Return the migrations that were stopped midway, by app and name."""
    if not has_table(connection):
        return []
    return [
        Unfinished(
            app,
            name,
            sha256,
            backwards=applied_at is not None,
            done=tuple(done),
            has_file=(app, name) in loader.disk_migrations,
        )
        for app, name, sha256, applied_at, done in _execute(
            connection,
            f"SELECT app, name, sha256, applied_at, done FROM {TABLE} "
            f"WHERE done IS NOT NULL ORDER BY app, name",
        )
    ]


@dataclass
class Journal:
    """The completed operations of a migration that runs without a transaction.

    Written after each operation, so that the run after a kill -9 continues with the next one.
    """

    connection: BaseDatabaseWrapper
    migration: Migration
    backwards: bool
    done: list[str] = field(default_factory=list)
    is_interrupted: bool = False
    """An earlier run was in the middle of the operation that comes next."""

    def open(self, earlier: Unfinished | None) -> None:
        """Begin, or continue where `earlier` stopped. Raise Interrupted if the file was changed
        since."""
        texts = [self.text(position) for position in range(len(self.migration.operations))]
        if earlier:
            order = texts[::-1] if self.backwards else texts
            if earlier.sha256 != digest(self.migration) and not _begins(order, earlier.done):
                raise Interrupted(
                    f"{self.migration} was stopped after {len(earlier.done)} of its operations, and "
                    f"its file was changed since, so that nobody can tell what is done. Nothing was "
                    f"changed. Bring the file back as it was, or undo those operations by hand and "
                    f"delete the row of {TABLE}. Done: {'; '.join(earlier.done) or 'none for sure'}."
                )
            self.done, self.is_interrupted = list(earlier.done), True
            return
        begin = BEGIN_BACKWARDS if self.backwards else BEGIN_FORWARDS
        _execute(self.connection, begin, *self._key, digest(self.migration))

    def text(self, position: int) -> str:
        """Return the operation's text in the journal."""
        return f"{position + 1}. {self.migration.operations[position].describe()}"

    def has(self, position: int) -> bool:
        """Return whether the operation is done."""
        return self.text(position) in self.done

    def add(self, position: int) -> None:
        """Record that the operation is done."""
        self.done.append(self.text(position))
        self.is_interrupted = False
        _execute(
            self.connection,
            f"UPDATE {TABLE} SET done = %s WHERE app = %s AND name = %s",
            self.done,
            *self._key,
        )

    @property
    def _key(self) -> Key:
        return self.migration.app_label, self.migration.name


def _begins(texts: Sequence[str], done: Sequence[str]) -> bool:
    return list(texts[: len(done)]) == list(done)


def _execute(
    connection: BaseDatabaseWrapper, statement: str, *params: Any
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []
