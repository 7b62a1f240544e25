"""The figures operators watch: what waits, what runs, how fast it goes, and what is stuck."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.utils import CursorWrapper

from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind
from jobs.queue.ops.trends import finished_per_hour
from pixsim.core.db.sql import one_moment
from pixsim.core.priority import PRIORITIES

EXACT_UP_TO = 50_000
"""More rows than this are not counted one by one: the planner's estimate has to do."""
SAMPLE_SIZE = 20_000
"""Rates and times are those of at most so many items, the latest that finished within an hour."""
SAMPLE_SECONDS = 3600
RATE_MINUTES = (1, 5, 60)
MAX_OWNERS = 200
"""Owners who wait are looked at one by one, up to so many."""
MAX_STUCK = 20
MAX_STATEMENTS = 15

STATES = (
    "ready", "waiting", "held", "scheduled", "processing", "completed", "failed", "cancelled"
)  # fmt: skip
OPEN_STATES = STATES[:5]

READY = "status = 'pending' AND ready_at IS NOT NULL"
WAITING = "status = 'pending' AND ready_at IS NULL AND NOT held"
SCHEDULED = "status = 'pending' AND held AND available_at IS NOT NULL"
OF_STATUS = "status = '{status}'"

COUNT = "SELECT count(*) FROM (SELECT 1 FROM {table} WHERE [condition] LIMIT %(limit)s) counted"

ESTIMATE = "EXPLAIN (FORMAT JSON) SELECT 1 FROM {table} WHERE [condition]"

ESTIMATED_ROWS = (
    "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %(name)s::regclass"
)

# The first entry of each priority's stretch of the claim index.
READY_AGES = """
SELECT priority, extract(epoch FROM now() - first.ready_at)::float8
FROM unnest(%(priorities)s::int[]) AS priority
CROSS JOIN LATERAL (
    SELECT ready_at FROM {table} item
    WHERE item.status = 'pending' AND item.ready_at IS NOT NULL AND item.priority = priority.priority
    ORDER BY ready_at LIMIT 1) AS first
ORDER BY priority DESC
"""

# A skip scan over the owners who wait, then the first entry of each of their priorities.
WAITING_AGE = """
WITH RECURSIVE owners AS (
    (SELECT owner_id, 1 AS place FROM {table}
     WHERE status = 'pending' AND ready_at IS NULL AND NOT held AND owner_id IS NOT NULL
     ORDER BY owner_id LIMIT 1)
    UNION ALL
    SELECT (SELECT owner_id FROM {table}
            WHERE status = 'pending' AND ready_at IS NULL AND NOT held
              AND owner_id > owners.owner_id
            ORDER BY owner_id LIMIT 1), place + 1
    FROM owners WHERE owner_id IS NOT NULL AND place < %(owners)s
)
SELECT count(DISTINCT owners.owner_id),
       extract(epoch FROM now() - min(first.created_at))::float8
FROM owners CROSS JOIN unnest(%(priorities)s::int[]) AS priority
CROSS JOIN LATERAL (
    SELECT created_at FROM {table} item
    WHERE item.owner_id = owners.owner_id AND item.priority = priority.priority
      AND item.status = 'pending' AND item.ready_at IS NULL AND NOT item.held
    ORDER BY created_at LIMIT 1) AS first
"""

PROCESSING_AGE = """
SELECT extract(epoch FROM now() - min(started_at))::float8
FROM {table} WHERE status = 'processing'
"""

RECENT = """
WITH latest AS MATERIALIZED (
    SELECT status, retry_count,
           extract(epoch FROM now() - {finished})::float8 AS age,
           extract(epoch FROM {finished} - started_at)::float8 AS seconds
    FROM {table}
    WHERE {finished} > now() - make_interval(secs => %(seconds)s)
      AND status IN ({ended})
    ORDER BY {finished} DESC LIMIT %(limit)s
)
SELECT count(*), count(*) FILTER (WHERE status = 'failed'), max(age),
       ARRAY(SELECT (SELECT count(*) FROM latest WHERE age <= 60 * minutes)
             FROM unnest(%(minutes)s::int[]) WITH ORDINALITY AS rate (minutes, place)
             ORDER BY place),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds),
       max(seconds),
       (SELECT json_object_agg(retry_count, items)
        FROM (SELECT retry_count, count(*) AS items FROM latest GROUP BY 1) AS counted)
FROM latest
"""

