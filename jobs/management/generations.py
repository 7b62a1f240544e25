"""What the commands print about a generation, for people and as one JSON object."""

from typing import Any

from django.utils import timezone

from jobs import pricing, timeline
from jobs.generation import wait_reason
from jobs.models import Job, JobStatus
from pixsim.core import blobs
from providers.models import ProviderSubmission


def report(job: Job) -> dict[str, Any]:
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
        "seconds": round(
            ((job.completed_at or timezone.now()) - job.created_at).total_seconds(), 1
        ),
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
        "attempts": [_attempt(one) for one in timeline.attempts_of(job)],
    }


def sentence(job: Job) -> str:
    """Return the job's status, with the reason and the next step."""
    text = f"Job {job.pk} is {job.status}"
    if job.asset is not None:
        asset = job.asset
        size = f", {asset.width}x{asset.height}" if asset.width else ""
        length = f", {asset.duration_sec:.1f} s" if asset.duration_sec else ""
        text += f": {asset.mime_type}{size}{length}, {_file(asset.local_path)}"
    elif job.status == JobStatus.PENDING:
        text += f": {wait_reason.reason(job)}"
    elif job.status == JobStatus.FAILED:
        text += f": {job.error_message or 'it is not recorded why.'}"
    if job.error_class == pricing.UNRESOLVED:
        text += f" Resolve it with: manage.py job {job.pk} resolve --charge|--release"
    elif job.status == JobStatus.FAILED:
        text += f" Try again with: manage.py job {job.pk} retry"
    return text


def timeline_lines(job: Job) -> list[str]:
    """Return the job's timeline, a line for each event, and how it stands now."""
    events = timeline.events_of(job, timeline.attempts_of(job))
    return [*map(_line, events), sentence(job)]


def _line(event: timeline.Event) -> str:
    parts = filter(None, [event.title, event.error_class, event.detail])
    return f"{event.at:%Y-%m-%d %H:%M:%S}  {': '.join(parts)}"


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


def _file(key: str | None) -> str | None:
    path = blobs.local_path(key) if key else None
    return str(path) if path else key
