"""What the commands say about a job, to people and as one JSON object."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from jobs import pricing
from jobs.models import Job, JobStatus
from pixsim.core import blobs
from providers.models import ProviderSubmission

COMPLETE, NOT_COMPLETE, WRONG_USAGE = 0, 3, 2
OPEN = (JobStatus.PENDING, JobStatus.PROCESSING)
LOOK_SECONDS = 0.2


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
    elif job.error_message:
        told += f": {job.error_message}"
    if job.error_class == pricing.UNDECIDED:
        told += f" Decide with: manage.py job {job.pk} settle --charge|--release"
    elif job.status == JobStatus.FAILED:
        told += f" Try again with: manage.py job {job.pk} retry"
    return told


def story(job: Job) -> list[str]:
    """Every attempt with its account and why, state changes with their times, errors, and the cost."""
    lines = [f"{_at(job.created_at)}  asked for {job.operation_type} by {job.provider_id}"]
    if job.estimate is not None:
        lines.append(f"{'':19}  {job.estimate} credits held")
    if job.scheduled_at:
        lines.append(f"{'':19}  not before {_at(job.scheduled_at)}")
    for one in _submissions(job):
        lines.append(
            f"{_at(one.submitted_at)}  attempt {one.retry_attempt}: {one.account} "
            f"({one.choice or 'no reason recorded'})"
        )
        if one.accepted_at:
            lines.append(f"{_at(one.accepted_at)}    accepted as {one.provider_job_id}")
        if one.responded_at:
            took = f" after {one.duration_ms / 1000:.1f} s" if one.duration_ms is not None else ""
            lines.append(f"{_at(one.responded_at)}    {one.status}{took}")
        else:
            lines.append(f"{'':19}    {one.status}, looked after {one.polls} times")
        if one.error_class:
            lines.append(f"{'':19}    {one.error_class}: {one.error_message}")
    if job.status in OPEN and job.error_message:
        lines.append(f"{'':19}  {job.error_message}")
    if job.status == JobStatus.PENDING and job.available_at:
        lines.append(f"{'':19}  waits until {_at(job.available_at)}")
    if job.completed_at:
        lines.append(f"{_at(job.completed_at)}  {sentence(job)}")
    if job.cost is not None:
        lines.append(f"{'':19}  {job.cost} credits taken")
    return lines


def watch(job: Job, *, tell: Callable[[str], None]) -> Job:
    """Wait until the job has ended; `tell` each change of its state."""
    told = ""
    while True:
        job = Job.objects.select_related("asset").get(pk=job.pk)
        live = _submissions(job).filter(next_poll_at__isnull=False).last()
        now = live.status if live else job.status
        if live and live.progress is not None:
            now += f" {live.progress:.0%}"
        if job.status == JobStatus.PENDING and job.error_message:
            now += f": {job.error_message}"
        if now != told:
            tell(now)
            told = now
        if job.status not in OPEN:
            return job
        time.sleep(LOOK_SECONDS)


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


def _at(moment: Any) -> str:
    return str(moment.strftime("%Y-%m-%d %H:%M:%S"))
