"""The end of a crawl job: close what it no longer needs, and open it again."""

from collections import Counter

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from crawler import counters
from crawler.directives import ROBOTS_UNANSWERED, ROBOTS_UNREADABLE
from crawler.errors import WrongState
from crawler.models import OPEN_STATUSES, CrawlJob, JobStatus, Outcome
from crawler.services.why_short import why_short
from jobs.queue import api
from jobs.queue.items import Status
from jobs.queue.kinds import kind_named
from pixsim.core.db.sql import fetch

BATCH = 5000

# BETWEEN: see chunk_worker.CLAIM_CANDIDATES.
CLOSE_SURPLUS = """
UPDATE candidates SET outcome = 'surplus', chunk_id = NULL
WHERE id = ANY(ARRAY(
    SELECT id FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
    ORDER BY job_id, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
"""

# Jobs that have ended but still have open candidates: a skip scan over the open ones.
JOBS_WITH_SURPLUS = """
WITH RECURSIVE open AS (
    (SELECT job_id FROM candidates WHERE outcome IS NULL AND chunk_id IS NULL
     ORDER BY job_id LIMIT 1)
    UNION ALL
    SELECT (SELECT job_id FROM candidates
            WHERE outcome IS NULL AND chunk_id IS NULL AND job_id > open.job_id
            ORDER BY job_id LIMIT 1)
    FROM open WHERE open.job_id IS NOT NULL
)
SELECT job_id FROM open JOIN crawl_jobs ON crawl_jobs.id = open.job_id
WHERE crawl_jobs.status IN ('completed', 'failed', 'cancelled')
"""

PASSING = (
    "http_5xx", "throttled", "dns", "connect", "bad_answer", "tls", "timeout", "too_slow",
    "host_refused", "host_down", "unreadable_file", "internal_error",
)  # fmt: skip
"""Outcomes that a retry of the job takes back: the server, file or program may be well again."""

IS_PASSING = """job_id = %(job)s AND (outcome = ANY(%(passing)s)
        OR outcome = 'robots' AND detail ^@ ANY(%(closed)s))"""

COUNT_PASSING = f"SELECT count(*) FROM candidates WHERE {IS_PASSING}"

REOPEN_PASSING = f"""
WITH closed AS (
    SELECT id, outcome FROM candidates
    WHERE {IS_PASSING} ORDER BY id FOR UPDATE
)
UPDATE candidates SET outcome = NULL, detail = NULL, tries = 0, chunk_id = NULL,
    not_before = NULL, waiting_since = NULL
FROM closed WHERE candidates.id = closed.id
RETURNING closed.outcome
"""


def recount_job(cursor: CursorWrapper, job_id: int) -> None:
    """Count the job's chunks after some were added, requeued or ended by hand.

    A job that has ended is opened again if a chunk is open, and ends if all chunks have ended. A
    cancelled job stays cancelled.
    """
    job = CrawlJob.objects.select_for_update(no_key=True).filter(pk=job_id).first()
    if job is None:
        return
    counters.recount_chunks(cursor, job_id)
    job.refresh_from_db()
    if job.is_open and job.total_chunks and not job.active_chunks:
        if counters.end_if_done(job_id):
            close_ended_job(cursor, job_id)
        return
    if job.status not in (JobStatus.COMPLETED, JobStatus.FAILED) or not job.active_chunks:
        return
    job.status, job.completed_at, job.error_message = JobStatus.RUNNING, None, None
    job.save(update_fields=["status", "completed_at", "error_message", "updated_at"])
    api.requeue(kind_named("discovery"), parent=job_id, statuses=[Status.FAILED], held=True)
    _reopen_surplus(cursor, job)
    reopen_passing(cursor, job_id)


def reopen_cancelled(cursor: CursorWrapper, job_id: int) -> None:
    """Open a cancelled job again, and count its chunks: it ends at once if none is open.

    Raise WrongState if it is not cancelled (any more).
    """
    job = CrawlJob.objects.select_for_update(no_key=True).get(pk=job_id)
    if job.status != JobStatus.CANCELLED:
        raise WrongState(f"Crawl job {job_id} is {job.status} meanwhile. Nothing was changed.")
    # Without chunks it is planned now.
    job.status = JobStatus.RUNNING if job.total_chunks else JobStatus.PENDING
    job.completed_at, job.error_message = None, None
    job.save(update_fields=["status", "completed_at", "error_message", "updated_at"])
    _reopen_surplus(cursor, job)
    reopen_passing(cursor, job_id)
    recount_job(cursor, job_id)


def _reopen_surplus(cursor: CursorWrapper, job: CrawlJob) -> None:
    reopened = job.candidates.filter(outcome=Outcome.SURPLUS).update(
        outcome=None, waiting_since=None
    )
    counters.add_images(cursor, job.pk, outcomes={Outcome.SURPLUS: -reopened})


def failed_for_now(job: CrawlJob) -> str:
    """Return what of an ended job a retry tries again; empty if it has all images, or was cancelled."""
    is_whole = not (job.ended_short or job.failed_chunks)
    if job.is_open or is_whole or job.status == JobStatus.CANCELLED:
        return ""
    [(addresses,)] = fetch(COUNT_PASSING, _passing(job.pk))
    failed = []
    if job.failed_chunks:
        failed.append(f"{job.failed_chunks} of {job.total_chunks} chunks failed")
    if addresses:
        are = "addresses" if addresses > 1 else "address"
        failed.append(f"{addresses:,} {are} failed for reasons that may have passed")
    return " and ".join(failed)


def reopen_passing(cursor: CursorWrapper, job_id: int) -> None:
    """Open the candidates again whose outcome may be another one now, as if never tried."""
    rows = fetch(REOPEN_PASSING, _passing(job_id))
    counted = Counter(outcome for (outcome,) in rows)
    taken_back = {outcome: -count for outcome, count in counted.items()}
    counters.add_images(cursor, job_id, outcomes=taken_back)


def _passing(job_id: int) -> dict[str, object]:
    return {
        "job": job_id,
        "passing": list(PASSING),
        "closed": [ROBOTS_UNANSWERED, ROBOTS_UNREADABLE],
    }


def close_ended_job(cursor: CursorWrapper, job_id: int) -> None:
    """Stop discovery and close open candidates of a job, in the transaction that ended it."""
    api.stop(kind_named("discovery"), parent=job_id)
    CrawlJob.objects.filter(pk=job_id).update(
        error_message=why_short(CrawlJob.objects.get(pk=job_id))
    )
    _close_surplus(cursor, job_id)


def close_surplus() -> None:
    """Close a batch of the open candidates of each ended job."""
    for (job_id,) in fetch(JOBS_WITH_SURPLUS, {}, plan_anew=True):
        with transaction.atomic(), connection.cursor() as cursor:
            # Locked, so that nobody opens the job again meanwhile.
            ended = CrawlJob.objects.exclude(status__in=OPEN_STATUSES).filter(pk=job_id)
            if ended.select_for_update(no_key=True).first():
                _close_surplus(cursor, job_id)


def _close_surplus(cursor: CursorWrapper, job_id: int) -> None:
    cursor.execute(CLOSE_SURPLUS, {"job": job_id, "limit": BATCH})
    if cursor.rowcount:
        counters.add_images(cursor, job_id, outcomes={Outcome.SURPLUS: cursor.rowcount})
