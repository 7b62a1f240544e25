"""Sessions of our own, and those of a pooler such as PgBouncer, which are lent for one transaction.

What a session is asked to keep (a setting, an advisory lock, a prepared statement) stays in a pooler's
session for whoever gets it next. So it is asked only of sessions of our own.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import capabilities

IDLE_LIMIT = "idle_in_transaction_session_timeout"
IDLE_SECONDS = 120
"""Locks of a process that is frozen or cut off are freed after this time."""
PREPARE_AFTER = 2
"""Executions of a statement on a connection after which it is prepared."""

# No row through a pooler, and nothing is set: it gives its clients keys that it made up. Asking twice
# whether the session is the same would prove nothing, since a quiet pool lends the same one again.
BEGIN_OUR_OWN = f"""
SELECT set_config('tcp_keepalives_idle', '30', false),
       set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false),
       CASE WHEN current_setting('{IDLE_LIMIT}') = '0'
            THEN set_config('{IDLE_LIMIT}', '{IDLE_SECONDS}s', false) END
WHERE pg_backend_pid() = %s
"""


def begin(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Set the limits of a new connection's session, and let statements be prepared in it.

    Through a pooler neither is done; there QUEUE_PREPARE says that it carries prepared statements.
    """
    raw = connection.connection
    is_our_own = raw.execute(BEGIN_OUR_OWN, [raw.info.backend_pid]).fetchone() is not None
    if is_our_own:
        may_prepare = settings.QUEUE_PREPARE is not False
    else:
        may_prepare = bool(settings.QUEUE_PREPARE) and capabilities.has_send_close_prepared()
    raw.prepare_threshold = PREPARE_AFTER if may_prepare else None


def is_pooled(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a pooler stands between the connection and PostgreSQL."""
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != connection.connection.info.backend_pid)


def goes_past_the_pooler() -> bool:
    """Return whether this thread's connection goes the way of DATABASE_DIRECT_URL."""
    there = getattr(settings, "DATABASE_DIRECT", None)
    return there is not None and (
        connections[DEFAULT_DB_ALIAS].settings_dict.items() >= there.items()
    )


@contextmanager
def past_the_pooler() -> Iterator[None]:
    """Let this thread's connection go the way of DATABASE_DIRECT_URL in the block, if there is one."""
    there = getattr(settings, "DATABASE_DIRECT", None)
    if not there:
        yield
        return
    before = connections[DEFAULT_DB_ALIAS]
    own = before.copy()
    own.settings_dict.update(there)
    connections[DEFAULT_DB_ALIAS] = own
    try:
        yield
    finally:
        own.close()
        connections[DEFAULT_DB_ALIAS] = before
