"""The worker loop: claim, perform and finish items until nothing is left."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, reset_queries
from psycopg.errors import DeadlockDetected

from jobs.queue import api, pauses
from jobs.queue.errors import LeaseLost, TryAgain, Unrecoverable, in_one_line
from jobs.queue.kinds import Completed, Ending, GiveBack, Kind, Wait, Work, all_kinds
from jobs.queue.worker import notify, shared_state
from jobs.queue.worker.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

BATCH_SECONDS = 0.025
"""A claim takes as many items as are done in this time: slow items one by one, tiny ones in bulk."""
CHAIN_SECONDS, CHAIN_ITEMS = 0.250, 10
"""Few items that are completed are followed by the next claim in the same transaction, which spares a
commit, for so long; then other kinds have their turn. (Many would keep their parent locked.)"""
UNBEGUN_SECONDS = 0.100
"""Items of a claim that are not begun after this time are given back."""
MAX_BATCH = 200
LINGER_SECONDS = 0.050
"""The loop looks again for so long before it ends: longer than the pause between notifications."""
SKIP_SECONDS = 0.200
"""So long this process skips the items of a parent of which one has found nothing to do.

Else a long job that waits for its candidates would keep every process busy with nothing, while
other work waits.
"""
RECONNECT_SECONDS = 0.5


class Pace:
    """How many items of a kind to claim at once, from how long one takes."""

    def __init__(self) -> None:
        self._average: dict[Kind, float] = {}

    def batch(self, kind: Kind) -> int:
        average = self._average.get(kind, BATCH_SECONDS)
        return max(1, min(MAX_BATCH, int(BATCH_SECONDS / max(average, 1e-6))))

    def learn(self, kind: Kind, *, seconds: float, items: int) -> None:
        """Follow a slow-down at once and a speed-up over a few batches."""
        sample = seconds / items
        known = self._average.get(kind, BATCH_SECONDS)
        self._average[kind] = max(sample, 0.7 * sample + 0.3 * known)


class SkippedParents:
    """The parents whose items this process does not claim for now."""

    def __init__(self) -> None:
        self._until: dict[tuple[Kind, int], float] = {}

    def add(self, kind: Kind, parent: int) -> None:
        self._until[kind, parent] = time.monotonic() + SKIP_SECONDS

    def of(self, kind: Kind) -> list[int]:
        now = time.monotonic()
        self._until = {one: until for one, until in self._until.items() if until > now}
        return [parent for its_kind, parent in self._until if its_kind is kind]

    def __bool__(self) -> bool:
        return bool(self._until)


pace = Pace()
skipped = SkippedParents()


def run_worker_loop(*, task_id: str, slice_seconds: float | None = None) -> int:
    """Work until nothing is ready, the time slice is over or the worker stops; return how many
    items were claimed.

    Notify again if work is left, so that each message gives other processes a turn.
    """
    ends = time.monotonic() + (
        settings.QUEUE_SLICE_SECONDS if slice_seconds is None else slice_seconds
    )
    finished, idle_since = 0, None
    with shared_state.finishing_before_sigterm(), _working(), Heartbeat() as heartbeat:
        while shared_state.may_take_work():
            now = time.monotonic()
            reset_queries()  # Django keeps them while DEBUG is on
            try:
                under_way = [kind.name for kind in all_kinds() if kind.drive()]
                # What is in hand beside this loop needs this process: it goes on.
                if now >= ends and not under_way:
                    notify.notify()
                    break
                paused = pauses.cached(pauses.KIND)
                done = sum(
                    _serve(kind, task_id, heartbeat)
                    for kind in all_kinds()
                    if not kind.is_driven and kind.name not in paused
                )
            except (OperationalError, InterfaceError) as error:
                _reconnect(error)
                continue
            if done:
                finished, idle_since = finished + done, None
            elif idle_since is None:
                idle_since = now
            elif skipped or under_way:
                time.sleep(LINGER_SECONDS)
            elif now - idle_since > LINGER_SECONDS:
                break
            else:
                time.sleep(LINGER_SECONDS / 10)
        for kind in all_kinds():
            kind.stop()
    return finished


def perform_one(kind: Kind, *, item_id: int, task_id: str) -> bool:
    """Claim and perform one named item; False if it could not be claimed."""
    work = api.claim_one(kind, item_id=item_id, task_id=task_id)
    if work is None:
        return False
    with shared_state.finishing_before_sigterm(), Heartbeat() as heartbeat:
        _perform_claimed(kind, [work], heartbeat, task_id=task_id)
    return True


def _serve(kind: Kind, task_id: str, heartbeat: Heartbeat) -> int:
    """Claim and perform items of one kind for a while; how many were claimed."""
    ends = time.monotonic() + CHAIN_SECONDS
    limit = pace.batch(kind)
    works = api.claim(kind, limit=limit, task_id=task_id, skipped=skipped.of(kind))
    count = 0
    while works:
        count += len(works)
        if len(works) == limit:
            notify.notify_if_idle()
        limit = pace.batch(kind)
        goes_on = len(works) <= CHAIN_ITEMS and time.monotonic() < ends
        works = _perform_claimed(
            kind, works, heartbeat, task_id=task_id, claim_next=limit if goes_on else 0
        )
    return count


def _perform_claimed(
    kind: Kind, works: Sequence[Work], heartbeat: Heartbeat, *, task_id: str, claim_next: int = 0
) -> list[Work]:
    """Perform claimed items and end them; return up to `claim_next` that were claimed after them."""
    completed: list[Work] = []
    claimed: list[Work] = []
    begun = time.monotonic()
    performed = 0
    with heartbeat.holding(works):
        try:
            for work in works:
                late = time.monotonic() - begun > UNBEGUN_SECONDS
                if performed and (late or not shared_state.may_take_work()):
                    break
                performed += 1
                ending = _perform(kind, work)
                if isinstance(ending, Completed):
                    completed.append(work)
                elif isinstance(ending, Wait) and ending.parent is not None:
                    break  # the other items of the claim may be that parent's
            api.give_back(works[performed:])
            if completed and claim_next and shared_state.may_take_work():
                claimed = api.complete_and_claim(
                    completed, limit=claim_next, task_id=task_id, skipped=skipped.of(kind)
                )
            elif completed:
                api.complete(completed)
            pace.learn(kind, seconds=time.monotonic() - begun, items=performed)
        except (OperationalError, InterfaceError) as error:
            _outlast(error, works)
    return claimed


def _perform(kind: Kind, work: Work) -> Ending | None:
    """Perform one item and say how it ended, None if it failed; all but Completed was dealt with."""
    try:
        ending = kind.perform(work)
    except LeaseLost:
        return None
    except (Unrecoverable, TryAgain) as error:
        api.fail(
            work,
            error=str(error),
            error_class=type(error.__cause__ or error).__name__,
            permanent=isinstance(error, Unrecoverable),
        )
        return None
    except Exception as error:
        if _is_the_databases(error):
            raise  # not the item's fault
        name = type(error).__name__
        api.fail(work, error=f"{name}: {error}", error_class=name, unexpected=error)
        return None
    match ending:
        case Wait(seconds, reason, parent):
            api.wait(work, seconds=seconds, reason=reason)
            if parent is not None:
                skipped.add(kind, parent)
        case GiveBack():
            api.give_back([work], begun=[work])
    return ending


@contextmanager
def _working() -> Iterator[None]:
    shared_state.set_working(True)
    try:
        yield
    finally:
        shared_state.set_working(False)


def _is_the_databases(error: Exception) -> bool:
    """Whether the database is gone, or chose this transaction to end a deadlock."""
    return isinstance(error, OperationalError | InterfaceError) and (
        isinstance(error.__cause__, DeadlockDetected) or not connection.is_usable()
    )


def _reconnect(error: Exception) -> None:
    logger.warning("Database connection lost, trying again: %s", in_one_line(error))
    connection.close()
    time.sleep(RECONNECT_SECONDS)


def _outlast(error: Exception, works: Sequence[Work]) -> None:
    """Wait for a database that has gone away, and give back the claimed items.

    An item that has ended stays ended: its lease is over. If the database stays away for longer
    than a lease, the sweeper will rescue the items.
    """
    give_up = time.monotonic() + settings.QUEUE_LEASE_SECONDS
    while time.monotonic() < give_up and not shared_state.stop_requested():
        _reconnect(error)
        try:
            api.give_back(works)
        except (OperationalError, InterfaceError) as again:
            error = again
        else:
            return
