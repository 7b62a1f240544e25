"""Waiting in the terminal for the end of a generation."""

import time

from jobs.errors import WrongState
from jobs.generation import wait_reason
from jobs.models import Job, JobStatus
from pixsim.core.cli.progress import Display, wait_until_ended
from providers.models import ProviderSubmission

OPEN = (JobStatus.PENDING, JobStatus.PROCESSING)
PATIENCE_SECONDS = 3.0
"""After so long, the reason why a job waits is said."""


def wait_for_job(job_id: int, *, display: Display, timeout: float | None = None) -> Job:
    """Return the job when it has ended, or as it is after `timeout` seconds.

    Raise WrongState if the job is deleted meanwhile.
    """
    reasons = _WaitReasons()

    def look() -> Job:
        job: Job | None = Job.objects.select_related("asset").filter(pk=job_id).first()
        if job is None:
            raise WrongState(f"There is no job {job_id} any more.")
        _show(job, display)
        if reason := reasons.news(job):
            display.say(reason)
        return job

    return wait_until_ended(
        look, ended=lambda job: job.status not in OPEN, display=display, timeout=timeout
    )


def _show(job: Job, display: Display) -> None:
    live = (
        ProviderSubmission.objects.filter(job=job, next_poll_at__isnull=False).order_by("id").last()
    )
    if job.status not in OPEN or live is None:
        display.show(f"job {job.pk} is {job.status}")
    else:
        total = None if live.progress is None else 1.0
        state = f"job {job.pk} is {live.status} by {live.provider_id}"
        display.show(state, live.progress or 0.0, total)


class _WaitReasons:
    """Returns once why a job has waited for PATIENCE_SECONDS, and again when the reason changes."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._said = ""

    def news(self, job: Job) -> str | None:
        if job.status != JobStatus.PENDING:
            self._since = None
            return None
        self._since = self._since or time.monotonic()
        if time.monotonic() - self._since < PATIENCE_SECONDS:
            return None
        reason = wait_reason.reason(job) or ""
        if reason == self._said:
            return None
        self._said = reason
        return reason
