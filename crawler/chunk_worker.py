"""Filling a chunk: candidates become images in the chunk's indices.

Candidates are fetched outside any transaction; their bytes are stored before their row. What is
done is recorded in batches (`recording`), each under the chunk's lease, so a worker that has lost
its lease writes nothing, and one that dies leaves only candidates to be taken up again.
"""

import json
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.db import connection, transaction

from crawler import discovery, missing_source, result_writer
from crawler import fetch as fetching
from crawler.fetch import Picture, Refused, Rules, Task
from crawler.models import CrawlJob, CrawlSource, Image, JobChunk
from crawler.models.chunks import RANGE_RULE
from jobs.queue.errors import TryAgain, Unrecoverable
from jobs.queue.work import Completed, Ending, GiveBack, Wait, Work
from pixsim.core.db import sql

BATCH = 200
"""Results are recorded when so many wait, or after BATCH_SECONDS."""
BATCH_SECONDS = 0.5
IMPATIENT_SECONDS = 2.0
"""When nothing has come for so long, more candidates are tried beside the slow ones."""
LOOK_AGAIN_SECONDS = 0.2
"""After no candidate was there to claim: the answers under way may bring some."""
CANDIDATES_WAIT_SECONDS = 0.5
MAX_KNOWN_HOSTS = 10_000
NO_CAP = 1_000_000

_fetch = partial(sql.fetch, plan_anew=True)  # candidates grow within seconds
_known_hosts: set[str] = set()
_caps: dict[str, int] = {}

# A window of open candidates in the order they were found, taken in turns over their hosts. All
# workers together hold no more of a host than it may have in flight: `caps` by name, or `cap`.
# BETWEEN, here and below: sorted by job and id only the index of the open candidates is. With "="
# the planner may go along the primary key, over all that have ended, until it has met enough.
CLAIM_CANDIDATES = """
WITH busy AS MATERIALIZED (
    SELECT host, count(*) AS held FROM candidates
    WHERE outcome IS NULL AND chunk_id IS NOT NULL GROUP BY host
), window_ AS MATERIALIZED (
    SELECT id, host FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
      AND (not_before IS NULL OR not_before <= now())
      AND host <> ALL(ARRAY(
          SELECT host FROM busy WHERE held >= coalesce((%(caps)s::jsonb ->> host)::int, %(cap)s)))
    ORDER BY job_id, id LIMIT %(limit)s * 4 FOR UPDATE SKIP LOCKED
), ranked AS (
    SELECT id, host, row_number() OVER (PARTITION BY host ORDER BY id) AS turn FROM window_
), picked AS (
    SELECT ranked.id FROM ranked LEFT JOIN busy USING (host)
    WHERE turn + coalesce(held, 0) <= coalesce((%(caps)s::jsonb ->> host)::int, %(cap)s)
    ORDER BY turn, ranked.id LIMIT %(limit)s
)
UPDATE candidates SET chunk_id = %(chunk)s
WHERE id = ANY(ARRAY(SELECT id FROM picked))
RETURNING id, url, host, label, provenance::text, tries
"""

OPEN_HOSTS = """
SELECT DISTINCT host FROM (
    SELECT host FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
    ORDER BY job_id, id LIMIT 1000) open
"""

LET_GO = """
UPDATE candidates SET chunk_id = NULL WHERE chunk_id = ANY(%s) AND outcome IS NULL
"""

# What the job still has beyond this chunk: NULL if nothing is open or in flight anywhere,
# else the seconds until one of the first open candidates may be tried. By host, as the index of
# those in flight is sorted.
NEXT_CANDIDATE = """
SELECT least(
    (SELECT min(CASE WHEN not_before > now() THEN extract(epoch FROM not_before - now()) ELSE 0 END)
     FROM (SELECT not_before FROM candidates
           WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
           ORDER BY job_id, id LIMIT 200) open),
    (SELECT 1.0 FROM candidates
     WHERE job_id = %(job)s AND outcome IS NULL AND chunk_id IS NOT NULL
     ORDER BY host LIMIT 1))
"""


