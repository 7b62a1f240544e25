"""Watching a generation from the terminal until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from django.core.management.base import OutputWrapper
from django.db import InterfaceError, OperationalError, connection
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from jobs.errors import WrongState
from jobs.generation import wait_reason
from jobs.models import Job, JobStatus
from providers.models import ProviderSubmission

OPEN = (JobStatus.PENDING, JobStatus.PROCESSING)
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 3.0
"""A job that waits so long has a reason that is worth telling."""


class Display(Protocol):
    def show(self, state: str, progress: float | None) -> None:
        """How the job stands now; `progress` from 0 to 1 if the provider tells."""

    def say(self, text: str) -> None:
        """Something to know, once."""


def wait_for_job(job_id: int, *, display: Display, timeout: float | None = None) -> Job:
    """The job when it has ended, or as it is after `timeout` seconds.

    Outlasts a database that goes away. Raises WrongState if the job is deleted meanwhile.
    """
    give_up = time.monotonic() + timeout if timeout is not None else None
    waits = _Waits()
    connected = True
    while True:
        try:
            job = Job.objects.select_related("asset").filter(pk=job_id).first()
            if job is None:
                raise WrongState(f"There is no job {job_id} any more.")
            display.show(*_state(job))
            if news := waits.news(job):
                display.say(news)
            if job.status not in OPEN or (give_up is not None and time.monotonic() >= give_up):
                return job
            connected = True
        except (OperationalError, InterfaceError) as error:
            if connected:
                first_line = str(error).strip().partition("\n")[0]
                display.say(f"The database does not answer; trying on. {first_line}")
            connected = False
            connection.close()
        time.sleep(POLL_SECONDS)


@contextmanager
def display_on(stream: OutputWrapper) -> Iterator[Display]:
    """A bar if `stream` is a terminal, else a line for each new state."""
    if not stream.isatty():
        yield _Lines(stream)
        return
    columns = BarColumn(bar_width=30), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=None))


class _Waits:
    """Notices why a job has waited for PATIENCE_SECONDS, and when that reason changes."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = ""

    def news(self, job: Job) -> str | None:
        if job.status != JobStatus.PENDING:
            self._since = None
            return None
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since < PATIENCE_SECONDS:
            return None
        reason = wait_reason.reason(job) or ""
        if reason == self._told:
            return None
        self._told = reason
        return reason


def _state(job: Job) -> tuple[str, float | None]:
    live = (
        ProviderSubmission.objects.filter(job=job, next_poll_at__isnull=False).order_by("id").last()
    )
    if job.status not in OPEN or live is None:
        return f"job {job.pk} is {job.status}", None
    return f"job {job.pk} is {live.status} by {live.provider_id}", live.progress


class _Lines:
    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._last = ""

    def show(self, state: str, progress: float | None) -> None:
        if state != self._last:
            self.say(state)
        self._last = state

    def say(self, text: str) -> None:
        self._stream.write(text[:1].upper() + text[1:], style_func=str)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def show(self, state: str, progress: float | None) -> None:
        total = None if progress is None else 1.0
        self._progress.update(self._task, description=state, total=total, completed=progress or 0.0)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)
