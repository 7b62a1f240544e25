"""The chunk worker: it turns candidates into images at the chunk's indices.

Candidates are fetched outside any transaction; their bytes are stored before their row. Results
are written in batches (`result_writer`), each under the chunk's lease: a worker that has lost its
lease writes nothing, and one that dies leaves only candidates for others to claim.
"""

import json
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import cast

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from crawler import discovery, missing_source, result_writer
from crawler.fetch.rules import Rules
from crawler.fetch.tasks import EngineFailed, Picture, Result, Task
from crawler.models import RANGE_RULE, CrawlJob, CrawlSource, Image, JobChunk
from jobs.queue import pauses
from jobs.queue.errors import TryAgain, Unrecoverable
from jobs.queue.kinds import Completed, Ending, GiveBack, Wait, Work
from pixsim.core.db import sql

BATCH = 200
"""Results are written when so many have come, or after BATCH_SECONDS."""
BATCH_SECONDS = 0.5
SLOW_SECONDS = 2.0
"""After so long without a result, more candidates are fetched beside the slow ones."""
CLAIM_AGAIN_SECONDS = 0.2
"""After a claim that found no candidate."""
CANDIDATES_WAIT_SECONDS = 0.5
MAX_KNOWN_HOSTS = 10_000
NO_CAP = 1_000_000

_fetch = partial(sql.fetch, plan_anew=True)  # candidates grow within seconds
_known_hosts: set[str] = set()
_caps: dict[str, int] = {}

# A host is paused by its name, which means all its ports, or with one port.
IS_PAUSED = """(%(paused)s::text[] <> '{}' AND %(paused)s::text[] && ARRAY[host,
    CASE WHEN host LIKE '[%%' THEN split_part(substr(host, 2), ']', 1)
         WHEN host LIKE '%%:%%:%%' THEN host ELSE split_part(host, ':', 1) END,
    host || CASE WHEN url ILIKE 'https:%%' THEN ':443' ELSE ':80' END]::text[])"""

# The open candidates that were found first, in turns over their hosts. All workers together hold
# no more of a host than may be in flight: `caps` by name, or `cap`. Of a host those that were tried
# less come first: some that are never answered must not be all that a silent host is asked for.
# BETWEEN, here and below: only the index of the open candidates is sorted by job and id. With "="
# the planner may read the primary key, past all candidates that have ended, until it has enough.
CLAIM_CANDIDATES = f"""
WITH busy AS MATERIALIZED (
    SELECT host, count(*) AS held FROM candidates
    WHERE outcome IS NULL AND chunk_id IS NOT NULL GROUP BY host
), window_ AS MATERIALIZED (
    SELECT id, host, tries FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
      AND (not_before IS NULL OR not_before <= now())
      AND NOT {IS_PAUSED}
      AND host <> ALL(ARRAY(
          SELECT host FROM busy WHERE held >= coalesce((%(caps)s::jsonb ->> host)::int, %(cap)s)))
    ORDER BY job_id, id LIMIT %(limit)s * 4 FOR UPDATE SKIP LOCKED
), ranked AS (
    SELECT id, host, row_number() OVER (PARTITION BY host ORDER BY tries, id) AS turn FROM window_
), picked AS (
    SELECT ranked.id FROM ranked LEFT JOIN busy USING (host)
    WHERE turn + coalesce(held, 0) <= coalesce((%(caps)s::jsonb ->> host)::int, %(cap)s)
    ORDER BY turn, ranked.id LIMIT %(limit)s
)
UPDATE candidates SET chunk_id = %(chunk)s
WHERE id = ANY(ARRAY(SELECT id FROM picked))
RETURNING id, url, host, label, provenance::text, tries, waiting_since IS NOT NULL
"""

OPEN_HOSTS = """
SELECT DISTINCT host FROM (
    SELECT host FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
    ORDER BY job_id, id LIMIT 1000) open
"""

FREE_CANDIDATES = """
UPDATE candidates SET chunk_id = NULL WHERE chunk_id = ANY(%s) AND outcome IS NULL
"""

