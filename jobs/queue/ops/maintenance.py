"""The regular work that keeps the queue fast: statistics, dead rows, and what nobody needs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection
from psycopg.errors import Diagnostic, LockNotAvailable

from jobs.models import KEEP_DAYS, KEEP_PER_ITEM
from jobs.queue.kinds import Chore, Kind, Options, Result, Tick
from jobs.queue.ops import trends
from jobs.queue.ops.status import MAX_STUCK, STUCK

LOCK_SECONDS, PAUSE_SECONDS = 5, 0.2

READ_TABLES = ("profiles",)
"""Tables that the queue's statements join but hardly change: statistics are enough."""

DEAD_ROWS = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = %s::regclass"


# Too old, or followed by as many as are kept of an item.
OLD_ATTEMPTS = f"""
SELECT id FROM work_attempts WHERE ended_at < now() - interval '{KEEP_DAYS} days'
UNION
SELECT id FROM work_attempts JOIN (
    SELECT kind, item_id, max(number) AS last FROM work_attempts
    WHERE number > {KEEP_PER_ITEM} GROUP BY kind, item_id) AS many USING (kind, item_id)
WHERE number <= last - {KEEP_PER_ITEM}
"""
REMOVE_ATTEMPTS = f"""
DELETE FROM work_attempts WHERE id = ANY(ARRAY({OLD_ATTEMPTS} LIMIT %(limit)s))
"""
REMOVED_AT_ONCE = 10_000


def least_grace() -> timedelta:
    """The shortest grace that no running worker can outlast between a blob and its row."""
    return timedelta(seconds=settings.QUEUE_STALL_SECONDS + settings.QUEUE_LEASE_SECONDS)


def chores(kinds: Sequence[Kind]) -> Iterator[Chore]:
    """What there is to do, in order."""
    hot = dict.fromkeys(table for kind in kinds for table in kind.hot_tables())
    for table in READ_TABLES:
        yield Chore(f"analyze {table}", _Analyze(table))
    for table in hot:
        yield Chore(f"vacuum {table}", _Vacuum(table))
    yield Chore("trends", _roll_up)
    yield Chore("old attempts", _remove_attempts)
    for kind in kinds:
        yield from kind.chores()
    for kind in kinds:
        yield Chore(f"expired leases of {kind.name}", _Leases(kind))


@dataclass(frozen=True)
class _Analyze:
    table: str

    def __call__(self, options: Options, tick: Tick) -> Result:
        if options.dry_run:
            return Result(1, "statistics would be renewed")
        return _run_alone("ANALYZE (SKIP_LOCKED)", self.table, Result(1, "statistics renewed"))


@dataclass(frozen=True)
class _Vacuum:
    table: str

    def __call__(self, options: Options, tick: Tick) -> Result:
        with connection.cursor() as cursor:
            cursor.execute(DEAD_ROWS, [self.table])
            dead = cursor.fetchone()[0]
        if options.dry_run:
            return Result(dead, f"about {dead:,} dead rows would be removed")
        done = Result(dead, f"about {dead:,} dead rows removed, statistics renewed")
        return _run_alone("VACUUM (ANALYZE, SKIP_LOCKED)", self.table, done)


def _roll_up(options: Options, tick: Tick) -> Result:
    """Count what the sweeper has not, before attempts are removed; sum what is too old."""
    if options.dry_run:
        return Result(0, "would be counted")
    while trends.roll_up():
        pass
    count = trends.fold_old()
    return Result(count, f"counted; {count:,} hours of more than two years ago summed")


def _remove_attempts(options: Options, tick: Tick) -> Result:
    count = 0
    with connection.cursor() as cursor:
        if options.dry_run:
            cursor.execute(f"SELECT count(*) FROM ({OLD_ATTEMPTS}) AS old")
            count = cursor.fetchone()[0]
            return Result(count, f"{count:,} would be removed")
        while True:
            cursor.execute(REMOVE_ATTEMPTS, {"limit": REMOVED_AT_ONCE})
            count += cursor.rowcount
            tick(count)
            if cursor.rowcount < REMOVED_AT_ONCE:
                return Result(count, f"{count:,} removed")


@dataclass(frozen=True)
class _Leases:
    """Only tells of them: rescuing is the sweeper's."""

    kind: Kind

    def __call__(self, options: Options, tick: Tick) -> Result:
        with connection.cursor() as cursor:
            cursor.execute(self.kind.sql(STUCK), {"limit": MAX_STUCK})
            rows = cursor.fetchall()
        if not rows:
            return Result(0, "none")
        listed = ", ".join(f"{row[0]} (task {row[1] or 'unknown'})" for row in rows)
        return Result(
            rows[0][5],
            f"items {listed}" + (" and more" if rows[0][5] > len(rows) else ""),
            problem="A worker takes them back within a second: is one running?",
        )


def _run_alone(command: str, table: str, done: Result) -> Result:
    """Run a maintenance command on a table, unless somebody keeps it locked for LOCK_SECONDS.

    It asks again and again, since a lock timeout would stay in the session of a pooler.
    """
    ends = time.monotonic() + LOCK_SECONDS
    while _is_skipped(f"{command} {connection.ops.quote_name(table)}"):
        if time.monotonic() > ends:
            return Result(
                0,
                "left",
                problem=f"Another session keeps {table} locked, perhaps a vacuum: try again later.",
            )
        time.sleep(PAUSE_SECONDS)
    return done


def _is_skipped(statement: str) -> bool:
    """Run a statement with SKIP_LOCKED; return whether it left the table for its lock."""
    notices: list[str | None] = []
    connection.ensure_connection()
    raw = connection.connection

    def hear(notice: Diagnostic) -> None:
        notices.append(notice.sqlstate)

    raw.add_notice_handler(hear)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        raw.remove_notice_handler(hear)
    return LockNotAvailable.sqlstate in notices
