"""One advisory lock around everything that changes the schema or takes a database over, and no time
limits of the session meanwhile: a large index takes as long as it takes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.schema.connecting import require_own_session
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


LIMITS = """
SELECT name, current_setting(name), source FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
    'transaction_timeout') AND setting <> '0'
"""
OURS = ("client", "session")
"""Where a limit comes from that the connection itself asked for; it is lifted without a word."""


class AnotherRunWrites(SchemaError):
    """Another run holds the lock."""


@contextmanager
def schema_lock(
    connection: BaseDatabaseWrapper,
    *,
    wait: Callable[[str], object] | None = None,
    say: Callable[[str], object] | None = None,
) -> Iterator[None]:
    """Hold the lock for the block, on the connection's own session, and lift its time limits.

    The lock ends with the session, so a killed run leaves none. If another session holds it, call
    `wait` with who that is and wait; without `wait`, raise AnotherRunWrites at once. `say` is told
    which limits of the role, the database or the server are lifted. Raise NoSession through a pooler.
    """
    require_own_session(connection)
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
        limits = _lift_limits(cursor, say)
    try:
        yield
    finally:
        _unlock(connection, limits)


def _take(cursor: CursorWrapper) -> bool:
    """Return whether the lock was taken. Called repeatedly, since a waiting statement would block
    the other run's concurrent index builds."""
    cursor.execute(f"SELECT pg_try_advisory_lock({KEY})")
    return bool(cursor.fetchone()[0])


def _lift_limits(cursor: CursorWrapper, say: Callable[[str], object] | None) -> dict[str, str]:
    """Return the limits that held for the session, and hold no more."""
    cursor.execute(LIMITS)
    limits = cursor.fetchall()
    for name, _, _ in limits:
        cursor.execute("SELECT set_config(%s, '0', false)", [name])
    if say and (
        told := [f"{name} = {value}" for name, value, source in limits if source not in OURS]
    ):
        say(f"Lifted for this run: {', '.join(told)}.")
    return {name: value for name, value, _ in limits}


def _unlock(connection: BaseDatabaseWrapper, limits: dict[str, str]) -> None:
    """Release the lock and set the limits again, unless the session, and both with it, are gone."""
    if connection.connection is None or connection.connection.closed:
        return
    if connection.in_atomic_block or not connection.is_usable():
        connection.close()
        return
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT pg_advisory_unlock({KEY})")
        for limit in limits.items():
            cursor.execute("SELECT set_config(%s, %s, false)", limit)


def _who(holder: tuple[int, str, str, object] | None) -> str:
    if not holder:
        return "Another run"
    pid, user, program, since = holder
    return f"Another run (process {pid} of {user}, {program or 'no name'}, since {since:%H:%M:%S})"
