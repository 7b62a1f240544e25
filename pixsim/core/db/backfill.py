"""Filling columns of large live tables: small ranges of keys, each its own transaction.

Whatever stops a backfill (kill -9, a lost connection, a lock that does not come free) leaves the
ranges that were committed; the next run begins at the first row that is still to do.
"""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TextIO

from django.core.management.base import CommandError
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper
from psycopg.errors import DeadlockDetected, LockNotAvailable

from pixsim.core.db.steps import in_sql

MIN_BATCH, MAX_BATCH = 100, 20_000
SCRIPT_BATCH = 5_000
"""Keys in a range of a script, which measures nothing."""

EXTENT = "SELECT count(*), min({key}), max({key}) FROM {table} WHERE ({pending}) AND {key} > %s"
NEXT_RANGE = """
SELECT min(key), max(key), count(*) FROM (
    SELECT {key} AS key FROM {table} WHERE {key} BETWEEN %s AND %s AND ({pending})
    ORDER BY {key} LIMIT %s
) AS batch
"""


Change = Callable[[CursorWrapper, int, int], int]
"""Changes the pending rows with keys from the first to the second; returns how many."""


class BackfillRefused(Exception):
    """A backfill cannot go on; the message says what was kept and what to do."""


class BackfillBlocked(BackfillRefused):
    """Somebody held a lock on the rows of a range for longer than the backfill waits."""


@dataclass(frozen=True)
class Progress:
    """How far this run is, after a committed range; rows that were done before do not count."""

    table: str
    first: int
    """The first key of the range."""
    high: int
    """The last key of the range."""
    last_key: int
    done: int
    """Rows looked at, of `total`."""
    changed: int
    """Those of them that were changed: a change may find nothing to say about a row."""
    total: int
    seconds: float

    @property
    def is_finished(self) -> bool:
        return self.high >= self.last_key

    @property
    def rows_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Backfill:
    """A backfill as an app declares it, in its module `backfills`; `manage.py db backfill` finds
    it there and runs it, and a migration's RunPython runs the same."""

    name: str
    help: str
    """One sentence for the operator."""
    table: str
    pending: str
    """SQL condition, true for rows to look at."""
    change: str | Change
    """SQL that changes the pending rows with keys from the first %s to the second; or a function
    that does, for what SQL does not know."""
    check: Callable[[BaseDatabaseWrapper], None] | None = None
    """Raises BackfillRefused, before anything is written, if it cannot be done."""
    undo: "Backfill | None" = None
    """What takes back what it changed."""
    batch_size: int = 1000
    """Rows of a range at first: few if each takes long."""

    def run(self, connection: BaseDatabaseWrapper, **options: Any) -> int:
        """Run it once over the table; `options` are those of `run_in_key_ranges`. Returns how many
        rows changed."""
        if self.check:
            self.check(connection)
        return run_in_key_ranges(
            connection,
            table=self.table,
            pending=self.pending,
            change=self.change,
            **{"batch_size": self.batch_size, **options},
        )

    @property
    def sql(self) -> str:
        """The same as one statement, for a script. Raise TypeError if it is no SQL."""
        if not isinstance(self.change, str):
            raise TypeError(f"{self.name} is no SQL")
        return range_script(self.table, pending=self.pending, change=self.change)


