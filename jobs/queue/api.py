"""What other apps may call: claim, end and change work items, by ids or by parent.

Each function is one short transaction of its own, or joins the caller's, so that results and the
end of an item commit together. The lock order that holds everywhere: owners, items by id, parents by
id, credits. Admission locks owners; so after a change of items it runs when that has committed.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts import tiers
from jobs.queue import attempts, pauses, sql
from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind, Left, Work
from jobs.queue.worker import identity, notify
from pixsim.core.db.sql import fetch
from pixsim.core.redaction import redact
from pixsim.core.text import storable

MAX_ERROR_LENGTH = 4000
MAX_ERROR_CLASS_LENGTH = 100
BATCH = 5000
OPEN = ("pending", "processing")
NO_OWNER = UUID(int=0)
"""Before the first owner by key."""


# Claimed items


def claim(
    kind: Kind, *, limit: int, task_id: str, skipped: Sequence[int] = (), **params: Any
) -> list[Work]:
    """Claim up to `limit` of the most urgent ready items, most urgent first, under one new lease.

    Skip the items of the parents in `skipped`; `params` are those of the kind's `claimable_sql`.
    """
    params |= {"limit": limit, "task_id": task_id, "skipped": list(skipped)}
    return _claim(kind, sql.CLAIM, params)


def claim_one(kind: Kind, *, item_id: int, task_id: str) -> Work | None:
    """Claim the named item if it is ready; return None if it is not."""
    works = _claim(kind, sql.CLAIM_ONE, {"id": item_id, "task_id": task_id})
    return works[0] if works else None


def renew(kind: Kind, works: Sequence[Work]) -> None:
    """Prolong the leases of `works`; mark those that are lost."""
    params = {**_ids_and_leases(works), "lease_seconds": settings.QUEUE_LEASE_SECONDS}
    held = set(fetch(kind.sql(sql.RENEW), params))
    for work in works:
        if (work.id, work.lease) not in held:
            work.lost = True


def lock_leases(works: Sequence[Work]) -> set[Work]:
    """Return those of one kind that are still ours; they stay so until the transaction ends."""
    held = set(fetch(works[0].kind.sql(sql.LOCK_LEASES), _ids_and_leases(works)))
    return {work for work in works if (work.id, work.lease) in held}


def complete(works: Sequence[Work]) -> set[int]:
    """End items of one kind as completed; return the ids that were still ours.

    They have one lease, or the caller has locked them (`lock_leases`).
    """
    return _leave(works[0].kind, sql.COMPLETE, works)


def complete_and_claim(
    works: Sequence[Work], *, limit: int, task_id: str, skipped: Sequence[int] = ()
) -> list[Work]:
    """End items of one kind and lease as completed, and claim others, in one transaction.

    The parents are counted after the claim: every process wants their rows, so they are locked for
    as short as can be.
    """
    kind = works[0].kind
    claimed: list[Work] = []

    def claim_others() -> None:
        claimed.extend(claim(kind, limit=limit, task_id=task_id, skipped=skipped))

    _leave(kind, sql.COMPLETE, works, before_counting=claim_others)
    return claimed


def fail(
    work: Work,
    *,
    error: str,
    error_class: str = "Error",
    permanent: bool = False,
    unexpected: BaseException | None = None,
) -> bool:
    """Record a failed attempt: back to pending after a backoff, or failed when no retry is left.

    `error_class` is the kind of error, to group by; `unexpected` is logged with its traceback.
    Return False if the lease was lost; nothing is written then.
    """
    error = storable(redact(error), longest=MAX_ERROR_LENGTH)
    params = {"error": error, "permanent": permanent, **_retry_params()}
    return bool(
        _leave(
            work.kind, sql.FAIL, [work], error_class=error_class, unexpected=unexpected, **params
        )
    )


def wait(
    work: Work, *, seconds: float | None, reason: str | None = None, error_class: str | None = None
) -> bool:
    """Give the item back until `seconds` from now (None: until resumed), without a retry.

    With `error_class` it was an attempt that failed, and is recorded as one. Return False if the
    lease was lost.
    """
    reason = reason and storable(reason, longest=MAX_ERROR_LENGTH)
    params: dict[str, Any] = {
        "seconds": seconds,
        "reason": reason,
        "began": error_class and work.started_at,
    }
    return bool(_leave(work.kind, sql.WAIT, [work], error_class=error_class, **params))


def give_back(works: Sequence[Work], *, begun: Sequence[Work] = ()) -> int:
    """Put items of one kind and one lease back in their old place; return how many were ours.

    Those in `begun` had an attempt, which is recorded.
    """
    if not works:
        return 0
    params: dict[str, Any] = {"begun": [work.id for work in begun], "began": works[0].started_at}
    left = _leave(works[0].kind, sql.GIVE_BACK, works, outcome="given_back", **params)
    return len(left)


def unlease(work: Work) -> bool:
    """Keep the item processing without a lease that ends: something else guards it from now on."""
    return bool(fetch(work.kind.sql(sql.UNLEASE), {"id": work.id, "lease": work.lease}))


def reclaim(work: Work) -> bool:
    """Take a failed item back under its old lease, to be completed in the same transaction."""
    params = {"id": work.id, "lease": work.lease, "worker": identity.process_name()}
    return bool(fetch(work.kind.sql(sql.RECLAIM), params))


def rescue(kind: Kind, *, limit: int = 500) -> set[int]:
    """Take items from workers that died or stalled; each counts as a failed attempt."""
    params = {"limit": limit, **_retry_params()}
    return _leave(kind, sql.RESCUE, outcome="lost", error_class="WorkerLost", **params)


# New items


def insert(
    kind: Kind,
    *,
    columns: Sequence[str],
    rows: str,
    priority: int,
    owner: UUID | None,
    **params: Any,
) -> list[int]:
    """Insert items and admit them; return their ids.

    `columns` are the kind's own; `rows` is a query for their values, with the parameters `params`.
    """
    statement = sql.INSERT.replace("[columns]", ", ".join(columns)).replace("[rows]", rows)
    ids = fetch(kind.sql(statement), {**params, "priority": priority, "owner": owner})
    admit_owners(kind, [owner])
    return [row[0] for row in ids]


def start(
    kind: Kind,
    ids: Sequence[int],
    *,
    priority: int,
    owner: UUID | None,
    held: bool = False,
    at: datetime | None = None,
    reason: str | None = None,
) -> None:
    """Admit rows that were inserted without the queue's columns, or requeued, in that transaction.

    `held` keeps them from running until `at` (None: until resumed), for `reason`.
    """
    params = {"ids": list(ids), "priority": priority, "owner": owner}
    fetch(kind.sql(sql.START), {**params, "held": held, "at": at, "reason": reason})
    admit_owners(kind, [] if held else [owner])


# Changes by people and by other apps: by ids, or of all that are a parent's, in batches. Return
# how many items changed.


def hold(kind: Kind, ids: Sequence[int] = (), *, parent: int | None = None) -> int:
    """Keep pending items from running until they are resumed."""
    return _change(kind, sql.HOLD, ids, parent)


def stop(kind: Kind, *, parent: int) -> int:
    """Hold the parent's items, also those that a worker has, in a transaction that locks the parent."""
    return _change(kind, sql.STOP, (), parent)


