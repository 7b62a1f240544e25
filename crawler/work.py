"""The crawler's kinds of work: discovery reads sources, chunk workers fill chunks with images."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from django.db.backends.utils import CursorWrapper

from accounts.errors import AccountsError
from crawler import chunk_worker, counters, discovery, maintenance, missing_source
from crawler.errors import CrawlError
from crawler.models import CrawlSource, JobChunk
from crawler.services import chunks, ending, planning
from jobs.queue import api
from jobs.queue.kinds import Chore, Ending, Kind, Left, Work
from pixsim.core.invariants import Invariant, read_invariants

JOB_IS_OPEN = """EXISTS (
    SELECT 1 FROM crawl_jobs job
    WHERE job.id = item.job_id AND job.status IN ('pending', 'running'))"""

_JOB_HAS_ENDED = """EXISTS (
    SELECT 1 FROM crawl_jobs job
    WHERE job.id = item.job_id AND job.status IN ('completed', 'failed', 'cancelled'))"""

# The job's counter has the chunks that are still processed, too.
_CHUNKS_OF_ENDED_JOBS = f"""
SELECT coalesce(sum(active_chunks), 0)
    - (SELECT count(*) FROM job_chunks item WHERE status = 'processing' AND {_JOB_HAS_ENDED})
FROM crawl_jobs
WHERE active_chunks > 0 AND status IN ('completed', 'failed', 'cancelled')"""

_SOURCES_OF_ENDED_JOBS = (
    f"SELECT count(*) FROM crawl_sources item WHERE status = 'pending' AND {_JOB_HAS_ENDED}"
)

_OWNER_OF_JOB = """SELECT project.user_id FROM crawl_jobs job
    JOIN projects project ON project.id = job.project_id WHERE job.id = item.job_id"""

PLANNED = """(job.total_chunks > 0 OR job.status <> 'pending')
    AND EXISTS (SELECT 1 FROM crawl_sources source WHERE source.job_id = job.id)"""

INVARIANTS = read_invariants(Path(__file__).with_name("invariants.toml"), planned=PLANNED)


class DiscoveryKind(Kind):
    """Find candidates: read on in one source of a job."""

    name = "discovery"
    model = CrawlSource
    parent_sql = "job_id"
    runnable_sql = JOB_IS_OPEN
    dropped_sql = _JOB_HAS_ENDED
    dropped_count_sql = _SOURCES_OF_ENDED_JOBS
    owner_sql = _OWNER_OF_JOB

    def perform(self, work: Work) -> Ending:
        return discovery.advance(work)

    def apply_changes(self, cursor: CursorWrapper, parents: Sequence[int]) -> None:
        for job_id in parents:
            missing_source.count_by_rows(cursor, job_id)

    def repair(self) -> None:
        planning.plan_waiting_jobs()

    def retry(self, ids: Sequence[int]) -> int:
        return api.requeue(self, ids, statuses=["failed"])


class ChunkKind(Kind):
    """Fill one chunk of a crawl job with images."""

    name = "chunk"
    model = JobChunk
    parent_sql = "job_id"
    runnable_sql = f"{JOB_IS_OPEN} AND {missing_source.HAS_SOURCE}"
    reason_sql = missing_source.REASON
    dropped_sql = _JOB_HAS_ENDED
    dropped_count_sql = _CHUNKS_OF_ENDED_JOBS
    owner_sql = _OWNER_OF_JOB

    def load(self) -> None:
        import crawler.fetch.engine  # noqa: F401

    def perform(self, work: Work) -> Ending:
        return chunk_worker.fill_chunk(work)

    def record_left(self, cursor: CursorWrapper, left: Sequence[Left]) -> None:
        chunk_worker.free_candidates(cursor, [item.id for item in left])
        for job_id in counters.add_chunks(cursor, left):
            ending.close_ended_job(cursor, job_id)

    def apply_changes(self, cursor: CursorWrapper, parents: Sequence[int]) -> None:
        for job_id in parents:
            ending.recount_job(cursor, job_id)

    def retry(self, ids: Sequence[int]) -> int:
        """Start failed chunks of each job anew, unless its owner's limits refuse that."""
        count = 0
        for _job, of_job in groupby(
            JobChunk.objects.filter(pk__in=ids)
            .order_by("job_id", "id")
            .values_list("job_id", "pk"),
            key=itemgetter(0),
        ):
            with suppress(CrawlError, AccountsError):
                count += chunks.retry([pk for _, pk in of_job])
        return count

    def repair(self) -> None:
        ending.close_surplus()

    def notes(self) -> Sequence[str]:
        return missing_source.notes()

    def invariants(self) -> Sequence[Invariant]:
        return INVARIANTS

    def hot_tables(self) -> Sequence[str]:
        return ("job_chunks", "candidates", "images", "crawl_jobs")

    def chores(self) -> Sequence[Chore]:
        return (
            Chore("orphan blobs", maintenance.sweep_orphans),
            Chore("unfinished blob files", maintenance.sweep_temporaries),
        )
