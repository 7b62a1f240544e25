"""What the commands show of a crawl job: reports, as text and as JSON, and its progress until its end."""

import time
from collections import deque
from dataclasses import asdict
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from crawler import missing_source
from crawler.errors import WrongState
from crawler.export import Export
from crawler.models import CrawlJob, CrawlSource, JobChunk, JobStatus
from crawler.services.ending import failed_for_now
from jobs.queue.items import Status
from pixsim.core.cli import ExitCode
from pixsim.core.cli.progress import Display, wait_until_ended

RATE_SECONDS = 10.0
"""The rate is that of the last so many seconds."""
IDLE_SECONDS = 5.0
"""After so long without a worker, this is said."""

NO_WORKER = (
    "No worker takes this job's work. It waits in the database; start one with: "
    "celery -A pixsim worker"
)


def report(job: CrawlJob, *, export: Export | None = None) -> dict[str, Any]:
    return {
        "job": job.pk,
        "status": job.status,
        "requested": job.max_images,
        "stored": job.valid_images,
        "outcomes": dict(_outcomes(job)),
        "seconds": round(seconds_of(job), 1),
        "export": None if export is None else str(export.path),
        **({"left_out": list(map(asdict, export.left_out))} if export and export.left_out else {}),
        **({"reason": job.error_message} if job.error_message else {}),
        **({"waits": reason} if (reason := missing_source.reason(job)) else {}),
    }


def sentence(job: CrawlJob) -> str:
    """Return how the job stands, with the reason and the next step if it did not end well."""
    text = (
        f"Crawl job {job.pk} is {job.status_words}: {job.valid_images:,} of {job.max_images:,} images in "
        f"{seconds_of(job):.1f} s."
    )
    if job.error_message:
        text += f" {job.error_message}"
    if failures := failed_for_now(job):
        text += f" {failures}; try them again with: manage.py crawl_job {job.pk} retry"
    return text


def accepted(job: CrawlJob) -> str:
    """Return what was accepted, and where to see how it goes."""
    return (
        f"Crawl job {job.pk} is accepted: up to {job.max_images:,} images in "
        f"{-(-job.max_images // job.chunk_size):,} chunks. See how it goes with: "
        f"manage.py crawl_job {job.pk} status"
    )


def outcome_table(job: CrawlJob) -> str:
    """Return a line for each outcome, the most frequent first; empty if there is none yet."""
    return "\n".join(f"  {count:>10,}  {name}" for name, count in _outcomes(job))


def seconds_of(job: CrawlJob) -> float:
    """Return the seconds from the job's creation to its end, or until now."""
    return max(0.0, ((job.completed_at or timezone.now()) - job.created_at).total_seconds())


def exit_code(job: CrawlJob) -> ExitCode:
    complete = job.status == JobStatus.COMPLETED and not job.ended_short
    return ExitCode.DONE if complete else ExitCode.NOT_COMPLETE


def _outcomes(job: CrawlJob) -> list[tuple[str, int]]:
    counted = [(name, count) for name, count in job.outcomes.items() if count]
    return sorted(counted, key=lambda pair: (-pair[1], pair[0]))


def wait_for_job(job_id: int, *, display: Display, timeout: float | None = None) -> CrawlJob:
    """Return the job when it has ended, or as it is after `timeout` seconds.

    Raise WrongState if the job is deleted meanwhile.
    """
    rate, idleness = _Rate(), _Idleness()

    def look() -> CrawlJob:
        job = CrawlJob.objects.filter(pk=job_id).first()
        if job is None:
            raise WrongState(f"There is no crawl job {job_id} any more.")
        display.show(_state(job, rate), job.valid_images, job.max_images)
        if idleness.is_news(job):
            display.say(NO_WORKER)
        return job

    return wait_until_ended(
        look, ended=lambda job: not job.is_open, display=display, timeout=timeout
    )


def waits_for_a_worker(job_id: int) -> bool:
    """Return whether the job has work that could be done now and nobody does any of it."""
    items = [model._default_manager.filter(job_id=job_id) for model in (CrawlSource, JobChunk)]
    running = Q(status=Status.PROCESSING, lease_expires_at__gt=Now())
    if any(some.filter(running).exists() for some in items):
        return False
    # Where a lease or a time has passed, the sweeper acts, which runs in every worker.
    todo = (
        Q(status=Status.PROCESSING)
        | Q(status=Status.PENDING, ready_at__isnull=False)
        | Q(status=Status.PENDING, held=True, available_at__lt=Now())
    )
    return any(some.filter(todo).exists() for some in items)


def _state(job: CrawlJob, rate: "_Rate") -> str:
    """Return `120 of 500 images, 34.2/s, 0:11 left (stored 120, duplicate 4)`."""
    state = f"{job.valid_images:,} of {job.max_images:,} images"
    if job.status == "paused":
        state += ", paused"
    elif speed := rate.add(job.valid_images):
        minutes, seconds = divmod(round((job.max_images - job.valid_images) / speed), 60)
        state += f", {speed:.1f}/s, {minutes}:{seconds:02} left"
    outcomes = ", ".join(f"{name} {count:,}" for name, count in _outcomes(job)[:5])
    return f"{state} ({outcomes})" if outcomes else state


class _Rate:
    """Images per second over the last RATE_SECONDS."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, stored: int) -> float:
        """Take note of how many images are stored now; return the rate."""
        now = time.monotonic()
        self._samples.append((now, stored))
        while now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()
        began, before = self._samples[0]
        return max(0.0, (stored - before) / (now - began)) if now > began else 0.0


class _Idleness:
    """Notices, once, that no worker has taken the job's work for IDLE_SECONDS."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._seen: Any = None
        self._said = False

    def is_news(self, job: CrawlJob) -> bool:
        if self._said:
            return False
        before, self._seen = self._seen, (job.status, job.total_images, job.outcomes)
        if before != self._seen or not waits_for_a_worker(job.pk):
            self._since = time.monotonic()
        self._said = time.monotonic() - self._since >= IDLE_SECONDS
        return self._said