RETRYING = """
SELECT retry_count, count(*) FROM (
    SELECT retry_count FROM {table}
    WHERE held AND available_at IS NOT NULL AND status = 'pending' AND retry_count > 0
    LIMIT %(limit)s) AS scheduled
GROUP BY retry_count ORDER BY retry_count
"""

TIERS = """
SELECT coalesce(profiles.user_tier, 'system'), count(*)
FROM {table} item [sample] LEFT JOIN profiles ON profiles.id = item.owner_id
WHERE item.status = 'processing' OR item.status = 'pending' AND NOT ({dropped})
GROUP BY 1 ORDER BY 1
"""

STUCK = """
SELECT id, task_id, retry_count, lease_expires_at,
       extract(epoch FROM now() - lease_expires_at)::float8, count(*) OVER ()
FROM {table} item
WHERE status = 'processing' AND ({rescuable})
  AND (lease_expires_at IS NULL OR lease_expires_at < now())
ORDER BY lease_expires_at NULLS FIRST, id LIMIT %(limit)s
"""

INDEXES = """
SELECT indexrelname, idx_scan, idx_tup_read, pg_relation_size(indexrelid)
FROM pg_stat_user_indexes WHERE relid = %(table)s::regclass
ORDER BY idx_scan DESC, indexrelname
"""

# The extension may be absent, not loaded by the server, or not readable for this user.
HAS_STATEMENTS = "SELECT to_regclass('pg_stat_statements') IS NOT NULL"
STATEMENTS = r"""
SELECT coalesce(substring(query FROM '^/\* (queue:\w+) \*/'),
                left(regexp_replace(query, '\s+', ' ', 'g'), 80)),
       sum(calls)::bigint, sum(total_exec_time) / 1000, sum(rows)::bigint
FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = current_database() AND query ~ ('\m' || %s || '\M')
  AND query !~* '^(create|alter|drop)'
GROUP BY 1 ORDER BY 3 DESC LIMIT %s
"""

TABLE = """
SELECT n_live_tup, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid),
       greatest(last_vacuum, last_autovacuum), greatest(last_analyze, last_autoanalyze)
FROM pg_stat_user_tables WHERE relid = %(table)s::regclass
"""


FAILED_NOTE = (
    '{failed} failed for good. The queue fails an item with all its retries used, so "status = '
    "'failed' AND retry_count < {limit}\" finds only what something else has failed. All that failed: "
    "SELECT id, error_message FROM {table} WHERE status = 'failed' ORDER BY created_at. What is tried "
    "again by itself: status = 'pending' AND retry_count > 0."
)


@dataclass(frozen=True)
class Count:
    """A number of items; not `exact` means estimated, to be read as "about"."""

    number: int
    exact: bool = True

    @classmethod
    def sum(cls, counts: Iterable["Count"]) -> "Count":
        found = list(counts)
        return cls(sum(one.number for one in found), all(one.exact for one in found))

    def __str__(self) -> str:
        return f"{self.number:,}" if self.exact else f"about {self.number:,}"


@dataclass(frozen=True)
class Ages:
    """In seconds; None where there is nothing of the sort."""

    ready: float | None
    """Of the item that has been ready for longest."""
    ready_by_priority: dict[int, float]
    """The same for each priority that has ready items."""
    waiting: float | None
    """Since its creation, of the oldest item that waits for its owner's window."""
    processing: float | None
    """Of the attempt that has been going on for longest."""


