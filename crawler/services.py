"""Use cases that write: accept, plan, steer and end crawl jobs.

The lock order is the queue's: work rows first, then their job. So a use case that changes both
changes the job in a transaction of its own, and the rows follow in batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from accounts import activity, tiers
from accounts.models import Profile
from crawler import counters, sources
from crawler.errors import JobRefused, WrongState
from crawler.fetch import Rules
from crawler.models import CrawlJob, CrawlSource, JobChunk, JobStatus, Outcome, Project
from crawler.models.chunks import MAX_SIZE
from crawler.models.jobs import OPEN_STATUSES
from crawler.models.projects import COMMAND_LINE_PROJECT
from crawler.planner import chunk_ranges, default_chunk_size
from jobs.queue import admission, doorbell
from jobs.queue.drain import perform_one
from jobs.queue.items import MAX_PRIORITY, MIN_PRIORITY
from jobs.queue.kinds import Kind, kind_named
from jobs.queue.sql import fetch

MAX_IMAGES = 10_000_000
MAX_CHUNKS = 200_000
BATCH = 5000

# Without an owner a chunk is ready at once, at the place of its age.
ADD_CHUNKS = """
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT %(job)s, place - 1, jsonb_build_object('start', first, 'end', last), %(priority)s,
    %(owner)s::uuid, CASE WHEN %(owner)s::uuid IS NULL THEN now() END
FROM unnest(%(starts)s::int[], %(ends)s::int[]) WITH ORDINALITY AS ranges (first, last, place)
"""

# One more chunk of a job that goes on, counted with it.
ADD_CHUNK = """
WITH job AS (
    UPDATE crawl_jobs SET
        total_chunks = total_chunks + 1, active_chunks = active_chunks + 1,
        max_images = greatest(max_images, %(end)s),
        progress = least(100, 100::bigint * valid_images / greatest(max_images, %(end)s, 1))::int,
        updated_at = now()
    WHERE id = %(job)s AND status IN ('pending', 'running')
    RETURNING id, project_id, priority, total_chunks
)
INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, owner_id, ready_at)
SELECT job.id, job.total_chunks - 1, jsonb_build_object('start', %(start)s::int, 'end', %(end)s::int),
    coalesce(%(priority)s::int, job.priority), project.user_id,
    CASE WHEN project.user_id IS NULL THEN now() END
FROM job JOIN projects project ON project.id = job.project_id
RETURNING id, owner_id
"""

# Pause and cancel: pending items leave the queue, batch by batch.
HOLD = """
UPDATE {table} SET held = TRUE, ready_at = NULL, available_at = NULL, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id > %(after)s AND job_id = %(job)s AND status = 'pending'
      AND (NOT held OR available_at IS NOT NULL)
    ORDER BY id LIMIT %(limit)s FOR UPDATE))
RETURNING id
"""

RESUME = """
UPDATE {table} SET
    held = FALSE, available_at = NULL, updated_at = now(),
    ready_at = CASE WHEN owner_id IS NULL THEN created_at END
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id > %(after)s AND job_id = %(job)s AND status = 'pending' AND held
    ORDER BY id LIMIT %(limit)s FOR UPDATE))
RETURNING id
"""

# Failed chunks, and completed ones that are short of images. Without owner and place, like rows
# revived by hand: adoption does the rest.
REVIVE = """
UPDATE job_chunks chunk SET
    status = 'pending', retry_count = 0, error_message = NULL, finished_at = NULL,
    held = FALSE, available_at = NULL, ready_at = NULL, owner_id = NULL, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM job_chunks
    WHERE job_id = %(job)s AND (status = 'failed' OR status = 'completed' AND (
        SELECT count(*) FROM images
        WHERE images.chunk_id = job_chunks.id AND image_index IS NOT NULL
    ) < (image_range ->> 'end')::int - (image_range ->> 'start')::int)
    ORDER BY id FOR UPDATE))
"""

REPRIORITISE = """
UPDATE {table} SET priority = %(priority)s, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM {table}
    WHERE id > %(after)s AND job_id = %(job)s AND status = 'pending' AND priority <> %(priority)s
    ORDER BY id LIMIT %(limit)s FOR UPDATE))
RETURNING id
"""

# BETWEEN: see filling.CLAIM_CANDIDATES.
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

# So that nobody opens it again meanwhile.
LOCK_ENDED = """
SELECT 1 FROM crawl_jobs WHERE id = %(job)s AND status IN ('completed', 'failed', 'cancelled')
FOR NO KEY UPDATE
"""

# An ended job's discovery rests; a job that is opened again goes on where it stopped.
HOLD_SOURCES = """
UPDATE crawl_sources SET
    status = 'pending', held = TRUE, ready_at = NULL, available_at = NULL, lease_id = NULL,
    lease_expires_at = NULL, updated_at = now()
