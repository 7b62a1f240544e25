"""What always holds of the rows, whatever constraints say: proved on the live database.

Constraints can be missing, not validated, or were switched off while rows were loaded; and a
counter that equals its rows is nothing that a constraint could say. What the foreign keys of the
schema promise is taken from it; what PixSim promises besides is listed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, DataError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import UndefinedColumn, UndefinedTable

from crawler.checks import CHUNK_INVARIANTS
from pixsim.schema.catalog import Constraint, Schema, Table, quoted
from pixsim.schema.reference import Reference
from pixsim.schema.target_parsing import Key

EXAMPLES = 5
"""How many of the rows that break a promise are named."""

# The server counts all of them and sends few; a long list goes to its disk, not into memory.
SOME = "SELECT *, count(*) OVER () AS broken_rows FROM ({query}) AS broken LIMIT {examples}"

DANGLING = """
SELECT {named} FROM {table} AS row
 WHERE {present} AND NOT EXISTS (SELECT FROM {to_table} AS target WHERE {matches})
"""

SECRETS = ("password", "jwt_token", "api_key", "api_key_paid", "cookies")


@dataclass(frozen=True)
class Promise:
    """A sentence that is true, and the query for the rows that break it.

    The query is never given parameters: a `%` in it is itself.
    """

    name: str
    sentence: str
    query: str
    since: Key | None = None
    """The migration that made it true; None: whatever the schema promises."""


@dataclass(frozen=True)
class Broken:
    """A promise that is not kept."""

    promise: Promise
    count: int
    """How many rows break it; -1: they cannot be read."""
    examples: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        rows = "; ".join(
            ", ".join(f"{name}={value}" for name, value in row.items()) for row in self.examples
        )
        found = f"{self.count} rows where not" if self.count >= 0 else "values that cannot be read"
        return f"{self.promise.name}: expected: {self.promise.sentence} Found {found}: {rows}"


OURS = (
    Promise(
        "submission-account",
        "A submission was made by an account of its own provider.",
        """SELECT submission.id, submission.provider_id, submission.account_id,
                  account.provider_id AS provider_of_account
             FROM provider_submissions AS submission
             LEFT JOIN provider_accounts AS account ON account.id = submission.account_id
            WHERE account.provider_id IS DISTINCT FROM submission.provider_id""",
        since=("providers", "0005_submission_account_required"),
    ),
    Promise(
        "user-profile",
        "Who can log in has a profile.",
        """SELECT id FROM auth_user
            WHERE NOT EXISTS (SELECT FROM profiles WHERE profiles.user_id = auth_user.id)""",
        since=("accounts", "0004_profiles_for_users"),
    ),
    Promise(
        "secrets-encrypted",
        "A secret of a provider account is encrypted.",
        " UNION ALL ".join(
            f"SELECT id, '{name}' AS secret FROM provider_accounts "
            f"WHERE {name}::text NOT IN ('', 'null') AND {name}::text NOT LIKE 'gAAAA%'"
            for name in SECRETS
        ),
        since=("providers", "0001_accounts"),
    ),
    *(
        Promise(each.name, each.sentence, each.sql, since=("crawler", "0008_foreign_keys"))
        for each in CHUNK_INVARIANTS
    ),
)
"""What PixSim promises beyond its foreign keys."""


def promised(expected: Reference) -> list[Promise]:
    """What holds of the rows of a database that stands where `expected` does."""
    return [
        *references(expected.schema),
        *(promise for promise in OURS if promise.since in expected.made),
    ]


def references(schema: Schema) -> Iterator[Promise]:
    """Of each foreign key that is validated: what it names is there."""
    for table in schema.tables.values():
        for constraint in table.constraints.values():
            if constraint.kind == "foreign key" and constraint.validated:
                yield _reference(table, constraint)


def broken(
    connection: BaseDatabaseWrapper, promises: Iterable[Promise]
) -> tuple[list[Broken], list[Promise]]:
    """The promises that are not kept, and those that cannot be looked at, since a column that they
    speak of is missing.

    Reads whole tables, all at one moment: seconds with millions of rows. Writes nothing.
    """
    found, skipped = [], []
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for promise in promises:
            try:
                with transaction.atomic(using=connection.alias):
                    rows = _rows(cursor, promise)
            except DataError as error:  # a value that cannot be read is none that we wrote
                found.append(Broken(promise, -1, [{"error": str(error).strip()}]))
                continue
            except DatabaseError as error:
                if not isinstance(error.__cause__, (UndefinedColumn, UndefinedTable)):
                    raise
                skipped.append(promise)
                continue
            if rows:
                count = rows[0]["broken_rows"]
                for row in rows:
                    del row["broken_rows"]
                found.append(Broken(promise, count, rows))
    return found, skipped


def _rows(cursor: Any, promise: Promise) -> list[dict[str, Any]]:
    cursor.execute(SOME.format(query=promise.query, examples=EXAMPLES))
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _reference(table: Table, key: Constraint) -> Promise:
    pairs = list(zip(key.columns, key.to_columns, strict=True))
    primary = next(
        (each.columns for each in table.constraints.values() if each.kind == "primary key"), ()
    )
    named = dict.fromkeys([*primary, *key.columns])
    return Promise(
        name=f"{table.name}.{','.join(key.columns)}",
        sentence=f"It names a row of {key.to_table}, or nothing.",
        query=DANGLING.format(
            named=", ".join(f"row.{quoted(name)}" for name in named),
            table=quoted(table.name),
            present=" AND ".join(f"row.{quoted(ours)} IS NOT NULL" for ours, _ in pairs),
            to_table=key.to_table,
            matches=" AND ".join(
                f"target.{quoted(theirs)} = row.{quoted(ours)}" for ours, theirs in pairs
            ),
        ),
    )