def fill(work: Work) -> Ending:
    """Fill what is free of a claimed chunk's indices."""
    return _Filling(work).run()


def let_go(cursor: Any, chunk_ids: Sequence[int]) -> None:
    """Give the candidates that these chunks hold back to their job."""
    cursor.execute(LET_GO, [list(chunk_ids)])


class _Filling:
    """One worker's attempt at one chunk."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.chunk = cast(JobChunk, work.item)
        self.job = self.chunk.job
        self.results: list[Picture | Refused] = []
        self.checked_at = self.recorded_at = self.heard_at = time.monotonic()
        self.exhausted = False
        self.look_again_at = 0.0

    def run(self) -> Ending:
        if not self.chunk.has_range:
            raise Unrecoverable(f"image_range: {RANGE_RULE}")
        if not self.job.is_open or self.job.status == "paused":
            return Wait(None, f"The job is {self.job.status}.")
        if not CrawlSource.objects.filter(job_id=self.job.pk).exists():
            return Wait(None, missing_source.NO_SOURCE)
        self._begin()
        # Looked up here: only a process that fills chunks pays for the engine's libraries.
        self.session = fetching.Engine.shared().session(self._rules())
        try:
            return self._run()
        except fetching.EngineFailed as error:
            raise TryAgain(str(error)) from error
        finally:
            self.session.cancel()

    def _begin(self) -> None:
        """Take up the chunk where it is: under the lease, drop an earlier holder's candidates."""
        with transaction.atomic(), connection.cursor() as cursor:
            self.work.lock_lease()
            let_go(cursor, [self.chunk.pk])
            cursor.execute(
                "UPDATE crawl_jobs SET status = 'running', started_at = coalesce(started_at, now()),"
                " updated_at = now() WHERE id = %s AND status = 'pending'",
                [self.job.pk],
            )
        taken = set(
            Image.objects.filter(
                crawl_job_id=self.job.pk,
                image_index__gte=self.chunk.start,
                image_index__lt=self.chunk.end,
            ).values_list("image_index", flat=True)
        )
        self.free = [i for i in range(self.chunk.start, self.chunk.end) if i not in taken]
        discovery.wake(self.job.pk)

    def _rules(self) -> Rules:
        try:
            return Rules.from_options(self.job.options)
        except ValueError as error:
            raise Unrecoverable(f"options: {error}") from error

    def _run(self) -> Ending:
        while self.free:
            if self.work.should_stop():
                return self._stop(GiveBack())
            self._order()
            if self.session.in_flight:
                self._collect()
            if not self._job_goes_on():
                return self._stop(Wait(None, "The job is not running."))
            if self._record_is_due():
                self._record()
            elif not self.session.in_flight and not self.results and self.exhausted:
                return self._out_of_candidates()
        return Completed()

    def _order(self) -> None:
        """Have as many candidates in flight as there are indices to fill, more when they are slow."""
        wanted = len(self.free) - sum(isinstance(one, Picture) for one in self.results)
        if self.session.in_flight and time.monotonic() - self.heard_at > IMPATIENT_SECONDS:
            wanted *= 2
        wanted -= self.session.in_flight
        if wanted <= 0 or time.monotonic() < self.look_again_at:
            return
        tasks = _claim_candidates(self.work, self.chunk, limit=min(wanted, BATCH))
        self.exhausted = not tasks
        if tasks:
            self.session.submit(tasks)
            self.work.progress()
        else:
            self.look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS

    def _collect(self) -> None:
        results = self.session.collect(timeout=0.1)
        if results:
            self.results.extend(results)
            self.heard_at = time.monotonic()
            self.work.progress()

    def _record_is_due(self) -> bool:
        if not self.results:
            return False
        pictures = sum(isinstance(one, Picture) for one in self.results)
        return (
            not self.session.in_flight
            or pictures >= len(self.free)
            or len(self.results) >= BATCH
            or time.monotonic() - self.recorded_at > BATCH_SECONDS
        )

    def _record(self) -> None:
        used = result_writer.record(
            self.work, chunk=self.chunk, results=self.results, free=self.free
        )
        self.free = [index for index in self.free if index not in used]
        self.results = []
        self.recorded_at = time.monotonic()

    def _stop(self, ending: Ending) -> Ending:
        """Keep what is done, give the rest of the candidates back."""
        self.session.cancel()
        if self.results:
            self._record()
        with transaction.atomic(), connection.cursor() as cursor:
            self.work.lock_lease()
            let_go(cursor, [self.chunk.pk])
        return ending

    def _job_goes_on(self) -> bool:
        """Whether nobody has paused or ended the job; looked up once in a while."""
        now = time.monotonic()
        if now - self.checked_at < BATCH_SECONDS:
            return True
        self.checked_at = now
        return CrawlJob.objects.filter(pk=self.job.pk, status="running").exists()

    def _out_of_candidates(self) -> Ending:
        """Completed short if nothing can come any more, else wait for what may."""
        # In this order: a source that finishes in between leaves its candidates to be seen.
        finished = discovery.is_finished(self.job.pk)
        seconds = _fetch(NEXT_CANDIDATE, {"job": self.job.pk})[0][0]
        if seconds is None and finished:
            self._blame_unread_sources()
            return Completed()
        if not finished:
            discovery.wake(self.job.pk)
            seconds = CANDIDATES_WAIT_SECONDS
        return Wait(
            min(max(float(seconds), CANDIDATES_WAIT_SECONDS), 5.0),
            "Waiting for candidates.",
            parent=self.job.pk,
        )

    def _blame_unread_sources(self) -> None:
        """A job whose sources gave nothing because they could not be read has failed."""
        failed = CrawlSource.objects.filter(job_id=self.job.pk, status="failed").first()
        if failed and not self.job.candidates.exists():
            raise Unrecoverable(f"Source {failed}: {failed.error_message}")


