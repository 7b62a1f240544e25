"""The heartbeat: one thread per process that renews the leases of what the process works on."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from jobs.queue.api import renew
from jobs.queue.errors import in_one_line
from jobs.queue.kinds import Kind, Work
from pixsim.core.db.sessions import past_the_pooler

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews every third of a lease, on a connection of its own.

    Work that shows no progress for the stall limit is not renewed any more: its lease ends, and
    the sweeper gives the item to somebody else.
    """

    def __init__(self) -> None:
        self._held: set[Work] = set()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queue-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    @contextmanager
    def holding(self, works: Sequence[Work]) -> Iterator[None]:
        """Keep the leases of `works` while the block runs."""
        self.hold(works)
        try:
            yield
        finally:
            self.drop(works)

    def hold(self, works: Sequence[Work]) -> None:
        """Keep the leases of `works` from now on."""
        with self._guard:
            self._held.update(works)

    def drop(self, works: Sequence[Work]) -> None:
        """Renew the leases of `works` no more."""
        with self._guard:
            self._held.difference_update(works)

    def _run(self) -> None:
        with past_the_pooler():  # where no other client's transaction keeps it waiting
            try:
                while not self._stop.wait(settings.QUEUE_LEASE_SECONDS / 3):
                    self._beat()
            finally:
                connection.close()

    def _beat(self) -> None:
        try:
            for kind, works in self._alive().items():
                renew(kind, works)
        except (DatabaseError, InterfaceError) as error:
            # The next beat tries again on a new connection; a lease outlasts two lost beats.
            logger.warning("Could not renew leases: %s", in_one_line(error))
            connection.close()

    def _alive(self) -> dict[Kind, list[Work]]:
        stalled_before = time.monotonic() - settings.QUEUE_STALL_SECONDS
        by_kind: dict[Kind, list[Work]] = defaultdict(list)
        with self._guard:
            for work in self._held:
                if work.last_progress >= stalled_before:
                    by_kind[work.kind].append(work)
        return by_kind
