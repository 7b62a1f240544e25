"""Trends: what the attempts of each hour, day and week came to, from one row an hour and kind.

The active sweeper counts every minute. An hour is counted anew until LATE_MINUTES after its end, so
an attempt that is committed late is counted too, and a count that was stopped is made up for.
"""

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from django.db import connection
from django.utils import timezone

from jobs.models import KEEP_ROLLUP_DAYS
from pixsim.core.db.sql import fetch

TIME_BOUNDS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 3600.0,
)  # fmt: skip
"""Upper bounds of the counts in `WorkRollup.times`, in seconds. Rows that exist depend on them."""
LATE_MINUTES = 10
HOURS_AT_ONCE = 3
"""So many hours are counted in one statement; after a long pause, the rest follows in the next ones."""

OUTCOMES = {
    "completed": "completed",
    "failed": "failed",
    "retries": "retry",
    "lost": "lost",
    "given_back": "given_back",
}
"""Column of a row → outcome of an attempt."""

Unit = Literal["hour", "day", "week"]
UNITS: dict[Unit, tuple[timedelta, int]] = {
    "hour": (timedelta(hours=1), 48),
    "day": (timedelta(days=1), 30),
    "week": (timedelta(weeks=1), 26),
}
"""Unit → its length, and how many of them are shown."""

_COUNTS = ", ".join(
    f"coalesce(sum(attempts) FILTER (WHERE outcome = '{outcome}'), 0)"
    for outcome in OUTCOMES.values()
)
_PLACES = range(1, len(TIME_BOUNDS) + 2)
_TIMES = ", ".join(
    f"coalesce(sum(attempts) FILTER (WHERE place = {place - 1}), 0)" for place in _PLACES
)
_TOTAL = " + ".join(f"{{row}}.{name}" for name in OUTCOMES)
_SUMS = ", ".join(
    [
        *(f"sum({name})::bigint" for name in OUTCOMES),
        "sum(seconds), max(seconds_max)",
        f"ARRAY[{', '.join(f'sum(times[{place}])::bigint' for place in _PLACES)}]",
    ]
)
_COLUMNS = "completed, failed, retries, lost, given_back, seconds, seconds_max, times"

# Rows of an hour never become fewer: if attempts of it were removed meanwhile, its row stays.
ROLL_UP = f"""/* queue:roll_up */
WITH begin AS (
    SELECT greatest(
        (SELECT max(counted_until) FROM work_rollups) - interval '{LATE_MINUTES} minutes',
        (SELECT min(ended_at) FROM work_attempts)) AS at
), due AS (
    SELECT hour FROM begin
    CROSS JOIN generate_series(date_trunc('hour', at, 'UTC'), now(), interval '1 hour') AS hour
    WHERE EXISTS (SELECT 1 FROM work_attempts
                  WHERE ended_at >= hour AND ended_at < hour + interval '1 hour')
    ORDER BY hour LIMIT {HOURS_AT_ONCE}
), grouped AS (
    SELECT kind, hour, outcome, count(*) AS attempts,
           CASE WHEN outcome IN ('completed', 'failed')
                THEN width_bucket(took, ARRAY{list(TIME_BOUNDS)}::float8[]) END AS place,
           sum(took) AS seconds, max(took) AS longest
    FROM due CROSS JOIN LATERAL (
        SELECT kind, outcome, date_part('epoch', ended_at - started_at) AS took
        FROM work_attempts WHERE ended_at >= hour AND ended_at < hour + interval '1 hour') AS ended
    GROUP BY kind, hour, outcome, place
), written AS (
    INSERT INTO work_rollups AS old (kind, hour, counted_until, {_COLUMNS})
    SELECT kind, hour, least(now(), hour + interval '1 hour'), {_COUNTS},
           coalesce(sum(seconds) FILTER (WHERE place IS NOT NULL), 0),
           coalesce(max(longest) FILTER (WHERE place IS NOT NULL), 0), ARRAY[{_TIMES}]
    FROM grouped GROUP BY kind, hour ORDER BY hour, kind
    ON CONFLICT (kind, hour) DO UPDATE SET counted_until = EXCLUDED.counted_until,
        {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS.split(", "))}
    WHERE {_TOTAL.format(row="EXCLUDED")} >= {_TOTAL.format(row="old")}
)
SELECT count(*) = {HOURS_AT_ONCE} AND max(hour) < date_trunc('hour', now(), 'UTC') FROM due
"""

OLD = "1970-01-01 00:00:00+00"
IS_OLD = f"hour < now() - interval '{KEEP_ROLLUP_DAYS} days' AND hour > '{OLD}'"
# Totals are counters that monitoring reads: one that decreases would be taken for a restart.
FOLD = f"""
WITH gone AS (DELETE FROM work_rollups WHERE {IS_OLD} RETURNING *)
INSERT INTO work_rollups AS old (kind, hour, counted_until, {_COLUMNS})
SELECT kind, '{OLD}', max(counted_until), {_SUMS} FROM gone GROUP BY kind
ON CONFLICT (kind, hour) DO UPDATE SET counted_until = EXCLUDED.counted_until,
    {", ".join(f"{name} = old.{name} + EXCLUDED.{name}" for name in (*OUTCOMES, "seconds"))},
    seconds_max = greatest(old.seconds_max, EXCLUDED.seconds_max),
    times = ARRAY[{", ".join(f"old.times[{n}] + EXCLUDED.times[{n}]" for n in _PLACES)}]
"""

