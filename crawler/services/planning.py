"""Splitting an accepted job into chunks."""

from datetime import UTC, datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from crawler import counters
from crawler.errors import JobRefused
from crawler.models import CrawlJob, CrawlSource, JobStatus
from crawler.models.jobs import UNPLANNED_STATUSES
from crawler.planner import chunk_ranges
from crawler.services.limits import check_job
from jobs.queue import admission
from jobs.queue.kinds import Kind, kind_named
from jobs.queue.worker import notify

# Without an owner a chunk is ready at once, at the place of its age.
ADD_CHUNKS = """
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT %(job)s, place - 1, jsonb_build_object('start', first, 'end', last), %(priority)s,
    %(owner)s::uuid, CASE WHEN %(owner)s::uuid IS NULL THEN now() END
FROM unnest(%(starts)s::int[], %(ends)s::int[]) WITH ORDINALITY AS ranges (first, last, place)
"""


def plan_job(*, job_id: int) -> int:
    """Split an accepted job into chunks, once; how many were made.

    Its sources and chunks are admitted within the owner's window, and the bell is rung. A job made
    by hand that cannot be planned fails, with the reason.
    """
    with transaction.atomic():
        job = (
            CrawlJob.objects.select_for_update(no_key=True, of=("self",))
            .select_related("project")
            .filter(pk=job_id, status__in=UNPLANNED_STATUSES, total_chunks=0)
            .first()
        )
        if job is None or job.chunks.exists():
            return 0
        try:
            check_job(
                max_images=job.max_images,
                priority=job.priority,
                chunk_size=job.chunk_size,
                options=job.options,
            )
        except JobRefused as error:
            job.status, job.completed_at = JobStatus.FAILED, datetime.now(UTC)
            job.error_message = str(error)
            job.save(update_fields=["status", "completed_at", "error_message", "updated_at"])
            return 0
        owner_id = job.project.owner_id
        planned = _add_chunks(job, owner_id)
        # A source that was added by hand may have been taken in, and be at work, before its job.
        CrawlSource.objects.pending().filter(job=job, held=False, ready_at=None).update(
            priority=job.priority,
            owner_id=owner_id,
            ready_at=F("created_at") if owner_id is None else None,
        )
        for kind in crawl_kinds():
            if owner_id is not None:
                admission.admit(kind, owner_id)
        notify.ring_on_commit()
    return planned


def plan_waiting_jobs() -> None:
    """Plan jobs that were added by hand: a row with a source and no chunks."""
    for job_id in CrawlJob.objects.unplanned().values_list("pk", flat=True)[:100]:
        plan_job(job_id=job_id)


def crawl_kinds() -> tuple[Kind, ...]:
    """The kinds of work that a crawl job has."""
    return kind_named("discovery"), kind_named("chunk")


def _add_chunks(job: CrawlJob, owner_id: UUID | None) -> int:
    starts, ends = zip(*chunk_ranges(job.max_images, job.chunk_size), strict=True)
    params = {
        "job": job.pk,
        "priority": job.priority,
        "owner": owner_id,
        "starts": list(starts),
        "ends": list(ends),
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD_CHUNKS, params)
        counters.count_new_chunks(cursor, job.pk, len(starts))
    return len(starts)
