"""Restoring the older database exactly, while nothing newer than the adoption was applied."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

from django.db import InternalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import DependentObjectsStillExist

from pixsim.adoption import checksums, credentials
from pixsim.adoption.changes import CHANGES, HELD_JOBS
from pixsim.adoption.conversions import ENCRYPTED, Conversion
from pixsim.adoption.copies import Copy
from pixsim.adoption.quarantine import QUARANTINE
from pixsim.adoption.recognising import ORIGINALS, RECORD
from pixsim.adoption.surveying import SETTINGS
from pixsim.schema import accepted, files
from pixsim.schema.catalog import Schema, quoted, read_schema
from pixsim.schema.errors import SchemaError
from pixsim.schema.lock_retry import LockPolicy, LockRetry, Wait
from pixsim.schema.target_parsing import listed

HISTORY = "django_migrations"


class NotUndone(SchemaError):
    """The older database cannot be restored, or not without losing something."""


def described(copy: Copy) -> dict[str, Any]:
    """Return what undoing must know of a copy, for the record."""
    return {
        "table": copy.table,
        "source": copy.source,
        "key": copy.key,
        "proofs": dict(copy.proofs),
        "secrets": credentials.secrets_of(copy),
    }


def contents(cursor: CursorWrapper, tables: list[str]) -> dict[str, list[int]]:
    """Return how many rows each table has, and the sum of the hashes of all rows."""
    found = {}
    for table in tables:
        cursor.execute(
            f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {quoted(table)} AS t"
        )
        found[table] = [int(number) for number in cursor.fetchone()]
    return found


def read_record(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return what adoption recorded. Raise NotUndone if this database was not adopted, or has
    changed its point."""
    recorder = MigrationRecorder(connection)
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT to_regclass(%s), to_regnamespace(%s)", [RECORD, ORIGINALS])
        record, originals = cursor.fetchone()
        if record is None:
            raise NotUndone("This database was not adopted, so there is nothing to undo.")
        if originals is None:
            raise NotUndone(
                f"The schema {ORIGINALS} is gone, and with it the older tables. Nothing was changed. "
                "Only a backup from before the adoption can bring them back."
            )
        cursor.execute(f"SELECT about::text, adopted_at FROM {RECORD}")
        text, adopted_at = cursor.fetchone()
    about: dict[str, Any] = {**json.loads(text), "adopted_at": adopted_at}
    then = {tuple(key) for key in about["migrations"]}
    now = set(recorder.applied_migrations())
    if now != then:
        newer = [" ".join(key) for key in sorted(now - then)]
        missing = [" ".join(key) for key in sorted(then - now)]
        raise NotUndone(
            f"The database is not where adoption left it: {listed(newer[:5] or missing[:5])}"
            f"{' and more' * (len(newer or missing) > 5)}"
            f"{' were applied since' if newer else ' were taken back'}. Nothing was changed. Go "
            "back to where it stood first (`manage.py db downgrade`), or restore a backup."
        )
    return about


def undo(
    connection: BaseDatabaseWrapper,
    about: dict[str, Any],
    *,
    policy: LockPolicy,
    lose_changes: bool = False,
    on_wait: Callable[[Wait], None] = lambda wait: None,
) -> None:
    """Restore the older database, in one transaction.

    Raise NotUndone if rows changed since the adoption, unless `lose_changes`; LockNotGiven if other
    sessions keep using the tables; NoKey without the key of the secrets.
    """
    waiting = LockRetry(connection, policy, on_wait)
    with waiting.open():
        waiting.attempt(lambda: _undo(connection, about, lose_changes))


def _undo(connection: BaseDatabaseWrapper, about: dict[str, Any], lose_changes: bool) -> None:
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        cursor.execute(SETTINGS)
        tables = ", ".join(quoted(name) for name in about["tables"])
        cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        if not lose_changes:
            _refuse_changed(cursor, about)
        found = read_schema(connection)
        copies = [_copy(each) for each in about["copies"]]
        _bring_back_secrets(connection, cursor, copies)
        _drop_ours(cursor, found, about)
        _move_back(cursor, about)
        sums = checksums.before(connection, copies, found.name)
        if apart := checksums.apart(about["sums"], sums):
            raise NotUndone(
                f"The older tables are not what they were: {listed(apart)}. Somebody changed them in "
                f"the schema {ORIGINALS}. Nothing was changed."
            )


def _refuse_changed(cursor: CursorWrapper, about: dict[str, Any]) -> None:
    now = contents(cursor, about["tables"])
    changed = [name for name in about["tables"] if now[name] != about["contents"][name]]
    if changed:
        raise NotUndone(
            f"Rows of {listed(changed)} were changed since the adoption, and undoing it would lose "
            "that. Nothing was changed. Say --lose-changes if it may be lost."
        )


def _copy(described: dict[str, Any]) -> Copy:
    return Copy(
        table=described["table"],
        source=described["source"],
        values={},
        conversions={name: Conversion("", ENCRYPTED) for name in described["secrets"]},
        proofs={name: (old, new) for name, (old, new) in described["proofs"].items()},
        key=described["key"],
    )


def _bring_back_secrets(
    connection: BaseDatabaseWrapper, cursor: CursorWrapper, copies: list[Copy]
) -> None:
    originals = read_schema(connection, ORIGINALS)
    for copy in copies:
        if names := credentials.secrets_of(copy):
            original = originals.tables[copy.table]
            credentials.bring_back(cursor, names, original, f"{ORIGINALS}.{quoted(copy.table)}")


def _drop_ours(cursor: CursorWrapper, found: Schema, about: dict[str, Any]) -> None:
    for name in reversed(about["views"]):
        cursor.execute(f"DROP VIEW {quoted(name)}")
    for table, name, _ in about["foreign_keys"]:
        table = quoted(about["renamed"].get(table, table))
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name)}")
    ours = [*about["tables"], RECORD, CHANGES, HELD_JOBS, HISTORY, files.TABLE, accepted.TABLE]
    ours += [QUARANTINE + name for name in about["quarantined"]]
    tables = ", ".join(quoted(name) for name in ours if name in found.tables or name == HISTORY)
    try:
        cursor.execute(f"DROP TABLE {tables}")
    except InternalError as error:
        if not isinstance(error.__cause__, DependentObjectsStillExist):
            raise
        detail = (error.__cause__.diag.message_detail or "").replace("\n", "; ")
        raise NotUndone(
            f"Something that was made since depends on our tables: {detail}. Nothing was changed. "
            "Drop it first."
        ) from None


def _move_back(cursor: CursorWrapper, about: dict[str, Any]) -> None:
    for before, now in about["renamed"].items():
        cursor.execute(f"ALTER TABLE {quoted(now)} RENAME TO {quoted(before)}")
    cursor.execute("SELECT quote_ident(current_schema())")
    (site,) = cursor.fetchone()
    for name in about["originals"]:
        cursor.execute(f"ALTER TABLE {ORIGINALS}.{quoted(name)} SET SCHEMA {site}")
    for name in about["views"]:
        cursor.execute(f"ALTER VIEW {ORIGINALS}.{quoted(name)} SET SCHEMA {site}")
    for table, name, definition in about["foreign_keys"]:
        cursor.execute(f"ALTER TABLE {quoted(table)} ADD CONSTRAINT {quoted(name)} {definition}")
    cursor.execute(f"DROP SCHEMA {ORIGINALS}")
