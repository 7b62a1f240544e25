"""What stands failed, by kind of work and class of the last error."""

from collections.abc import Sequence
from typing import Any

from jobs.queue.kinds import Kind
from pixsim.core.db.sql import fetch

# A failed item from before attempts were recorded has no class.
BY_CLASS = """/* queue:failures */
SELECT coalesce(attempt.error_class, 'unknown'), count(*), max(item.id), max(attempt.ended_at),
       max(left(item.error_message, 80))
FROM {table} item LEFT JOIN work_attempts attempt
    ON attempt.kind = '{kind}' AND attempt.item_id = item.id
   AND attempt.number = item.attempt_count
WHERE item.status = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1
"""


def by_class(kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """Return a row for each class of error: how many items, an example, the latest time."""
    return [
        {
            "kind": kind.name,
            "error_class": error_class,
            "failed": count,
            "example": example,
            "latest": latest,
            "message": message,
        }
        for kind in kinds
        for error_class, count, example, latest, message in fetch(kind.sql(BY_CLASS), {})
    ]
