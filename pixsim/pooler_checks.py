"""System checks of a connection pooler, with `check --database default` and before `migrate`."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.db.sessions import (
    IDLE_LIMIT,
    IDLE_SECONDS,
    goes_past_the_pooler,
    is_pooled,
    past_the_pooler,
)
from pixsim.schema.connecting import why_no_session

# What the session began with, whatever somebody set in it since.
LIMIT = "SELECT reset_val, current_user FROM pg_settings WHERE name = %s"
# A pooler that carries prepared statements gives them names of its own; these are psycopg's.
NOT_CARRIED = "SELECT name FROM pg_prepared_statements WHERE starts_with(name, '_pg3_')"


@register(Tags.database)
def pooler_fits(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what is missing where the database is reached through a pooler."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        # Not the connection of `migrate`, which goes past the pooler.
        with closing(connections.create_connection(DEFAULT_DB_ALIAS)) as usual:
            found = list(_through_pooler(usual)) if is_pooled(usual) else []
        with past_the_pooler():
            return found + list(_past_pooler())
    except DatabaseError:
        return []  # it does not answer, and who needs it says so


def _through_pooler(usual: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    with usual.cursor() as cursor:
        cursor.execute(LIMIT, [IDLE_LIMIT])
        limit, role = cursor.fetchone()
    if limit == "0":
        yield Warning(
            "DATABASE_URL leads to a connection pooler, and no limit ends the transactions of "
            "processes that are frozen or cut off: what they have locked stays locked.",
            hint=f"ALTER ROLE {usual.ops.quote_name(role)} SET {IDLE_LIMIT} = "
            f"'{IDLE_SECONDS}s'; then RECONNECT on the console of the pooler.",
            id="pixsim.W001",
        )
    if "options" in usual.settings_dict["OPTIONS"]:
        yield Warning(
            "DATABASE_URL has options=…, which a connection pooler refuses or ignores.",
            hint="ALTER ROLE … SET does the same for every session.",
            id="pixsim.W002",
        )
    if settings.QUEUE_PREPARE and not _carries_prepared(usual):
        yield Error(
            "QUEUE_PREPARE is true, and the connection pooler of DATABASE_URL does not carry "
            "prepared statements.",
            hint="PgBouncer does from 1.21 on, with max_prepared_statements; else unset it.",
            id="pixsim.E002",
        )


def _carries_prepared(usual: BaseDatabaseWrapper) -> bool:
    raw = usual.connection
    with usual.wrap_database_errors, raw.transaction(), psycopg.Cursor(raw) as cursor:
        cursor.execute("SELECT 1", prepare=True)
        left = cursor.execute(NOT_CARRIED, prepare=False).fetchall()
        for (name,) in left:
            cursor.execute(f"DEALLOCATE {name}".encode(), prepare=False)
    return not left


def _past_pooler() -> Iterator[CheckMessage]:
    if goes_past_the_pooler() and (why := why_no_session(connection)):
        yield Error(why, id="pixsim.E003")
