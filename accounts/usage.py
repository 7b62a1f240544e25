"""Count use per profile and day, in the transaction that uses it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db import connection

# The rows come sorted by key, so that transactions that add for several people lock in one order.
# Gigabytes are rounded from the exact sum, never summed from rounded parts.
ADD = """
INSERT INTO usage_metrics AS u
       (user_id, metric_date, images_processed, api_calls,
        storage_used_bytes, storage_used_gb, bandwidth_used_bytes, bandwidth_used_gb)
SELECT user_id, day, images, calls,
       storage, round(storage / 1e9, 2), bandwidth, round(bandwidth / 1e9, 2)
  FROM unnest(%s::uuid[], %s::date[], %s::int[], %s::int[], %s::bigint[], %s::bigint[])
       AS added (user_id, day, images, calls, storage, bandwidth)
 ORDER BY user_id, day
    ON CONFLICT (user_id, metric_date) DO UPDATE SET
       images_processed = u.images_processed + EXCLUDED.images_processed,
       api_calls = u.api_calls + EXCLUDED.api_calls,
       storage_used_bytes =
           COALESCE(u.storage_used_bytes, u.storage_used_gb * 1e9) + EXCLUDED.storage_used_bytes,
       storage_used_gb = round(
           (COALESCE(u.storage_used_bytes, u.storage_used_gb * 1e9) + EXCLUDED.storage_used_bytes)
           / 1e9, 2),
       bandwidth_used_bytes =
           COALESCE(u.bandwidth_used_bytes, u.bandwidth_used_gb * 1e9)
           + EXCLUDED.bandwidth_used_bytes,
       bandwidth_used_gb = round(
           (COALESCE(u.bandwidth_used_bytes, u.bandwidth_used_gb * 1e9)
            + EXCLUDED.bandwidth_used_bytes) / 1e9, 2)
"""


@dataclass(frozen=True)
class Usage:
    """What one profile used on one day (UTC). Amounts are never negative."""

    owner_id: UUID | None
    day: date
    images_processed: int = 0
    api_calls: int = 0
    storage_bytes: int = 0
    bandwidth_bytes: int = 0

    def __post_init__(self) -> None:
        if min(self.amounts) < 0:
            raise ValueError(f"Use only grows: {self}")

    @property
    def amounts(self) -> tuple[int, int, int, int]:
        return self.images_processed, self.api_calls, self.storage_bytes, self.bandwidth_bytes


def add_all(used: Iterable[Usage]) -> None:
    """Add what was used in one statement, locking rows by owner, then day.

    The system (an owner of None) is not counted.
    """
    sums: dict[tuple[UUID, date], tuple[int, ...]] = {}
    for one in used:
        if one.owner_id is not None and any(one.amounts):
            key = (one.owner_id, one.day)
            before = sums.get(key, (0, 0, 0, 0))
            sums[key] = tuple(a + b for a, b in zip(before, one.amounts, strict=True))
    if not sums:
        return
    columns = zip(*[(*key, *amounts) for key, amounts in sorted(sums.items())], strict=True)
    with connection.cursor() as cursor:
        cursor.execute(ADD, [list(column) for column in columns])
