"""Filling columns of large live tables: small ranges of keys, each its own transaction.

Whatever stops a backfill (kill -9, a lost connection, a lock that does not come free) leaves the
ranges that were committed; the next run begins at the first row that is still to do.
"""

import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TextIO

from django.core.management.base import CommandError
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from psycopg.errors import DeadlockDetected, LockNotAvailable

MIN_BATCH, MAX_BATCH = 100, 20_000


class BackfillRefused(Exception):
    """A backfill cannot go on; the message says what was kept and what to do."""


class BackfillBlocked(BackfillRefused):
    """Somebody held a lock on the rows of a range for longer than the backfill waits."""


@dataclass(frozen=True)
class KeyRange:
    """The keys from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True)
class Progress:
    """How far this run is, after a committed range; rows that were done before do not count."""

    table: str
    keys: KeyRange
    last_key: int
    changed: int
    total: int
    seconds: float

    @property
    def is_finished(self) -> bool:
        return self.keys.high >= self.last_key

    @property
    def rows_per_second(self) -> float:
        return self.changed / self.seconds if self.seconds else 0.0


def run_in_key_ranges(
    connection: BaseDatabaseWrapper,
    *,
    table: str,
    pending: str,
    apply: Callable[[CursorWrapper, KeyRange], int],
    key: str = "id",
    batch_size: int = 1000,
    goal_seconds: float = 0.2,
    lock_timeout_seconds: float = 2.0,
    attempts: int = 10,
    on_batch: Callable[[Progress], None] | None = None,
) -> int:
    """Apply a change to every row of `table` that is `pending`; return how many rows changed.

    `pending` is an SQL condition on the table's columns that is true for rows still to do, and
    `apply` changes those within a range of keys (it must test the condition again) and returns
    their number. `key` is a unique integer column. Each range holds about `batch_size` pending
    rows at first, then as many as take `goal_seconds`, so that nobody waits much longer for a
    row; rows added after the start are left for the next run.

    Raises BackfillBlocked when a range met a lock `attempts` times, each time after
    `lock_timeout_seconds`; what was committed before stays.
    """
    name, column = connection.ops.quote_name(table), connection.ops.quote_name(key)
    total, low, last = _extent(connection, name, column, pending)
    started = time.monotonic()
    changed, size, failures = 0, batch_size, 0
    while low is not None and low <= last:
        batch_started = time.monotonic()
        try:
            with (
                transaction.atomic(using=connection.alias, durable=True),
                closing(connection.cursor()) as cursor,
            ):
                cursor.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_seconds * 1000)}")
                keys = _next_range(cursor, name, column, pending, low, last, size)
                if keys is None:
                    break
                changed += apply(cursor, keys)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            failures += 1
            if failures == attempts:
                raise BackfillBlocked(
                    f"Rows of {table} from {key} {low} on are locked by another transaction. "
                    f"{changed} rows were filled and stay so; run this again to go on."
                ) from error
            size = max(MIN_BATCH, size // 2)
            continue
        failures = 0
        low = keys.high + 1
        size = _adapted(size, time.monotonic() - batch_started, goal_seconds)
        if on_batch:
            on_batch(Progress(table, keys, last, changed, total, time.monotonic() - started))
    return changed


def statement(sql: str) -> Callable[[CursorWrapper, KeyRange], int]:
    """Return an `apply` that runs `sql` with the parameters low and high."""

    def apply(cursor: CursorWrapper, keys: KeyRange) -> int:
        cursor.execute(sql, [keys.low, keys.high])
        return cursor.rowcount

    return apply


def migration_step(
    backfill: Callable[[BaseDatabaseWrapper], Any],
) -> Callable[[Any, BaseDatabaseSchemaEditor], None]:
    """Return `backfill` as RunPython takes it, with a refusal as `migrate`'s error message."""

    def run(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
        try:
            backfill(schema_editor.connection)
        except BackfillRefused as refusal:
            raise CommandError(str(refusal)) from refusal

    return run


def progress_lines(
    stream: TextIO = sys.stderr, every_seconds: float = 2.0
) -> Callable[[Progress], None]:
    """Return an `on_batch` that writes a line at most every `every_seconds`, and one at the end."""
    last = time.monotonic()

    def write(progress: Progress) -> None:
        nonlocal last
        if not progress.is_finished and time.monotonic() - last < every_seconds:
            return
        last = time.monotonic()
        left = (progress.total - progress.changed) / (progress.rows_per_second or 1)
        stream.write(
            f"{progress.table}: {progress.changed:,} of {progress.total:,} rows, "
            f"{progress.rows_per_second:,.0f} rows/s"
            + (".\n" if progress.is_finished else f", about {left:.0f} s left.\n")
        )
        stream.flush()

    return write


def _extent(
    connection: BaseDatabaseWrapper, table: str, column: str, pending: str
) -> tuple[int, int | None, int]:
    """Return how many rows are pending, and the first and last of their keys."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            f"SELECT count(*), min({column}), max({column}) "
            f"FROM {table} WHERE {pending}"  # the condition is the developer's own
        )
        total, first, last = cursor.fetchone()
    return total, first, last or 0


def _next_range(
    cursor: CursorWrapper, table: str, column: str, pending: str, low: int, last: int, size: int
) -> KeyRange | None:
    """Return the range from `low` that holds the next `size` pending rows, or None at the end."""
    cursor.execute(
        f"SELECT min(key), max(key) FROM (SELECT {column} AS key FROM {table} "
        f"WHERE {column} BETWEEN %s AND %s AND ({pending}) ORDER BY {column} LIMIT %s) AS batch",
        [low, last, size],
    )
    first, high = cursor.fetchone()
    return None if first is None else KeyRange(first, high)


def _adapted(size: int, seconds: float, goal_seconds: float) -> int:
    """Return the next batch size: towards the goal, at most halved or doubled at a time."""
    factor = min(2.0, max(0.5, goal_seconds / max(seconds, 0.001)))
    return min(MAX_BATCH, max(MIN_BATCH, int(size * factor)))
