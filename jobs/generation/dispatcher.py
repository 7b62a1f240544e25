"""The pump: one thread per worker process that keeps provider calls going beside the drain.

    drain's thread     says that this process may take work (`drive`), and waits at the end (`rest`)
    pump's thread      dispatches, takes what is due, settles what came back: all database work
    loop's thread      the calls themselves (calling.py), many at once

A call takes from a tenth of a second to minutes and no processor time; so one process carries many,
and a slot that comes free is filled by the thread that settled it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, ClassVar

import aiohttp
from django.db import InterfaceError, OperationalError, connection, reset_queries

from jobs.generation import allocation, result_handling
from jobs.generation.attempts import Attempt, attempt_of
from jobs.generation.calling import Caller, Fetched, Outcome, Sent
from jobs.generation.files import MediaFile
from jobs.generation.inputs import BadInput
from jobs.queue.errors import in_one_line
from jobs.queue.kinds import Kind
from jobs.queue.work import Work
from jobs.queue.worker import notify, shared_state
from jobs.queue.worker.heartbeat import Heartbeat
from pixsim.core.net import Client
from providers import slots, submissions
from providers.adapters import Adapter, UnknownProvider, adapter_named
from providers.adapters.base import Output, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.params import ParamsRefused
from providers.models import ProviderSubmission, SubmissionStatus

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 48
"""Calls of one process at once, with those whose outcome is not settled yet: a process that falls
behind leaves slots to others."""
IDLE_SECONDS = 0.250
"""How often it looks when nothing is under way, as long as a drain goes on: that one may be busy
with a long piece of other work."""
ASK_SECONDS = 0.020
"""A drain that is busy with other work asks for more no more often; less than a drain lingers."""
LOOK_SECONDS = 0.100
"""How often it looks at all accounts and at what is due. What has come back is settled at once, and
the account that it came from is filled again without looking at the others."""
MAX_FILES = 16
"""So many jobs are completed in one transaction at most."""
SETTLE_TRIES = 600
"""With LOOK_SECONDS between them: a database that restarts costs no answer of a provider."""
REST_SECONDS = 8.0
"""A worker that stops waits so long for the calls in its hands."""

Settle = Callable[[Attempt, Any], Sequence[Output]]


@dataclass(frozen=True)
class _Hands:
    """What the pump's thread works with while it runs."""

    loop: asyncio.AbstractEventLoop
    caller: Caller
    heartbeat: Heartbeat


class _Went(Enum):
    """How a step went."""

    WELL = "well"
    AGAIN = "again"
    """The database was away, or chose it as a deadlock's victim."""
    WRONG = "wrong"


@dataclass(frozen=True, order=True)
class _Back:
    """A call that came back, and what to do with its outcome. What may free a slot comes first."""

    is_file: bool
    """Files that are here: no slot is waiting for them."""
    number: int
    attempt: Attempt = field(compare=False)
    work: Work = field(compare=False)
    settle: Settle = field(compare=False)
    outcome: Outcome = field(compare=False)
    tries: int = field(default=0, compare=False)


