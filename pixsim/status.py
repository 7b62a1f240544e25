"""The figures of the status page, as plain data. No query scans a large table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.ops.status import SAMPLE_SIZE, KindStatus, snapshots
from jobs.queue.ops.trends import TRENDS, Period, Unit, periods_of, starts
from jobs.queue.worker.registry import ACTIVE_SECONDS
from pixsim.core.db.sql import fetch, fetch_together, one_moment
from providers.models import IS_LIVE, ProviderAccount, ProviderSubmission

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
    SELECT FROM workers WHERE last_seen_at > now() - make_interval(secs => %(seconds)s))
"""
COURSE_PARAMS = {"minutes": MINUTES, "limit": SAMPLE_SIZE, "bounds": list(TIME_BOUNDS)}
IMAGES_PARAMS = {"minutes": MINUTES, "limit": 100_000}

Ended = tuple[int, int]
"""How many items ended as completed, and how many as failed."""


@dataclass(frozen=True)
class KindFigures:
    """One kind of work: its state, its last hour, and its periods."""

    status: KindStatus
    minutes: list[Ended]
    times: list[Ended]
    periods: list[Period]


@dataclass(frozen=True)
class Figures:
    """What the status page shows."""

    kinds: dict[str, KindFigures]
    images: list[int]
    worker_runs: bool
    accounts: list[dict[str, Any]]


def figures(by: Unit) -> Figures:
    """Return the figures of this moment, from a few statements for all of them."""
    kinds = all_kinds()
    with one_moment() as cursor:
        found = snapshots(cursor, kinds, {"course": (COURSE, COURSE_PARAMS)})
        periods, images, sweeper, accounts_found = fetch_together(
            cursor,
            [
                (TRENDS, {"unit": by, "first": starts(by)[0]}),
                (IMAGES_PER_MINUTE, IMAGES_PARAMS),
                (SWEEPER_RUNS, {"seconds": ACTIVE_SECONDS}),
                accounts().query.sql_with_params(),
            ],
        )
    of_kind = periods_of(periods, by)
    names = ("provider_id", "status", "accounts", "cooling", "slots")
    return Figures(
        kinds={
            one.kind: KindFigures(one, *_course(more["course"]), of_kind[one.kind])
            for one, more in found
        },
        images=_by_minute(images),
        worker_runs=bool(sweeper[0][0]),
        accounts=[dict(zip(names, row, strict=True)) for row in accounts_found],
    )


def worker_runs() -> bool:
    """Return whether the sweeper of some worker runs on this database."""
    return bool(fetch(SWEEPER_RUNS, {"seconds": ACTIVE_SECONDS})[0][0])


def course(kind: Kind) -> tuple[list[Ended], list[Ended]]:
    """Return what ended within the last hour; of more than SAMPLE_SIZE items, the latest.

    By the minute, the oldest first; and by processing time, up to each of TIME_BOUNDS and beyond.
    """
    return _course(fetch(kind.sql(COURSE), COURSE_PARAMS))


def _course(rows: Iterable[Sequence[Any]]) -> tuple[list[Ended], list[Ended]]:
    minutes: list[Ended] = [(0, 0)] * MINUTES
    times: list[Ended] = [(0, 0)] * (len(TIME_BOUNDS) + 1)
    for what, place, completed, failed in rows:
        if what == "time":
            times[place] = completed, failed
        elif place < MINUTES:
            minutes[MINUTES - 1 - place] = completed, failed
    return minutes, times


def _by_minute(rows: Iterable[tuple[int, int]]) -> list[int]:
    """Return how many there were in each of the last MINUTES minutes, the oldest first."""
    found = dict(rows)
    return [found.get(ago, 0) for ago in reversed(range(MINUTES))]


def accounts() -> QuerySet[Any, Any]:
    """Return how many accounts of a provider have a status; `cooling` counts those with a cooldown,
    `slots` the submissions that they may carry at once.
    """
    cooling = Count("id", filter=Q(cooldown_until__gt=timezone.now()))
    by_status = ProviderAccount.objects.order_by("provider_id", "status").values(
        "provider_id", "status"
    )
    slots = Sum("max_concurrent_jobs")
    return by_status.annotate(accounts=Count("id"), cooling=cooling, slots=slots)


def slots_in_use() -> dict[str, int]:
    """Return the number of live submissions, by provider."""
    live = ProviderSubmission.objects.filter(IS_LIVE).order_by()
    return dict(live.values_list("provider_id").annotate(Count("id")))
