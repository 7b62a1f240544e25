"""The sweeper: every second it lets in what is due, rescues what was lost, and repairs windows.

Every worker's parent process runs one in a thread; an advisory lock makes one of all active. It
is the reason why losing every message costs a second, and why edits by hand have their effect.
"""

import logging
import threading
import time
from operator import methodcaller
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection

from jobs.queue import admission, transitions
from jobs.queue.admission import NOBODY
from jobs.queue.errors import in_one_line
from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.worker import notify, shared_state
from jobs.queue.worker.fallback import Standby

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
LOCK_KEY = 0x7078_7371  # "pxsq", the sweeper's among this database's advisory locks
OWNERS = 2000
OWNERS_SECONDS = 0.3
"""How many owners one sweep looks at, and how long it admits; the next goes on from there."""
STANDBY_AFTER_SECONDS = 2.0
"""Ready work that nobody of this worker takes for so long means that no ring comes through."""


class Sweeper:
    """The periodic thread of one worker."""

    def __init__(self, standby: Standby) -> None:
        self._standby = standby
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-sweeper", daemon=True)
        self._next_owner: dict[Kind, UUID] = {}
        self._neglected_since: float | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._standby.stop()

    def sweep(self) -> None:
        """One round over all kinds, whoever else sweeps. What fails does not keep the rest waiting."""
        for kind in all_kinds():
            for step in (
                admission.adopt,
                admission.release,
                transitions.rescue,
                transitions.settle,
                self._settle_owners,
                methodcaller("tidy"),
            ):
                try:
                    step(kind)
                except (OperationalError, InterfaceError):
                    raise  # the connection, not the row
                except Exception:
                    logger.exception("Sweeping %s items failed", kind.name)

    def _run(self) -> None:
        try:
            while not self._stop.wait(PERIOD_SECONDS):
                self._round()
        finally:
            connection.close()

    def _round(self) -> None:
        self._standby.forget_ended()
        try:
            if self._is_the_active_one():
                self.sweep()
            self._wake_this_worker()
        except DatabaseError as error:
            logger.warning("The sweep could not be finished, trying again: %s", in_one_line(error))
            connection.close()
        except Exception:
            logger.exception("The sweep failed")

    def _is_the_active_one(self) -> bool:
        """Take or keep the lock; it belongs to this thread's connection and ends with it.

        The connection of a sweeper that is frozen or cut off would live on, and nobody would sweep:
        so the server ends it when nothing is heard for as long as a lease.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_session_timeout', %(patience)s, FALSE),"
                " set_config('idle_in_transaction_session_timeout', %(patience)s, FALSE),"
                " EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
                " AND objid = %(key)s AND classid = 0 AND pid = pg_backend_pid() AND granted)"
                " OR pg_try_advisory_lock(%(key)s)",
                {"key": LOCK_KEY, "patience": f"{settings.QUEUE_LEASE_SECONDS}s"},
            )
            return bool(cursor.fetchone()[2])

    def _settle_owners(self, kind: Kind) -> None:
        ends = time.monotonic() + OWNERS_SECONDS
        after = self._next_owner.get(kind, NOBODY)
        owners = admission.next_owners(kind, after=after, limit=OWNERS)
        for owner, is_unsettled in owners:
            if time.monotonic() > ends:
                break
            if is_unsettled:
                admission.admit(kind, owner)
            after = owner
        is_last = len(owners) < OWNERS and (not owners or after == owners[-1][0])
        self._next_owner[kind] = NOBODY if is_last else after

    def _wake_this_worker(self) -> None:
        """Ring for idle processes while work is ready; if that does not help, work locally."""
        if not any(kind.any_ready() for kind in all_kinds()):
            self._neglected_since = None
            return
        if shared_state.idle_processes():
            notify.ring()
        if shared_state.anyone_draining() or shared_state.stop_requested():
            self._neglected_since = None
            return
        now = time.monotonic()
        self._neglected_since = self._neglected_since or now
        if now - self._neglected_since >= STANDBY_AFTER_SECONDS:
            self._standby.start()
