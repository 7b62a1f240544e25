"""Single chunks by hand: adding, running and steering them, with the effect that one expects.

Only conditional updates: a form is older than the row, and a worker may hold it meanwhile.
Admission locks owners, and elsewhere before it locks chunks; so it follows in a transaction of
its own.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from crawler import chunk_worker
from crawler.errors import WrongState
from crawler.models import CrawlJob, JobChunk
from crawler.services.lifecycle import get_job
from crawler.services.limits import check_reopening
from jobs.queue import admission
from jobs.queue.items import Status
from jobs.queue.kinds import Left, kind_named
from jobs.queue.worker import notify
from jobs.queue.worker.loop import perform_one
from pixsim.core.db.sql import fetch

# One more chunk of a job that goes on, counted with it.
ADD_CHUNK = """
WITH job AS (
    UPDATE crawl_jobs SET
        total_chunks = total_chunks + 1, active_chunks = active_chunks + 1,
        max_images = greatest(max_images, %(end)s),
        progress = least(100, 100::bigint * valid_images / greatest(max_images, %(end)s, 1))::int,
        updated_at = now()
    WHERE id = %(job)s AND status IN ('pending', 'running')
    RETURNING id, project_id, priority, total_chunks
)
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT job.id, job.total_chunks - 1, jsonb_build_object('start', %(start)s::int, 'end', %(end)s::int),
    coalesce(%(priority)s::int, job.priority), project.user_id,
    CASE WHEN project.user_id IS NULL THEN now() END
FROM job JOIN projects project ON project.id = job.project_id
RETURNING id, owner_id
"""

# As if inserted by hand: adoption counts it, opens its job again and finds its owner and place.
TO_QUEUE = """
UPDATE job_chunks SET
    status = 'pending', owner_id = NULL, ready_at = NULL, held = FALSE, available_at = NULL,
    lease_id = NULL, lease_expires_at = NULL, started_at = NULL, finished_at = NULL,
    retry_count = CASE WHEN status IN ('completed', 'failed') THEN 0 ELSE retry_count END,
    error_message = NULL, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT chunk.id FROM job_chunks chunk JOIN crawl_jobs job ON job.id = chunk.job_id
    WHERE chunk.id = ANY(%(ids)s) AND job.status <> 'cancelled'
      AND (chunk.status = ANY(%(from)s) OR %(held)s AND chunk.status = 'pending' AND chunk.held)
    ORDER BY chunk.id FOR UPDATE OF chunk))
RETURNING id
"""

HOLD = """
UPDATE job_chunks SET held = TRUE, ready_at = NULL, available_at = NULL, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM job_chunks WHERE id = ANY(%(ids)s) AND status = 'pending'
      AND (NOT held OR available_at IS NOT NULL)
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""

REPRIORITISE = """
UPDATE job_chunks SET priority = %(priority)s, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM job_chunks WHERE id = ANY(%(ids)s) AND priority <> %(priority)s
    ORDER BY id FOR UPDATE))
RETURNING id, owner_id
"""

CHANGE_OWNER = """
UPDATE job_chunks SET owner_id = %(owner)s, updated_at = now(),
    ready_at = CASE
        WHEN status = 'processing' THEN ready_at
        WHEN status = 'pending' AND NOT held AND %(owner)s::uuid IS NULL THEN created_at END
WHERE id = %(id)s
"""

END = """
UPDATE job_chunks SET
    status = %(status)s, ready_at = NULL, held = FALSE, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, finished_at = now(), updated_at = now(),
    error_message = CASE WHEN %(status)s = 'failed'
        THEN coalesce(error_message, 'Marked as failed by hand.') END
WHERE id = %(id)s AND status IN ('pending', 'processing')
RETURNING id, status, owner_id, job_id
"""


