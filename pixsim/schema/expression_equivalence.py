"""Whether two expressions of SQL mean the same, as far as PostgreSQL can prove it.

`x IN ('a', 'b')` is stored as `x = ANY (ARRAY['a'::text, 'b'::text])`, so texts cannot be compared. First
the planner computes the constant parts of both, and the results are compared. Conditions that still
differ are given to its prover, which decides whether a query may use a partial index: they are equal if
each follows from the other.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.schema.catalog import quoted

PROBE, PROBE_INDEX = "pixsim_probe", "pixsim_probe_index"
SAME_MOMENT = {"CURRENT_TIMESTAMP", "now()", "transaction_timestamp()"}


class ExpressionEquivalence:
    """Compare expressions over the columns of tables in `schema` of `connection`.

    Work on an empty copy of the table that is never committed.
    """

    def __init__(self, connection: BaseDatabaseWrapper, schema: str) -> None:
        self._connection = connection
        self._schema = schema

    def same_value(self, table: str, one: str | None, other: str | None, *, type: str = "") -> bool:
        """Return whether two expressions have the same value in every row, as values of `type`."""
        if one is None or other is None or one == other:
            return one == other
        if {one, other} <= SAME_MOMENT:
            return True
        with self._probe(table) as cursor:
            values = [f"CAST(({text}) AS {type})" if type else f"({text})" for text in (one, other)]
            return bool(_folded(cursor, values[0]) == _folded(cursor, values[1]))
        return False

    def same_predicate(self, table: str, one: str | None, other: str | None) -> bool:
        """Return whether two conditions are true for the same rows, as in partial indexes."""
        return self.same_value(table, one, other) or (
            one is not None and other is not None and self._equivalent(table, one, other)
        )

    def same_check(self, table: str, one: str | None, other: str | None) -> bool:
        """Return whether two conditions are false for the same rows, as in CHECK."""
        return self.same_value(table, one, other) or (
            one is not None
            and other is not None
            and self._equivalent(table, f"NOT ({one})", f"NOT ({other})")
        )

    def _equivalent(self, table: str, one: str, other: str) -> bool:
        with self._probe(table) as cursor:
            return _follows(cursor, one, other) and _follows(cursor, other, one)
        return False

    @contextmanager
    def _probe(self, table: str) -> Iterator[CursorWrapper]:
        """Make a copy of the table without rows, constraints and indexes. If the server cannot
        evaluate an expression over this table, end the block without an error."""
        using = self._connection.alias
        with transaction.atomic(using=using), closing(self._connection.cursor()) as cursor:
            point = transaction.savepoint(using=using)
            try:
                cursor.execute(
                    f"CREATE TABLE {PROBE} AS SELECT * FROM {quoted(self._schema)}.{quoted(table)} "
                    f"WITH NO DATA"
                )
                yield cursor
            except Error:
                pass
            finally:
                transaction.savepoint_rollback(point, using=using)


def _folded(cursor: CursorWrapper, expression: str) -> Any:
    """Return the expression as the planner sees it, with its constant parts computed."""
    return _explained(cursor, f"SELECT {expression} FROM {PROBE}")["Output"]


def _follows(cursor: CursorWrapper, known: str, wanted: str) -> bool:
    """Return whether the prover finds that `wanted` is true wherever `known` is."""
    cursor.execute(f"CREATE INDEX {PROBE_INDEX} ON {PROBE} ((1)) WHERE {wanted}")
    cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    plan = _explained(cursor, f"SELECT FROM {PROBE} WHERE {known}")
    cursor.execute(f"DROP INDEX {PROBE_INDEX}")
    return bool(plan.get("Index Name") == PROBE_INDEX)


def _explained(cursor: CursorWrapper, query: str) -> dict[str, Any]:
    # A `%` is no placeholder where no parameters are given.
    cursor.execute(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {query}")
    (plan,) = cursor.fetchone()
    root: dict[str, Any] = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return root
