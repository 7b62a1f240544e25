"""The counters of a crawl job: incremented by what a transaction changed, as its last statement.

`queue check` proves them equal to the rows.
"""

import json
from collections.abc import Mapping, Sequence

from django.db.backends.utils import CursorWrapper

from jobs.queue.items import Status
from jobs.queue.kinds import Left
from pixsim.core.db.sql import fetch

ADD_IMAGES = """
UPDATE crawl_jobs SET
    total_images = total_images + %(found)s,
    downloaded_images = downloaded_images + %(downloaded)s,
    valid_images = valid_images + %(valid)s,
    progress = CASE WHEN max_images > 0
        THEN least(100, (100::bigint * (valid_images + %(valid)s) / max_images)::int) ELSE 100 END,
    outcomes = (
        SELECT coalesce(jsonb_object_agg(name, count), '{}') FROM (
            SELECT name, coalesce((outcomes ->> name)::int, 0)
                       + coalesce((%(outcomes)s::jsonb ->> name)::int, 0) AS count
            FROM jsonb_object_keys(outcomes || %(outcomes)s::jsonb) AS name
        ) added WHERE count <> 0),
    updated_at = now()
WHERE id = %(job)s
"""

# A job ends once, when its last chunk does: failed if all chunks failed.
ADD_CHUNKS = """
UPDATE crawl_jobs SET
    completed_chunks = completed_chunks + %(completed)s,
    failed_chunks = failed_chunks + %(failed)s,
    active_chunks = active_chunks - %(completed)s - %(failed)s,
    status = CASE
        WHEN status NOT IN ('pending', 'running', 'paused') THEN status
        WHEN completed_chunks + failed_chunks + %(completed)s + %(failed)s < total_chunks THEN status
        WHEN completed_chunks + %(completed)s = 0 THEN 'failed'
        ELSE 'completed' END,
    completed_at = CASE
        WHEN status IN ('pending', 'running', 'paused')
         AND completed_chunks + failed_chunks + %(completed)s + %(failed)s >= total_chunks
        THEN now() ELSE completed_at END,
    updated_at = now()
WHERE id = %(job)s
RETURNING status
"""

# From the rows; the last chunk's end may raise max_images. An earlier statement has locked the job,
# so a transaction that ends a chunk which is open here counts it afterwards.
RECOUNT_CHUNKS = """
UPDATE crawl_jobs SET
    total_chunks = counted.total, completed_chunks = counted.completed,
    failed_chunks = counted.failed,
    active_chunks = counted.total - counted.completed - counted.failed,
    max_images = greatest(max_images, counted.reach),
    progress = least(100, 100::bigint * valid_images / greatest(max_images, counted.reach, 1))::int,
    updated_at = now()
FROM (
    SELECT count(*) AS total,
        max(CASE WHEN jsonb_typeof(image_range -> 'end') = 'number'
                  AND (image_range ->> 'end')::numeric BETWEEN 0 AND 10000000
            THEN (image_range ->> 'end')::numeric END)::int AS reach,
        count(*) FILTER (WHERE status = 'completed') AS completed,
        count(*) FILTER (WHERE status = 'failed') AS failed
    FROM job_chunks WHERE job_id = %(job)s
) counted
WHERE id = %(job)s
"""


def recount_chunks(cursor: CursorWrapper, job_id: int) -> None:
    """Set the chunk counters of a job, which the caller has locked, to what the rows say."""
    cursor.execute(RECOUNT_CHUNKS, {"job": job_id})


def recount_images(cursor: CursorWrapper, job_id: int) -> None:
    """Set the image counters of a job that has no candidate yet to what its rows say."""
    cursor.execute(
        "UPDATE crawl_jobs SET total_images = 0, downloaded_images = 0, outcomes = '{}',"
        " valid_images = (SELECT count(image_index) FROM images WHERE crawl_job_id = crawl_jobs.id),"
        " updated_at = now() WHERE id = %(job)s",
        {"job": job_id},
    )


def add_images(
    cursor: CursorWrapper,
    job_id: int,
    *,
    found: int = 0,
    downloaded: int = 0,
    valid: int = 0,
    outcomes: Mapping[str, int] | None = None,
) -> None:
    """Count candidates found, pictures downloaded, images stored and outcomes of a job."""
    counts = {"found": found, "downloaded": downloaded, "valid": valid}
    counted = json.dumps(outcomes or {})
    cursor.execute(ADD_IMAGES, {"job": job_id, "outcomes": counted, **counts})


def add_chunks(cursor: CursorWrapper, left: Sequence[Left]) -> list[int]:
    """Count ended chunks, job by job in key order; return the jobs that ended with them."""
    ended: dict[int, list[int]] = {}
    for item in left:
        if item.parent_id is not None and item.status in (Status.COMPLETED, Status.FAILED):
            ended.setdefault(item.parent_id, [0, 0])[item.status == Status.FAILED] += 1
    return [
        job_id
        for job_id in sorted(ended)
        if end_if_done(job_id, completed=ended[job_id][0], failed=ended[job_id][1])
    ]


def end_if_done(job_id: int, *, completed: int = 0, failed: int = 0) -> bool:
    """Count ended chunks, and end a job that has no open one left; return whether it has ended."""
    rows = fetch(ADD_CHUNKS, {"job": job_id, "completed": completed, "failed": failed})
    return rows[0][0] in ("completed", "failed") if rows else False