def run_in_key_ranges(
    connection: BaseDatabaseWrapper,
    *,
    table: str,
    pending: str,
    change: str | Change,
    key: str = "id",
    after: int | None = None,
    batch_size: int = 1000,
    goal_seconds: float = 0.2,
    lock_timeout_seconds: float = 2.0,
    attempts: int = 10,
    before_commit: Callable[[CursorWrapper, Progress], None] | None = None,
    on_batch: Callable[[Progress], None] | None = None,
) -> int:
    """Change every row of `table` that is `pending`; return how many rows changed.

    `pending` is an SQL condition on the table's columns that is true for rows still to do, and
    `change` the SQL that changes those from a first key to a last one, its two parameters (it must
    test the condition again), or a function. `key` is a unique integer column. Each range holds
    about `batch_size` pending rows at first, then as many as take `goal_seconds`, so that nobody
    waits much longer for a row; rows added after the start are left for the next run.

    To go on where another run stopped, give the last key it finished as `after`. `before_commit`
    runs in the transaction of each range: what it writes is kept if and only if the range is.
    `on_batch` runs after it is committed; what it raises ends the run.

    Raise BackfillBlocked when a range met a lock `attempts` times, each time after
    `lock_timeout_seconds`; what was committed before stays.
    """
    quoted = connection.ops.quote_name
    parts = {"table": quoted(table), "key": quoted(key), "pending": pending}
    extent, next_range = EXTENT.format(**parts), NEXT_RANGE.format(**parts)
    with closing(connection.cursor()) as cursor:
        cursor.execute(extent, [-(2**63) if after is None else after])
        total, low, last = cursor.fetchone()
    started = time.monotonic()
    done, changed, size, failures = 0, 0, batch_size, 0
    least = min(MIN_BATCH, batch_size)
    while low is not None and low <= last:
        batch_started = time.monotonic()
        try:
            with (
                transaction.atomic(using=connection.alias, durable=True),
                closing(connection.cursor()) as cursor,
            ):
                cursor.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_seconds * 1000)}")
                cursor.execute(next_range, [low, last, size])
                first, high, rows = cursor.fetchone()
                if first is None:
                    break
                if isinstance(change, str):
                    cursor.execute(change, [first, high])
                    rows_changed = cursor.rowcount
                else:
                    rows_changed = change(cursor, first, high)
                progress = Progress(
                    table=table,
                    first=first,
                    high=high,
                    last_key=last,
                    done=done + rows,
                    changed=changed + rows_changed,
                    total=total,
                    seconds=time.monotonic() - started,
                )
                if before_commit:
                    before_commit(cursor, progress)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                raise
            failures += 1
            if failures == attempts:
                raise BackfillBlocked(
                    f"Rows of {table} from {key} {low} on are locked by another transaction. "
                    f"{changed} rows were filled and stay so; run this again to go on."
                ) from error
            size = max(least, size // 2)
            continue
        failures, done, changed, low = 0, progress.done, progress.changed, high + 1
        seconds = time.monotonic() - batch_started
        size = max(least, _adapted(size, seconds, goal_seconds))
        if on_batch:
            on_batch(progress)
    return changed


def range_script(table: str, *, pending: str, change: str, key: str = "id") -> str:
    """The statement that does, outside a transaction and in ranges of keys that it commits, what
    `run_in_key_ranges` does with `change` (SQL with %s for the first and the last key)."""
    body = change.strip() % ("range_low", f"(range_low + {SCRIPT_BATCH - 1})")
    return f"""DO $backfill$
DECLARE
    range_low bigint;
    range_last bigint;
BEGIN
    SELECT min({key}), max({key}) INTO range_low, range_last FROM {table} WHERE {pending};
    WHILE range_low <= range_last LOOP
        {body};
        COMMIT;
        range_low := range_low + {SCRIPT_BATCH};
    END LOOP;
END $backfill$;"""


def migration_step(
    backfill: Callable[[BaseDatabaseWrapper], Any], *, sql: Sequence[str]
) -> Callable[[Any, BaseDatabaseSchemaEditor], None]:
    """Return `backfill` as RunPython takes it, with a refusal as `migrate`'s error message.

    `sql` is what it does, in statements, for a script of the migration.
    """

    @in_sql(*sql)
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
        seconds_left = (progress.total - progress.done) / (progress.rows_per_second or 1)
        stream.write(
            f"{progress.table}: {progress.done:,} of {progress.total:,} rows, "
            f"{progress.rows_per_second:,.0f} rows/s"
            + (".\n" if progress.is_finished else f", about {seconds_left:.0f} s left.\n")
        )
        stream.flush()

    return write


def _adapted(size: int, seconds: float, goal_seconds: float) -> int:
    """Return the next batch size: towards the goal, at most halved or doubled at a time."""
    factor = min(2.0, max(0.5, goal_seconds / max(seconds, 0.001)))
    return min(MAX_BATCH, int(size * factor))
