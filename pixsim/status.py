"""The figures of the status page, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Count, Q
from django.utils import timezone

from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.ops import status
from jobs.queue.ops.status import KindStatus
from jobs.queue.worker import sweeper
from providers.models import ProviderAccount

MINUTES = 60
# Upper bounds of the bars of processing times, in seconds.
TIME_BOUNDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

# The latest items that ended: how many in each minute, and how long they took.
COURSE = """
WITH latest AS MATERIALIZED (
    SELECT status, floor(extract(epoch FROM now() - {finished}) / 60)::int AS minute,
           extract(epoch FROM {finished} - started_at)::float8 AS seconds
    FROM {table}
    WHERE {finished} > now() - make_interval(mins => %(minutes)s)
      AND status IN ('completed', 'failed')
    ORDER BY {finished} DESC LIMIT %(limit)s
)
SELECT 'minute', greatest(minute, 0), count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status = 'failed')
FROM latest GROUP BY 2
UNION ALL
SELECT 'time', width_bucket(seconds, %(bounds)s::float8[]),
       count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed')
FROM latest WHERE seconds IS NOT NULL GROUP BY 2
"""

# The latest images have the highest keys.
IMAGES_PER_MINUTE = """
SELECT greatest(floor(extract(epoch FROM now() - retrieved_at) / 60)::int, 0) AS minute, count(*)
FROM (SELECT retrieved_at FROM images ORDER BY id DESC LIMIT %(limit)s) latest
WHERE retrieved_at > now() - make_interval(mins => %(minutes)s)
GROUP BY 1
"""

SWEEPER_RUNS = """
SELECT EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND classid = 0 AND objid = %s AND granted
      AND datname = current_database())
"""


@dataclass(frozen=True)
class Ended:
    """How many items ended, by status."""

    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Course:
    """What ended within the last hour; of more than `status.SAMPLE_SIZE` items, the latest."""

    minutes: list[Ended]
    """By the minute, the oldest first."""
    times: list[Ended]
    """By processing time: up to each of TIME_BOUNDS, and beyond the last."""


@dataclass(frozen=True)
class AccountState:
    """How many accounts of a provider have a status; `cooling` counts those with a cooldown."""

    provider_id: str
    status: str
    accounts: int
    cooling: int


@dataclass(frozen=True)
class Figures:
    taken_at: datetime
    worker_runs: bool
    kinds: list[tuple[KindStatus, Course]]
    images_per_minute: list[int]
    accounts: list[AccountState]


def figures() -> Figures:
    """Return all figures of this moment. No query scans a large table."""
    return Figures(
        taken_at=timezone.now(),
        worker_runs=worker_runs(),
        kinds=[(status.snapshot(kind), course(kind)) for kind in all_kinds()],
        images_per_minute=images_per_minute(),
        accounts=account_states(),
    )


def worker_runs() -> bool:
    """Return whether the sweeper of some worker runs on this database."""
    with connection.cursor() as cursor:
        cursor.execute(SWEEPER_RUNS, [sweeper.LOCK_KEY])
        return bool(cursor.fetchone()[0])


def course(kind: Kind) -> Course:
    minutes = [Ended()] * MINUTES
    times = [Ended()] * (len(TIME_BOUNDS) + 1)
    with connection.cursor() as cursor:
        cursor.execute(
            kind.sql(COURSE),
            {"minutes": MINUTES, "limit": status.SAMPLE_SIZE, "bounds": list(TIME_BOUNDS)},
        )
        for what, place, completed, failed in cursor.fetchall():
            if what == "time":
                times[place] = Ended(completed, failed)
            elif place < MINUTES:
                minutes[MINUTES - 1 - place] = Ended(completed, failed)
    return Course(minutes, times)


def images_per_minute() -> list[int]:
    """Return how many images were stored in each of the last MINUTES minutes, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(IMAGES_PER_MINUTE, {"minutes": MINUTES, "limit": 100_000})
        return _by_minute(cursor.fetchall())


def account_states() -> list[AccountState]:
    now = timezone.now()
    rows = (
        ProviderAccount.objects.values("provider_id", "status")
        .annotate(accounts=Count("id"), cooling=Count("id", filter=Q(cooldown_until__gt=now)))
        .order_by("provider_id", "status")
    )
    return [AccountState(**row) for row in rows]


def _by_minute(rows: Sequence[tuple[int, int]]) -> list[int]:
    minutes = [0] * MINUTES
    for ago, number in rows:
        if ago < MINUTES:
            minutes[MINUTES - 1 - ago] = number
    return minutes
