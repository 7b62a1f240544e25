"""The figures operators watch: what waits, what runs, how fast it goes, and what is stuck."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.db import DatabaseError, transaction
from django.db.backends.utils import CursorWrapper

from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind
from jobs.queue.ops.trends import FINISHED, rate_of
from pixsim.core.db.sql import fetch_together, one_moment
from pixsim.core.priority import PRIORITIES

Statement = tuple[str, Mapping[str, Any]]
"""A SELECT, and its parameters beside `table`."""
Statements = Mapping[str, Statement]
Rows = list[Any]

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

INDEX_OF = {
    "ready": "ix_{table}_claim",
    "waiting": "ix_{table}_waiting",
    "scheduled": "ix_{table}_available",
}
"""The indexes that hold just the rows of a state."""

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
    with one_moment() as cursor:
        [first] = _asked(cursor, [kind], _from_indexes, by_index=True)
        [counts] = _counts(cursor, [kind], [first])
    ages, _owners = _ages(first)
    return Depth(counts, ages, _stuck(first)[1], _backlog(first, counts))


def snapshot(kind: Kind) -> KindStatus:
    """The state of one kind of work, with what its statements cost and notes for people."""
    with one_moment() as cursor:
        [(one, _more)] = snapshots(cursor, [kind])
        statements = _statements(cursor, kind)
        notes = [*_failed_note(kind, one.counts["failed"]), *kind.notes()]
    return replace(one, statements=statements, notes=notes)


def snapshots(
    cursor: CursorWrapper, kinds: Sequence[Kind], more: Statements | None = None
) -> list[tuple[KindStatus, dict[str, Rows]]]:
    """The state of each kind of work, and the rows of `more` for each, in a few statements.

    Call it in a transaction that sees one moment. Cheap with millions of items, so a page may show
    it: what is counted and how old it is comes from indexes. Only the last hour's figures read the
    table where `finished_at` has no index.
    """
    first = _asked(cursor, kinds, _from_indexes, by_index=True)
    counts = _counts(cursor, kinds, first)
    wanted = {
        kind.name: _from_tables(found, counted)
        for kind, found, counted in zip(kinds, first, counts, strict=True)
    }
    second = _asked(cursor, kinds, lambda kind: {**wanted[kind.name], **(more or {})})
    return [
        (_status(*given), given[-1]) for given in zip(kinds, counts, first, second, strict=True)
    ]


def _status(
    kind: Kind, counts: dict[str, Count], first: dict[str, Rows], second: dict[str, Rows]
) -> KindStatus:
    ages, waiting_owners = _ages(first)
    stuck, stuck_count = _stuck(first)
    return KindStatus(
        kind=kind.name,
        taken_at=_time(first["now"][0][0]),
        counts=counts,
        ages=ages,
        waiting_owners=waiting_owners,
        recent=_recent(second["recent"]),
        backlog=_backlog(first, counts),
        retrying=dict(first["retrying"]),
        tiers=_tiers(second["tiers"], counts),
        stuck=stuck,
        stuck_count=stuck_count,
        indexes=[IndexUse(*row) for row in second["indexes"]],
        statements=None,
        table=_table(second["table"]),
        notes=[],
    )


def _from_indexes(kind: Kind) -> Statements:
    """The statements that read indexes, and nothing else of a large table."""
    return {
        "now": ("SELECT now()", {}),
        **{name: (COUNT.replace("[condition]", condition), {"limit": EXACT_UP_TO + 1})
           for name, condition in _conditions(kind).items()},
        **{
            f"{name} estimated": (ESTIMATED_ROWS, {"name": index.format(table=kind.table)})
            for name, index in INDEX_OF.items()
        },
        "dropped": ("{dropped_count}", {}),
        "rows": (ESTIMATED_ROWS, {"name": kind.table}),
        "ready_ages": (READY_AGES, {"priorities": list(PRIORITIES)}),
        "waiting_age": (WAITING_AGE, {"owners": MAX_OWNERS, "priorities": list(PRIORITIES)}),
        "processing_age": (PROCESSING_AGE, {}),
        "stuck": (STUCK, {"limit": MAX_STUCK}),
        "retrying": (RETRYING, {"limit": EXACT_UP_TO}),
        "finished": (FINISHED, {"kind": kind.name}),
    }  # fmt: skip


def _from_tables(first: dict[str, Rows], counts: dict[str, Count]) -> Statements:
    recent = {"seconds": SAMPLE_SECONDS, "limit": SAMPLE_SIZE, "minutes": list(RATE_MINUTES)}
    tiers: Statement = (TIERS.replace("[sample]", ""), {})
    if not _has_few_open(counts):
        percent = min(100.0, 100 * EXACT_UP_TO / max(1, first["rows"][0][0]))
        sample = "TABLESAMPLE SYSTEM (%(percent)s)"
        tiers = TIERS.replace("[sample]", sample), {"percent": percent}
    return {
        "recent": (RECENT, recent),
        "tiers": tiers,
        "indexes": (INDEXES, {}),
        "table": (TABLE, {}),
    }


def _asked(
    cursor: CursorWrapper,
    kinds: Sequence[Kind],
    statements: Callable[[Kind], Statements],
    *,
    by_index: bool = False,
) -> list[dict[str, Rows]]:
    """Return the rows of each statement of each kind, from one statement."""
    wanted = [(kind, statements(kind)) for kind in kinds]
    flat = [
        (kind.sql(text), {"table": kind.table, **params})
        for kind, named in wanted
        for text, params in named.values()
    ]
    with _by_index(cursor) if by_index else nullcontext():
        rows = iter(fetch_together(cursor, flat))
    return [{name: next(rows) for name in named} for _kind, named in wanted]


@contextmanager
def _by_index(cursor: CursorWrapper) -> Iterator[None]:
    """Keep the planner from reading the table for the first few rows of a common status.

    It expects them to be spread evenly, while pending rows stand at the end of millions.
    """
    cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
    yield
    cursor.execute("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit TO DEFAULT")


def _conditions(kind: Kind) -> dict[str, str]:
    statuses = ["pending", "processing", "completed", "failed"]
    if "cancelled" in kind.ended:
        statuses.append("cancelled")
    by_status = {status: OF_STATUS.format(status=status) for status in statuses}
    return {"ready": READY, "waiting": WAITING, "scheduled": SCHEDULED, **by_status}


def _counts(
    cursor: CursorWrapper, kinds: Sequence[Kind], found: Sequence[dict[str, Rows]]
) -> list[dict[str, Count]]:
    """Exact up to EXACT_UP_TO, else what the planner knows."""
    many = {
        (kind.name, name): ESTIMATE.replace("[condition]", condition)
        for kind, rows in zip(kinds, found, strict=True)
        for name, condition in _conditions(kind).items()
        if rows[name][0][0] > EXACT_UP_TO and name not in INDEX_OF
    }
    estimates = _estimates(cursor, kinds, many)
    return [_counts_of(kind, rows, estimates) for kind, rows in zip(kinds, found, strict=True)]


def _estimates(
    cursor: CursorWrapper, kinds: Sequence[Kind], wanted: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], int]:
    """Return how many rows the planner expects of each, all asked at once."""
    if not wanted:
        return {}
    by_name = {kind.name: kind for kind in kinds}
    texts = [by_name[kind].sql(text) for (kind, _name), text in wanted.items()]
    cursor.execute("; ".join(texts))
    found = {}
    for key in wanted:
        [[plan]] = cursor.fetchall()
        found[key] = int(plan[0]["Plan"]["Plan Rows"])
        cursor.nextset()
    return found


def _counts_of(
    kind: Kind, rows: dict[str, Rows], estimates: Mapping[tuple[str, str], int]
) -> dict[str, Count]:
    counts = {}
    for name in _conditions(kind):
        number = int(rows[name][0][0])
        counts[name] = Count(number)
        if number > EXACT_UP_TO:
            known = rows[f"{name} estimated"][0][0] if name in INDEX_OF else 0
            estimate = estimates.get((kind.name, name), known)
            counts[name] = Count(max(number, estimate), exact=False)
    pending, dropped = counts.pop("pending"), Count(0)
    if "cancelled" not in counts:
        counts["cancelled"] = dropped = Count(max(0, int(rows["dropped"][0][0])))
    # No index tells the held from the other pending items.
    others = [*(counts[state] for state in ("ready", "waiting", "scheduled")), dropped]
    counts["held"] = Count(
        max(0, pending.number - sum(count.number for count in others)),
        pending.exact and all(count.exact for count in others),
    )
    return {state: counts[state] for state in STATES}


def _ages(first: dict[str, Rows]) -> tuple[Ages, int]:
    ready = dict(first["ready_ages"])
    [[waiting_owners, waiting]] = first["waiting_age"]
    [[processing]] = first["processing_age"]
    ages = Ages(
        ready=max(ready.values(), default=None),
        ready_by_priority=ready,
        waiting=waiting,
        processing=processing,
    )
    return ages, waiting_owners


def _recent(rows: Rows) -> Recent:
    [[finished, failed, reach, in_time, p50, p95, longest, retries]] = rows
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


def _backlog(first: dict[str, Rows], counts: Mapping[str, Count]) -> Backlog:
    items = Count.sum(counts[state] for state in ("ready", "waiting", "scheduled", "processing"))
    return Backlog(items, rate_of(first["finished"], now=_time(first["now"][0][0])))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _per_minute(items: int, minutes: int, *, reach: float | None) -> float:
    """`reach` is how many seconds a sample goes back that was cut off at SAMPLE_SIZE."""
    if reach is not None and reach < 60 * minutes:
        return items * 60 / max(reach, 0.001)
    return items / minutes


def _failed_note(kind: Kind, failed: Count) -> Iterator[str]:
    """Say which query finds the failed items, if there are some."""
    if failed.number:
        yield FAILED_NOTE.format(failed=failed, limit=MAX_RETRIES, table=kind.table)


def _has_few_open(counts: Mapping[str, Count]) -> bool:
    """Return whether all open items were counted; then their tiers are counted, too."""
    return _open(counts).exact and counts["cancelled"].number <= EXACT_UP_TO


def _open(counts: Mapping[str, Count]) -> Count:
    return Count.sum(counts[state] for state in OPEN_STATES)


def _tiers(rows: Rows, counts: Mapping[str, Count]) -> dict[str, Count]:
    """Exact when all open items were counted, else from a sample of the table's pages."""
    if _has_few_open(counts):
        return {tier: Count(number) for tier, number in rows}
    total = _open(counts).number
    sampled = sum(number for _tier, number in rows) or 1
    return {tier: Count(round(total * n / sampled), exact=False) for tier, n in rows}


def _stuck(first: dict[str, Rows]) -> tuple[list[StuckLease], int]:
    rows = first["stuck"]
    leases = [
        StuckLease(id, task, retries, until and _time(until), overdue)
        for id, task, retries, until, overdue, _count in rows
    ]
    return leases, rows[0][5] if rows else 0


def _statements(cursor: CursorWrapper, kind: Kind) -> list[StatementUse] | None:
    if not _rows(cursor, kind, HAS_STATEMENTS)[0][0]:
        return None
    try:
        with transaction.atomic():
            cursor.execute(STATEMENTS, [kind.table, MAX_STATEMENTS])
            return [StatementUse(*row) for row in cursor.fetchall()]
    except DatabaseError:
        return None


def _table(rows: Rows) -> TableState | None:
    if not rows:
        return None
    times = [text and _time(text) for text in rows[0][4:]]
    return TableState(*rows[0][:4], *times)


def _rows(cursor: CursorWrapper, kind: Kind, statement: str, **params: Any) -> list[Any]:
    cursor.execute(kind.sql(statement), params)
    return list(cursor.fetchall())