TRENDS = f"""
SELECT kind, extract(epoch FROM date_trunc(%(unit)s, hour, 'UTC'))::float8 AS start, {_SUMS}
FROM work_rollups WHERE hour >= %(first)s GROUP BY 1, 2
"""
FINISHED = """
SELECT extract(epoch FROM hour)::float8, completed + failed FROM work_rollups
WHERE kind = %(kind)s AND hour > now() - interval '24 hours' ORDER BY hour
"""
"""The rate of the present is that of the last 24 hours."""
TOTALS = f"SELECT kind, min(hour), {_SUMS} FROM work_rollups GROUP BY kind ORDER BY kind"


@dataclass(frozen=True)
class Period:
    """The attempts that ended within an hour, a day or a week; the last period is not over yet."""

    start: datetime
    completed: int = 0
    failed: int = 0
    retries: int = 0
    lost: int = 0
    given_back: int = 0
    seconds: float = 0.0
    """How long the completed and the failed took, in all."""
    seconds_max: float = 0.0
    times: tuple[int, ...] | list[int] = (0,) * len(_PLACES)
    """How many of these took up to each of TIME_BOUNDS, and longer."""

    @property
    def finished(self) -> int:
        return self.completed + self.failed

    @property
    def failed_percent(self) -> float | None:
        return 100 * self.failed / self.finished if self.finished else None

    @property
    def seconds_p50(self) -> float | None:
        return self.quantile(0.5)

    @property
    def seconds_p95(self) -> float | None:
        return self.quantile(0.95)

    def quantile(self, share: float) -> float | None:
        """Return about the time that this share of the finished took at most.

        Within a bound's count, times are taken to be spread evenly.
        """
        left = share * sum(self.times)
        if not left:
            return None
        for lower, upper, count in zip((0.0, *TIME_BOUNDS), TIME_BOUNDS, self.times, strict=False):
            if left <= count:
                return float(min(lower + (upper - lower) * left / count, self.seconds_max))
            left -= count
        return self.seconds_max

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = asdict(self)
        del told["times"], told["seconds"]
        found = ("finished", "failed_percent", "seconds_p50", "seconds_p95")
        return told | {name: getattr(self, name) for name in found}


NOTHING = Period(datetime.fromisoformat(OLD))


def place_of(seconds: float) -> int:
    """Return the place of a time in `WorkRollup.times`."""
    return bisect_right(TIME_BOUNDS, seconds)


def roll_up() -> bool:
    """Count the hours that are due; return whether there are more of them."""
    return bool(fetch(ROLL_UP, {}, plan_anew=True)[0][0])


def fold_old() -> int:
    """Add the rows that are too old to the one of their kind; return how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM work_rollups WHERE {IS_OLD}")
        count: int = cursor.fetchone()[0]
        cursor.execute(FOLD)
    return count


def trend(kind: str, unit: Unit) -> list[Period]:
    """Return the last periods of a kind, the oldest first, also those with nothing in them."""
    rows = fetch(TRENDS, {"unit": unit, "first": starts(unit)[0]})
    return periods_of(rows, unit)[kind]


def periods_of(rows: Sequence[Sequence[Any]], unit: Unit) -> Mapping[str, list[Period]]:
    """Return the last periods of each kind, from the rows of TRENDS."""
    shown = starts(unit)
    found: Mapping[str, list[Period]] = defaultdict(lambda: [Period(start) for start in shown])
    for kind, start, *sums in rows:
        moment = datetime.fromtimestamp(start, UTC)
        if moment in shown:
            found[kind][shown.index(moment)] = Period(moment, *sums)
    return found


def starts(unit: Unit) -> list[datetime]:
    """Return when each of the periods that are shown began, the oldest first."""
    length, count = UNITS[unit]
    last = _start(timezone.now(), unit)
    return [last - length * ago for ago in reversed(range(count))]


def totals() -> dict[str, Period]:
    """Return the sums of all time, by kind."""
    with connection.cursor() as cursor:
        cursor.execute(TOTALS)
        return {kind: Period(*sums) for kind, *sums in cursor.fetchall()}


def finished_per_hour(kind: str) -> float | None:
    """Return how many items finished per hour since the first one of the last 24 hours.

    None: none did.
    """
    return rate_of(fetch(FINISHED, {"kind": kind}), now=timezone.now())


def rate_of(finished: Sequence[Sequence[Any]], *, now: datetime) -> float | None:
    """Return the same from the rows of FINISHED."""
    found = list(itertools.dropwhile(lambda row: not row[1], finished))
    if not found:
        return None
    seconds = now.timestamp() - float(found[0][0])
    return float(sum(row[1] for row in found) / max(seconds / 3600, 1 / 60))


def _start(moment: datetime, unit: Unit) -> datetime:
    """Return when the unit that contains the moment began; weeks begin on Monday."""
    start = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if unit != "hour":
        start = start.replace(hour=0)
    return start - timedelta(days=start.weekday()) if unit == "week" else start
