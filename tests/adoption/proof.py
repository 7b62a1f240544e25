"""What adoption must leave of an older database, computed here and not by adoption.

`remember` writes down, before, what every value of every row must become; `lost` compares with
what is there afterwards, value by value.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tests.adoption.legacy import State
from tests.adoption.legacy.pixsim7 import ENUMS

Sql = Callable[..., list[tuple[Any, ...]]]

SECRETS = ("password", "jwt_token", "api_key", "api_key_paid", "cookies")

LEFT = "lower(status::text) = 'processing'"
CHUNKS = "(SELECT count(*) FROM job_chunks AS c WHERE c.job_id = t.id{})"
BECOMES = {
    # The way round that ours go.
    ("jobs", "priority"): "10 - priority",
    # Work that nobody does any more.
    ("jobs", "status"): f"CASE WHEN {LEFT} THEN 'failed' ELSE lower(status::text) END",
    ("job_chunks", "status"): f"CASE WHEN {LEFT} THEN 'pending' ELSE status END",
    # Counters equal their rows.
    ("crawl_jobs", "total_chunks"): CHUNKS.format(""),
    ("crawl_jobs", "active_chunks"): CHUNKS.format(" AND c.status IN ('pending', 'processing')"),
    ("crawl_jobs", "completed_chunks"): CHUNKS.format(" AND c.status = 'completed'"),
    ("crawl_jobs", "failed_chunks"): CHUNKS.format(" AND c.status = 'failed'"),
}
REASONED = ("error_message", "completed_at")
"""Of jobs that were left in processing these say what happened, and when it was noticed."""


def remember(sql: Sql, state: State, *, but: str = "") -> None:
    """Copy the rows into the schema `proof`, each value as it must become."""
    sql("CREATE SCHEMA proof")
    for name, table in state.tables.items():
        if name == but:
            continue
        values = ", ".join(
            f"{_becomes(state, name, column.name, column.type)} AS {column.name}"
            for column in table.columns
        )
        left = f"{LEFT if name == 'jobs' else 'false'} AS was_left"
        sql(f"CREATE TABLE proof.{name} AS SELECT {values}, {left} FROM {name} AS t")


def lost(sql: Sql, state: State, *, but: str = "") -> list[str]:
    """Tables whose rows are not as many, and columns with a value that is not what it must be."""
    names = [name for name in state.tables if name not in ("users", but)]
    return [text for name in names for text in _lost(sql, state, name)]


def lost_people(sql: Sql) -> list[tuple[Any, ...]]:
    """Users of PixSim7 who are not the same in Django's table."""
    return sql(
        "SELECT o.id FROM proof.users AS o FULL JOIN auth_user AS u USING (id)"
        " WHERE (o.username, o.email, o.is_active, o.created_at, o.last_login_at,"
        " 'bcrypt_legacy$' || o.password_hash, coalesce(o.display_name, ''), o.role = 'admin')"
        " IS DISTINCT FROM (u.username::text, u.email::text, u.is_active, u.date_joined,"
        " u.last_login, u.password::text, u.first_name::text, u.is_superuser)"
    )


def _lost(sql: Sql, state: State, name: str) -> Iterator[str]:
    here = {
        column
        for (column,) in sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", name
        )
    }
    columns = [each.name for each in state.tables[name].columns if each.name in here - {"id"}]
    tests = [
        f"count(*) FILTER (WHERE o.{column}::text IS DISTINCT FROM t.{column}::text"
        f" AND o.id = t.id{' AND NOT was_left' if column in REASONED else ''})"
        for column in columns
        if column not in SECRETS or name != "provider_accounts"
    ]
    [(missing, added, *wrong)] = sql(
        "SELECT count(*) FILTER (WHERE t.id IS NULL), count(*) FILTER (WHERE o.id IS NULL),"
        f" {', '.join(tests)} FROM proof.{name} AS o FULL JOIN {name} AS t USING (id)"
    )
    if missing or added:
        yield f"{name}: {missing} rows are missing, {added} are new"
    for column, count in zip(
        [one for one in columns if one not in SECRETS or name != "provider_accounts"],
        wrong,
        strict=True,
    ):
        if count:
            yield f"{name}.{column}: {count} values"


def _becomes(state: State, table: str, column: str, type_: str) -> str:
    if (table, column) in BECOMES and not (
        table == "crawl_jobs" and "job_chunks" not in state.tables
    ):
        return BECOMES[table, column]
    if type_ in ENUMS:
        return f"lower({column}::text)"
    if type_ == "json" and column not in SECRETS:
        return f"{column}::jsonb"
    return column
