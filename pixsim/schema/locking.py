"""One advisory lock around everything that changes the schema or takes a database over."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.schema.errors import SchemaError

PAUSE_SECONDS = 0.5
KEY = "hashtextextended('pixsim.schema', 0)"

HOLDER = f"""
SELECT activity.pid, activity.usename, activity.application_name, activity.backend_start
FROM pg_locks AS lock JOIN pg_stat_activity AS activity USING (pid)
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (lock.classid::bigint << 32 | lock.objid::bigint) = {KEY}
"""


class AnotherRunWrites(SchemaError):
    """Another run holds the lock."""


@contextmanager
def schema_lock(
    connection: BaseDatabaseWrapper, *, wait: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Hold the lock for the block, on the connection's own session.

    The lock ends with the session, so a killed run leaves none. If another session holds it, call
    `wait` with who that is and wait; without `wait`, raise AnotherRunWrites at once.
    """
    with closing(connection.cursor()) as cursor:
        announced = ""
        while not _take(cursor):
            cursor.execute(HOLDER)
            who = _who(cursor.fetchone())
            if not wait:
                raise AnotherRunWrites(
                    f"{who} is changing this database. Nothing was changed; try again when it has "
                    f"ended."
                )
            if who != announced:
                wait(f"{who} is changing this database; waiting until it has ended.")
                announced = who
            time.sleep(PAUSE_SECONDS)
    try:
        yield
    finally:
        _unlock(connection)


def _take(cursor: CursorWrapper) -> bool:
    """Return whether the lock was taken. Called repeatedly, since a waiting statement would block
    the other run's concurrent index builds."""
    cursor.execute(f"SELECT pg_try_advisory_lock({KEY})")
    return bool(cursor.fetchone()[0])


def _unlock(connection: BaseDatabaseWrapper) -> None:
    """Release the lock, unless the session and its lock are gone."""
    if connection.connection is None or connection.connection.closed:
        return
    if connection.in_atomic_block or not connection.is_usable():
        connection.close()
        return
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock({KEY})")


def _who(holder: tuple[int, str, str, object] | None) -> str:
    if not holder:
        return "Another run"
    pid, user, program, since = holder
    return f"Another run (process {pid} of {user}, {program or 'no name'}, since {since:%H:%M:%S})"