def resume(kind: Kind, ids: Sequence[int] = (), *, parent: int | None = None) -> int:
    """Let held items run, within their owners' windows."""
    return _change(kind, sql.RESUME, ids, parent)


def resume_waiting(kind: Kind, *, parent: int, reason: str | None = None) -> int:
    """Resume the parent's items whose wait is over, or those that are held for `reason`."""
    with transaction.atomic():
        statement = sql.RESUME_WAITING if reason is None else sql.RESUME_BY_REASON
        rows = fetch(kind.sql(statement), {"parent": parent, "reason": reason})
        if rows:
            _admit_on_commit(kind, (owner for _id, owner in rows))
    return len(rows)


def resume_due(kind: Kind, *, limit: int = 1000) -> int:
    """Resume the items whose time has come."""
    with transaction.atomic():
        rows = fetch(kind.sql(sql.RESUME_DUE), {"limit": limit})
    if rows:
        admit_owners(kind, (owner for owner, held in rows if not held))
    return len(rows)


def schedule(kind: Kind, times: Mapping[int, datetime | None]) -> int:
    """Set when held items are due, by id; None: now."""
    ids = sorted(times)
    params = {"ids": ids, "times": [times[item_id] for item_id in ids]}
    return len(fetch(kind.sql(sql.SCHEDULE), params))


def retry_failed(kind: Kind, *, error_class: str, seconds: float) -> tuple[int, int]:
    """Start the items anew that failed for one kind of error within so many seconds.

    Return how many were started, of how many that had failed so.
    """
    params = {"error_class": error_class, "seconds": seconds}
    ids = [id for (id,) in fetch(kind.sql(sql.FAILED_FOR), params)]
    return kind.retry(ids), len(ids)


