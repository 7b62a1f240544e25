"""Pause, resume, cancel, retry, repeat and change whole crawl jobs.

The lock order is the queue's: work rows first, then their job. So the job changes in a transaction
of its own, and its work rows follow in batches.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import connection, transaction

from accounts import activity
from accounts.models import Profile
from crawler.errors import WrongState
from crawler.labels import check_keywords, check_name
from crawler.models import OPEN_STATUSES, CrawlJob, JobStatus
from crawler.services.accepting import SourceSpec, create_crawl_job
from crawler.services.ending import recount_job, reopen_cancelled, reopen_passing
from crawler.services.limits import check_highest_priority, check_options, check_reopening
from crawler.services.why_short import why_short
from jobs.queue import api
from jobs.queue.items import Status
from jobs.queue.kinds import kind_named
from pixsim.core.db.sql import fetch

WHILE_OPEN = {"priority", "options"}
"""What changes only while the job is open."""

# Chunks that failed, and completed ones that are short of images.
TO_RETRY = """
SELECT id FROM job_chunks
WHERE job_id = %(job)s AND (status = 'failed' OR status = 'completed' AND (
    SELECT count(*) FROM images
    WHERE images.chunk_id = job_chunks.id AND image_index IS NOT NULL
) < (image_range ->> 'end')::int - (image_range ->> 'start')::int)
"""


def pause_job(*, job_id: int, actor: Profile | None = None) -> None:
    """Hold the job's unfinished chunks; running ones stop at their next checkpoint.

    Raise WrongState if the job is not pending or running.
    """
    _move(job_id, JobStatus.PAUSED, allowed=(JobStatus.PENDING, JobStatus.RUNNING), actor=actor)
    _each_kind(api.hold, job_id)


def resume_job(*, job_id: int, actor: Profile | None = None) -> None:
    """Resume a paused job. Raise WrongState if it is not paused."""
    _move(job_id, JobStatus.RUNNING, allowed=(JobStatus.PAUSED,), actor=actor)
    _each_kind(api.resume, job_id)


def cancel_job(*, job_id: int, actor: Profile | None = None) -> None:
    """End the job; its images stay. Raise WrongState if it has ended already."""
    _move(job_id, JobStatus.CANCELLED, allowed=OPEN_STATUSES, actor=actor)
    _each_kind(api.hold, job_id)


def retry_job(*, job_id: int, actor: Profile | None = None) -> int:
    """Start chunks again that failed or ended short; return how many chunks start again.

    They get the job's priority of now. Sources that could not be read are read again, discovery
    goes on where it stopped, and addresses whose trouble may have passed are tried again. A job
    that has ended is opened again within its owner's limits (`limits.check_reopening`). A cancelled
    one goes on with all that it had not finished, and is completed if that is nothing.

    Raise FeatureRefused or LimitExceeded, or WrongState if the job has no such chunk.
    """
    if get_job(job_id).status == JobStatus.CANCELLED:
        return _take_up(job_id, actor)
    with transaction.atomic(), connection.cursor() as cursor:
        check_reopening([get_job(job_id)])
        ids = [id for (id,) in fetch(TO_RETRY, {"job": job_id})]
        chunks = kind_named("chunk")
        revived = api.requeue(chunks, ids, statuses=(Status.COMPLETED, Status.FAILED))
        if revived:
            recount_job(cursor, job_id)
            reopen_passing(cursor, job_id)
        job = get_job(job_id)
        if not revived or not job.is_open:
            raise WrongState(f"Crawl job {job_id} is {job.status} and has nothing to try again.")
        activity.record_change("crawl_job", job_id, "retried", actor=actor, chunks=revived)
        # They have the priority that the job had when they ended.
        api.reprioritise(chunks, ids, priority=job.priority)
    return revived


def repeat_job(*, job_id: int, actor: Profile | None = None) -> CrawlJob:
    """Accept a new job that asks for the same as this one, and return it. This one stays as it is.

    Raise WrongState if there is no such job, and what `accepting.create_crawl_job` raises.
    """
    job = get_job(job_id)
    return create_crawl_job(
        owner=job.project.owner,
        project=job.project,
        name=job.name,
        max_images=job.max_images,
        source_specs=[
            SourceSpec(source.kind, source.location, source.label, source.options)
            for source in job.sources.order_by("id")
        ],
        keywords=job.keywords if isinstance(job.keywords, list) else (),
        priority=job.priority,
        options=job.options,
        chunk_size=job.chunk_size,
        actor=actor,
    )


def change_priority(*, job_id: int, priority: int, actor: Profile | None = None) -> None:
    """Change how urgent an open job and all its unfinished work is, from now on.

    Raise JobRefused or LimitExceeded for a priority that the job may not have, WrongState if it
    has ended.
    """
    change_job(job_id=job_id, changes={"priority": priority}, actor=actor)


def change_job(
    *,
    job_id: int,
    changes: Mapping[str, Any],
    shown: Mapping[str, Any] | None = None,
    actor: Profile | None = None,
) -> None:
    """Change a job's name or keywords, and while it is open its priority or options.

    Raise JobRefused or LimitExceeded for values that it may not have, WrongState if the job has
    ended or a field no longer has the value that was `shown`.
    """
    if unknown := set(changes) - {"name", "keywords", *WHILE_OPEN}:
        raise ValueError(f"A crawl job's {', '.join(sorted(unknown))} cannot be changed.")
    if not changes:
        return
    with transaction.atomic():
        job = get_job(job_id)
        if "priority" in changes:
            check_highest_priority(job.project.owner, changes["priority"])
        check_name(changes.get("name", ""))
        check_keywords(changes.get("keywords"))
        if "options" in changes:
            changes = {**changes, "options": check_options(changes["options"])}
        same = CrawlJob.objects.filter(pk=job_id, **(shown or {}))
        if WHILE_OPEN & set(changes):
            same = same.open()
        if not same.update(**changes, updated_at=datetime.now(UTC)):
            raise WrongState(_why_unchanged(job_id, changes))
        action = "priority_changed" if set(changes) == {"priority"} else "changed"
        values = {name: changes[name] for name in ("name", "priority") if name in changes}
        activity.record_change(
            "crawl_job", job_id, action, actor=actor, **values, fields=sorted(changes)
        )
        if "priority" in changes:
            # After the commit: the work rows are locked before their job.
            reprioritise = partial(api.reprioritise, priority=changes["priority"])
            transaction.on_commit(partial(_each_kind, reprioritise, job_id))


def get_job(job_id: int) -> CrawlJob:
    """Return the job. Raise WrongState if there is none."""
    job = CrawlJob.objects.select_related("project__owner").filter(pk=job_id).first()
    if job is None:
        raise WrongState(f"There is no crawl job {job_id}.")
    return job


def _take_up(job_id: int, actor: Profile | None) -> int:
    """Open a cancelled job again; return how many of its chunks start again.

    Raise WrongState if somebody else was faster. Sources and chunks go on after the commit, since
    a worker may still have one of them locked and wait for the job.
    """
    chunks = kind_named("chunk")
    with transaction.atomic(), connection.cursor() as cursor:
        check_reopening([get_job(job_id)], statuses=(JobStatus.CANCELLED,))
        ids = [id for (id,) in fetch(TO_RETRY, {"job": job_id})]
        api.requeue(chunks, ids, statuses=(Status.COMPLETED, Status.FAILED))
        reopen_cancelled(cursor, job_id)
        activity.record_change("crawl_job", job_id, "retried", actor=actor, chunks=len(ids))
    api.reprioritise(chunks, ids, priority=get_job(job_id).priority)
    resumed = api.resume(chunks, parent=job_id)
    api.requeue(kind_named("discovery"), parent=job_id, statuses=[Status.FAILED], held=True)
    return len(ids) + resumed


def _each_kind(act: Callable[..., object], job_id: int) -> None:
    for name in ("discovery", "chunk"):
        act(kind_named(name), parent=job_id)


def _why_unchanged(job_id: int, changes: Mapping[str, Any]) -> str:
    job = get_job(job_id)
    if job.is_open:
        return f"Crawl job {job_id} has changed meanwhile. Nothing was changed."
    names = ", ".join(sorted(WHILE_OPEN & set(changes))) or "values"
    return f"Crawl job {job_id} is {job.status}: its {names} cannot change any more."


def _move(job_id: int, to: JobStatus, *, allowed: Sequence[str], actor: Profile | None) -> None:
    now = datetime.now(UTC)
    values: dict[str, Any] = {"status": to, "updated_at": now}
    if to == JobStatus.CANCELLED:
        values["completed_at"] = now
    with transaction.atomic():
        if not CrawlJob.objects.filter(pk=job_id, status__in=allowed).update(**values):
            job = get_job(job_id)
            raise WrongState(f"Crawl job {job_id} is {job.status}: it cannot become {to}.")
        if to == JobStatus.CANCELLED:
            why = why_short(get_job(job_id))
            CrawlJob.objects.filter(pk=job_id).update(error_message=why)
        what = "resumed" if to == JobStatus.RUNNING else to
        activity.record_change("crawl_job", job_id, what, actor=actor)
