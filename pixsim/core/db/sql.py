"""Running our own statements as prepared ones, where `sessions.begin` allows it.

Django binds parameters on the client, so the server plans every statement anew; planning costs
more than running most of these. On a cursor of psycopg's own they are planned once per connection.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import (
    DEFAULT_DB_ALIAS,
    DataError,
    IntegrityError,
    connection,
    connections,
    transaction,
)
from django.db.backends.utils import CursorWrapper

UNSTORABLE = (DataError, IntegrityError, ValueError, OverflowError)
"""What a statement raises for values that the database cannot hold; all else is its own trouble."""


def fetch(
    statement: str, params: Mapping[str, Any], *, plan_anew: bool = False
) -> list[tuple[Any, ...]]:
    """Run a statement on Django's connection, in its transaction; its rows, if it returns any.

    `plan_anew` is for tables that grow within seconds: a plan that was made while they were empty
    would scan them for as long as the connection lasts.

    Raises Django's database errors.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement.encode(), params, prepare=False if plan_anew else None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def one_moment(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[CursorWrapper]:
    """Yield a cursor that only reads, and sees the database as it is at one moment.

    Inside a transaction of the caller it sees what that transaction sees.
    """
    joins = connections[using].in_atomic_block
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        if not joins:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield cursor


def fetch_together(
    cursor: CursorWrapper, statements: Sequence[tuple[str, Mapping[str, Any] | Sequence[Any]]]
) -> list[list[Any]]:
    """Run many small SELECTs as one statement; return the rows of each.

    The values are as JSON has them: a number stays one, a time becomes text in ISO 8601.
    """
    if not statements:
        return []
    connection = cursor.db
    parts = [
        "(SELECT coalesce(json_agg(row_to_json(ROW(found.*))), '[]')"
        f" FROM ({connection.ops.compose_sql(statement, params)}) AS found)"
        for statement, params in statements
    ]
    cursor.execute(f"SELECT {', '.join(parts)}")
    return [[list(row.values()) for row in rows] for rows in cursor.fetchone()]
