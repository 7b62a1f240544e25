"""Single chunks by hand: add, run, change and requeue them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from accounts import activity, tiers
from accounts.models import Profile
from crawler.errors import WrongState
from crawler.models import CrawlJob, JobChunk, JobStatus
from crawler.services.ending import recount_job
from crawler.services.lifecycle import get_job
from crawler.services.limits import check_highest_priority, check_reopening
from jobs.queue import api
from jobs.queue.items import Status
from jobs.queue.kinds import Kind, kind_named
from jobs.queue.worker.loop import perform_one
from pixsim.core.db.sql import fetch

CHUNK = """
SELECT %(job)s::int AS job_id, coalesce(%(index)s::int, (
        SELECT coalesce(max(chunk_index) + 1, 0) FROM job_chunks WHERE job_id = %(job)s)) AS chunk_index,
    jsonb_build_object('start', %(start)s::int, 'end', %(end)s::int) AS image_range
"""

COUNT_CHUNK = """
UPDATE crawl_jobs SET
    total_chunks = total_chunks + 1, active_chunks = active_chunks + 1,
    max_images = greatest(max_images, %(end)s),
    progress = least(100, 100::bigint * valid_images / greatest(max_images, %(end)s, 1))::int,
    updated_at = now()
WHERE id = %(job)s AND status IN ('pending', 'running')
RETURNING id
"""


def add_chunk(
    *,
    job_id: int,
    start: int,
    end: int,
    index: int | None = None,
    priority: int | None = None,
    actor: Profile | None = None,
) -> int:
    """Add the chunk [start, end) to a job that was not cancelled; return its id.

    An end beyond `max_images` raises `max_images`; a job that has ended is opened again.

    Raise JobRefused or LimitExceeded if the owner's tier does not allow that.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        job = get_job(job_id)
        if job.status == JobStatus.CANCELLED:
            raise WrongState(f"Crawl job {job_id} is cancelled: no chunk can be added.")
        check_reopening([job])
        check_highest_priority(job.project.owner, job.priority if priority is None else priority)
        if end > job.max_images:
            tiers.require(job.project.owner, "images_per_job", 0, end)
        [chunk_id] = api.insert(
            _kind(),
            columns=("job_id", "chunk_index", "image_range"),
            rows=CHUNK,
            priority=job.priority if priority is None else priority,
            owner=job.project.owner_id,
            job=job_id,
            index=index,
            start=start,
            end=end,
        )
        # After the chunk, as in every transaction: its job.
        if not fetch(COUNT_CHUNK, {"job": job_id, "end": end}):
            recount_job(cursor, job_id)
        _record("added", [chunk_id], actor)
    if job.status == JobStatus.PAUSED:
        api.hold(_kind(), [chunk_id])
    return chunk_id


