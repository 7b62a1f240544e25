"""What people did to a job, in words, from the activity log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from accounts.models import ActivityLog
from jobs.models import Job

MOST = 100


def deeds(job: Job) -> Iterator[tuple[datetime, str]]:
    """When and what, as `cancelled by ann@example.org`; the latest MOST of them, oldest first."""
    log = ActivityLog.objects.filter(resource_type="job", resource_id=str(job.pk))
    for line in reversed(log.select_related("user").order_by("-id")[:MOST]):
        what = line.action.removeprefix("job.").replace("_", " ")
        told = "".join(f", {name} {value}" for name, value in (line.metadata or {}).items())
        yield line.timestamp, f"{what} by {line.user.email if line.user else 'an operator'}{told}"