WHERE id = ANY(ARRAY(
    SELECT id FROM crawl_sources WHERE job_id = %(job)s AND status IN ('pending', 'processing')
    ORDER BY id FOR UPDATE SKIP LOCKED))
"""

REOPEN_SOURCES = """
UPDATE crawl_sources SET
    status = 'pending', held = FALSE, available_at = NULL, ready_at = NULL, owner_id = NULL,
    retry_count = 0, error_message = NULL, finished_at = NULL, updated_at = now()
WHERE job_id = %(job)s AND (status = 'failed' OR status = 'pending' AND held)
"""

REOPEN_SURPLUS = (
    "UPDATE candidates SET outcome = NULL WHERE job_id = %(job)s AND outcome = 'surplus'"
)

SAY_WHY = """
UPDATE crawl_jobs SET error_message = coalesce(
    (SELECT error_message FROM crawl_sources
     WHERE job_id = %(job)s AND status = 'failed' ORDER BY id LIMIT 1),
    (SELECT error_message FROM job_chunks
     WHERE job_id = %(job)s AND status = 'failed' ORDER BY id LIMIT 1))
WHERE id = %(job)s
"""


@dataclass(frozen=True)
class SourceSpec:
    """A source as it is asked for: see `crawler.sources` for kinds and their options."""

    kind: str
    location: str
    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)


# Accepting and planning


def create_crawl_job(
    *,
    owner: Profile | None,
    name: str,
    max_images: int,
    source_specs: Sequence[SourceSpec],
    keywords: Sequence[str] = (),
    priority: int | None = None,
    project: Project | None = None,
    options: dict[str, Any] | None = None,
    chunk_size: int | None = None,
) -> CrawlJob:
    """Accept a crawl job: checked, within the owner's limits, planned, and its workers rung for.

    Raises JobRefused or SourceRefused, naming the field, or LimitExceeded; nothing is kept then.
    `owner` None is the system, which has no limits.
    """
    if chunk_size is None:
        chunk_size = default_chunk_size(max_images)
    if priority is None:
        priority = tiers.tier_of(owner).default_priority if owner else 5
    check_job(max_images=max_images, priority=priority, chunk_size=chunk_size, options=options)
    for spec in source_specs:
        sources.build(spec.kind, spec.location, spec.options, spec.label).check()
    with transaction.atomic():
        check_limits(owner=owner, max_images=max_images, priority=priority)
        job = CrawlJob.objects.create(
            project=project or command_line_project(owner=owner),
            name=name[:100],
            keywords=list(keywords),
            max_images=max_images,
            priority=priority,
            options=options or {},
            chunk_size=chunk_size,
        )
        CrawlSource.objects.bulk_create(
            CrawlSource(
                job=job,
                kind=spec.kind,
                location=spec.location,
                label=spec.label,
                options=spec.options,
                owner=owner,
                priority=priority,
            )
            for spec in source_specs
        )
        plan_job(job_id=job.pk)
    job.refresh_from_db()
    return job


def check_job(
    *, max_images: int, priority: int, chunk_size: int, options: dict[str, Any] | None
) -> None:
    """Raises JobRefused, naming the field, if a job cannot be as it was asked for."""
    if not 1 <= max_images <= MAX_IMAGES:
        raise JobRefused("max_images", f"must be from 1 to {MAX_IMAGES:,}, not {max_images:,}.")
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise JobRefused(
            "priority", f"must be from {MIN_PRIORITY} to {MAX_PRIORITY}, not {priority}."
        )
    if not 1 <= chunk_size <= MAX_SIZE:
        raise JobRefused("chunk_size", f"must be from 1 to {MAX_SIZE:,}, not {chunk_size:,}.")
    if max_images > MAX_CHUNKS * chunk_size:
        raise JobRefused(
            "chunk_size",
            f"must be at least {-(-max_images // MAX_CHUNKS):,}: a job has at most "
            f"{MAX_CHUNKS:,} chunks.",
        )
    try:
        Rules.from_options(options or {})
    except ValueError as error:
        raise JobRefused("options", str(error)) from error


def check_limits(*, owner: Profile | None, max_images: int, priority: int) -> None:
    """Raises LimitExceeded if the owner's tier does not allow one more such job.

    Locks the owner's row, so that two requests cannot pass together: call it in the transaction
    that creates the job.
    """
    if owner is None:
        return
    owner = Profile.objects.select_for_update(no_key=True).get(pk=owner.pk)
    tiers.require(owner, "images_per_job", 0, max_images)
    tiers.require(owner, "highest_priority", 0, priority)
    own = CrawlJob.objects.filter(project__owner=owner)
    tiers.require(owner, "concurrent_jobs", own.open().count())
    today = datetime.combine(datetime.now(UTC).date(), time(), tzinfo=UTC)
    tiers.require(
        owner,
        "jobs_per_day",
        own.filter(created_at__gte=today).count(),
        resets_at=today + timedelta(days=1),
    )


def command_line_project(*, owner: Profile | None) -> Project:
    """The project of crawls that name none."""
    project = Project.objects.filter(owner=owner, name=COMMAND_LINE_PROJECT).order_by("id").first()
    if project is None:
        if owner is not None:
            tiers.require(owner, "projects", Project.objects.filter(owner=owner).count())
        project = Project.objects.create(owner=owner, name=COMMAND_LINE_PROJECT)
    return project


def plan_job(*, job_id: int) -> int:
    """Split an accepted job into chunks, once; how many were made.

    Its sources and chunks are admitted within the owner's window, and the bell is rung. A job made
    by hand that cannot be planned fails, with the reason.
    """
    with transaction.atomic():
        job = (
            CrawlJob.objects.select_for_update(no_key=True, of=("self",))
            .select_related("project")
            .filter(pk=job_id, status=JobStatus.PENDING, total_chunks=0)
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
        for kind in _kinds():
            if owner_id is not None:
                admission.admit(kind, owner_id)
        doorbell.ring_on_commit()
    return planned


def add_chunk(*, job_id: int, start: int, end: int, priority: int | None = None) -> int:
    """Add the chunk [start, end) to a pending or running job; its id.

    Indices beyond `max_images` raise it. Raises WrongState if the job is in another state.
    """
    params = {"job": job_id, "start": start, "end": end, "priority": priority}
    rows = fetch(ADD_CHUNK, params)
    if not rows:
        raise WrongState(f"Crawl job {job_id} is {_get(job_id).status}: no chunk can be added.")
    [(chunk_id, owner_id)] = rows
    if owner_id is not None:
        admission.admit(kind_named("chunk"), owner_id)
    doorbell.ring_on_commit()
    return int(chunk_id)


def plan_waiting_jobs() -> None:
    """Plan jobs that were added by hand: a row with a source and no chunks."""
    for job_id in CrawlJob.objects.unplanned().values_list("pk", flat=True)[:100]:
        plan_job(job_id=job_id)


# Steering


def pause_job(*, job_id: int, actor: Profile | None = None) -> None:
    """Hold the job's unfinished chunks; running ones stop at their next checkpoint.

    Raises WrongState if the job is not pending or running.
    """
    _move(job_id, JobStatus.PAUSED, allowed=(JobStatus.PENDING, JobStatus.RUNNING), actor=actor)
    _in_batches(HOLD, job_id=job_id)


def resume_job(*, job_id: int, actor: Profile | None = None) -> None:
    """Let a paused job go on. Raises WrongState if it is not paused."""
    _move(job_id, JobStatus.RUNNING, allowed=(JobStatus.PAUSED,), actor=actor)
    _in_batches(RESUME, job_id=job_id)
    _admit_owner_of(job_id)


def cancel_job(*, job_id: int, actor: Profile | None = None) -> None:
    """End the job; what is stored stays. Raises WrongState if it has ended already."""
    _move(job_id, JobStatus.CANCELLED, allowed=OPEN_STATUSES, actor=actor)
    _in_batches(HOLD, job_id=job_id)


def retry_job(*, job_id: int, actor: Profile | None = None) -> int:
    """Give chunks that failed or ended short a new start; how many there were.

    Sources that could not be read are read again, and discovery goes on where it stopped. Raises
    WrongState if the job was cancelled or has no such chunk.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(REVIVE, {"job": job_id})
        revived = cursor.rowcount
        if revived:
            take_in_chunks(cursor, job_id)
        job = _get(job_id)
        if not revived or not job.is_open:
            transaction.set_rollback(True)
        else:
            activity.record(
                actor=actor, action="crawl_job.retried", **_about(job_id), chunks=revived
            )
    if not revived or not job.is_open:
        raise WrongState(
            f"Crawl job {job_id} is {_get(job_id).status} and has nothing to try again."
        )
    for kind in _kinds():
        admission.adopt(kind)
    doorbell.ring_on_commit()
    return revived


