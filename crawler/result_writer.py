"""Write a batch of results in one short transaction, under the chunk's lease.

Lock order, as everywhere: the chunk, images by sha256, candidates, the job's counters, usage.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from accounts import usage
from crawler import counters
from crawler.fetch.phash import BAND_SHIFTS, band_masks
from crawler.fetch.rules import Rules
from crawler.fetch.tasks import (
    CRASHES_OF_A_HOST,
    NotSent,
    Picture,
    Refused,
    Result,
    Task,
    Trouble,
    host_refusal,
    refused_by,
)
from crawler.models import MAX_TRIES, PHASH_BAND_KEYS, JobChunk, Outcome
from crawler.public import shown_address
from jobs.queue.kinds import Work
from pixsim.core.db import sql
from pixsim.core.redaction import redact
from pixsim.core.text import storable

_fetch = partial(sql.fetch, plan_anew=True)  # images and candidates grow within seconds

# One writer per job at a time: two would not see that the image of one resembles the other's.
ONE_WRITER = "SELECT pg_advisory_xact_lock(hashtext('crawler.result_writer'), %(job)s)"

STILL_OURS = """
SELECT id FROM candidates
WHERE id = ANY(%(ids)s) AND chunk_id = %(chunk)s AND outcome IS NULL
ORDER BY id FOR NO KEY UPDATE
"""

KNOWN_HASHES = "SELECT sha256 FROM images WHERE crawl_job_id = %(job)s AND sha256 = ANY(%(hashes)s)"

# For each new picture the first image within the distance, by any of the four band indexes.
SIMILAR = """
SELECT probe.place, min(near.id)
FROM unnest(%(places)s::int[], %(phashes)s::bigint[]) AS probe (place, phash)
CROSS JOIN unnest(%(masks)s::bigint[]) AS mask
CROSS JOIN LATERAL (
    {}
) near
WHERE bit_count((near.phash # probe.phash)::bit(64)) <= %(distance)s
GROUP BY probe.place
""".format(
    "\n    UNION ALL ".join(
        f"""SELECT id, phash FROM images WHERE {key}
        = (%(job)s::bigint << 16) | (((probe.phash >> {shift}) & 65535) # mask)"""
        for shift, key in zip(BAND_SHIFTS, PHASH_BAND_KEYS, strict=True)
    )
)

STORE = """
INSERT INTO images (crawl_job_id, chunk_id, image_index, original_url, filename, storage_url,
    width, height, file_size, format, label, sha256, phash, near_duplicate_of_id, provenance,
    retrieved_at, is_upright)
SELECT %(job)s, %(chunk)s, new.*, true FROM unnest(
    %(indexes)s::int[], %(urls)s::text[], %(names)s::text[], %(keys)s::text[], %(widths)s::int[],
    %(heights)s::int[], %(sizes)s::bigint[], %(formats)s::text[], %(labels)s::text[],
    %(hashes)s::text[], %(phashes)s::bigint[], %(similar)s::int[], %(provenances)s::jsonb[],
    %(times)s::timestamptz[]) AS new
ON CONFLICT DO NOTHING
RETURNING sha256, id
"""

CLOSE = """
UPDATE candidates SET
    outcome = closed.outcome, detail = closed.detail,
    tries = tries + (closed.outcome <> 'host_refused')::int
FROM unnest(%(ids)s::bigint[], %(outcomes)s::text[], %(details)s::text[])
    AS closed (id, outcome, detail)
WHERE candidates.id = closed.id
"""

# Open again: for another try later, or because its chunk had no room left.
REOPEN = """
UPDATE candidates SET
    chunk_id = NULL, tries = candidates.tries + again.tries,
    not_before = CASE WHEN again.seconds > 0 THEN now() + make_interval(secs => again.seconds) END
FROM unnest(%(ids)s::bigint[], %(tries)s::int[], %(seconds)s::float8[])
    AS again (id, tries, seconds)
WHERE candidates.id = again.id
"""

CRASHED_HOSTS = """
SELECT host, max(url) FROM candidates
WHERE job_id = %(job)s AND host = ANY(%(hosts)s) AND outcome = 'decoder_crash'
  AND (NOT %(refused)s OR EXISTS (
    SELECT 1 FROM candidates other WHERE other.job_id = %(job)s
      AND other.outcome = 'host_refused' AND other.host = candidates.host))
GROUP BY host HAVING count(*) >= %(crashes)s
"""

# What a host that rests keeps waiting: all open candidates of the job that are not sent meanwhile.
# They are closed when they have waited too long without an answer in between.
REST = """
UPDATE candidates SET
    not_before = now() + make_interval(secs => %(seconds)s),
    waiting_since = coalesce(waiting_since, now()),
    outcome = CASE WHEN {is_over} THEN %(outcome)s::text END,
    detail = CASE WHEN {is_over} THEN %(detail)s::text END
WHERE id = ANY(ARRAY(
    SELECT id FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
      AND host = %(host)s AND url ILIKE %(scheme)s || ':%%'
      AND (not_before IS NULL OR not_before < now() + make_interval(secs => %(seconds)s))
    ORDER BY job_id, id FOR UPDATE SKIP LOCKED))
RETURNING outcome IS NOT NULL
""".format(
    is_over="waiting_since < now() - make_interval(secs => %(patience)s) OR NOT %(may_pass)s"
)

# The host has answered: what waited for it may be sent.
WAKE = """
UPDATE candidates SET
    waiting_since = NULL, not_before = CASE WHEN tries > 0 THEN not_before END
WHERE id = ANY(ARRAY(
    SELECT id FROM candidates
    WHERE job_id BETWEEN %(job)s AND %(job)s AND outcome IS NULL AND chunk_id IS NULL
      AND host = %(host)s AND url ILIKE %(scheme)s || ':%%' AND waiting_since IS NOT NULL
    ORDER BY job_id, id FOR UPDATE SKIP LOCKED))
"""

REFUSE_HOST = """
UPDATE candidates SET outcome = 'host_refused', detail = %(detail)s
WHERE id = ANY(ARRAY(
    SELECT id FROM candidates
    WHERE job_id = %(job)s AND host = %(host)s AND outcome IS NULL AND chunk_id IS NULL
    ORDER BY id FOR UPDATE SKIP LOCKED))
RETURNING id
"""

MAX_DETAIL_LENGTH = 1000
MAX_RETRY_AFTER_SECONDS = 120.0
"""An address whose server asks for a longer pause than this is not asked again in this job."""
PATIENCE_SECONDS = 600.0
"""What was not sent waits so long for a host that rests, without an answer in between."""

DOWNLOADED = (Outcome.STORED, Outcome.DUPLICATE, Outcome.NEAR_DUPLICATE)


@dataclass(frozen=True, slots=True)
class _NewImage:
    """A picture with the chunk's index, or with the image that it resembles."""

    picture: Picture
    index: int | None = None
    resembles: int | None = None


@dataclass
class _Batch:
    """What is written for each result."""

    images: list[_NewImage] = field(default_factory=list)
    # By candidate: outcome and detail; tries to count, and seconds to wait.
    closed: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    reopened: dict[int, tuple[int, float]] = field(default_factory=dict)
    # A picture, and the new one of the same batch that it resembles.
    twins: list[tuple[Picture, Picture]] = field(default_factory=list)
    # By host and scheme: why it rests, and for how many seconds.
    resting: dict[tuple[str, str], tuple[Trouble, float]] = field(default_factory=dict)
    awake: set[tuple[str, str]] = field(default_factory=set)

    def close(self, result: Picture | Refused, outcome: str, detail: str | None = None) -> None:
        detail = detail and storable(redact(detail), longest=MAX_DETAIL_LENGTH)
        self.closed[result.task.id] = outcome, detail


def write_results(
    work: Work, *, chunk: JobChunk, results: Sequence[Result], free: Sequence[int]
) -> set[int]:
    """Store the pictures at the chunk's `free` indices; close or reopen every candidate.

    Return the indices that are not free any more. Raise LeaseLost, having written nothing, if the
    chunk's lease is lost. Writing the same results again changes nothing. A result that the
    database cannot hold is refused; the others are written without it.
    """
    try:
        return _write(work, chunk, results, free)
    except sql.UNSTORABLE as error:
        if len(results) > 1:
            middle = len(results) // 2
            used = write_results(work, chunk=chunk, results=results[:middle], free=free)
            left = [index for index in free if index not in used]
            return used | write_results(work, chunk=chunk, results=results[middle:], free=left)
        refused = [refused_by(error, result.task) for result in results]
        return _write(work, chunk, refused, free)


def _write(work: Work, chunk: JobChunk, results: Sequence[Result], free: Sequence[int]) -> set[int]:
    with transaction.atomic(), connection.cursor() as cursor:
        work.lock_lease()
        _fetch(ONE_WRITER, {"job": chunk.job_id})
        ours = _still_ours(chunk, results)
        batch = _decide(chunk, ours, free)
        _store(chunk, batch)
        _close(batch)
        outcomes = _count(cursor, chunk, batch, ours)
        if outcomes[Outcome.DECODER_CRASH]:
            refuse_hosts(cursor, chunk.job_id, (one.task.host for one in ours))
        _note_hosts(cursor, chunk.job_id, batch)
    stored = outcomes[Outcome.STORED]
    work.count(
        stored=stored,
        refused=outcomes.total() - stored,
        bytes=sum(one.picture.file_size for one in batch.images if one.index is not None),
    )
    return {image.index for image in batch.images if image.index is not None}


def refuse_hosts(
    cursor: CursorWrapper, job_id: int, hosts: Iterable[str], *, refused: bool = False
) -> None:
    """Close the open candidates of those hosts that ended too many decoders in this job.

    With `refused` only of those that are refused already: a retry has given the others a chance.
    """
    params = {"job": job_id, "hosts": sorted({*hosts}), "refused": refused}
    params["crashes"] = CRASHES_OF_A_HOST
    for host, url in _fetch(CRASHED_HOSTS, params):
        detail = storable(host_refusal(url), longest=MAX_DETAIL_LENGTH)
        closed = _fetch(REFUSE_HOST, {"job": job_id, "host": host, "detail": detail})
        counters.add_images(cursor, job_id, outcomes={Outcome.HOST_REFUSED: len(closed)})


def _note_hosts(cursor: CursorWrapper, job_id: int, batch: _Batch) -> None:
    """Let the candidates of hosts that rest wait, or give them up; free those of hosts that answer."""
    for host, scheme in sorted(batch.awake):
        _fetch(WAKE, {"job": job_id, "host": host, "scheme": scheme})
    for (host, scheme), (trouble, seconds) in sorted(batch.resting.items()):
        may_pass = trouble.may_pass and seconds <= PATIENCE_SECONDS
        params = {"job": job_id, "host": host, "scheme": scheme, "seconds": seconds}
        params |= {"patience": PATIENCE_SECONDS, "may_pass": may_pass, "outcome": trouble.outcome}
        is_down = trouble.outcome == Outcome.HOST_DOWN
        why = "did not answer" if is_down else f"asked for a pause of {seconds:.0f} s"
        detail = f"not asked, since its host {why}: {trouble.detail}"
        params["detail"] = storable(detail, longest=MAX_DETAIL_LENGTH)
        given_up = sum(is_over for (is_over,) in _fetch(REST, params))
        if given_up:
            counters.add_images(cursor, job_id, outcomes={trouble.outcome: given_up})


def _server(task: Task) -> tuple[str, str]:
    return task.host, task.url.partition(":")[0].lower()


def _still_ours(chunk: JobChunk, results: Sequence[Result]) -> list[Result]:
    ids = [result.task.id for result in results]
    open_ids = {id for (id,) in _fetch(STILL_OURS, {"ids": ids, "chunk": chunk.pk})}
    return sorted(
        (result for result in results if result.task.id in open_ids),
        key=lambda result: result.task.id,
    )


def _decide(chunk: JobChunk, results: Sequence[Result], free: Sequence[int]) -> _Batch:
    batch = _Batch()
    pictures = [one for one in results if isinstance(one, Picture)]
    hashes = [picture.sha256 for picture in pictures]
    rows = _fetch(KNOWN_HASHES, {"job": chunk.job_id, "hashes": hashes})
    known = {sha256 for (sha256,) in rows}
    distance = Rules.from_options(chunk.job.options).near_duplicate_distance
    similar = _similar_images(chunk.job_id, pictures, distance)
    indexes = iter(free)
    distinct: list[Picture] = []
    for result in results:
        if isinstance(result, NotSent):
            _decide_waiting(batch, result)
            continue
        if result.task.has_waited and not (isinstance(result, Refused) and result.host_is_silent):
            batch.awake.add(_server(result.task))
        if isinstance(result, Refused):
            _decide_refusal(batch, result)
        elif result.sha256 in known:
            batch.close(result, Outcome.DUPLICATE, "The same bytes are in this job already.")
        elif (image_id := similar.get(result.task.id)) is not None:
            known.add(result.sha256)
            batch.images.append(_NewImage(result, resembles=image_id))
            batch.close(result, Outcome.NEAR_DUPLICATE, f"Resembles image {image_id}.")
        elif (twin := _twin(result, distinct, distance)) is not None:
            known.add(result.sha256)
            batch.twins.append((result, twin))
            batch.close(result, Outcome.NEAR_DUPLICATE, f"Resembles {shown_address(twin.url)}.")
        elif (index := next(indexes, None)) is None:
            batch.reopened[result.task.id] = 0, 0.0
        else:
            known.add(result.sha256)
            distinct.append(result)
            batch.images.append(_NewImage(result, index=index))
            batch.close(result, Outcome.STORED)
    return batch


def _decide_waiting(batch: _Batch, waiting: NotSent) -> None:
    """Reopen the candidate; if its host rests, all others of that host wait with it."""
    batch.reopened[waiting.task.id] = 0, 0.0 if waiting.trouble else waiting.seconds
    if waiting.trouble:
        batch.resting[_server(waiting.task)] = waiting.trouble, waiting.seconds


def _decide_refusal(batch: _Batch, refused: Refused) -> None:
    """Close the candidate, or reopen it for a later try."""
    wait = refused.retry_after
    is_last = refused.task.tries + 1 >= MAX_TRIES
    if wait is None or is_last or wait > MAX_RETRY_AFTER_SECONDS:
        batch.close(refused, refused.outcome, refused.detail)
    else:
        batch.reopened[refused.task.id] = 1, wait


def _similar_images(job_id: int, pictures: Sequence[Picture], distance: int) -> dict[int, int]:
    probed = [picture for picture in pictures if picture.phash is not None]
    if not probed or not distance:
        return {}
    params: dict[str, Any] = {
        "job": job_id,
        "distance": distance,
        "places": list(range(len(probed))),
        "phashes": [picture.phash for picture in probed],
        "masks": list(band_masks(distance)),
    }
    return {probed[place].task.id: image_id for place, image_id in _fetch(SIMILAR, params)}


def _twin(picture: Picture, others: Sequence[Picture], distance: int) -> Picture | None:
    if picture.phash is None or not distance:
        return None
    for other in others:
        if other.phash is not None:
            differing = (picture.phash ^ other.phash) & 0xFFFF_FFFF_FFFF_FFFF
            if differing.bit_count() <= distance:
                return other
    return None


def _store(chunk: JobChunk, batch: _Batch) -> None:
    """Insert the images, then those that resemble one of them.

    An index that is not free after all belongs to an overlapping chunk, which only a row
    inserted by hand can be.
    """
    ids = _insert(chunk, batch.images)
    twins = [
        _NewImage(picture, resembles=ids[twin.sha256])
        for picture, twin in batch.twins
        if twin.sha256 in ids
    ]
    ids |= _insert(chunk, twins)
    pictures = [image.picture for image in batch.images] + [picture for picture, _ in batch.twins]
    for picture in pictures:
        if picture.sha256 not in ids:
            del batch.closed[picture.task.id]
            batch.reopened[picture.task.id] = 0, 0.0


def _count(
    cursor: CursorWrapper, chunk: JobChunk, batch: _Batch, results: Sequence[Result]
) -> Counter[str]:
    outcomes = Counter(outcome for outcome, _detail in batch.closed.values())
    counters.add_images(
        cursor,
        chunk.job_id,
        downloaded=sum(outcomes[name] for name in DOWNLOADED),
        valid=outcomes[Outcome.STORED],
        outcomes=outcomes,
    )
    pictures = [one for one in results if isinstance(one, Picture)]
    used = usage.Usage(
        chunk.owner_id,
        day=datetime.now(UTC).date(),
        images_processed=len(pictures),
        bandwidth_bytes=sum(picture.file_size for picture in pictures),
    )
    usage.add_all([used])
    return outcomes


def _insert(chunk: JobChunk, images: Sequence[_NewImage]) -> dict[str, int]:
    if not images:
        return {}
    images = sorted(images, key=lambda image: image.picture.sha256)
    pictures = [image.picture for image in images]
    stored = _fetch(
        STORE,
        {
            "job": chunk.job_id,
            "chunk": chunk.pk,
            "indexes": [image.index for image in images],
            "similar": [image.resembles for image in images],
            "urls": [picture.task.url for picture in pictures],
            "names": [picture.key.rpartition("/")[2] for picture in pictures],
            "keys": [picture.key for picture in pictures],
            "widths": [picture.width for picture in pictures],
            "heights": [picture.height for picture in pictures],
            "sizes": [picture.file_size for picture in pictures],
            "formats": [picture.format for picture in pictures],
            "labels": [picture.task.label for picture in pictures],
            "hashes": [picture.sha256 for picture in pictures],
            "phashes": [picture.phash for picture in pictures],
            "provenances": [
                None if picture.task.provenance is None else json.dumps(picture.task.provenance)
                for picture in pictures
            ],
            "times": [picture.retrieved_at for picture in pictures],
        },
    )
    return dict(stored)


def _close(batch: _Batch) -> None:
    if batch.closed:
        outcomes, details = zip(*batch.closed.values(), strict=True)
        ids = list(batch.closed)
        _fetch(CLOSE, {"ids": ids, "outcomes": list(outcomes), "details": list(details)})
    if batch.reopened:
        tries, seconds = zip(*batch.reopened.values(), strict=True)
        ids = list(batch.reopened)
        _fetch(REOPEN, {"ids": ids, "tries": list(tries), "seconds": list(seconds)})
