"""The table of differences from the migrations that somebody has accepted.

It is made by the first acceptance; no migration makes it. It is read as empty where it is missing.
"""

from dataclasses import dataclass
from datetime import datetime
from getpass import getuser
from hashlib import sha256
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "pixsim_accepted"

CREATE = f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    kind text NOT NULL,
    table_name text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    sha256 varchar(64) NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted_by text NOT NULL,
    why text NOT NULL,
    PRIMARY KEY (kind, table_name, name)
)"""
WRITE = f"""
INSERT INTO {TABLE} (kind, table_name, name, definition, sha256, accepted_by, why)
VALUES (%s, %s, %s, %s, %s, %s || ' as ' || session_user, %s)
ON CONFLICT (kind, table_name, name) DO UPDATE
SET definition = EXCLUDED.definition, sha256 = EXCLUDED.sha256, why = EXCLUDED.why,
    accepted_by = EXCLUDED.accepted_by, accepted_at = EXCLUDED.accepted_at
"""
READ = f"""
SELECT kind, table_name, name, definition, sha256, accepted_at, accepted_by, why FROM {TABLE}
ORDER BY table_name, kind, name
"""
DELETE = f"DELETE FROM {TABLE} WHERE kind = %s AND table_name = %s AND name = %s"


@dataclass(frozen=True)
class Row:
    """One accepted difference. The first three fields are those of `drift.Difference`."""

    kind: str
    table: str
    name: str
    definition: str
    """What was expected and found."""
    sha256: str
    """Of the definition."""
    at: datetime
    by: str
    """The user of the machine and the role of the database."""
    why: str


def digest(definition: str) -> str:
    """Return the hash by which a definition is known again."""
    return sha256(definition.encode()).hexdigest()


def read(connection: BaseDatabaseWrapper) -> list[Row]:
    """Return all that is accepted, by table; nothing if nobody has accepted anything yet."""
    if not _execute(connection, "SELECT to_regclass(%s) IS NOT NULL", TABLE)[0][0]:
        return []
    return [Row(*row) for row in _execute(connection, READ)]


def write(
    connection: BaseDatabaseWrapper, kind: str, table: str, name: str, definition: str, *, why: str
) -> None:
    """Record that a difference is accepted; make the table if it is missing."""
    _execute(connection, CREATE)
    _execute(connection, WRITE, kind, table, name, definition, digest(definition), _user(), why)


def delete(connection: BaseDatabaseWrapper, row: Row) -> None:
    """Accept the difference no longer."""
    _execute(connection, DELETE, row.kind, row.table, row.name)


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"


def _execute(
    connection: BaseDatabaseWrapper, statement: str, *params: Any
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return cursor.fetchall() if cursor.description else []