class Pump:
    """Use `shared`. Thread, loop and connections live while there is something to do."""

    _shared: ClassVar[Pump | None] = None

    @classmethod
    def shared(cls, kind: Kind) -> Pump:
        """This process's pump. A forked child makes its own."""
        if cls._shared is None or cls._shared._pid != os.getpid():
            cls._shared = cls(kind)
        return cls._shared

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._pid = os.getpid()
        self._back: queue.PriorityQueue[_Back] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._in_flight: dict[Work, Adapter] = {}
        self._is_driven = self._has_looked = False
        self._asked_at = 0.0
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    # From the drain

    def drive(self) -> bool:
        """This process may take work now; whether any is under way."""
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

    def rest(self) -> None:
        """Take nothing new, and wait a while for what is under way."""
        self._is_driven = False
        thread = self._thread
        if thread is not None:
            thread.join(timeout=REST_SECONDS)

    # The pump's thread

    def _run(self) -> None:
        loop = asyncio.new_event_loop()
        runner = threading.Thread(target=loop.run_forever, name="generation-calls", daemon=True)
        runner.start()
        try:
            caller = asyncio.run_coroutine_threadsafe(_opened(), loop).result()
            try:
                with Heartbeat() as heartbeat:
                    self._pump(_Hands(loop, caller, heartbeat))
            finally:
                asyncio.run_coroutine_threadsafe(_closed(caller), loop).result(timeout=5)
        except Exception:
            logger.exception("The generation thread failed; the sweeper rings for a new one")
        finally:
            self._in_flight.clear()
            loop.call_soon_threadsafe(loop.stop)
            runner.join(timeout=5)
            connection.close()

    def _pump(self, hands: _Hands) -> None:
        looked_at = 0.0
        while True:
            freed = self._settle_some(hands)
            for work in self._in_flight:
                work.progress()  # each call has a deadline of its own
            now = time.monotonic()
            if self._is_driven and not shared_state.stop_requested():
                if freed is not None:
                    self._guarded(self._fill, freed, hands, wait=True)
                if now - looked_at >= (LOOK_SECONDS if self._in_flight else IDLE_SECONDS):
                    looked_at = now
                    self._guarded(self._look, hands)
                    self._has_looked = True
            elif not self._in_flight:
                return
            reset_queries()

    def _settle_some(self, hands: _Hands) -> slots.Candidate | None:
        """Settle what has come back, waiting a moment for it; whose slot may be free now."""
        try:
            back = self._back.get(timeout=LOOK_SECONDS / 4)
        except queue.Empty:
            return None
        if not back.is_file:
            return self._settle_one(back, hands)
        backs = [back, *self._more_files()]
        went = self._guarded(
            result_handling.delivered, [(one.attempt, _files(one)) for one in backs]
        )
        if went is _Went.WRONG and len(backs) > 1:  # one of them spoils it for all
            for one in backs:
                self._settle_one(one, hands)
        else:
            for one in backs:
                self._end(one, went, hands)
        return None

    def _more_files(self) -> Iterator[_Back]:
        """Files that wait to be settled too, as long as nothing comes that may free a slot."""
        for _ in range(MAX_FILES - 1):
            try:
                back = self._back.get_nowait()
            except queue.Empty:
                return
            if not back.is_file:
                self._back.put(back)
                return
            yield back

    def _settle_one(self, back: _Back, hands: _Hands) -> slots.Candidate | None:
        went = self._guarded(self._settle, back, hands)
        self._end(back, went, hands)
        return back.attempt.candidate if went is _Went.WELL and _is_done(back.outcome) else None

    def _end(self, back: _Back, went: _Went, hands: _Hands) -> None:
        """It is out of our hands, unless the database was away: it may be paid for."""
        if went is _Went.AGAIN and back.tries < SETTLE_TRIES:
            again = replace(back, number=next(self._numbers), tries=back.tries + 1)
            self._back.put(again)
        else:
            if went is _Went.WRONG:
                self._guarded(_give_up, back)
            hands.heartbeat.let_go([back.work])
            self._in_flight.pop(back.work, None)

    def _settle(self, back: _Back, hands: _Hands) -> None:
        attempt = back.attempt
        if outputs := back.settle(attempt, back.outcome):
            # Addresses and keys are fresh now; who comes later has to ask for them again.
            call = hands.caller.fetch(attempt, outputs)
            self._start(attempt, attempt.work, result_handling.fetched, call, hands)

    def _look(self, hands: _Hands) -> None:
        """Look after what is due first: it may free slots. Then fill slots."""
        room = self._room()
        for submission in submissions.take_due(limit=room) if room else ():
            self._guarded(self._follow, submission, hands)
        for candidate in allocation.choices() if self._room() else ():
            self._guarded(self._fill, candidate, hands)

    def _fill(self, candidate: slots.Candidate, hands: _Hands, *, wait: bool = False) -> None:
        """Take as many jobs as the account has slots free, and send them."""
        if not (room := self._room(adapter_named(candidate.provider_id))):
            notify.wake_idle_neighbour()
            return
        attempts = allocation.fill(
            self._kind, candidate, limit=room, task_id=f"pump-{self._pid}", wait=wait
        )
        works = [attempt.work for attempt in attempts]
        # All at once: what stands in line behind large inputs keeps its lease.
        hands.heartbeat.hold(works)
        self._in_flight |= {work: one.adapter for work, one in zip(works, attempts, strict=True)}
        for attempt, work in zip(attempts, works, strict=True):
            self._send(attempt, work, hands)
        if len(attempts) > 1:
            notify.wake_idle_neighbour()

    def _room(self, adapter: Adapter | None = None) -> int:
        """How many more calls there may be, of this adapter if one is named."""
        room = MAX_IN_FLIGHT - len(self._in_flight)
        if adapter is not None and adapter.calls_at_once is not None:
            its = sum(one is adapter for one in self._in_flight.values())
            room = min(room, adapter.calls_at_once - its)
        return max(0, room)

    def _send(self, attempt: Attempt, work: Work, hands: _Hands) -> None:
        """Send it, unless its job or its inputs are no longer sound, or out of reach for now."""
        try:
            request = allocation.request_for(attempt)
        except (ParamsRefused, BadInput, KeyError) as refused:
            error = ProviderError(ErrorClass.INVALID_PARAMETER, str(refused))
        except Exception as failed:
            logger.warning("Submission %s is not sent", attempt.submission.pk, exc_info=failed)
            error = ProviderError(ErrorClass.UNAVAILABLE, f"It was not sent: {in_one_line(failed)}")
        else:
            self._start(
                attempt, work, result_handling.sent, hands.caller.submit(attempt, request), hands
            )
            return
        number = next(self._numbers)
        self._back.put(_Back(False, number, attempt, work, result_handling.not_sent, Sent(error)))

    def _follow(self, submission: ProviderSubmission, hands: _Hands) -> None:
        """Do what a due submission needs: look it up, check it, cancel it, or fetch its files."""
        try:
            attempt = attempt_of(submission)
        except UnknownProvider:
            submissions.look_again(submission.pk, seconds=60)
            return
        step = _next_step(attempt, hands.caller)
        if step is None:
            result_handling.given_up(attempt)
            return
        self._start(attempt, attempt.work, *step, hands)

    def _start(
        self,
        attempt: Attempt,
        work: Work,
        settle: Settle,
        call: Coroutine[Any, Any, Outcome],
        hands: _Hands,
    ) -> None:
        self._in_flight[work] = attempt.adapter
        future = asyncio.run_coroutine_threadsafe(call, hands.loop)
        future.add_done_callback(
            lambda done: self._back.put(self._back_of(attempt, work, settle, done))
        )

    def _back_of(
        self, attempt: Attempt, work: Work, settle: Settle, done: Future[Outcome]
    ) -> _Back:
        number = next(self._numbers)
        try:
            outcome = done.result()
        except BaseException:
            logger.exception("A call for submission %s broke", attempt.submission.pk)
            return _Back(False, number, attempt, work, _let_go, Sent(None))
        is_file = isinstance(outcome, Fetched) and outcome.error is None
        return _Back(is_file, number, attempt, work, settle, outcome)

    def _guarded(self, step: Callable[..., None], *args: Any, **options: Any) -> _Went:
        """A step that fails costs itself only: what it left is due again, or is settled as lost."""
        try:
            step(*args, **options)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Database connection lost, trying again: %s", in_one_line(error))
            connection.close()
            time.sleep(LOOK_SECONDS)
            return _Went.AGAIN
        except Exception:
            logger.exception("A step of generation failed")
            return _Went.WRONG
        return _Went.WELL


