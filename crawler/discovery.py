"""Discovery: read a source's next entries into candidates.

The source's cursor advances in the transaction that inserts the candidates before it, so neither
a killed worker nor a second delivery loses or repeats an entry.
"""

import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from typing import cast

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from crawler import counters, missing_source, result_writer, sources
from crawler.errors import CrawlError, SourceRefused, SourceUnavailable
from crawler.models import LAST_REJECTION, CrawlJob, CrawlSource, Outcome
from crawler.sources.base import Cursor, Found, Page, Rejected, Source, rejection
from crawler.urls import server_of, url_key
from jobs.queue import api
from jobs.queue.errors import TryAgain, Unrecoverable
from jobs.queue.kinds import Completed, Ending, GiveBack, Wait, Work, kind_named
from pixsim.core.db.sql import UNSTORABLE
from pixsim.core.formats import first_line

PAGE_SIZE = 1000
ENOUGH_OPEN = 3000
"""Discovery waits while so many candidates of its job may be fetched."""
MOST_OPEN = 30_000
"""Or while so many are open, with those that wait for their host or for another try."""
MAX_HOST = 255
WAIT_SECONDS = 5.0
MAX_PAUSE_SECONDS = 300.0
STOP_CHECK_SECONDS = 0.1

COUNT_OPEN = """
SELECT count(*) FILTER (WHERE not_before IS NULL OR not_before <= now()), count(*) FROM (
    SELECT not_before FROM candidates
    WHERE job_id = %s AND outcome IS NULL AND chunk_id IS NULL LIMIT %s
) open
"""

# One inserts for a job at a time: two that find the same in another order would deadlock.
ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('crawler.discovery'), %s)"

ADD_CANDIDATES = """
INSERT INTO candidates (job_id, url, url_key, host, label, provenance)
SELECT %(job)s, found.* FROM unnest(
    %(urls)s::text[], %(keys)s::bytea[], %(hosts)s::text[], %(labels)s::text[],
    %(provenances)s::jsonb[]) AS found
ON CONFLICT (job_id, url_key) DO NOTHING
"""

ADVANCE = f"""
UPDATE crawl_sources SET
    cursor = %(cursor)s::jsonb, found = found + %(found)s, rejected = rejected + %(rejected)s,
    rejection = CASE WHEN rejection IS NULL OR %(last)s::text IS NULL
        THEN coalesce(rejection, %(rejection)s)
        ELSE split_part(rejection, '{LAST_REJECTION}', 1) || '{LAST_REJECTION}' || %(last)s END,
    updated_at = now()
WHERE id = %(id)s
"""


def advance(work: Work) -> Ending:
    """Read on until the source is exhausted or enough candidates are open."""
    source = cast(CrawlSource, work.item)
    if source.cursor is None:
        # Before it is read: if it cannot be, the job's chunks must run, which ends the job.
        missing_source.resume_chunks(source.job_id)
    reader = _reader(source)
    reader.progress = work.progress  # a long download is no stall
    with closing(_Reading(reader, work)) as reading:
        return _advance(work, source, reading)


def _advance(work: Work, source: CrawlSource, reading: "_Reading") -> Ending:
    while not work.should_stop():
        if not CrawlJob.objects.filter(
            pk=source.job_id, status__in=["pending", "running"]
        ).exists():
            return Wait(None, "The job is not running.")
        if _has_enough(source.job_id, ENOUGH_OPEN):
            return Wait(WAIT_SECONDS)
        try:
            page = reading.page(source.cursor)
        except SourceRefused as error:
            raise Unrecoverable(str(error)) from error
        except SourceUnavailable as error:
            if not error.is_pause:  # a server that never answers must not be waited for for ever
                raise TryAgain(str(error)) from error
            return Wait(min(error.retry_after or 0, MAX_PAUSE_SECONDS), str(error))
        if page is None:
            break
        work.progress()
        _write(work, source, page)
        if page.cursor is None:
            return Completed()
        source.cursor = page.cursor
    return GiveBack()