# Seconds until one of the first open candidates of the job may be tried; NULL if none is open or
# in flight. ORDER BY host: so is the index of those in flight.
NEXT_CANDIDATE = f"""
SELECT least(
    (SELECT min(CASE WHEN {IS_PAUSED} THEN 5.0
                     WHEN not_before > now() THEN extract(epoch FROM not_before - now()) ELSE 0 END)
     FROM (SELECT not_before, host, url FROM candidates
           WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
           ORDER BY job_id, id LIMIT 200) open),
    (SELECT 1.0 FROM candidates
     WHERE job_id = %(job)s AND outcome IS NULL AND chunk_id IS NOT NULL
     ORDER BY host LIMIT 1))
"""


def fill_chunk(work: Work) -> Ending:
    """Fill the free indices of a claimed chunk with images."""
    return _ChunkWorker(work).run()


def free_candidates(cursor: CursorWrapper, chunk_ids: Sequence[int]) -> None:
    """Make the candidates that these chunks hold claimable again."""
    cursor.execute(FREE_CANDIDATES, [list(chunk_ids)])


class _ChunkWorker:
    """One attempt at one chunk."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.chunk = cast(JobChunk, work.item)
        self.job = self.chunk.job
        self.results: list[Result] = []
        self.checked_at = self.written_at = self.result_at = time.monotonic()
        self.exhausted = False
        self.claim_again_at = 0.0

    def run(self) -> Ending:
        if not self.chunk.has_range:
            raise Unrecoverable(f"image_range: {RANGE_RULE}")
        if not self.job.is_open or self.job.status == "paused":
            return Wait(None, f"The job is {self.job.status}.")
        if not CrawlSource.objects.filter(job_id=self.job.pk).exists():
            return Wait(None, missing_source.NO_SOURCE)
        self._begin()
        # Only a process that fills chunks loads the engine's libraries.
        from crawler.fetch.engine import Engine

        self.session = Engine.shared().session(self._rules())
        try:
            return self._run()
        except EngineFailed as error:
            raise TryAgain(str(error)) from error
        finally:
            self.session.cancel()

    def _begin(self) -> None:
        """Free the candidates of an earlier attempt, under the lease, and find the free indices."""
        with transaction.atomic(), connection.cursor() as cursor:
            self.work.lock_lease()
            free_candidates(cursor, [self.chunk.pk])
            cursor.execute(
                "UPDATE crawl_jobs SET status = 'running', started_at = coalesce(started_at, now()),"
                " updated_at = now() WHERE id = %s AND status = 'pending'",
                [self.job.pk],
            )
        used = set(
            Image.objects.filter(
                crawl_job_id=self.job.pk,
                image_index__gte=self.chunk.start,
                image_index__lt=self.chunk.end,
            ).values_list("image_index", flat=True)
        )
        self.free = [i for i in range(self.chunk.start, self.chunk.end) if i not in used]
        discovery.resume(self.job.pk)

    def _rules(self) -> Rules:
        try:
            return Rules.from_options(self.job.options)
        except ValueError as error:
            raise Unrecoverable(f"options: {error}") from error

    def _run(self) -> Ending:
        while self.free:
            if self.work.should_stop():
                return self._stop(GiveBack())
            self._claim()
            if self.session.in_flight:
                self._collect()
            if not self._job_is_running():
                return self._stop(Wait(None, "The job is not running."))
            if self._write_is_due():
                self._write()
            elif not self.session.in_flight and not self.results and self.exhausted:
                return self._end_without_candidates()
        return Completed()

    def _claim(self) -> None:
        """Keep as many candidates in flight as there are free indices, more if they are slow."""
        now = time.monotonic()
        wanted = len(self.free) - self._pictures()
        if self.session.in_flight and now - self.result_at > SLOW_SECONDS:
            wanted *= 2
        wanted -= self.session.in_flight
        if wanted <= 0 or now < self.claim_again_at:
            return
        tasks = _claim_candidates(self.work, self.chunk, limit=min(wanted, BATCH))
        self.exhausted = not tasks
        if tasks:
            self.session.submit(tasks)
            self.work.progress()
        else:
            self.claim_again_at = time.monotonic() + CLAIM_AGAIN_SECONDS

    def _collect(self) -> None:
        results = self.session.collect(timeout=0.1)
        if results:
            self.results.extend(results)
            self.result_at = time.monotonic()
            self.work.progress()

    def _pictures(self) -> int:
        return sum(isinstance(result, Picture) for result in self.results)

    def _write_is_due(self) -> bool:
        return bool(self.results) and (
            not self.session.in_flight
            or self._pictures() >= len(self.free)
            or len(self.results) >= BATCH
            or time.monotonic() - self.written_at > BATCH_SECONDS
        )

    def _write(self) -> None:
        used = result_writer.write_results(
            self.work, chunk=self.chunk, results=self.results, free=self.free
        )
        self.free = [index for index in self.free if index not in used]
        self.results = []
        self.written_at = time.monotonic()

    def _stop(self, ending: Ending) -> Ending:
        self.session.cancel()
        if self.results:
            self._write()
        with transaction.atomic(), connection.cursor() as cursor:
            self.work.lock_lease()
            free_candidates(cursor, [self.chunk.pk])
        return ending

    def _job_is_running(self) -> bool:
        """Return whether nobody has paused or ended the job, as of the last BATCH_SECONDS."""
        now = time.monotonic()
        if now - self.checked_at < BATCH_SECONDS:
            return True
        self.checked_at = now
        return CrawlJob.objects.filter(pk=self.job.pk, status="running").exists()

    def _end_without_candidates(self) -> Ending:
        """Complete the chunk short if no candidate can come any more, else wait for one."""
        # In this order: a source that finishes in between has added its candidates.
        finished = discovery.is_finished(self.job.pk)
        paused = list(pauses.cached(pauses.HOST))
        [(seconds,)] = _fetch(NEXT_CANDIDATE, {"job": self.job.pk, "paused": paused})
        if seconds is None and finished:
            self._fail_if_no_source_was_read()
            return Completed()
        if not finished:
            discovery.resume(self.job.pk)
            seconds = CANDIDATES_WAIT_SECONDS
        return Wait(
            min(max(float(seconds), CANDIDATES_WAIT_SECONDS), 5.0),
            "Waiting for candidates.",
            parent=self.job.pk,
        )

    def _fail_if_no_source_was_read(self) -> None:
        failed = CrawlSource.objects.filter(job_id=self.job.pk, status="failed").first()
        if failed and not self.job.candidates.exists():
            raise Unrecoverable(f"Source {failed}: {failed.error_message}")


def _claim_candidates(work: Work, chunk: JobChunk, *, limit: int) -> list[Task]:
    with transaction.atomic():
        # A worker that has lost its chunk without noticing must not keep candidates for ever.
        work.lock_lease()
        tasks = _pick(chunk, limit)
        # A host of which others hold many may allow more than this process has assumed.
        if not tasks and _learn_caps(host for (host,) in _fetch(OPEN_HOSTS, {"job": chunk.job_id})):
            tasks = _pick(chunk, limit)
    _learn_caps(task.host for task in tasks)
    return tasks


def _pick(chunk: JobChunk, limit: int) -> list[Task]:
    params = {
        "job": chunk.job_id,
        "chunk": chunk.pk,
        "limit": limit,
        "caps": json.dumps(_caps),
        "cap": settings.CRAWL_HOST_CONCURRENCY,
        "paused": list(pauses.cached(pauses.HOST)),
    }
    return [
        Task(id, url, host, label, None if source is None else json.loads(source), *rest)
        for id, url, host, label, source, *rest in sorted(_fetch(CLAIM_CANDIDATES, params))
    ]


def _learn_caps(hosts: Iterable[str]) -> bool:
    """Remember caps that differ from CRAWL_HOST_CONCURRENCY; return whether one is new."""
    from crawler.fetch.hosts import HostLimits

    before = len(_caps)
    for host in set(hosts) - _known_hosts:
        if len(_known_hosts) >= MAX_KNOWN_HOSTS:
            _known_hosts.clear()
            _caps.clear()
        _known_hosts.add(host)
        most = HostLimits.from_settings().most_in_flight(host)
        if most != settings.CRAWL_HOST_CONCURRENCY:
            _caps[host] = NO_CAP if most is None else most
    return len(_caps) > before
