"""Split accepted crawl jobs into contiguous chunks, without gap or overlap."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection, transaction

from crawler import counters
from crawler.errors import JobRefused
from crawler.models import UNPLANNED_STATUSES, CrawlJob, CrawlSource, JobStatus
from crawler.services.limits import check_job
from jobs.queue import api
from jobs.queue.kinds import kind_named

MIN_CHUNK, MAX_CHUNK = 50, 250
CHUNKS_OF_A_LARGE_JOB = 40

CHUNKS = """
SELECT %(job)s::int AS job_id, place - 1 AS chunk_index,
    jsonb_build_object('start', first, 'end', last) AS image_range
FROM unnest(%(starts)s::int[], %(ends)s::int[]) WITH ORDINALITY AS ranges (first, last, place)
"""


def default_chunk_size(max_images: int) -> int:
    """Return the images per chunk of a job that names none: about forty chunks of 50 to 250 images."""
    return min(MAX_CHUNK, max(MIN_CHUNK, max_images // CHUNKS_OF_A_LARGE_JOB))


def chunk_ranges(max_images: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """Split [0, max_images) into half-open ranges of `chunk_size`; the last may be smaller.

    Deterministic: planning a job twice gives the same chunks.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    for start in range(0, max_images, chunk_size):
        yield start, min(start + chunk_size, max_images)


def plan_job(*, job_id: int) -> int:
    """Split an accepted job into chunks, once; return how many were made.

    Admit its sources and chunks within the owner's window, and notify workers. A job inserted by
    hand that cannot be planned fails, with the reason.
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
        # A source inserted by hand may be registered already, and even be at work.
        sources = CrawlSource.objects.pending().filter(job=job, held=False, ready_at=None)
        api.start(
            kind_named("discovery"),
            list(sources.values_list("pk", flat=True)),
            priority=job.priority,
            owner=owner_id,
        )
    return planned


def plan_waiting_jobs() -> None:
    """Plan jobs that have a source and no chunks: very large ones, and those inserted by hand."""
    for job_id in CrawlJob.objects.unplanned().values_list("pk", flat=True)[:100]:
        plan_job(job_id=job_id)


def _add_chunks(job: CrawlJob, owner_id: UUID | None) -> int:
    starts, ends = zip(*chunk_ranges(job.max_images, job.chunk_size), strict=True)
    api.insert(
        kind_named("chunk"),
        columns=("job_id", "chunk_index", "image_range"),
        rows=CHUNKS,
        priority=job.priority,
        owner=owner_id,
        job=job.pk,
        starts=list(starts),
        ends=list(ends),
    )
    with connection.cursor() as cursor:
        counters.recount_chunks(cursor, job.pk)
    return len(starts)
