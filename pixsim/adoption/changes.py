"""Values that adoption changes so that adopted work is safe. Each change is recorded.

A change is a query of `id` and `value` over tables of ours. The same text counts the rows beforehand
and changes them later.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pixsim.adoption.quarantine import Rules
from pixsim.schema.catalog import Schema, quoted

CHANGES = "adoption_changes"
HELD_JOBS = "adoption_held_jobs"
"""The keys of pending generations; the migration that makes `jobs.held` reads it."""

CREATE_CHANGES = f"""
CREATE TABLE {CHANGES} (
    table_name text NOT NULL, row_id text NOT NULL, column_name text NOT NULL,
    was text, reason text NOT NULL, PRIMARY KEY (table_name, row_id, column_name))
"""

LEFT_RUNNING = (
    "It was being processed when this database was adopted, so nobody knows how it ended: the "
    "provider may have made it and charged for it. Retry it if it is still wanted."
)
RUNNING_JOBS = "FROM jobs WHERE status = 'processing'"


@dataclass(frozen=True)
class Change:
    """A change of one column in some rows."""

    table: str
    column: str
    rows: str
    reason: str

    @property
    def statement(self) -> str:
        """Return the statement that records the old value and changes it."""
        column, reason = quoted(self.column), self.reason.replace("'", "''")
        return f"""
            WITH changed AS MATERIALIZED ({self.rows}),
            noted AS (
                INSERT INTO {CHANGES}
                SELECT '{self.table}', t.id::text, '{self.column}', t.{column}::text, '{reason}'
                  FROM {self.table} AS t JOIN changed USING (id))
            UPDATE {self.table} AS t SET {column} = changed.value
              FROM changed WHERE changed.id = t.id
        """


def changes_for(target: Schema, rules: Iterable[Rules]) -> list[Change]:
    """Return all changes for the existing tables, in the order in which they are made."""
    found = [
        *_emptied(target, rules),
        SECOND_PROFILE if "profiles" in target.tables else SECOND_USER,
    ]
    if "jobs" in target.tables:
        found += LEFT_JOBS
    if "job_chunks" in target.tables:
        found += [LEFT_CHUNKS, *_counted()]
    return found


SAME_EMAIL = "somebody older has this e-mail, but for upper and lower case"

SECOND_USER = Change(
    "auth_user",
    "email",
    "SELECT id, '' AS value FROM (SELECT id, row_number() OVER"
    " (PARTITION BY lower(email) ORDER BY date_joined, id) AS place FROM auth_user"
    " WHERE email <> '') AS placed WHERE place > 1",
    SAME_EMAIL,
)

# A later migration gives exactly this address to the profile of a user who has none.
SECOND_PROFILE = Change(
    "profiles",
    "email",
    "SELECT p.id, 'user' || u.id || '@users.invalid' AS value FROM profiles AS p"
    " JOIN auth_user AS u ON u.username = 'profile-' || p.id WHERE u.email = '' AND p.email <> ''",
    SAME_EMAIL,
)

LEFT_CHUNKS = Change(
    "job_chunks",
    "status",
    "SELECT id, 'pending' AS value FROM job_chunks WHERE status = 'processing'",
    "it was left in processing: nobody works on it any more",
)

# The status comes last: the others ask for it.
LEFT_JOBS = [
    Change("jobs", column, f"SELECT id, {value} AS value {RUNNING_JOBS}", "it was left running")
    for column, value in (
        ("error_message", "'{}'".format(LEFT_RUNNING.replace("'", "''"))),
        ("completed_at", "now()"),
        ("status", "'failed'"),
    )
]


def _emptied(target: Schema, rules: Iterable[Rules]) -> Iterator[Change]:
    for each in rules:
        for reference in each.loose:
            column = quoted(reference.column)
            type_ = target.tables[each.table].columns[reference.column].type
            yield Change(
                each.table,
                reference.column,
                f"SELECT id, CAST(NULL AS {type_}) AS value FROM {each.table} AS r"
                f" WHERE {column} IS NOT NULL AND NOT EXISTS"
                f" (SELECT FROM {reference.to} AS p WHERE p.id = r.{column})",
                f"there is no such row of {reference.to}",
            )


def _counted() -> Iterator[Change]:
    """Yield changes of a crawl job's chunk counters that do not equal its rows."""
    for column, condition in (
        ("total_chunks", "true"),
        ("active_chunks", "status IN ('pending', 'processing')"),
        ("completed_chunks", "status = 'completed'"),
        ("failed_chunks", "status = 'failed'"),
    ):
        yield Change(
            "crawl_jobs",
            column,
            f"SELECT id, coalesce(rows, 0) AS value FROM crawl_jobs LEFT JOIN"
            f" (SELECT job_id, count(*) FILTER (WHERE {condition}) AS rows FROM job_chunks"
            f" GROUP BY job_id) AS counted ON job_id = id WHERE {column} <> coalesce(rows, 0)",
            "counted anew: pending chunks are active, those in quarantine are gone",
        )
