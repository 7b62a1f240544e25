"""Waiting in the terminal for the end of a generation."""

import time

from jobs.errors import WrongState
from jobs.generation import wait_reason
from jobs.models import OPEN, Job, JobStatus
from pixsim.core.cli.progress import Display, wait_until_ended
from providers.models import ProviderSubmission

PATIENCE_SECONDS = 3.0
"""After so long, the reason why a job waits is said."""


def wait_for_job(job_id: int, *, display: Display, timeout: float | None = None) -> Job:
    """Return the job when it has ended, or as it is after `timeout` seconds.

    Raise WrongState if the job is deleted meanwhile.
    """
    waits_since, said = None, None

    def look() -> Job:
        nonlocal waits_since, said
        job: Job | None = Job.objects.select_related("asset").filter(pk=job_id).first()
        if job is None:
            raise WrongState(f"There is no job {job_id} any more.")
        _show(job, display)
        now = time.monotonic()
        waits_since = (waits_since or now) if job.status == JobStatus.PENDING else None
        if waits_since and now - waits_since >= PATIENCE_SECONDS:
            reason = wait_reason.reason(job)
            if reason and reason != said:
                display.say(reason)
            said = reason
        return job

    return wait_until_ended(
        look, ended=lambda job: job.status not in OPEN, display=display, timeout=timeout
    )


def _show(job: Job, display: Display) -> None:
    polled = ProviderSubmission.objects.filter(job=job, next_poll_at__isnull=False)
    live = polled.order_by("id").last()
    if job.status not in OPEN or live is None:
        display.show(f"job {job.pk} is {job.status}")
    else:
        total = None if live.progress is None else 1.0
        state = f"job {job.pk} is {live.status} by {live.provider_id}"
        display.show(state, live.progress or 0.0, total)