def _claim_candidates(work: Work, chunk: JobChunk, *, limit: int) -> list[Task]:
    with transaction.atomic():
        # A worker that lost its chunk unawares must not leave candidates with it for ever.
        work.lock_lease()
        rows = _pick(chunk, limit)
        # A host that others keep busy may have room beyond what this process thinks.
        if not rows and _learn_caps(row[0] for row in _fetch(OPEN_HOSTS, {"job": chunk.job_id})):
            rows = _pick(chunk, limit)
    _learn_caps(row[2] for row in rows)
    return [
        Task(id, url, host, label, result_writer.parse_provenance(provenance), tries)
        for id, url, host, label, provenance, tries in sorted(rows)
    ]


def _pick(chunk: JobChunk, limit: int) -> list[tuple[Any, ...]]:
    params = {
        "job": chunk.job_id,
        "chunk": chunk.pk,
        "limit": limit,
        "caps": json.dumps(_caps),
        "cap": settings.CRAWL_HOST_CONCURRENCY,
    }
    return _fetch(CLAIM_CANDIDATES, params)


def _learn_caps(hosts: Iterable[str]) -> bool:
    """Remember what differs from CRAWL_HOST_CONCURRENCY; whether that was news."""
    before = len(_caps)
    for host in set(hosts) - _known_hosts:
        if len(_known_hosts) >= MAX_KNOWN_HOSTS:
            _known_hosts.clear()
            _caps.clear()
        _known_hosts.add(host)
        most = fetching.HostLimits.from_settings().most_in_flight(host)
        if most != settings.CRAWL_HOST_CONCURRENCY:
            _caps[host] = NO_CAP if most is None else most
    return len(_caps) > before