@dataclass(frozen=True)
class Recent:
    """What finished within the last hour; of very much, the latest SAMPLE_SIZE items."""

    finished: int
    per_minute: dict[int, float]
    """Minutes looked back → items finished per minute."""
    failed_percent: float | None
    seconds_p50: float | None
    """Processing time: from the claim of the last attempt to its end."""
    seconds_p95: float | None
    seconds_max: float | None
    retries: dict[int, int]
    """Retries that an item had taken when it finished → items."""


@dataclass(frozen=True)
class StuckLease:
    """An item whose worker has died or stalled, not yet rescued."""

    id: int
    task_id: str | None
    retry_count: int
    lease_expires_at: datetime | None
    overdue_seconds: float | None


@dataclass(frozen=True)
class IndexUse:
    """Since the statistics were last reset."""

    name: str
    scans: int
    rows_read: int
    bytes: int


@dataclass(frozen=True)
class StatementUse:
    """A statement that names the table, since the statistics were last reset."""

    name: str
    """Its tag, such as queue:claim, or how it begins."""
    calls: int
    seconds: float
    rows: int

    @property
    def mean_seconds(self) -> float:
        return self.seconds / max(self.calls, 1)


@dataclass(frozen=True)
class Backlog:
    """What is to be done and may be: not the held items. When it would be, at the present rate."""

    items: Count
    per_hour: float | None
    """Items finished per hour in the last 24 hours; None: none."""

    @property
    def seconds(self) -> float | None:
        """Return the time to empty the backlog, if nothing is added; None: nothing is finished."""
        if self.items.number == 0:
            return 0.0
        return 3600 * self.items.number / self.per_hour if self.per_hour else None


@dataclass(frozen=True)
class TableState:
    """Dead rows are what VACUUM has to remove: many, and a late vacuum, mean bloat."""

    live_rows: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


@dataclass(frozen=True)
class Depth:
    """What is cheap enough to be asked every few seconds."""

    counts: dict[str, Count]
    ages: Ages
    stuck_count: int
    backlog: Backlog


