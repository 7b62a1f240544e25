"""Jobs without a source: those of an older system have only keywords, which find nothing here.

Their chunks are held, with the reason, until the job has a source, so no worker claims them.
"""

from collections.abc import Sequence

from django.db import transaction
from django.db.backends.utils import CursorWrapper

from crawler import counters
from crawler.models import CrawlJob
from jobs.queue import api
from jobs.queue.kinds import kind_named
from pixsim.core.db.sql import fetch

NO_SOURCE = "Waits for a source: its crawl job has none. Add one to the job."

HAS_SOURCE = "EXISTS (SELECT 1 FROM crawl_sources source WHERE source.job_id = item.job_id)"

REASON = f"CASE WHEN NOT {HAS_SOURCE} THEN '{NO_SOURCE}' END"

WAITING_JOBS = """
SELECT count(*), coalesce(sum(greatest(0, total_chunks - completed_chunks - failed_chunks)), 0)
FROM crawl_jobs job
WHERE status IN ('pending', 'running', 'paused')
  AND NOT EXISTS (SELECT 1 FROM crawl_sources source WHERE source.job_id = job.id)
"""


def resume_chunks(job_id: int) -> None:
    """Resume the chunks that have waited for the job's first source."""
    with transaction.atomic():
        # Chunks are registered with their job locked: they are held by now, or see the source.
        CrawlJob.objects.select_for_update(no_key=True).filter(pk=job_id).first()
        api.resume_waiting(kind_named("chunk"), parent=job_id, reason=NO_SOURCE)


def count_by_rows(cursor: CursorWrapper, job_id: int) -> None:
    """Recount an open job that never had a candidate, now that a source was added by hand.

    Older systems counted pictures that have no index here, and chunks without a row.
    """
    job = CrawlJob.objects.select_for_update(no_key=True).open().filter(pk=job_id).first()
    if job is None or job.candidates.exists():
        return
    counters.recount_images(cursor, job_id)
    counters.recount_chunks(cursor, job_id)


def reason(job: CrawlJob) -> str | None:
    """Return why an open job without a source makes no progress, else None."""
    if not job.is_open or job.sources.exists():
        return None
    words = ", ".join(map(str, job.keywords)) if isinstance(job.keywords, list) else ""
    only = f" It has only keywords ({words[:100]})." if words else ""
    return f"It waits for a source.{only} Add one to the job in the admin: its chunks go on then."


def notes() -> Sequence[str]:
    """Return sentences about such jobs for the status of the queue."""
    [(jobs, chunks)] = fetch(WAITING_JOBS, {}, plan_anew=True)
    if not jobs:
        return ()
    return (
        f"{jobs:,} crawl jobs with {chunks:,} unfinished chunks have no source and wait for one. "
        "Add it to the job in the admin.",
    )
