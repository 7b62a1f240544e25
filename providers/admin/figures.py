"""The figures of the providers' status page, as plain data. No statement scans a large table.

Ended submissions are read by account, newest first, from an index, at most SAMPLE_SIZE per account.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from providers import slots
from providers.models import ProviderAccount
from providers.slots import Standing

MINUTES = 60
SAMPLE_SIZE = 5_000
# Upper bounds of the bars of durations, in seconds.
TIME_BOUNDS = (0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
GROUPS = ("succeeded", "refused", "failed")
"""How a submission ends: with a result, failed through no fault of the provider, or through its."""

RECENT = """
WITH recent AS MATERIALIZED (
    SELECT account.provider_id, ended.*
    FROM provider_accounts account CROSS JOIN LATERAL (
        SELECT submitted_at, accepted_at, responded_at, error_class,
               duration_ms::float8 / 1000 AS seconds,
               CASE WHEN status = 'succeeded' THEN 'succeeded'
                    WHEN status IN ('filtered', 'cancelled') OR error_class = 'invalid_parameter'
                    THEN 'refused' ELSE 'failed' END AS ending
        FROM provider_submissions
        WHERE account_id = account.id AND reference IS NOT NULL AND responded_at IS NOT NULL
          AND responded_at > now() - make_interval(mins => %(minutes)s)
        ORDER BY responded_at DESC LIMIT %(limit)s) ended
)
"""

BY_MINUTE = f"""{RECENT}
SELECT provider_id, least(floor(extract(epoch FROM now() - responded_at) / 60)::int, %(minutes)s - 1),
       ending,
       count(*)
FROM recent GROUP BY 1, 2, 3
"""

BY_TIME = f"""{RECENT}
SELECT provider_id, width_bucket(seconds, %(bounds)s::float8[]), ending, count(*)
FROM recent WHERE seconds IS NOT NULL GROUP BY 1, 2, 3
"""

LATENCIES = f"""{RECENT}
SELECT provider_id, count(*),
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds)
           FILTER (WHERE ending = 'succeeded'),
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
           ORDER BY extract(epoch FROM accepted_at - submitted_at)::float8)
FROM recent GROUP BY 1
"""

BY_ERROR = f"""{RECENT}
SELECT provider_id, error_class, count(*) FROM recent
WHERE error_class IS NOT NULL AND ending <> 'succeeded' GROUP BY 1, 2
"""

# Slots in use, on average of each minute: the sum of the shares in which submissions were live.
SLOTS_BY_MINUTE = f"""{RECENT},
live AS (
    SELECT provider_id, submitted_at, responded_at FROM recent
    UNION ALL
    SELECT provider_id, submitted_at, now() FROM provider_submissions
    WHERE reference IS NOT NULL AND status IN ('pending', 'accepted', 'unknown')
),
ages AS (
    SELECT provider_id,
           greatest(extract(epoch FROM now() - responded_at) / 60, 0)::float8 AS youngest,
           least(extract(epoch FROM now() - submitted_at) / 60, %(minutes)s)::float8 AS oldest
    FROM live
)
SELECT provider_id, minute, sum(least(oldest, minute + 1) - greatest(youngest, minute))
FROM ages CROSS JOIN LATERAL
     generate_series(floor(youngest)::int, least(floor(oldest)::int, %(minutes)s - 1)) AS minute
GROUP BY 1, 2
"""


@dataclass
class Endings:
    """Number of submissions by the way in which they ended."""

    succeeded: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        return self.succeeded + self.refused + self.failed


@dataclass
class ProviderFigures:
    """One provider in the last hour."""

    provider_id: str
    accounts: list[tuple[ProviderAccount, Standing]]
    ended: int = 0
    minutes: list[Endings] = field(default_factory=lambda: [Endings() for _ in range(MINUTES)])
    """Per minute, the oldest first."""
    times: list[Endings] = field(
        default_factory=lambda: [Endings() for _ in range(len(TIME_BOUNDS) + 1)]
    )
    """By duration: up to each of TIME_BOUNDS, and beyond the last."""
    slots: list[float] = field(default_factory=lambda: [0.0] * MINUTES)
    """Slots in use on average of each minute, the oldest first."""
    errors: dict[str, int] = field(default_factory=dict)
    seconds: tuple[float, float] | None = None
    """From sending to the result, of those that succeeded: median and 95th percentile."""
    accept_seconds: tuple[float, float] | None = None
    """From sending to acceptance: median and 95th percentile."""

    @property
    def used(self) -> int:
        return sum(standing.used for _account, standing in self.accounts)

    @property
    def limit(self) -> int:
        """Slots of the accounts that are not disabled."""
        return sum(
            account.max_concurrent_jobs
            for account, _standing in self.accounts
            if account.status != "disabled"
        )

    @property
    def is_sample(self) -> bool:
        """Whether more ended than were read."""
        return self.ended >= SAMPLE_SIZE


def figures() -> list[ProviderFigures]:
    """Return the figures of every provider that has an account."""
    with transaction.atomic(), connection.cursor() as cursor:
        # The planner overestimates the rows, and would compile for half a second.
        cursor.execute("SET LOCAL jit = off")
        return _figures()


def _figures() -> list[ProviderFigures]:
    found = {
        provider: ProviderFigures(provider, accounts) for provider, accounts in _accounts().items()
    }
    for provider, ago, ending, count in _rows(BY_MINUTE):
        setattr(found[provider].minutes[MINUTES - 1 - max(ago, 0)], ending, count)
    for provider, place, ending, count in _rows(BY_TIME):
        setattr(found[provider].times[place], ending, count)
    for provider, minute, slots_used in _rows(SLOTS_BY_MINUTE):
        if provider in found:
            found[provider].slots[MINUTES - 1 - minute] = max(0.0, slots_used)
    for provider, error_class, count in _rows(BY_ERROR):
        found[provider].errors[error_class] = count
    for provider, ended, times, accepts in _rows(LATENCIES):
        found[provider].ended = ended
        found[provider].seconds = _pair(times)
        found[provider].accept_seconds = _pair(accepts)
    return list(found.values())


def _accounts() -> Mapping[str, list[tuple[ProviderAccount, Standing]]]:
    accounts = list(ProviderAccount.objects.order_by("provider_id", "-priority", "id"))
    standings = slots.standings([account.pk for account in accounts])
    found: dict[str, list[tuple[ProviderAccount, Standing]]] = defaultdict(list)
    for account in accounts:
        found[account.provider_id].append((account, standings.get(account.pk, Standing())))
    return found


def _rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            statement, {"minutes": MINUTES, "limit": SAMPLE_SIZE, "bounds": list(TIME_BOUNDS)}
        )
        return list(cursor.fetchall())


def _pair(values: Sequence[float | None] | None) -> tuple[float, float] | None:
    if not values or values[0] is None or values[1] is None:
        return None
    return values[0], values[1]
