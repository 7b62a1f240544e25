"""One advisory lock around everything that changes the schema or adopts a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema.errors import SchemaError

KEY = "hashtextextended('pixsim.schema', 0)"

HOLDER = """
SELECT activity.pid, activity.usename, activity.application_name, activity.backend_start
FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (lock.classid::bigint << 32 | lock.objid::bigint) = hashtextextended('pixsim.schema', 0)
"""


class SomebodyElseWrites(SchemaError):
    """Another run holds the lock."""


@contextmanager
def schema_lock(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Hold the lock for the block, on the connection's own session.

    It goes with the session, so a killed run leaves none behind. Raises SomebodyElseWrites at
    once, naming who, if another session has it.
    """
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT pg_try_advisory_lock({KEY})")
        if not cursor.fetchone()[0]:
            cursor.execute(HOLDER)
            raise SomebodyElseWrites(_who(cursor.fetchone()))
    try:
        yield
    finally:
        _unlock(connection)


def _unlock(connection: BaseDatabaseWrapper) -> None:
    """Let go, unless the session is gone, and the lock with it."""
    if connection.connection is None or connection.connection.closed:
        return
    if connection.in_atomic_block or not connection.is_usable():
        connection.close()
        return
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock({KEY})")


def _who(holder: tuple[int, str, str, object] | None) -> str:
    who = "Another run"
    if holder:
        pid, user, program, since = holder
        who = (
            f"Another run (process {pid} of {user}, {program or 'no name'}, since {since:%H:%M:%S})"
        )
    return f"{who} is changing this database. Nothing was changed; try again when it has ended."