def add_chunk(*, job_id: int, start: int, end: int, priority: int | None = None) -> int:
    """Add the chunk [start, end) to a pending or running job; its id.

    Indices beyond `max_images` raise it. Raises WrongState if the job is in another state.
    """
    params = {"job": job_id, "start": start, "end": end, "priority": priority}
    rows = fetch(ADD_CHUNK, params)
    if not rows:
        raise WrongState(f"Crawl job {job_id} is {get_job(job_id).status}: no chunk can be added.")
    [(chunk_id, owner_id)] = rows
    if owner_id is not None:
        admission.admit(kind_named("chunk"), owner_id)
    notify.ring_on_commit()
    return int(chunk_id)


def process_chunk(*, chunk_id: int, task_id: str) -> bool:
    """Claim and fill one named chunk in this process, if it may run now; whether it did."""
    kind = kind_named("chunk")
    admission.adopt(kind, item_id=chunk_id)
    owner_id = JobChunk.objects.filter(pk=chunk_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        admission.admit(kind, owner_id)
    return perform_one(kind, item_id=chunk_id, task_id=task_id)


def retry(ids: Sequence[int]) -> int:
    """Give failed chunks a new start; how many were failed and can run."""
    return _to_queue(ids, {"from": [Status.FAILED], "held": False})


def release(ids: Sequence[int]) -> int:
    """Give chunks that a worker holds, or that are held, back to the queue; how many those were.

    A worker that still has one of them loses its lease. What belongs to a paused job stays held.
    """
    return _to_queue(ids, {"from": [Status.PROCESSING], "held": True})


def reopen(ids: Sequence[int]) -> int:
    """Make chunks pending, whatever they are now; how many were not."""
    others = [Status.PROCESSING, Status.COMPLETED, Status.FAILED]
    return _to_queue(ids, {"from": others, "held": False})


def hold(ids: Sequence[int]) -> int:
    """Keep pending chunks from running until they are released; how many that are new."""
    return _change(HOLD, ids)


def change_priority(ids: Sequence[int], *, priority: int) -> int:
    """Change how urgent chunks are, from now on; how many had another priority."""
    return _change(REPRIORITISE, ids, priority=priority)


def change_owner(chunk_id: int, *, before: UUID | None, after: UUID | None) -> None:
    """Count a chunk in another owner's window; None is the system, without a window."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CHANGE_OWNER, {"id": chunk_id, "owner": after})
        transaction.on_commit(partial(_admit, [before, after]))


def end(chunk_id: int, *, status: str) -> bool:
    """End an unfinished chunk by hand; False if it has ended already. Its worker loses it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(END, {"id": chunk_id, "status": status})
        rows = cursor.fetchall()
        if rows:
            left = [Left(row[0], row[1], row[3]) for row in rows]
            kind_named("chunk").record_left(cursor, left)
            transaction.on_commit(partial(_admit, [row[2] for row in rows]))
    return bool(rows)


def _to_queue(ids: Sequence[int], condition: dict[str, Any]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        jobs = CrawlJob.objects.filter(chunks__in=ids).select_related("project__owner")
        check_reopening(jobs.distinct())
        cursor.execute(TO_QUEUE, {"ids": list(ids), **condition})
        moved = [row[0] for row in cursor.fetchall()]
        if moved:
            chunk_worker.free_candidates(cursor, moved)
            transaction.on_commit(partial(take_in, len(moved)))
    return len(moved)


def _change(statement: str, ids: Sequence[int], **params: Any) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {"ids": list(ids), **params})
        rows = cursor.fetchall()
        transaction.on_commit(partial(_admit, [row[1] for row in rows]))
    return len(rows)


def take_in(count: int) -> None:
    """Adopt as many rows as were added or revived by hand, and ring for them."""
    admission.adopt(kind_named("chunk"), limit=max(1000, count))
    notify.ring_on_commit()


def _admit(owners: Iterable[UUID | None]) -> None:
    admission.admit_all(kind_named("chunk"), owners)
    notify.ring_on_commit()