def process_chunk(*, chunk_id: int, task_id: str) -> bool:
    """Claim and fill one named chunk in this process; return False if it may not run now."""
    kind = _kind()
    api.register(kind, ids=[chunk_id])
    owner_id = JobChunk.objects.filter(pk=chunk_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        api.admit(kind, owner_id)
    return perform_one(kind, item_id=chunk_id, task_id=task_id)


# Many chunks. Each function returns how many it changed.


def retry(ids: Sequence[int], *, actor: Profile | None = None) -> int:
    """Start failed chunks again, except those of cancelled jobs.

    Raise LimitExceeded or JobRefused if that opens a job which its owner's tier does not allow.
    """
    return _requeue("retried", ids, [Status.FAILED], actor=actor)


def requeue(ids: Sequence[int], *, actor: Profile | None = None) -> int:
    """Put chunks that a worker holds, or that are held, back into the queue.

    A worker that still has one of them loses its lease. Chunks of a paused job stay held.
    """
    return _requeue("requeued", ids, [Status.PROCESSING], held=True, actor=actor)


def hold(ids: Sequence[int], *, actor: Profile | None = None) -> int:
    """Keep pending chunks from running until they are requeued."""
    # The queue holds no row that it has not registered yet.
    api.register(_kind(), ids=ids, limit=max(1, len(ids)))
    with transaction.atomic():
        return _record("held", ids, actor, changed=api.hold(_kind(), ids))


def change_priority(ids: Sequence[int], *, priority: int, actor: Profile | None = None) -> int:
    """Change how urgent chunks are that have not ended.

    Raise JobRefused or LimitExceeded if an owner may not have that priority.
    """
    for owner in Profile.objects.filter(
        pk__in=JobChunk.objects.filter(pk__in=ids).values("owner_id")
    ):
        check_highest_priority(owner, priority)
    with transaction.atomic():
        changed = api.reprioritise(_kind(), ids, priority=priority)
        return _record("priority_changed", ids, actor, changed=changed, priority=priority)


# One chunk


def change_chunk(
    *,
    chunk_id: int,
    changes: Mapping[str, Any],
    shown: Mapping[str, Any],
    actor: Profile | None = None,
) -> None:
    """Change a chunk's status, priority or owner, or whether it is held.

    Raise WrongState if a field no longer has the value that was `shown`, or has no meaning in
    the chunk's state; LimitExceeded or JobRefused if the owner's tier does not allow the change.
    """
    if unknown := set(changes) - {"status", "priority", "owner", "held"}:
        raise ValueError(f"A chunk's {', '.join(sorted(unknown))} cannot be changed.")
    if not changes:
        return
    ids, kind = [chunk_id], _kind()
    with transaction.atomic():
        if changes.get("status") == Status.PENDING:
            check_reopening(_jobs(ids))  # locks the owner, so before the chunk
        same = JobChunk.objects.filter(pk=chunk_id, **shown)
        chunk = same.select_for_update(no_key=True, of=("self",)).select_related("owner").first()
        if chunk is None:
            raise WrongState(f"Chunk {chunk_id} has changed meanwhile. Nothing was changed.")
        owner = changes.get("owner", chunk.owner)
        if {"owner", "priority"} & set(changes):
            check_highest_priority(owner, changes.get("priority", chunk.priority))
        if "owner" in changes:
            api.change_owner(kind, ids, owner=owner and owner.pk)
        if "priority" in changes and not api.reprioritise(kind, ids, priority=changes["priority"]):
            raise WrongState(f"Chunk {chunk_id} is {chunk.status}: its priority cannot change.")
        if "status" in changes:
            _change_status(chunk_id, changes["status"])
        if "held" in changes:
            done = api.hold(kind, ids) if changes["held"] else requeue(ids, actor=actor)
            if not done:
                raise WrongState(f"Chunk {chunk_id} is {chunk.status}: it cannot be held or freed.")
        _record("changed", ids, actor, fields=sorted(changes))


def _change_status(chunk_id: int, status: str) -> None:
    if status == Status.PENDING:
        others = [Status.PROCESSING, Status.COMPLETED, Status.FAILED]
        done = _requeue("reopened", [chunk_id], others)
    else:
        done = api.end(_kind(), [chunk_id], status=status)
    if not done:
        raise WrongState(f"Chunk {chunk_id} cannot become {status}.")


def _requeue(
    what: str,
    ids: Sequence[int],
    statuses: Sequence[str],
    *,
    held: bool = False,
    actor: Profile | None = None,
) -> int:
    with transaction.atomic():
        check_reopening(_jobs(ids))
        runnable = JobChunk.objects.filter(pk__in=ids).exclude(job__status=JobStatus.CANCELLED)
        keys = list(runnable.values_list("pk", flat=True))
        changed = api.requeue(_kind(), keys, statuses=statuses, held=held)
        return _record(what, ids, actor, changed=changed)


def _jobs(ids: Sequence[int]) -> Iterable[CrawlJob]:
    return CrawlJob.objects.filter(chunks__in=ids).select_related("project__owner").distinct()


def _record(
    what: str, ids: Sequence[int], actor: Profile | None, *, changed: int = 1, **details: Any
) -> int:
    """Record an activity, unless nothing `changed`; return how many chunks did."""
    if changed:
        activity.record(
            actor=actor,
            action=f"job_chunks.{what}",
            resource_type="job_chunk",
            resource_id=str(ids[0]) if len(ids) == 1 else "",
            resource_ids=ids,
            chunks=list(ids[:100]),
            changed=changed,
            **details,
        )
    return changed


def _kind() -> Kind:
    return kind_named("chunk")
