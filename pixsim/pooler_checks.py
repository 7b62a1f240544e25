"""System checks of a connection pooler, with `check --database default` and before `migrate`."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.core.db.sessions import IDLE_LIMIT, IDLE_SECONDS, is_pooled

# What the session began with, whatever somebody set in it since.
LIMIT = "SELECT reset_val, current_user FROM pg_settings WHERE name = %s"


@register(Tags.database)
def pooler_fits(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Return what is missing where the database is reached through a pooler."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    # Not the connection of `migrate`, which goes past the pooler.
    with closing(connections.create_connection(DEFAULT_DB_ALIAS)) as connection:
        try:
            return list(_missing(connection)) if is_pooled(connection) else []
        except DatabaseError:
            return []  # it does not answer, and who needs it says so


def _missing(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute(LIMIT, [IDLE_LIMIT])
        limit, role = cursor.fetchone()
    if limit == "0":
        yield Warning(
            "DATABASE_URL leads to a connection pooler, and no limit ends the transactions of "
            "processes that are frozen or cut off: what they have locked stays locked.",
            hint=f"ALTER ROLE {connection.ops.quote_name(role)} SET {IDLE_LIMIT} = "
            f"'{IDLE_SECONDS}s'; then RECONNECT on the console of the pooler.",
            id="pixsim.W001",
        )
    if "options" in connection.settings_dict["OPTIONS"]:
        yield Warning(
            "DATABASE_URL has options=…, which a connection pooler refuses or ignores.",
            hint="ALTER ROLE … SET does the same for every session.",
            id="pixsim.W002",
        )