@dataclass(frozen=True)
class KindStatus:
    """One kind of work at one moment."""

    kind: str
    taken_at: datetime
    counts: dict[str, Count]
    """For each of STATES. `waiting` waits for its owner's window; `scheduled` for its time; `held`
    for its job to be resumed, or to have what it needs. `cancelled` is what has the status, and what
    is pending for ever, since its job has ended without it."""
    ages: Ages
    waiting_owners: int
    """Owners with waiting items; MAX_OWNERS stands for that many or more."""
    recent: Recent
    backlog: Backlog
    retrying: dict[int, int]
    """Retries taken → items that wait for their next attempt."""
    tiers: dict[str, Count]
    """Tier of the owner ("system" without one) → items not yet finished."""
    stuck: list[StuckLease]
    """The longest overdue, up to MAX_STUCK."""
    stuck_count: int
    indexes: list[IndexUse]
    statements: list[StatementUse] | None
    """Those that took longest in all; None: the server does not count statements."""
    table: TableState | None
    notes: list[str]
    """What waits for people, and what helps."""

    @property
    def open(self) -> Count:
        """Items not yet finished."""
        return Count.sum(self.counts[state] for state in OPEN_STATES)

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries and lists, for JSON."""
        told = asdict(self)
        told["backlog"]["seconds"] = self.backlog.seconds
        return told


def depth(kind: Kind) -> Depth:
    """Return the figures of `snapshot` that come from indexes alone."""
    with one_moment() as cursor, _by_index(cursor):
        counts = _counts(cursor, kind)
        ages, _owners = _ages(cursor, kind)
        _stuck_leases, stuck_count = _stuck(cursor, kind)
        return Depth(counts, ages, stuck_count, _backlog(kind, counts))


def snapshot(kind: Kind) -> KindStatus:
    """The state of one kind of work, from one consistent view of the database.

    Cheap with millions of items, so a page may show it: what is counted and how old it is comes
    from indexes. Only the last hour's figures read the table where `finished_at` has no index.
    """
    with one_moment() as cursor:
        cursor.execute("SELECT now()")
        taken_at = cursor.fetchone()[0]
        with _by_index(cursor):
            counts = _counts(cursor, kind)
            ages, waiting_owners = _ages(cursor, kind)
            stuck, stuck_count = _stuck(cursor, kind)
            retrying = dict(_rows(cursor, kind, RETRYING, limit=EXACT_UP_TO))
        return KindStatus(
            kind=kind.name,
            taken_at=taken_at,
            counts=counts,
            ages=ages,
            waiting_owners=waiting_owners,
            recent=_recent(cursor, kind),
            backlog=_backlog(kind, counts),
            retrying=retrying,
            tiers=_tiers(cursor, kind, counts),
            stuck=stuck,
            stuck_count=stuck_count,
            indexes=[IndexUse(*row) for row in _rows(cursor, kind, INDEXES, table=kind.table)],
            statements=_statements(cursor, kind),
            table=_table(cursor, kind),
            notes=[*_failed_note(kind, counts["failed"]), *kind.notes()],
        )


@contextmanager
def _by_index(cursor: CursorWrapper) -> Iterator[None]:
    """Keep the planner from reading the table for the first few rows of a common status.

    It expects them to be spread evenly, while pending rows stand at the end of millions.
    """
    cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
    yield
    cursor.execute("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT")


def _counts(cursor: CursorWrapper, kind: Kind) -> dict[str, Count]:
    counts = {
        "ready": _count(cursor, kind, READY, index=f"ix_{kind.table}_claim"),
        "waiting": _count(cursor, kind, WAITING, index=f"ix_{kind.table}_waiting"),
        "scheduled": _count(cursor, kind, SCHEDULED, index=f"ix_{kind.table}_available"),
    }
    pending = _count(cursor, kind, OF_STATUS.format(status="pending"))
    for status in ("processing", "completed", "failed"):
        counts[status] = _count(cursor, kind, OF_STATUS.format(status=status))
    if "cancelled" in kind.ended:
        counts["cancelled"] = _count(cursor, kind, OF_STATUS.format(status="cancelled"))
        dropped = Count(0)
    else:
        [[number]] = _rows(cursor, kind, "{dropped_count}")
        counts["cancelled"] = dropped = Count(max(0, int(number)))
    # No index tells the held from the other pending items.
    others = [*(counts[state] for state in ("ready", "waiting", "scheduled")), dropped]
    counts["held"] = Count(
        max(0, pending.number - sum(count.number for count in others)),
        pending.exact and all(count.exact for count in others),
    )
    return {state: counts[state] for state in STATES}


def _count(cursor: CursorWrapper, kind: Kind, condition: str, *, index: str | None = None) -> Count:
    """Exact up to EXACT_UP_TO, else what the planner knows; `index` holds just these rows."""
    statement = COUNT.replace("[condition]", condition)
    [[number]] = _rows(cursor, kind, statement, limit=EXACT_UP_TO + 1)
    if number <= EXACT_UP_TO:
        return Count(number)
    if index is not None:
        [[estimate]] = _rows(cursor, kind, ESTIMATED_ROWS, name=index)
    else:
        [[plan]] = _rows(cursor, kind, ESTIMATE.replace("[condition]", condition))
        estimate = plan[0]["Plan"]["Plan Rows"]
    return Count(max(number, int(estimate)), exact=False)


def _ages(cursor: CursorWrapper, kind: Kind) -> tuple[Ages, int]:
    ready = dict(_rows(cursor, kind, READY_AGES, priorities=list(PRIORITIES)))
    [[waiting_owners, waiting]] = _rows(
        cursor, kind, WAITING_AGE, owners=MAX_OWNERS, priorities=list(PRIORITIES)
    )
    [[processing]] = _rows(cursor, kind, PROCESSING_AGE)
    ages = Ages(
        ready=max(ready.values(), default=None),
        ready_by_priority=ready,
        waiting=waiting,
        processing=processing,
    )
    return ages, waiting_owners


def _recent(cursor: CursorWrapper, kind: Kind) -> Recent:
    [[finished, failed, reach, in_time, p50, p95, longest, retries]] = _rows(
        cursor,
        kind,
        RECENT,
        seconds=SAMPLE_SECONDS,
        limit=SAMPLE_SIZE,
        minutes=list(RATE_MINUTES),
    )
    return Recent(
        finished=finished,
        per_minute={
            minutes: _per_minute(items, minutes, reach=reach if finished == SAMPLE_SIZE else None)
            for minutes, items in zip(RATE_MINUTES, in_time, strict=True)
        },
        failed_percent=100 * failed / finished if finished else None,
        seconds_p50=p50,
        seconds_p95=p95,
        seconds_max=longest,
        retries={int(count): items for count, items in sorted((retries or {}).items())},
    )


def _backlog(kind: Kind, counts: Mapping[str, Count]) -> Backlog:
    items = Count.sum(counts[state] for state in ("ready", "waiting", "scheduled", "processing"))
    return Backlog(items, finished_per_hour(kind.name))


def _per_minute(items: int, minutes: int, *, reach: float | None) -> float:
    """`reach` is how many seconds a sample goes back that was cut off at SAMPLE_SIZE."""
    if reach is not None and reach < 60 * minutes:
        return items * 60 / max(reach, 0.001)
    return items / minutes


def _failed_note(kind: Kind, failed: Count) -> Iterator[str]:
    """Say which query finds the failed items, if there are some."""
    if failed.number:
        yield FAILED_NOTE.format(failed=failed, limit=MAX_RETRIES, table=kind.table)


def _tiers(cursor: CursorWrapper, kind: Kind, counts: Mapping[str, Count]) -> dict[str, Count]:
    """Exact when all open items were counted, else from a sample of the table's pages."""
    open_count = Count.sum(counts[state] for state in OPEN_STATES)
    total = open_count.number
    if open_count.exact and counts["cancelled"].number <= EXACT_UP_TO:
        rows = _rows(cursor, kind, TIERS.replace("[sample]", ""))
        return {tier: Count(number) for tier, number in rows}
    [[table_rows]] = _rows(cursor, kind, ESTIMATED_ROWS, name=kind.table)
    percent = min(100.0, 100 * EXACT_UP_TO / max(1, table_rows))
    statement = TIERS.replace("[sample]", "TABLESAMPLE SYSTEM (%(percent)s)")
    rows = _rows(cursor, kind, statement, percent=percent)
    sampled = sum(number for _tier, number in rows) or 1
    return {tier: Count(round(total * n / sampled), exact=False) for tier, n in rows}


def _stuck(cursor: CursorWrapper, kind: Kind) -> tuple[list[StuckLease], int]:
    rows = _rows(cursor, kind, STUCK, limit=MAX_STUCK)
    return [StuckLease(*row[:5]) for row in rows], rows[0][5] if rows else 0


def _statements(cursor: CursorWrapper, kind: Kind) -> list[StatementUse] | None:
    if not _rows(cursor, kind, HAS_STATEMENTS)[0][0]:
        return None
    try:
        with transaction.atomic():
            cursor.execute(STATEMENTS, [kind.table, MAX_STATEMENTS])
            return [StatementUse(*row) for row in cursor.fetchall()]
    except DatabaseError:
        return None


def _table(cursor: CursorWrapper, kind: Kind) -> TableState | None:
    rows = _rows(cursor, kind, TABLE, table=kind.table)
    return TableState(*rows[0]) if rows else None


def _rows(cursor: CursorWrapper, kind: Kind, statement: str, **params: Any) -> list[Any]:
    cursor.execute(kind.sql(statement), params)
    return list(cursor.fetchall())
