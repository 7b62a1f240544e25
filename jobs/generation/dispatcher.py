"""The dispatcher: one thread per worker process that keeps the calls to providers going.

    worker loop's thread   lets the process take jobs (`drive`), waits at the end (`rest`)
    dispatcher's thread    allocates jobs, claims due submissions, handles results: all database work
    event loop's thread    the calls themselves (calling.py), many at once

A call takes from a tenth of a second to minutes and almost no processor time, so one process carries
many. The thread that handles a result also fills the slot that the result frees.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, ClassVar

from django.db import InterfaceError, OperationalError, connection, reset_queries

from jobs.generation import allocation, result_handling
from jobs.generation.attempts import Attempt, make_attempt
from jobs.generation.calling import Answered, Caller, Fetched, Outcome
from jobs.generation.files import Made
from jobs.generation.inputs import BadInput
from jobs.generation.result_handling import Handler
from jobs.models import Job, JobStatus
from jobs.queue import pauses
from jobs.queue.errors import in_one_line
from jobs.queue.kinds import Kind
from jobs.queue.worker import notify, shared_state
from jobs.queue.worker.heartbeat import Heartbeat
from pixsim.core.formats import first_line
from providers import slots, submissions
from providers.adapters import Adapter, UnknownProvider, adapter_named
from providers.adapters.base import Output, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.params import ParamsRefused
from providers.models import ProviderSubmission, SubmissionStatus

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 48
"""Calls of one process at once, and calls whose result is not handled yet: a process that is slow
leaves slots to others."""
IDLE_SECONDS = 0.250
"""Interval of looking for work when nothing is in flight."""
ASK_SECONDS = 0.020
"""Shortest time between two questions of the worker loop; shorter than it lingers."""
LOOK_SECONDS = 0.100
"""Interval of looking at all accounts and due submissions. A result is handled at once, and its
account is filled again without looking at the others."""
MAX_FILES = 16
"""At most this many jobs are completed in one transaction."""
MAX_TRIES = 600
"""With LOOK_SECONDS between them: a restart of the database loses no answer of a provider."""
STOP_SECONDS = 8.0
"""How long a worker that stops waits for the calls in flight."""


class _Step(Enum):
    """How a step of the dispatcher ended."""

    DONE = "done"
    DATABASE_AWAY = "database away"
    """The database was away, or chose the step as the victim of a deadlock."""
    FAILED = "failed"


@dataclass(frozen=True, order=True)
class _Result:
    """A call that has returned, and how to handle it. Results that may free a slot sort first."""

    has_files: bool
    number: int
    attempt: Attempt = field(compare=False)
    handle: Handler = field(compare=False)
    outcome: Outcome = field(compare=False)
    tries: int = field(default=0, compare=False)


class Dispatcher:
    """Use `shared`. The thread, the event loop and the connections exist while there is work."""

    _shared: ClassVar[Dispatcher | None] = None

    # These exist while the thread runs.
    _loop: asyncio.AbstractEventLoop
    _caller: Caller
    _heartbeat: Heartbeat

    @classmethod
    def shared(cls, kind: Kind) -> Dispatcher:
        """Return this process's dispatcher. A forked child makes its own."""
        if cls._shared is None or cls._shared._pid != os.getpid():
            cls._shared = cls(kind)
        return cls._shared

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._pid = os.getpid()
        self._results: queue.PriorityQueue[_Result] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._in_flight: set[Attempt] = set()
        self._is_driven = self._has_looked = False
        self._asked_at = 0.0
        self._failure = ""
        """What the last step that failed failed with."""
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    # Called by the worker loop

    def drive(self) -> bool:
        """Let this process take work; return whether any is in flight."""
        self._is_driven = True
        if self._in_flight:
            return True
        now = time.monotonic()
        with self._guard:
            if self._thread is None or not self._thread.is_alive():
                if now - self._asked_at < ASK_SECONDS:
                    return False
                self._asked_at = now
                if not self._kind.any_ready():
                    return False
                self._has_looked = False
                self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
                self._thread.start()
        return bool(self._in_flight) or not self._has_looked

    def stop(self) -> None:
        """Take no more work, and wait up to STOP_SECONDS for what is in flight."""
        self._is_driven = False
        if self._thread is not None:
            self._thread.join(timeout=STOP_SECONDS)

    # The dispatcher's thread

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        calls = threading.Thread(
            target=self._loop.run_forever, name="generation-calls", daemon=True
        )
        calls.start()
        try:
            self._caller = asyncio.run_coroutine_threadsafe(Caller.open(), self._loop).result()
            try:
                with Heartbeat() as self._heartbeat:
                    self._dispatch()
            finally:
                closing = asyncio.run_coroutine_threadsafe(self._caller.close(), self._loop)
                closing.result(timeout=5)
        except Exception:
            logger.exception("The dispatcher failed; the sweeper's notification starts a new one")
        finally:
            self._in_flight.clear()
            self._loop.call_soon_threadsafe(self._loop.stop)
            calls.join(timeout=5)
            connection.close()

    def _dispatch(self) -> None:
        """Handle results and take work, until the process must stop and nothing is in flight."""
        looked_at = 0.0
        while True:
            freed = self._handle_results()
            for attempt in self._in_flight:
                attempt.work.progress()  # each call has a deadline of its own
            now = time.monotonic()
            if self._may_take():
                if freed is not None:
                    self._guarded(self._fill, freed, wait=True)
                if now - looked_at >= (LOOK_SECONDS if self._in_flight else IDLE_SECONDS):
                    looked_at = now
                    self._guarded(self._look)
                    self._has_looked = True
            elif not self._in_flight:
                return
            reset_queries()

    def _may_take(self) -> bool:
        is_paused = self._kind.name in pauses.cached(pauses.KIND)
        return self._is_driven and shared_state.may_take_work() and not is_paused

    def _handle_results(self) -> slots.Candidate | None:
        """Handle the next results, if any come soon; return an account that has a free slot now."""
        try:
            result = self._results.get(timeout=LOOK_SECONDS / 4)
        except queue.Empty:
            return None
        if result.has_files:
            self._complete_jobs([result, *self._more_files()])
            return None
        step = self._handle(result)
        # After other outcomes the account may be closed: `_look` finds out.
        answer = result.outcome
        is_free = isinstance(answer, Answered) and isinstance(answer.state, Succeeded)
        return result.attempt.candidate if is_free and step is _Step.DONE else None

    def _more_files(self) -> Iterator[_Result]:
        """Yield more results with files, until one that may free a slot is next."""
        for _ in range(MAX_FILES - 1):
            try:
                result = self._results.get_nowait()
            except queue.Empty:
                return
            if not result.has_files:
                self._results.put(result)
                return
            yield result

    def _complete_jobs(self, results: list[_Result]) -> None:
        made = [Made(result.attempt, result.outcome.files) for result in results]
        step = self._guarded(result_handling.complete_jobs, made)
        for result in results:
            if step is _Step.FAILED and len(results) > 1:  # one of them made all fail
                self._handle(result)
            else:
                self._close(result, step)

    def _handle(self, result: _Result) -> _Step:
        """Handle one result, and fetch the files that its handler names."""
        attempt, outputs = result.attempt, list[Output]()
        step = self._guarded(lambda: outputs.extend(result.handle(attempt, result.outcome)))
        if outputs:
            # At once, while the addresses and keys are valid.
            call = self._caller.fetch(attempt, outputs)
            self._start(attempt, result_handling.handle_fetched, call)
        else:
            self._close(result, step)
        return step

    def _close(self, result: _Result, step: _Step) -> None:
        """Drop the attempt; handle the result again if the database was away: it may be paid for."""
        if step is _Step.DATABASE_AWAY and result.tries < MAX_TRIES:
            again = replace(result, number=next(self._numbers), tries=result.tries + 1)
            self._results.put(again)
            return
        if step is _Step.FAILED:
            self._guarded(_give_up, result, self._failure)
        self._heartbeat.drop([result.attempt.work])
        self._in_flight.discard(result.attempt)

    def _look(self) -> None:
        """Poll due submissions first, which may free slots; then fill free slots."""
        limit = self._free_calls()
        due = submissions.claim_due(limit=limit) if limit else []
        jobs = Job.objects.in_bulk([submission.job_id for submission in due])
        for submission in due:
            self._guarded(self._poll, submission, jobs)
        for candidate in allocation.open_accounts() if self._free_calls() else ():
            self._guarded(self._fill, candidate)

    def _fill(self, candidate: slots.Candidate, *, wait: bool = False) -> None:
        """Take as many jobs as the account has free slots, and send them."""
        if not (limit := self._free_calls(adapter_named(candidate.provider_id))):
            notify.notify_if_idle()
            return
        attempts = allocation.allocate(
            self._kind, candidate, limit=limit, task_id=f"dispatcher-{self._pid}", wait=wait
        )
        # All leases before the first request: preparing large inputs takes time.
        self._heartbeat.hold([attempt.work for attempt in attempts])
        self._in_flight.update(attempts)
        for attempt in attempts:
            self._send(attempt)
        if len(attempts) > 1:
            notify.notify_if_idle()

    def _free_calls(self, adapter: Adapter | None = None) -> int:
        """Return how many more calls may start, or more calls of `adapter`."""
        free = MAX_IN_FLIGHT - len(self._in_flight)
        if adapter is not None and adapter.calls_at_once is not None:
            used = sum(attempt.adapter is adapter for attempt in self._in_flight)
            free = min(free, adapter.calls_at_once - used)
        return max(0, free)

    def _send(self, attempt: Attempt) -> None:
        """Send the request, unless the params or inputs are refused or cannot be read now."""
        try:
            request = allocation.request_for(attempt)
        except (ParamsRefused, BadInput, KeyError) as refused:
            error = ProviderError(ErrorClass.INVALID_PARAMETER, str(refused))
        except Exception as failed:
            logger.warning("Submission %s is not sent", attempt.submission.pk, exc_info=failed)
            error = ProviderError(ErrorClass.UNAVAILABLE, f"It was not sent: {in_one_line(failed)}")
        else:
            call = self._caller.submit(attempt, request)
            self._start(attempt, result_handling.handle_sent, call)
            return
        self._enqueue(attempt, result_handling.handle_not_sent, Answered(error))

    def _poll(self, submission: ProviderSubmission, jobs: Mapping[int, Job]) -> None:
        """Look up, check, cancel or fetch a due submission, as its state demands."""
        job = jobs[submission.job_id]
        try:
            attempt = make_attempt(submission, job)
        except UnknownProvider:
            submissions.poll_later(submission.pk, seconds=60)
            return
        adapter, caller = attempt.adapter, self._caller
        is_overdue = submissions.is_overdue(submission)
        if submission.status == SubmissionStatus.SUCCEEDED:
            outputs = result_handling.recorded_outputs(submission)
            call = caller.check_and_fetch(attempt, outputs)
            self._start(attempt, result_handling.handle_fetched, call)
        elif submission.status != SubmissionStatus.UNKNOWN:
            is_unwanted = job.lease_id != submission.job_lease or job.status != JobStatus.PROCESSING
            asks_to_stop = adapter.can_cancel and (is_unwanted or is_overdue)
            self._start(
                attempt,
                result_handling.handle_last_check if is_overdue else result_handling.handle_checked,
                caller.cancel(attempt) if asks_to_stop else caller.check(attempt),
            )
        elif adapter.can_find:
            self._start(attempt, result_handling.handle_found, caller.find(attempt))
        elif is_overdue:
            result_handling.give_up(attempt)
        else:  # it keeps its slot: the provider may be working on it
            seconds = submissions.seconds_left(submission)
            submissions.poll_later(submission.pk, seconds=seconds)

    def _start(self, attempt: Attempt, handle: Handler, call: Coroutine[Any, Any, Outcome]) -> None:
        self._in_flight.add(attempt)
        started = asyncio.run_coroutine_threadsafe(call, self._loop)
        started.add_done_callback(partial(self._receive, attempt, handle))

    def _receive(self, attempt: Attempt, handle: Handler, done: Future[Outcome]) -> None:
        try:
            outcome = done.result()
        except BaseException:
            logger.exception("A call for submission %s broke", attempt.submission.pk)
            handle, outcome = _ignore, Answered(None)
        self._enqueue(attempt, handle, outcome)

    def _enqueue(self, attempt: Attempt, handle: Handler, outcome: Outcome) -> None:
        has_files = isinstance(outcome, Fetched) and outcome.error is None
        self._results.put(_Result(has_files, next(self._numbers), attempt, handle, outcome))

    def _guarded(self, step: Callable[..., None], *args: Any, **options: Any) -> _Step:
        """Run a step. If it fails, its submissions become due again or are treated as lost."""
        try:
            step(*args, **options)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Database connection lost, trying again: %s", in_one_line(error))
            connection.close()
            time.sleep(LOOK_SECONDS)
            return _Step.DATABASE_AWAY
        except Exception as error:
            logger.exception("A step of the dispatcher failed")
            self._failure = f"{type(error).__name__}: {first_line(error)}"
            return _Step.FAILED
        return _Step.DONE


def _ignore(attempt: Attempt, outcome: Outcome) -> list[Output]:
    """Handle an unknown outcome: when its lease or claim has ended, the submission is looked up like
    that of a worker that died."""
    return []


def _give_up(result: _Result, why: str) -> None:
    """End a submission whose outcome cannot be recorded, now or later."""
    if result.handle in (result_handling.handle_sent, result_handling.handle_found):
        result_handling.give_up(result.attempt, f"Its answer cannot be recorded ({why}).")
    elif result.handle is result_handling.handle_last_check:
        result_handling.time_out(result.attempt)
    elif isinstance(result.outcome, Fetched):
        failure = Fetched(error=f"What it made cannot be recorded ({why}).")
        result_handling.handle_fetched(result.attempt, failure)
