"""Watching a crawl job from the terminal until it ends."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from django.core.management.base import OutputWrapper
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q
from django.db.models.functions import Now

from crawler.errors import WrongState
from crawler.management.reports import outcome_line
from crawler.models import CrawlJob, CrawlSource, JobChunk
from jobs.queue.items import Status

if TYPE_CHECKING:
    from rich.progress import Progress

POLL_SECONDS = 0.3
LINE_SECONDS = 5.0
"""Without a terminal, a line is written at most so often."""
RATE_SECONDS = 10.0
"""The rate is that of the last so many seconds."""
IDLE_SECONDS = 5.0

NO_WORKER = (
    "No worker takes this job's work. It waits in the database; start one with: "
    "celery -A pixsim worker"
)


class Display(Protocol):
    def show(self, job: CrawlJob) -> None:
        """The job as it is now."""

    def say(self, text: str) -> None:
        """Something to know, once."""


def wait_for_job(job_id: int, *, display: Display, timeout: float | None = None) -> CrawlJob:
    """The job when it has ended, or as it is after `timeout` seconds.

    Outlasts a database that goes away. Raises WrongState if the job is deleted meanwhile.
    """
    idleness = _Idleness()
    give_up = time.monotonic() + timeout if timeout is not None else None
    connected = True
    while True:
        try:
            job = CrawlJob.objects.filter(pk=job_id).first()
            if job is None:
                raise WrongState(f"There is no crawl job {job_id} any more.")
            display.show(job)
            if idleness.begins_to_matter(job):
                display.say(NO_WORKER)
            if not job.is_open or (give_up is not None and time.monotonic() >= give_up):
                return job
            connected = True
        except (OperationalError, InterfaceError) as error:
            if connected:
                display.say(f"The database does not answer; trying on. {_first_line(error)}")
            connected = False
            connection.close()
        time.sleep(POLL_SECONDS)


@contextmanager
def display_on(stream: OutputWrapper, *, quiet: bool = False) -> Iterator[Display]:
    """A progress bar if `stream` is a terminal, else a line now and then; nothing if `quiet`."""
    if quiet:
        yield _Nothing()
    elif stream.isatty():
        with _bar() as display:
            yield display
    else:
        yield _Lines(stream)


class _Idleness:
    """Notices, once, that nobody has taken the job's work for IDLE_SECONDS."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.seen: Any = None
        self.told = False

    def begins_to_matter(self, job: CrawlJob) -> bool:
        if self.told:
            return False
        seen, self.seen = self.seen, (job.status, job.total_images, job.outcomes)
        if seen != self.seen or not waits_for_a_worker(job.pk):
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
        else:
            self.told = time.monotonic() - self.since >= IDLE_SECONDS
        return self.told


def waits_for_a_worker(job_id: int) -> bool:
    """Whether the job has work to be done now and nobody does any of it."""
    items = [model._default_manager.filter(job_id=job_id) for model in (CrawlSource, JobChunk)]
    if any(
        some.filter(status=Status.PROCESSING, lease_expires_at__gt=Now()).exists() for some in items
    ):
        return False
    # A lease or a time that has passed is the sweeper's to see to, which runs in every worker.
    todo = (
        Q(status=Status.PROCESSING)
        | Q(status=Status.PENDING, ready_at__isnull=False)
        | Q(status=Status.PENDING, held=True, available_at__lt=Now())
    )
    return any(some.filter(todo).exists() for some in items)


class _Rate:
    """Images per second over the last RATE_SECONDS."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, int]] = deque()

    def describe(self, job: CrawlJob) -> str:
        """`120 of 500 images, 34.2/s, 0:11 left (stored 120, duplicate 4)`"""
        told = f"{job.valid_images:,} of {job.max_images:,} images"
        if job.status == "paused":
            told += ", paused"
        elif rate := self._add(time.monotonic(), job.valid_images):
            left = round((job.max_images - job.valid_images) / rate)
            told += f", {rate:.1f}/s, {left // 60}:{left % 60:02} left"
        outcomes = outcome_line(job)
        return f"{told} ({outcomes})" if outcomes else told

    def _add(self, now: float, stored: int) -> float:
        self.samples.append((now, stored))
        while now - self.samples[0][0] > RATE_SECONDS:
            self.samples.popleft()
        began, before = self.samples[0]
        return max(0.0, (stored - before) / (now - began)) if now > began else 0.0


class _Nothing:
    def show(self, job: CrawlJob) -> None:
        pass

    def say(self, text: str) -> None:
        pass


class _Lines:
    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream
        self.rate = _Rate()
        self.written_at = float("-inf")
        self.last = ""

    def show(self, job: CrawlJob) -> None:
        line = self.rate.describe(job)
        due = time.monotonic() - self.written_at >= LINE_SECONDS or not job.is_open
        if due and line != self.last:
            self.say(line)
            self.written_at, self.last = time.monotonic(), line

    def say(self, text: str) -> None:
        self.stream.write(text, style_func=str)


class _Bar:
    def __init__(self, progress: "Progress") -> None:
        self.progress = progress
        self.rate = _Rate()
        self.task = progress.add_task("", total=None)

    def show(self, job: CrawlJob) -> None:
        self.progress.update(
            self.task,
            total=job.max_images,
            completed=job.valid_images,
            description=self.rate.describe(job),
        )

    def say(self, text: str) -> None:
        self.progress.console.print(text, markup=False)


@contextmanager
def _bar() -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