def take_in_chunks(cursor: Any, job_id: int) -> None:
    """Chunks were added, revived or ended by hand: count them, and let the job agree with them.

    One that had ended is opened again, one whose chunks have all ended ends; a cancelled job
    stays so.
    """
    job = CrawlJob.objects.select_for_update(no_key=True).filter(pk=job_id).first()
    if job is None:
        return
    counters.recount_chunks(cursor, job_id)
    job.refresh_from_db()
    if job.is_open and job.total_chunks and not job.active_chunks:
        if counters.end_if_done(cursor, job_id):
            close_ended_job(cursor, job_id)
        return
    if job.status not in (JobStatus.COMPLETED, JobStatus.FAILED) or not job.active_chunks:
        return
    job.status, job.completed_at, job.error_message = JobStatus.RUNNING, None, None
    job.save(update_fields=["status", "completed_at", "error_message", "updated_at"])
    cursor.execute(REOPEN_SOURCES, {"job": job_id})
    cursor.execute(REOPEN_SURPLUS, {"job": job_id})
    counters.add_images(cursor, job_id, outcomes={Outcome.SURPLUS: -cursor.rowcount})


def change_priority(*, job_id: int, priority: int, actor: Profile | None = None) -> None:
    """Change how urgent the job's unfinished work is, from now on."""
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise JobRefused(
            "priority", f"must be from {MIN_PRIORITY} to {MAX_PRIORITY}, not {priority}."
        )
    CrawlJob.objects.filter(pk=job_id).update(priority=priority, updated_at=datetime.now(UTC))
    _in_batches(REPRIORITISE, job_id=job_id, priority=priority)
    activity.record(
        actor=actor, action="crawl_job.priority_changed", **_about(job_id), priority=priority
    )
    _admit_owner_of(job_id)