def requeue(
    kind: Kind,
    ids: Sequence[int] = (),
    *,
    parent: int | None = None,
    statuses: Sequence[str],
    held: bool = False,
) -> int:
    """Give items in one of `statuses`, and with `held` also held ones, a new start.

    A worker that has one of them loses its lease. What is not runnable is held again.
    """
    count = 0
    searched = [*statuses, "pending"] if held else statuses
    for batch in _batches(kind, ids, parent, searched):
        with transaction.atomic(), connection.cursor() as cursor:
            params = {"ids": batch, "statuses": [str(one) for one in statuses], "held": held}
            rows = fetch(kind.sql(sql.REQUEUE), params)
            kind.record_left(cursor, [Left(row[0], "pending", None) for row in rows])
            count += len(rows)
            if rows:
                transaction.on_commit(partial(register_and_notify, kind, len(rows)))
    return count


def reprioritise(
    kind: Kind, ids: Sequence[int] = (), *, parent: int | None = None, priority: int
) -> int:
    """Change how urgent items are that have not ended; processed ones keep it when they come back."""
    return _change(kind, sql.REPRIORITISE, ids, parent, priority=priority)


def change_owner(kind: Kind, ids: Sequence[int], *, owner: UUID | None) -> int:
    """Count items in another owner's window; None is the system, without a window."""
    return _change(kind, sql.CHANGE_OWNER, ids, None, also_admit=[owner], owner=owner)


def end(
    kind: Kind,
    ids: Sequence[int] = (),
    *,
    parent: int | None = None,
    status: str,
    error: str | None = None,
) -> int:
    """End items that have not ended. A worker that has one of them loses its lease."""
    count = 0
    for batch in _batches(kind, ids, parent, OPEN):
        with transaction.atomic(), connection.cursor() as cursor:
            params = {"ids": batch, "status": str(status), "error": error}
            rows = fetch(kind.sql(sql.END), params)
            if rows:
                kind.record_left(cursor, [Left(*row[:3]) for row in rows])
                _admit_on_commit(kind, (row[3] for row in rows))
            count += len(rows)
    return count


# Rows that were changed by hand


def register(kind: Kind, *, ids: Sequence[int] | None = None, limit: int = 1000) -> int:
    """Register rows that were inserted or revived by hand, all or those named; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        found = fetch(
            kind.sql(sql.UNREGISTERED), {"ids": ids if ids is None else list(ids), "limit": limit}
        )
        if not found:
            return 0
        kind.apply_changes(cursor, sorted({parent for _id, parent in found if parent}))
        rows = fetch(kind.sql(sql.REGISTER), {"ids": [row[0] for row in found]})
    admit_owners(kind, (owner for _id, owner in rows))
    return len(rows)


def register_and_notify(kind: Kind, count: int = 1) -> None:
    """Register at least `count` rows that were inserted or revived by hand."""
    register(kind, limit=max(1000, count))
    notify.notify_on_commit()


def register_ends(kind: Kind, *, limit: int = 1000) -> int:
    """Register items that were ended by something outside the queue; return how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        rows = [Left(*row) for row in fetch(kind.sql(sql.REGISTER_ENDS), {"limit": limit})]
        # Without parents, which are counted anew.
        kind.record_left(cursor, [Left(row.id, row.status, None) for row in rows])
        kind.apply_changes(cursor, sorted({row.parent_id for row in rows if row.parent_id}))
    return len(rows)


# Admission: an owner's window is how many of their items may be ready or processing at once. It is
# the one rule behind quotas, fairness, pause, cancel and scheduling. Finishing admits the next
# items by itself (see `sql`); these are the exact form, for everything else.


class OwnerState(NamedTuple):
    owner: UUID
    needs_admission: bool
    """Their window has room, is overfull, or holds the wrong items."""


def admit(kind: Kind, owner: UUID) -> int:
    """Make the owner's best items ready, as many as their window has room for; return how many.

    Ready items that better ones displace go back to waiting; items being processed stay. Locks
    the owner's profile, so anybody may call it at any time.
    """
    with transaction.atomic():
        locked = fetch(sql.LOCK_OWNER, {"owner": owner})
        if not locked:
            return 0
        is_paused = str(owner) in pauses.fresh(pauses.OWNER)
        window = 0 if is_paused else tiers.windows().get(locked[0][0], 0)
        params = {"owner": owner, "window": window}
        fetch(kind.sql(sql.WITHDRAW), params)
        return len(fetch(kind.sql(sql.GRANT), params))