def resume(job_id: int) -> None:
    """Let discovery that waits go on now if few candidates of the job are open."""
    if not _has_enough(job_id, ENOUGH_OPEN // 2):
        api.resume_waiting(kind_named("discovery"), parent=job_id)


def is_finished(job_id: int) -> bool:
    """Return whether nothing more will be found for the job."""
    return not CrawlSource.objects.filter(
        job_id=job_id, status__in=["pending", "processing"]
    ).exists()


def _reader(source: CrawlSource) -> Source:
    try:
        return sources.build(source.kind, source.location, source.options, source.label)
    except CrawlError as error:
        raise Unrecoverable(str(error)) from error


class _Reading:
    """Reads a source in threads that write nothing."""

    def __init__(self, reader: Source, work: Work) -> None:
        self._reader = reader
        self._work = work
        self._last: Future[Page] | None = None

    def page(self, cursor: Cursor | None) -> Page | None:
        """Return the next page; None if the work is to stop, however long the server takes.

        After a stop the reading thread ends by its own time limits.
        """
        answer = self._last = Future[Page]()

        def read() -> None:
            try:
                answer.set_result(self._reader.read(cursor, limit=PAGE_SIZE))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=read, name="pixsim-discovery", daemon=True).start()
        while not wait([answer], timeout=STOP_CHECK_SECONDS).done:
            if self._work.should_stop():
                return None
        return answer.result()

    def close(self) -> None:
        """Close the source: now, or when the thread that still reads it has ended."""
        if self._last is None:
            self._reader.close()
        else:
            self._last.add_done_callback(lambda _: self._reader.close())


def _has_enough(job_id: int, enough: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_OPEN, [job_id, MOST_OPEN])
        ready, all_open = cursor.fetchone()
    return bool(ready >= enough or all_open >= MOST_OPEN)


def _write(work: Work, source: CrawlSource, page: Page) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        work.lock_lease()
        cursor.execute(ONE_WRITER, [source.job_id])
        inserted, unstorable = _insert_storable(cursor, source, page.found)
        rejected = [*page.rejected, *unstorable]
        texts = [f"{entry}: {why}" for entry, why in rejected]
        first_ones = "; ".join(texts[:3])
        cursor.execute(
            ADVANCE,
            {
                "id": source.pk,
                "cursor": None if page.cursor is None else json.dumps(page.cursor),
                "found": inserted,
                "rejected": len(rejected),
                "rejection": (LAST_REJECTION.join([first_ones, *texts[3:][-1:]])) or None,
                "last": texts[-1] if texts else None,
            },
        )
        duplicates = len(page.found) - len(unstorable) - inserted
        counters.add_images(
            cursor,
            source.job_id,
            found=inserted,
            outcomes={Outcome.DUPLICATE_URL: duplicates} if duplicates else {},
        )
        hosts = (server_of(one.url) for one in page.found)
        result_writer.refuse_hosts(cursor, source.job_id, hosts, refused=True)
    work.count(found=inserted, rejected=len(rejected))
    if inserted:
        api.resume_waiting(kind_named("chunk"), parent=source.job_id)


def _insert_storable(
    cursor: CursorWrapper, source: CrawlSource, found: Sequence[Found]
) -> tuple[int, list[Rejected]]:
    """Insert the candidates; return how many are new, and those that the database cannot hold."""
    try:
        with transaction.atomic():
            return _insert(cursor, source, found), []
    except UNSTORABLE as error:
        if len(found) == 1:
            return 0, [rejection(found[0].url, f"it cannot be stored: {first_line(error)}")]
    middle = len(found) // 2
    first, unstorable = _insert_storable(cursor, source, found[:middle])
    second, more = _insert_storable(cursor, source, found[middle:])
    return first + second, [*unstorable, *more]


def _insert(cursor: CursorWrapper, source: CrawlSource, found: Sequence[Found]) -> int:
    if not found:
        return 0
    cursor.execute(
        ADD_CANDIDATES,
        {
            "job": source.job_id,
            "urls": [one.url for one in found],
            "keys": [url_key(one.url) for one in found],
            "hosts": [server_of(one.url)[:MAX_HOST] for one in found],
            "labels": [one.label or source.label for one in found],
            "provenances": [
                json.dumps(one.provenance) if one.provenance else None for one in found
            ],
        },
    )
    return int(cursor.rowcount)
