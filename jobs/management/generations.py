"""What the commands say about a job, to people and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from django.utils import timezone

from jobs import pricing
from jobs.generation import wait_reason
from jobs.models import Job, JobStatus
from jobs.timeline import deeds
from pixsim.core import blobs
from providers.models import ProviderSubmission

SAME_MOMENT = timedelta(seconds=2)

Event = tuple[datetime, str]


def report(job: Job) -> dict[str, Any]:
    """One object for machines."""
    asset = job.asset
    return {
        "job": job.pk,
        "status": job.status,
        "provider": job.provider_id,
        "operation": job.operation_type,
        "model": job.model,
        "params": job.params,
        "error": job.error_message,
        "error_class": job.error_class,
        "credits": {"held": job.estimate, "taken": job.cost},
        "seconds": _seconds(job),
        "asset": asset
        and {
            "id": asset.pk,
            "type": asset.mime_type,
            "width": asset.width,
            "height": asset.height,
            "seconds": asset.duration_sec,
            "bytes": asset.file_size_bytes,
            "sha256": asset.sha256,
            "file": _file(asset.local_path),
        },
        "attempts": [_attempt(one) for one in _submissions(job)],
    }


def sentence(job: Job) -> str:
    """How the job stands, with the reason and the next step."""
    told = f"Job {job.pk} is {job.status}"
    if job.asset is not None:
        asset = job.asset
        size = f", {asset.width}x{asset.height}" if asset.width else ""
        length = f", {asset.duration_sec:.1f} s" if asset.duration_sec else ""
        told += f": {asset.mime_type}{size}{length}, {_file(asset.local_path)}"
    elif job.status == JobStatus.PENDING:
        told += f": {wait_reason.reason(job)}"
    elif job.status == JobStatus.FAILED:
        told += f": {job.error_message or 'it is not recorded why.'}"
    if job.error_class == pricing.UNRESOLVED:
        told += f" Decide with: manage.py job {job.pk} settle --charge|--release"
    elif job.status == JobStatus.FAILED:
        told += f" Try again with: manage.py job {job.pk} retry"
    return told


def story(job: Job) -> list[str]:
    """What happened to the job and when: each attempt with its account and why that one, errors with
    their class, what people did, how it stands, and what it cost.
    """
    attempts = list(_submissions(job))
    happened = [
        *_asked(job),
        *(event for one in attempts for event in _attempt_events(one)),
        *deeds(job),
        (_ended_at(job, attempts) or timezone.now(), sentence(job)),
    ]
    happened.sort(key=itemgetter(0))
    return [*(f"{_at(moment)}  {text}" for moment, text in happened), *_cost(job)]


def _ended_at(job: Job, attempts: Sequence[ProviderSubmission]) -> datetime | None:
    """When the job ended: not before the attempt that ended it, whose time is another clock's."""
    ended_at = job.completed_at
    for one in attempts:
        if ended_at and one.responded_at and one.responded_at - ended_at < SAME_MOMENT:
            ended_at = max(ended_at, one.responded_at)
    return ended_at


def _asked(job: Job) -> Iterator[Event]:
    model = f" ({job.model})" if job.model else ""
    yield (
        job.created_at,
        f"{job.user} asked {job.provider_id} for {job.operation_type}{model}, "
        f"priority {job.priority}",
    )
    if job.parent_job_id:
        yield job.created_at, f"after its parent job {job.parent_job_id}"
    if job.scheduled_at:
        yield job.created_at, f"not before {_at(job.scheduled_at)}"


def _attempt_events(one: ProviderSubmission) -> Iterator[Event]:
    name = f"attempt {one.retry_attempt}"
    yield one.submitted_at, f"{name}: {one.account}, chosen for: {one.choice or 'not recorded'}"
    if one.accepted_at:
        yield one.accepted_at, f"{name}: accepted as {one.provider_job_id}"
    error = f": {one.error_class}: {one.error_message}" if one.error_class else ""
    if one.responded_at:
        took = f" after {one.duration_ms / 1000:.1f} s" if one.duration_ms is not None else ""
        yield one.responded_at, f"{name}: {one.status}{took}{error}"
    else:
        yield timezone.now(), f"{name}: {one.status}, looked after {one.polls} times{error}"


def _cost(job: Job) -> Iterator[str]:
    if job.estimate is None:
        return
    if job.cost is not None:
        yield f"{job.estimate} credits were held for it, {job.cost} were taken."
    elif job.completed_at is None or job.error_class == pricing.UNRESOLVED:
        yield f"{job.estimate} credits are held for it."
    else:
        yield f"{job.estimate} credits were held for it and given back."


def _submissions(job: Job) -> Any:
    return (
        ProviderSubmission.objects.filter(job=job)
        .select_related("account")
        .order_by("retry_attempt", "id")
    )


def _attempt(one: ProviderSubmission) -> dict[str, Any]:
    return {
        "attempt": one.retry_attempt,
        "account": str(one.account),
        "choice": one.choice,
        "status": one.status,
        "provider_job_id": one.provider_job_id,
        "submitted_at": one.submitted_at.isoformat(),
        "seconds": None if one.duration_ms is None else one.duration_ms / 1000,
        "error_class": one.error_class,
        "error": one.error_message,
    }


def _seconds(job: Job) -> float:
    return round(((job.completed_at or timezone.now()) - job.created_at).total_seconds(), 1)


def _file(key: str | None) -> str | None:
    path = blobs.local_path(key) if key else None
    return str(path) if path else key


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
