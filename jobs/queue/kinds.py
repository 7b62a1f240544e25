"""The contract of a kind of work: which table its items are in, and what is done with one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, cached_property
from typing import ClassVar, NamedTuple

from django.conf import settings
from django.db.backends.utils import CursorWrapper
from django.utils.module_loading import import_string

from jobs.queue import sql
from jobs.queue.errors import LeaseLost
from jobs.queue.items import WorkItem
from jobs.queue.worker import shared_state
from pixsim.core.db.sql import fetch
from pixsim.core.invariants import Invariant


@dataclass(frozen=True, slots=True)
class Completed:
    """The item is done and ends."""


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do now: back to pending without a retry, with the reason for people.

    Not before `seconds` from now; None: held until its job is resumed. With `parent`, the other
    items of that parent would find nothing to do either.
    """

    seconds: float | None
    reason: str | None = None
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Stopped on request: back to pending at once; what is done is kept."""


Ending = Completed | Wait | GiveBack


class Left(NamedTuple):
    """An item that a worker no longer holds, and its status now."""

    id: int
    status: str
    parent_id: int | None


DEFAULT_GRACE = timedelta(hours=1)


@dataclass(frozen=True)
class Options:
    """`dry_run` changes nothing and counts; `force` skips a chore's doubts about its own result.

    `grace`: what is younger is left alone, since a worker may be about to need it.
    """

    dry_run: bool = False
    force: bool = False
    grace: timedelta = DEFAULT_GRACE


@dataclass(frozen=True)
class Result:
    """What a chore did, or with `dry_run` would do: `count` things, in words `summary`.

    `problem` says what was left undone and what to do about it.
    """

    count: int
    summary: str
    problem: str | None = None


Tick = Callable[[int], None]
"""Called with the number of things looked at so far."""


@dataclass(frozen=True)
class Chore:
    """A piece of regular work of `queue maintain`; safe to stop and to run again at any time."""

    name: str
    run: Callable[[Options, Tick], Result]


class Kind:
    """What the queue must know of one kind of work item.

    The SQL fragments may refer to the item's row as `item`.
    """

    name: ClassVar[str]
    model: ClassVar[type[WorkItem]]

    parent_sql: ClassVar[str] = "NULL::int"
    """Column of the item's parent, whose counters it changes."""

    owner_sql: ClassVar[str] = "item.owner_id"
    """The owner of an item that was inserted by hand without one."""

    runnable_sql: ClassVar[str] = "TRUE"
    """False while the item must stay held, for its job is paused or has ended."""

    reason_sql: ClassVar[str] = "NULL::text"
    """Why an item that is not runnable is held, for people; NULL: its error message stays."""

    dropped_sql: ClassVar[str] = "FALSE"
    """True for a pending item whose parent has ended without it: it is no backlog, but cancelled."""

    dropped_count_sql: ClassVar[str] = "SELECT 0"
    """How many such items there are, from what is cheap to read."""

    rescuable_sql: ClassVar[str] = "TRUE"
    """False for processing items that need no lease."""

    claimable_sql: ClassVar[str] = "TRUE"
    """Which ready items a claim may take; its parameters come with the call of `claim`."""

    records_attempts: ClassVar[bool] = True
    """Whether the end of each attempt is written into `work_attempts`."""

    is_driven: ClassVar[bool] = False
    """Whether this kind takes its items by itself beside the worker loop (`drive`), instead of one
    by one through `perform`."""

    def load(self) -> None:
        """Import what performing needs: once in a worker's parent, so that its children share it."""

    def drive(self) -> bool:
        """Take items if this process may; return whether any are in hand."""
        return False

    def stop(self) -> None:
        """Take nothing more, and wait a while for what is in hand: this process stops."""

    def any_ready(self) -> bool:
        """Return whether there is something to do now."""
        return bool(fetch(self.sql(sql.ANY_READY), {})[0][0])

    def perform(self, work: Work) -> Ending:
        """Do one item. An exception is a failed attempt (see `worker.loop`)."""
        raise NotImplementedError

    def record_left(self, cursor: CursorWrapper, left: Sequence[Left]) -> None:
        """Free what the items held, and change their parents' counters, in the same transaction.

        Lock parents by id after all item rows: the lock order that holds everywhere.
        """

    def apply_changes(self, cursor: CursorWrapper, parents: Sequence[int]) -> None:
        """Make the parents agree with items that were inserted, revived or ended by hand."""

    def repair(self) -> None:
        """Repair what belongs to this kind alone; called by the sweeper every second."""

    def waits_for(self, item: WorkItem) -> str | None:
        """Return what a ready item waits for beside a worker, in a sentence; None for nothing."""
        return None

    def retry(self, ids: Sequence[int]) -> int:
        """Start failed items anew; return how many were started."""
        raise NotImplementedError

    def notes(self) -> Sequence[str]:
        """Return sentences for the queue's status: what waits, for what, and what helps."""
        return ()

    def invariants(self) -> Sequence[Invariant]:
        """Return what `queue check` proves of this kind beyond the queue's own invariants."""
        return ()

    def hot_tables(self) -> Sequence[str]:
        """Return the tables that `queue maintain` vacuums: those whose rows change during work."""
        return (self.table,)

    def chores(self) -> Sequence[Chore]:
        """Return what `queue maintain` does for this kind beyond its tables."""
        return ()

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    @property
    def ended(self) -> tuple[str, ...]:
        """The states in which an item has ended."""
        return self.model.ENDED

    def sql(self, statement: str) -> str:
        """Return the statement for this kind."""
        return _render(self, statement)


