"""Single chunks by hand: add, run and change them.

Only conditional updates: a form is older than the row, and a worker may hold the row meanwhile.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from crawler.errors import WrongState
from crawler.models import CrawlJob, JobChunk, JobStatus
from crawler.services.lifecycle import get_job
from crawler.services.limits import check_reopening
from jobs.queue import api
from jobs.queue.items import Status
from jobs.queue.kinds import Kind, kind_named
from jobs.queue.worker.loop import perform_one
from pixsim.core.db.sql import fetch

# A job that goes on has one more chunk.
COUNT_CHUNK = """
UPDATE crawl_jobs job SET
    total_chunks = total_chunks + 1, active_chunks = active_chunks + 1,
    max_images = greatest(max_images, %(end)s),
    progress = least(100, 100::bigint * valid_images / greatest(max_images, %(end)s, 1))::int,
    updated_at = now()
FROM projects project
WHERE job.id = %(job)s AND job.status IN ('pending', 'running') AND project.id = job.project_id
RETURNING total_chunks - 1, coalesce(%(priority)s::int, job.priority), project.user_id
"""

CHUNK = """
SELECT %(job)s::int AS job_id, %(index)s::int AS chunk_index,
    jsonb_build_object('start', %(start)s::int, 'end', %(end)s::int) AS image_range
"""


def add_chunk(*, job_id: int, start: int, end: int, priority: int | None = None) -> int:
    """Add the chunk [start, end) to a pending or running job; its id.

    Indices beyond `max_images` raise it. Raises WrongState if the job is in another state.
    """
    with transaction.atomic():
        rows = fetch(COUNT_CHUNK, {"job": job_id, "end": end, "priority": priority})
        if not rows:
            status = get_job(job_id).status
            raise WrongState(f"Crawl job {job_id} is {status}: no chunk can be added.")
        [(index, priority_of_job, owner_id)] = rows
        [chunk_id] = api.insert(
            _kind(),
            columns=("job_id", "chunk_index", "image_range"),
            rows=CHUNK,
            priority=priority_of_job,
            owner=owner_id,
            job=job_id,
            index=index,
            start=start,
            end=end,
        )
    return chunk_id


def process_chunk(*, chunk_id: int, task_id: str) -> bool:
    """Claim and fill one named chunk in this process, if it may run now; whether it did."""
    kind = _kind()
    api.register(kind, item_id=chunk_id)
    owner_id = JobChunk.objects.filter(pk=chunk_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        api.admit(kind, owner_id)
    return perform_one(kind, item_id=chunk_id, task_id=task_id)


def retry(ids: Sequence[int]) -> int:
    """Give failed chunks a new start; return how many were failed and can run."""
    return _requeue(ids, [Status.FAILED])


def release(ids: Sequence[int]) -> int:
    """Give chunks that a worker holds, or that are held, back to the queue; return how many.

    A worker that still has one of them loses its lease. What belongs to a paused job stays held.
    """
    return _requeue(ids, [Status.PROCESSING], held=True)


def reopen(ids: Sequence[int]) -> int:
    """Make chunks pending, whatever they are now; return how many were not."""
    return _requeue(ids, [Status.PROCESSING, Status.COMPLETED, Status.FAILED])


def hold(ids: Sequence[int]) -> int:
    """Keep pending chunks from running until they are released; return how many were not held."""
    return api.hold(_kind(), ids)


def change_priority(ids: Sequence[int], *, priority: int) -> int:
    """Change how urgent unfinished chunks are; return how many had another priority."""
    return api.reprioritise(_kind(), ids, priority=priority)


def change_owner(chunk_id: int, *, owner: UUID | None) -> None:
    """Count a chunk in another owner's window; None is the system, without a window."""
    api.change_owner(_kind(), [chunk_id], owner=owner)


def end(chunk_id: int, *, status: str) -> bool:
    """End an unfinished chunk by hand; return False if it has ended. Its worker loses its lease."""
    return bool(api.end(_kind(), [chunk_id], status=status))


def register() -> None:
    """Register a chunk that was added by hand, and notify workers."""
    api.register_and_notify(_kind())


def _requeue(ids: Sequence[int], statuses: Sequence[str], *, held: bool = False) -> int:
    with transaction.atomic():
        jobs = CrawlJob.objects.filter(chunks__in=ids).select_related("project__owner")
        check_reopening(jobs.distinct())
        alive = JobChunk.objects.filter(pk__in=ids).exclude(job__status=JobStatus.CANCELLED)
        keys = list(alive.values_list("pk", flat=True))
        return api.requeue(_kind(), keys, statuses=statuses, held=held)


def _kind() -> Kind:
    return kind_named("chunk")
