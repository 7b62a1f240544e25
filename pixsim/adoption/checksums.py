"""The proof that nothing is lost: counts, and a checksum for every column, before and after.

A checksum is the sum over all rows of a hash of the value as text, seeded with the row's key, so that
exchanged values are noticed. Values are compared in our form. For a value that was changed, the
recorded old value counts; quarantined rows count like the others. The server computes the sums.
"""

from collections.abc import Sequence
from contextlib import closing

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.adoption import credentials
from pixsim.adoption.changes import CHANGES
from pixsim.adoption.copies import Copy
from pixsim.adoption.quarantine import QUARANTINE
from pixsim.schema.catalog import Schema, quoted

Sums = dict[str, dict[str, int]]
"""By table, by column; under `rows` how many there are."""

ROWS = "rows"


def before(connection: BaseDatabaseWrapper, copies: Sequence[Copy], schema: str) -> Sums:
    """Return the sums of the older tables, which are in `schema`."""
    sums: Sums = {}
    with closing(connection.cursor()) as cursor:
        for copy in copies:
            if copy.proofs:
                source = f"FROM {copy.source}".replace("{schema}", quoted(schema))
                values = {name: value for name, (value, _) in copy.proofs.items()}
                sums[copy.table] = _sums(cursor, copy.key, values, source)
            for name in credentials.secrets_of(copy):
                original = f"{quoted(schema)}.{quoted(copy.table)}"
                sums[copy.table][name] = credentials.fingerprint(
                    cursor, name, original, is_encrypted=False
                )
    return sums


def after(connection: BaseDatabaseWrapper, copies: Sequence[Copy], found: Schema) -> Sums:
    """Return the sums of our tables and of quarantine; `found` is the database as it is now."""
    sums: Sums = {}
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT DISTINCT table_name, column_name FROM {CHANGES}")
        changed = set(cursor.fetchall())
        for copy in copies:
            places = [
                name for name in (copy.table, QUARANTINE + copy.table) if name in found.tables
            ]
            values = {
                name: _as_it_was(name, value) if (copy.table, name) in changed else value
                for name, (_, value) in copy.proofs.items()
            }
            if copy.proofs:
                parts = [
                    _sums(cursor, "o.id", values, _source(place, copy.table)) for place in places
                ]
                sums[copy.table] = {
                    name: sum(part[name] for part in parts) for name in (ROWS, *values)
                }
            for name in credentials.secrets_of(copy):
                sums[copy.table][name] = sum(
                    credentials.fingerprint(cursor, name, place, is_encrypted=True)
                    for place in places
                )
    return sums


def apart(one: Sums, other: Sums) -> list[str]:
    """Return the columns whose sums differ."""
    return [
        f"{table}.{name}"
        for table, columns in one.items()
        for name, value in columns.items()
        if other.get(table, {}).get(name) != value
    ]


def _sums(cursor: CursorWrapper, key: str, values: dict[str, str], source: str) -> dict[str, int]:
    numbered = {f"v{number}": value for number, value in enumerate(values.values())}
    texts = ", ".join(f"({value})::text AS {name}" for name, value in numbered.items())
    hashes = ", ".join(
        f"coalesce(sum(coalesce(hashtextextended({name}, seed), seed)), 0)" for name in numbered
    )
    cursor.execute(
        f"SELECT count(*), {hashes} FROM"
        f" (SELECT hashtextextended(({key})::text, 0) AS seed, {texts} {source}) AS canonical"
    )
    return dict(zip((ROWS, *values), map(int, cursor.fetchone()), strict=True))


def _source(place: str, table: str) -> str:
    return (
        f"FROM {quoted(place)} AS o LEFT JOIN (SELECT row_id, jsonb_object_agg(column_name, was)"
        f" AS was FROM {CHANGES} WHERE table_name = '{table}' GROUP BY row_id) AS changed"
        " ON changed.row_id = o.id::text"
    )


def _as_it_was(name: str, value: str) -> str:
    return f"CASE WHEN changed.was ? '{name}' THEN changed.was->>'{name}' ELSE ({value})::text END"