@dataclass(eq=False)
class Work:
    """A claimed item: its lease, and the signals between it and the heartbeat."""

    kind: Kind
    id: int
    lease: int
    started_at: datetime | None = None
    """When it was claimed, by the database's clock."""
    attempt: int = 0
    """Which claim of the item it is."""
    details: dict[str, float] = field(default_factory=dict)
    """What this attempt did, for its record (see `count`)."""
    last_progress: float = field(default_factory=time.monotonic)
    lost: bool = False

    @cached_property
    def item(self) -> WorkItem:
        return self.kind.model._default_manager.get(pk=self.id)

    def progress(self) -> None:
        """Say that the work goes on; without it for the stall limit, the lease is not renewed."""
        self.last_progress = time.monotonic()

    def count(self, **amounts: float) -> None:
        """Add to what this attempt has done, such as `stored=3, bytes=70_000`."""
        for name, amount in amounts.items():
            self.details[name] = self.details.get(name, 0) + amount

    def should_stop(self) -> bool:
        """Whether to give back at the next checkpoint: the worker stops, or the lease is lost."""
        return self.lost or shared_state.stop_requested()

    def lock_lease(self) -> None:
        """Make sure, until the open transaction ends, that this item is still ours.

        Raise LeaseLost if it is not; the caller must write nothing then.
        """
        if not fetch(self.kind.sql(sql.LOCK_LEASE), {"id": self.id, "lease": self.lease}):
            self.lost = True
            raise LeaseLost(f"{self.kind.name} {self.id}: lease {self.lease} is no longer held.")


@cache
def _render(kind: Kind, statement: str) -> str:
    place = "created_at"
    if settings.QUEUE_ORDER != "fifo":
        # What is admitted at its creation keeps its age; what had to wait queues up behind, so
        # owners share in proportion to their windows.
        place = "CASE WHEN created_at = now() THEN created_at ELSE clock_timestamp() END"
    return statement.format(
        recorded=sql.recorded(kind.name) if kind.records_attempts else "",
        taken=sql.taken(kind.name) if kind.records_attempts else "",
        kind=kind.name,
        table=kind.table,
        parent=kind.parent_sql,
        owner=kind.owner_sql,
        runnable=kind.runnable_sql,
        dropped=kind.dropped_sql,
        dropped_count=kind.dropped_count_sql,
        rescuable=kind.rescuable_sql,
        reason=kind.reason_sql,
        claimable=kind.claimable_sql,
        finished=kind.model.FINISHED,
        ended=", ".join(f"'{status}'" for status in kind.ended),
        place=place,
    )


@cache
def all_kinds() -> tuple[Kind, ...]:
    """Return the kinds that `settings.QUEUE_KINDS` names, in the order in which they are served."""
    return tuple(import_string(path)() for path in settings.QUEUE_KINDS)


def kind_named(name: str) -> Kind:
    """Return the kind of that name. Raise LookupError if there is none."""
    for kind in all_kinds():
        if kind.name == name:
            return kind
    raise LookupError(f"There is no kind of work named {name!r}.")
