"""The sweeper: every second it resumes what is due, rescues what was lost, and repairs windows.

Every worker's parent process runs one in a thread; one of all is active (see `registry.say_alive`).
Because of it, losing every message costs a second, and edits by hand have their effect. The thread
also keeps the worker's row in the list of workers fresh.
"""

import logging
import threading
import time
from collections.abc import Callable
from operator import methodcaller
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection

from jobs.queue import api, pauses
from jobs.queue.api import NO_OWNER
from jobs.queue.errors import in_one_line
from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.ops import trends
from jobs.queue.worker import notify, registry, shared_state
from jobs.queue.worker.fallback import FallbackWorkers
from pixsim.core.db.sessions import past_the_pooler

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
OWNERS = 2000
OWNERS_SECONDS = 0.3
"""How many owners one sweep looks at, and how long it admits; the next goes on from there."""
COUNT_SECONDS, COUNT_PAUSES = 60.0, 50
"""Trends are counted once in so long, and at most for a fiftieth of the time."""
FALLBACK_AFTER_SECONDS = 2.0
"""Ready work that no process of this worker takes for so long means that messages are lost."""


class Sweeper:
    """The periodic thread of one worker."""

    def __init__(
        self, fallback: FallbackWorkers, *, on_draining: Callable[[bool], None] | None = None
    ) -> None:
        """`on_draining` is called when the worker begins to drain, and when it goes on."""
        self._fallback = fallback
        self._on_draining = on_draining
        self._was_draining = self._is_registered = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-sweeper", daemon=True)
        self._next_owner: dict[Kind, UUID] = {}
        self._waiting_since: float | None = None
        self._next_count = 0.0
        self._counting: threading.Thread | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._fallback.stop()

    def sweep(self) -> None:
        """Sweep all kinds once. A step that fails stops no other step."""
        for kind in all_kinds():
            for step in (
                api.register,
                api.resume_due,
                api.rescue,
                api.register_ends,
                self._repair_windows,
                methodcaller("repair"),
            ):
                try:
                    step(kind)
                except (OperationalError, InterfaceError):
                    raise  # the connection, not the row
                except Exception:
                    logger.exception("Sweeping %s items failed", kind.name)

    def _run(self) -> None:
        with past_the_pooler():
            try:
                while not self._stop.wait(PERIOD_SECONDS):
                    self._round()
                registry.leave()
            except DatabaseError as error:
                logger.warning("The worker is listed until its lease ends: %s", in_one_line(error))
            finally:
                connection.close()

    def _round(self) -> None:
        self._fallback.forget_ended()
        try:
            if self._follow_the_registry():
                self.sweep()
                registry.forget_old()
                self._start_counting()
            self._notify_this_worker()
        except DatabaseError as error:
            logger.warning("The sweep could not be finished, trying again: %s", in_one_line(error))
            connection.close()
        except Exception:
            logger.exception("The sweep failed")

    def _follow_the_registry(self) -> bool:
        """Say that this worker is alive, drain or go on; return whether it is the active one."""
        is_active = registry.say_alive(is_new=not self._is_registered)
        self._is_registered = True
        draining = shared_state.is_draining()
        if draining != self._was_draining:
            self._was_draining = draining
            logger.info("Takes nothing more." if draining else "Takes work again.")
            if draining:
                self._fallback.stop()
            if self._on_draining:
                self._on_draining(draining)
        return is_active

    def _repair_windows(self, kind: Kind) -> None:
        ends = time.monotonic() + OWNERS_SECONDS
        after = self._next_owner.get(kind, NO_OWNER)
        owners = api.next_owners(kind, after=after, limit=OWNERS)
        for state in owners:
            if time.monotonic() > ends:
                break
            if state.needs_admission:
                api.admit(kind, state.owner)
            after = state.owner
        is_last = len(owners) < OWNERS and (not owners or after == owners[-1].owner)
        self._next_owner[kind] = NO_OWNER if is_last else after

    def _start_counting(self) -> None:
        """Count trends in a thread of its own: with millions of attempts it takes seconds."""
        is_counting = self._counting is not None and self._counting.is_alive()
        if time.monotonic() >= self._next_count and not is_counting:
            self._counting = threading.Thread(target=self._count, name="queue-trends", daemon=True)
            self._counting.start()

    def _count(self) -> None:
        begun = time.monotonic()
        with past_the_pooler():
            try:
                while trends.roll_up() and not self._stop.is_set():
                    pass
            except Exception as error:
                logger.warning("Trends could not be counted, trying again: %s", in_one_line(error))
            finally:
                connection.close()
        now = time.monotonic()
        self._next_count = now + max(COUNT_SECONDS, COUNT_PAUSES * (now - begun))

    def _notify_this_worker(self) -> None:
        """Notify idle processes while work is ready; if that does not help, start fallback workers."""
        paused = pauses.fresh(pauses.KIND)
        ready = any(kind.any_ready() for kind in all_kinds() if kind.name not in paused)
        if not shared_state.may_take_work() or not ready:
            self._waiting_since = None
            return
        if shared_state.idle_processes():
            notify.notify()
        if shared_state.anyone_working():
            self._waiting_since = None
            return
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        if now - self._waiting_since >= FALLBACK_AFTER_SECONDS:
            self._fallback.start()