def _files(back: _Back) -> Sequence[MediaFile]:
    return back.outcome.files if isinstance(back.outcome, Fetched) else ()


def _let_go(attempt: Attempt, outcome: Outcome) -> Sequence[Output]:
    """Nobody knows what came of it: once its lease or its time in our hands is over, it is looked
    up as one whose worker died."""
    return ()


def _give_up(back: _Back) -> None:
    """Its outcome cannot be recorded, and would not be the next time."""
    if back.settle in (result_handling.sent, result_handling.found):
        result_handling.given_up(back.attempt)
    elif back.settle is result_handling.checked_last:
        result_handling.timed_out(back.attempt)
    elif isinstance(back.outcome, Fetched):
        result_handling.fetched(back.attempt, Fetched(error="What it made cannot be recorded."))


def _is_done(outcome: Outcome) -> bool:
    """Whether the slot is free, and the account fit for the next: all else a new look takes in."""
    return isinstance(outcome, Sent) and isinstance(outcome.result, Succeeded)


def _next_step(
    attempt: Attempt, caller: Caller
) -> tuple[Settle, Coroutine[Any, Any, Outcome]] | None:
    """What a due submission needs next; None: nothing more can be done for it."""
    submission, adapter = attempt.submission, attempt.adapter
    is_late = submissions.is_late(submission)
    if submission.status == SubmissionStatus.UNKNOWN:
        if adapter.can_find:
            return result_handling.found, caller.find(attempt)
        if is_late:
            return None
        return _nothing, _wait()
    if submission.status == SubmissionStatus.SUCCEEDED:
        return result_handling.fetched, _deliver(attempt, caller)
    unwanted = attempt.job.lease_id != submission.job_lease or attempt.job.status != "processing"
    settle = result_handling.checked if not is_late else result_handling.checked_last
    if adapter.can_cancel and (unwanted or is_late):
        return settle, caller.cancel(attempt)
    return settle, caller.check(attempt)


async def _deliver(attempt: Attempt, caller: Caller) -> Fetched:
    """Ask once more where the files are, for addresses expire and keys are not stored; fetch them."""
    outputs: list[Output] = result_handling.outputs_of(attempt.submission)
    if attempt.submission.provider_job_id:
        checked = await caller.check(attempt)
        if checked.files:
            return Fetched(checked.files)
        if isinstance(checked.state, Succeeded):
            outputs = list(checked.state.outputs)
    return await caller.fetch(attempt, outputs)


async def _wait() -> Sent:
    return Sent(None)


def _nothing(attempt: Attempt, outcome: Outcome) -> Sequence[Output]:
    """A doubtful submission that nobody can look up keeps its slot until it is late."""
    submissions.look_again(
        attempt.submission.pk, seconds=submissions.seconds_left(attempt.submission)
    )
    return ()


async def _opened() -> Caller:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    return Caller(session, await Client().__aenter__())


async def _closed(caller: Caller) -> None:
    await asyncio.get_running_loop().shutdown_default_executor()
    await caller.session.close()
    await caller.client.__aexit__(None, None, None)