def process_chunk(*, chunk_id: int, task_id: str) -> bool:
    """Claim and fill one named chunk in this process, if it may run now; whether it did."""
    kind = kind_named("chunk")
    admission.adopt(kind, item_id=chunk_id)
    owner_id = JobChunk.objects.filter(pk=chunk_id).values_list("owner_id", flat=True).first()
    if owner_id is not None:
        admission.admit(kind, owner_id)
    return perform_one(kind, item_id=chunk_id, task_id=task_id)


# Ending


def close_ended_job(cursor: Any, job_id: int) -> None:
    """What an ended job no longer needs, in the transaction that ended it."""
    cursor.execute(HOLD_SOURCES, {"job": job_id})
    cursor.execute(SAY_WHY, {"job": job_id})
    _close_surplus(cursor, job_id)


def close_surplus() -> None:
    """Close the open candidates of ended jobs, a batch of each."""
    with connection.cursor() as cursor:
        cursor.execute(JOBS_WITH_SURPLUS)
        job_ids = [row[0] for row in cursor.fetchall()]
    for job_id in job_ids:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(LOCK_ENDED, {"job": job_id})
            if cursor.fetchone():
                _close_surplus(cursor, job_id)


def _close_surplus(cursor: Any, job_id: int) -> None:
    cursor.execute(CLOSE_SURPLUS, {"job": job_id, "limit": BATCH})
    if cursor.rowcount:
        counters.add_images(cursor, job_id, outcomes={Outcome.SURPLUS: cursor.rowcount})


def _kinds() -> tuple[Kind, ...]:
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


def _admit_owner_of(job_id: int) -> None:
    owner_id = Project.objects.filter(crawl_jobs=job_id).values_list("owner_id", flat=True).first()
    for kind in _kinds():
        if owner_id is not None:
            admission.admit(kind, owner_id)
    doorbell.ring_on_commit()


def _in_batches(statement: str, *, job_id: int, **params: Any) -> None:
    """Apply a statement to all the job's items, each batch in a transaction of its own."""
    for kind in _kinds():
        ids = [0]
        while ids:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    statement.format(table=kind.table),
                    {"job": job_id, "after": max(ids), "limit": BATCH, **params},
                )
                ids = [row[0] for row in cursor.fetchall()]


def _move(job_id: int, to: JobStatus, *, allowed: Sequence[str], actor: Profile | None) -> None:
    """Change the job's status if it is one of `allowed`; one winner. Written to the activity log."""
    now = datetime.now(UTC)
    values: dict[str, Any] = {"status": to, "updated_at": now}
    if to == JobStatus.CANCELLED:
        values["completed_at"] = now
    with transaction.atomic():
        if not CrawlJob.objects.filter(pk=job_id, status__in=allowed).update(**values):
            job = _get(job_id)
            raise WrongState(f"Crawl job {job_id} is {job.status}: it cannot become {to}.")
        activity.record(actor=actor, action=f"crawl_job.{to}", **_about(job_id))


def _about(job_id: int) -> dict[str, str]:
    return {"resource_type": "crawl_job", "resource_id": str(job_id)}


def _get(job_id: int) -> CrawlJob:
    job = CrawlJob.objects.filter(pk=job_id).first()
    if job is None:
        raise WrongState(f"There is no crawl job {job_id}.")
    return job
