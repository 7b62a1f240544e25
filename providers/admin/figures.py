"""The figures of the providers' status page, as plain data. No statement scans a large table.

Ended submissions are read by account, newest first, from an index, at most SAMPLE_SIZE per account.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet

from providers import slots
from providers.models import ProviderAccount
from providers.slots import Standing

MINUTES = 60
SAMPLE_SIZE = 5_000
# Upper bounds of the bars of durations, in seconds.
TIME_BOUNDS = (0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)

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
    WHERE account.id = ANY(%(accounts)s)
)
"""

ENDED = f"""{RECENT}
SELECT provider_id, least(floor(extract(epoch FROM now() - responded_at) / 60)::int, %(minutes)s - 1),
       width_bucket(seconds, %(bounds)s::float8[]), ending, error_class, count(*)
FROM recent GROUP BY 1, 2, 3, 4, 5
"""

LATENCIES = f"""{RECENT}
SELECT provider_id,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds)
           FILTER (WHERE ending = 'succeeded'),
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
           ORDER BY extract(epoch FROM accepted_at - submitted_at)::float8)
FROM recent GROUP BY 1
"""

# Slots in use, on average of each minute: the sum of the shares in which submissions were live.
SLOTS_BY_MINUTE = f"""{RECENT},
live AS (
    SELECT provider_id, submitted_at, responded_at FROM recent
    UNION ALL
    SELECT provider_id, submitted_at, now() FROM provider_submissions
    WHERE reference IS NOT NULL AND status IN ('pending', 'accepted', 'unknown')
      AND account_id = ANY(%(accounts)s)
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
class ProviderFigures:
    """One provider in the last hour.

    Endings are counted by `succeeded`, `refused` and `failed`: through no fault of the provider, or
    through its.
    """

    provider_id: str
    accounts: list[tuple[ProviderAccount, Standing]] = field(default_factory=list)
    ended: int = 0
    minutes: list[Counter[str]] = field(default_factory=lambda: [Counter() for _ in range(MINUTES)])
    """Endings per minute, the oldest first."""
    times: list[Counter[str]] = field(
        default_factory=lambda: [Counter() for _ in range(len(TIME_BOUNDS) + 1)]
    )
    """Endings by duration: up to each of TIME_BOUNDS, and beyond the last."""
    slots: list[float] = field(default_factory=lambda: [0.0] * MINUTES)
    """Slots in use on average of each minute, the oldest first."""
    errors: Counter[str] = field(default_factory=Counter)
    seconds: Sequence[float] | None = None
    """From sending to the result, of those that succeeded: median and 95th percentile."""
    accept_seconds: Sequence[float] | None = None
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


def figures(rows: QuerySet[ProviderAccount]) -> list[ProviderFigures]:
    """Return the figures of the providers of these accounts, as these accounts were used."""
    found: dict[str, ProviderFigures] = {}
    accounts = list(rows.order_by("provider_id", "-priority", "id"))
    keys = [account.pk for account in accounts]
    standings = slots.standings(keys)
    for account in accounts:
        one = found.setdefault(account.provider_id, ProviderFigures(account.provider_id))
        one.accounts.append((account, standings.get(account.pk, Standing())))
    with transaction.atomic(), connection.cursor() as cursor:
        # The planner overestimates the rows, and would compile for half a second.
        cursor.execute("SET LOCAL jit = off")
        for provider, ago, time, ending, error_class, count in _rows(cursor, ENDED, keys):
            one = found[provider]
            one.ended += count
            one.minutes[MINUTES - 1 - max(ago, 0)][ending] += count
            if time is not None:
                one.times[time][ending] += count
            if error_class is not None and ending != "succeeded":
                one.errors[error_class] += count
        for provider, minute, slots_used in _rows(cursor, SLOTS_BY_MINUTE, keys):
            if provider in found:
                found[provider].slots[MINUTES - 1 - minute] = max(0.0, slots_used)
        for provider, seconds, accept_seconds in _rows(cursor, LATENCIES, keys):
            found[provider].seconds = seconds
            found[provider].accept_seconds = accept_seconds
    return list(found.values())


def _rows(cursor: CursorWrapper, statement: str, accounts: list[int]) -> list[tuple[Any, ...]]:
    params: dict[str, Any] = {"minutes": MINUTES, "limit": SAMPLE_SIZE, "bounds": list(TIME_BOUNDS)}
    params["accounts"] = accounts
    cursor.execute(statement, params)
    return list(cursor.fetchall())
