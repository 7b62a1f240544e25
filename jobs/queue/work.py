"""One claimed item in a worker's hands, and how it can end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property

from jobs.queue.errors import LeaseLost
from jobs.queue.items import WorkItem
from jobs.queue.kinds import Kind
from jobs.queue.sql import LOCK_LEASE
from jobs.queue.worker import shared_state
from pixsim.core.db.sql import fetch


@dataclass(frozen=True, slots=True)
class Completed:
    """Done; the item ends."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now: back to pending without a retry, and the reason for people to see.

    Not before `seconds` from now; None: held until its job is resumed. With `parent`, the other
    items of that parent would find as little to do.
    """

    seconds: float | None
    reason: str | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Stopped on request: back to pending at once, what is done is kept."""


Ending = Completed | Wait | GiveBack


@dataclass(eq=False)
class Work:
    """A claimed item: its lease, and the signals between it and the heartbeat."""

    kind: Kind
    id: int
    lease: int
    last_progress: float = field(default_factory=time.monotonic)
    lost: bool = False

    @cached_property
    def item(self) -> WorkItem:
        return self.kind.model._default_manager.get(pk=self.id)

    def progress(self) -> None:
        """Say that the work goes on; without it for the stall limit, the lease is not renewed."""
        self.last_progress = time.monotonic()

    def should_stop(self) -> bool:
        """Whether to give back at the next checkpoint: the worker stops, or the lease is lost."""
        return self.lost or shared_state.stop_requested()

    def lock_lease(self) -> None:
        """Make sure, until the open transaction ends, that this item is still ours.

        Raises LeaseLost if it is not; the caller must write nothing then.
        """
        if not fetch(self.kind.sql(LOCK_LEASE), {"id": self.id, "lease": self.lease}):
            self.lost = True
            raise LeaseLost(f"{self.kind.name} {self.id}: lease {self.lease} is no longer held.")
