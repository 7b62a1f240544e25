"""A temporary copy of a database on its own server.

The caller holds the lock of `locking`, so a copy of the same database that exists at the beginning was
left behind by a killed run.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from psycopg.errors import InsufficientPrivilege, ObjectInUse

from pixsim.schema.catalog import quoted
from pixsim.schema.connecting import place, session_beside
from pixsim.schema.contents import tables
from pixsim.schema.dumps import LOCK_WAIT_MILLISECONDS
from pixsim.schema.errors import SchemaError
from pixsim.schema.loading import NotLoaded, Script, load
from pixsim.schema.programs import environment, find_program, server_major

PREFIX = "pixsim_rehearsal_"
ALIAS = "pixsim_rehearsal"
NAME_BYTES = 63

LEFT_BEHIND = f"""
SELECT datname FROM pg_database
WHERE datname LIKE '{PREFIX}' || (SELECT oid FROM pg_database WHERE datname = current_database())
    || '\\_%' AND pg_has_role(datdba, 'USAGE')
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
FACTS = """
SELECT oid, pg_encoding_to_char(encoding), datcollate, datctype
FROM pg_database WHERE datname = current_database()
"""


class NoCopy(SchemaError):
    """The database could not be copied; it is unchanged."""


@dataclass
class Copy:
    """A copy of a database."""

    name: str
    seconds: float
    """How long copying took."""
    others: int
    """Clients that were connected; with any, the copy was dumped and loaded, not cloned."""
    connection: BaseDatabaseWrapper
    kept_as: str | None = None


def drop_left_behind(connection: BaseDatabaseWrapper) -> list[str]:
    """Drop the copies that killed runs left, and return their names."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT_BEHIND)
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        _drop(connection, name)
    return names


@contextmanager
def copied(
    connection: BaseDatabaseWrapper,
    *,
    keep: bool = False,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Copy]:
    """Make a copy, and yield it with a connection to it under its own alias.

    Drop it after the block, or rename it with `keep`. `report` gets the number of loaded rows.
    Raise NoCopy if the server or a program refuses.
    """
    name, others, seconds = _make(connection, report)
    try:
        with session_beside(connection, ALIAS, NAME=name) as own:
            copy = Copy(name, seconds, others, own)
            yield copy
        if keep:
            copy.kept_as = _kept_name(connection)
            _execute(connection, f"ALTER DATABASE {name} RENAME TO {quoted(copy.kept_as)}")
    finally:
        _drop(connection, name)


def _make(
    connection: BaseDatabaseWrapper, report: Callable[[int, int | None], None]
) -> tuple[str, int, float]:
    """Return the copy's name, how many other clients were connected, and how many seconds it took."""
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        others = cursor.fetchone()[0]
        cursor.execute(FACTS)
        oid, encoding, collate, ctype = cursor.fetchone()
    name = f"{PREFIX}{oid}_{int(time.time())}"
    # Only a database that nobody else is connected to can be cloned; that is many times faster.
    if not others:
        try:
            source = quoted(connection.settings_dict["NAME"])
            _execute(connection, f"CREATE DATABASE {name} TEMPLATE {source}")
        except DatabaseError as error:
            if not isinstance(error.__cause__, ObjectInUse | InsufficientPrivilege):
                raise
        else:
            return name, others, time.monotonic() - started
    try:
        _execute(
            connection,
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' "
            f"LC_COLLATE '{collate}' LC_CTYPE '{ctype}'",
        )
    except DatabaseError as error:
        if not isinstance(error.__cause__, InsufficientPrivilege):
            raise
        raise NoCopy(
            f"{place(connection)} may not make databases. Nothing was changed. Have the server's "
            f"owner say ALTER ROLE … CREATEDB, or rehearse elsewhere: `manage.py db backup`, then "
            f"`restore` and `upgrade` on a server of yours."
        ) from error
    try:
        _load(connection, name, report)
    except BaseException:
        _drop(connection, name)
        raise
    return name, max(1, others), time.monotonic() - started


def _load(
    connection: BaseDatabaseWrapper, name: str, report: Callable[[int, int | None], None]
) -> None:
    pg_dump = find_program("pg_dump", at_least=server_major(connection))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid = ANY(%s::regclass[])",
            [list(tables(connection))],
        )
        rows = int(cursor.fetchone()[0] or 0)
    command: list[str | Path] = [
        pg_dump.path,
        "--no-password",
        "--no-owner",
        "--no-privileges",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
    ]
    try:
        load(
            connection,
            Script(command, environment(connection)),
            database=name,
            on_lines=lambda lines: report(min(lines, rows), rows or None),
        )
    except NotLoaded as error:
        raise NoCopy(f"{error} The database itself is as it was.") from error
    with session_beside(connection, ALIAS, NAME=name) as own, own.cursor() as cursor:
        cursor.execute("ANALYZE")


def _kept_name(connection: BaseDatabaseWrapper) -> str:
    suffix = f"_rehearsed_{timezone.now():%Y%m%d%H%M%S}"
    name = connection.settings_dict["NAME"].encode()[: NAME_BYTES - len(suffix)]
    return str(name.decode(errors="ignore")) + suffix


def _drop(connection: BaseDatabaseWrapper, name: str) -> None:
    """Drop a copy if it exists. If the connection is lost, the next run drops it."""
    with suppress(DatabaseError):
        _execute(connection, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
