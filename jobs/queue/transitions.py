"""The verbs of a work item: claim, complete, fail, wait, give back, rescue.

Each is one short transaction of its own, or joins the caller's, so that results and the end of
the item commit together.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from accounts import tiers
from jobs.queue import sql
from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind, Left
from jobs.queue.work import Work
from pixsim.core.db.sql import fetch
from pixsim.core.text import storable

MAX_ERROR_LENGTH = 4000


def claim(
    kind: Kind, *, limit: int, task_id: str, resting: Sequence[int] = (), **params: Any
) -> list[Work]:
    """Up to `limit` of the most urgent ready items, most urgent first, under one new lease.

    None of the parents that are `resting`; `params` are those of the kind's `claimable_sql`.
    """
    params |= {"limit": limit, "task_id": task_id, "resting": list(resting)}
    return _claim(kind, sql.CLAIM, params)


def claim_one(kind: Kind, *, item_id: int, task_id: str) -> Work | None:
    """The named item, if it is ready; None if it is not."""
    works = _claim(kind, sql.CLAIM_ONE, {"id": item_id, "task_id": task_id})
    return works[0] if works else None


def complete(works: Sequence[Work]) -> set[int]:
    """End items of one kind as completed; the ids that were still ours.

    They have one lease, or the caller has them locked (`lock_leases`).
    """
    return _leave(works[0].kind, sql.COMPLETE, _ids_and_leases(works))


def lock_leases(works: Sequence[Work]) -> set[Work]:
    """Those of one kind that are still ours, and stay so until the open transaction ends."""
    statement = works[0].kind.sql(sql.LOCK_LEASES)
    held = set(fetch(statement, _ids_and_leases(works)))
    return {work for work in works if (work.id, work.lease) in held}


def fail(work: Work, *, error: str, permanent: bool = False) -> bool:
    """Record a failed attempt: back to pending after a backoff, or failed when no retry is left.

    False if the lease was lost; nothing is written then.
    """
    params = {
        "id": work.id,
        "lease": work.lease,
        "error": storable(error, longest=MAX_ERROR_LENGTH),
        "permanent": permanent,
        **_retry_params(),
    }
    return bool(_leave(work.kind, sql.FAIL, params))


def wait(work: Work, *, seconds: float | None, reason: str | None = None) -> bool:
    """Give the item back until `seconds` from now (None: until resumed), without a retry.

    False if the lease was lost.
    """
    reason = reason and storable(reason, longest=MAX_ERROR_LENGTH)
    params = {"id": work.id, "lease": work.lease, "seconds": seconds, "reason": reason}
    return bool(_leave(work.kind, sql.WAIT, params))


def give_back(works: Sequence[Work]) -> int:
    """Put items of one kind and one lease back in their old place; how many were still ours."""
    if not works:
        return 0
    first = works[0]
    params = {"ids": [work.id for work in works], "lease": first.lease}
    with transaction.atomic(), connection.cursor() as cursor:
        rows = fetch(first.kind.sql(sql.GIVE_BACK), params)
        first.kind.record_left(cursor, [Left(*row) for row in rows])
    return len(rows)


def rescue(kind: Kind, *, limit: int = 500) -> set[int]:
    """Take items from workers that died or stalled; each counts as a failed attempt."""
    return _leave(kind, sql.RESCUE, {"limit": limit, **_retry_params()})


def settle(kind: Kind, *, limit: int = 1000) -> int:
    """Take in items that were ended by something outside the queue; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        rows = fetch(kind.sql(sql.SETTLE), {"limit": limit})
        # No parents: they are counted anew.
        kind.record_left(cursor, [Left(item_id, status, None) for item_id, status, _ in rows])
        kind.take_in_changes(cursor, sorted({row[2] for row in rows if row[2] is not None}))
    return len(rows)


def renew(kind: Kind, works: Sequence[Work]) -> None:
    """Prolong the leases of `works`; those that are lost are marked so."""
    params = {**_ids_and_leases(works), "lease_seconds": settings.QUEUE_LEASE_SECONDS}
    held = set(fetch(kind.sql(sql.RENEW), params))
    for work in works:
        if (work.id, work.lease) not in held:
            work.lost = True


def window_params() -> dict[str, str]:
    """Each tier's window, for statements that look a window up."""
    return {"windows": json.dumps(tiers.windows())}


def _claim(kind: Kind, statement: str, params: dict[str, Any]) -> list[Work]:
    rows = fetch(kind.sql(statement), {**params, "lease_seconds": settings.QUEUE_LEASE_SECONDS})
    rows.sort(key=lambda row: (-row[2], row[3], row[0]))
    return [Work(kind, item_id, lease) for item_id, lease, _priority, _ready_at in rows]


def _leave(kind: Kind, statement: str, params: dict[str, Any]) -> set[int]:
    """Run a statement by which items leave their window, and count it for their parents."""
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        rows = fetch(kind.sql(statement), {**params, **window_params()})
        left = [Left(row[0], row[1], row[2]) for row in rows]
        if left:
            kind.record_left(cursor, left)
    return {item.id for item in left}


def _ids_and_leases(works: Sequence[Work]) -> dict[str, list[int]]:
    return {
        "ids": [work.id for work in works],
        "leases": list({work.lease for work in works}),
    }


def _retry_params() -> dict[str, Any]:
    return {"max_retries": MAX_RETRIES, "backoff_seconds": settings.QUEUE_BACKOFF_SECONDS}