def admit_owners(kind: Kind, owners: Iterable[UUID | None]) -> int:
    """Admit for several owners, by key so that two callers cannot deadlock, and notify workers.

    None is the system, whose items need no admission.
    """
    admitted = sum(admit(kind, owner) for owner in sorted({o for o in owners if o is not None}))
    notify.notify_on_commit()
    return admitted


def next_owners(kind: Kind, *, after: UUID, limit: int) -> list[OwnerState]:
    """Return the next owners, by key, who have anything waiting or ready."""
    params = {"after": after, "limit": limit, **window_params()}
    return [OwnerState(*row) for row in fetch(kind.sql(sql.OWNERS), params)]


def window_params() -> dict[str, Any]:
    """Return each tier's window, and the owners who have none, for statements that look it up."""
    return {"windows": json.dumps(tiers.windows()), "paused": list(pauses.cached(pauses.OWNER))}


# Steps


def _claim(kind: Kind, statement: str, params: dict[str, Any]) -> list[Work]:
    params["lease_seconds"] = settings.QUEUE_LEASE_SECONDS
    params["worker"] = identity.process_name()
    rows = fetch(kind.sql(statement), params)
    rows.sort(key=lambda row: (-row[4], row[5], row[0]))
    works = [Work(kind, *row[:4]) for row in rows]
    if works:
        attempts.tell_on_commit(works)
    return works


def _leave(
    kind: Kind,
    statement: str,
    works: Sequence[Work] = (),
    *,
    outcome: str | None = None,
    error_class: str | None = None,
    unexpected: BaseException | None = None,
    before_counting: Callable[[], None] = lambda: None,
    **params: Any,
) -> set[int]:
    """Run a statement that ends attempts, and count it for the items' parents.

    Items of FAIL and WAIT come one by one; the others are given by their ids and leases.
    """
    details = {work.id: work.details for work in works if work.details}
    params |= {
        "outcome": outcome,
        "error_class": error_class and error_class[:MAX_ERROR_CLASS_LENGTH],
        "details": json.dumps(details) if details else None,
        **_ids_and_leases(works),
        **window_params(),
    }
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        ended = [attempts.Ended(*row) for row in fetch(kind.sql(statement), params)]
        before_counting()
        if ended:
            kind.record_left(cursor, [Left(*row[:3]) for row in ended])
            attempts.log_on_commit(kind.name, ended, details=details, error=unexpected)
    return {item.id for item in ended}


def _change(
    kind: Kind,
    statement: str,
    ids: Sequence[int],
    parent: int | None,
    *,
    also_admit: Sequence[UUID | None] = (),
    **params: Any,
) -> int:
    """Run a statement that returns id and owner on all items, and admit for the owners."""
    count = 0
    for batch in _batches(kind, ids, parent, OPEN):
        with transaction.atomic():
            rows = fetch(kind.sql(statement), {"ids": batch, **params})
            if rows:
                _admit_on_commit(kind, [*(row[1] for row in rows), *also_admit])
        count += len(rows)
    return count


def _batches(
    kind: Kind, ids: Sequence[int], parent: int | None, statuses: Collection[str]
) -> Iterator[list[int]]:
    """Yield the ids in order, or those of the parent's items in `statuses`, in batches."""
    if parent is None:
        ids = sorted(ids)
        for start in range(0, len(ids), BATCH):
            yield ids[start : start + BATCH]
        return
    params = {
        "parent": parent,
        "after": 0,
        "statuses": [str(one) for one in statuses],
        "limit": BATCH,
    }
    while batch := [row[0] for row in fetch(kind.sql(sql.IDS_OF_PARENT), params)]:
        yield batch
        if len(batch) < BATCH:
            return
        params["after"] = batch[-1]


def _admit_on_commit(kind: Kind, owners: Iterable[UUID | None]) -> None:
    transaction.on_commit(partial(admit_owners, kind, {*owners}))


def _ids_and_leases(works: Sequence[Work]) -> dict[str, list[int]]:
    return {
        "ids": [work.id for work in works],
        "leases": list({work.lease for work in works}),
    }


def _retry_params() -> dict[str, Any]:
    return {"max_retries": MAX_RETRIES, "backoff_seconds": settings.QUEUE_BACKOFF_SECONDS}
