"""A kind of work: which table its items stand in, and what is done with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.utils.module_loading import import_string

from jobs.queue.items import WorkItem
from jobs.queue.sql import ANY_READY
from pixsim.core.db.sql import fetch
from pixsim.core.invariants import Invariant

if TYPE_CHECKING:
    from jobs.queue.ops.maintenance import Chore
    from jobs.queue.work import Ending, Work


@dataclass(frozen=True, slots=True)
class Left:
    """An item that a worker no longer holds: what became of it."""

    id: int
    status: str
    parent_id: int | None


class Kind:
    """What the queue must know of one kind of work item.

    The SQL fragments may refer to the item's row as `item`.
    """

    name: ClassVar[str]
    model: ClassVar[type[WorkItem]]

    parent_sql: ClassVar[str] = "NULL::int"
    """Column that says to whom the item's counters belong."""

    owner_sql: ClassVar[str] = "item.owner_id"
    """Whose an item is that was inserted by hand without an owner."""

    runnable_sql: ClassVar[str] = "TRUE"
    """False while the item's job is paused or has ended: then it stays held."""

    reason_sql: ClassVar[str] = "NULL::text"
    """Why an item that is not runnable is held, for people to see; NULL: what it says stays."""

    rescuable_sql: ClassVar[str] = "TRUE"
    """False for processing items that need no lease."""

    claimable_sql: ClassVar[str] = "TRUE"
    """Which ready items a claim may take; its parameters come with the call of `claim`."""

    ended: ClassVar[tuple[str, ...]] = ("completed", "failed")
    """The states in which an item has ended."""

    finished_sql: ClassVar[str] = "finished_at"
    """Column that says when."""

    def load(self) -> None:
        """Import what performing needs: once in a worker's parent, so that its children share it."""

    is_driven: ClassVar[bool] = False
    """Whether this kind takes its items by itself, beside the drain (`drive`), and not one by one
    through `perform`."""

    def drive(self) -> bool:
        """This process may take items now; whether any are under way."""
        return False

    def rest(self) -> None:
        """This process stops: take nothing more, and wait a while for what is under way."""

    def any_ready(self) -> bool:
        """Whether there is something to do now."""
        return bool(fetch(self.sql(ANY_READY), {})[0][0])

    def perform(self, work: Work) -> Ending:
        """Do one item. An exception is a failed attempt (see `drain`)."""
        raise NotImplementedError

    def record_left(self, cursor: Any, left: Sequence[Left]) -> None:
        """Let go what the items held, and change the parents' counters, in the same transaction.

        Parents are locked by id after all item rows: the lock order that holds everywhere.
        """

    def take_in_changes(self, cursor: Any, parents: Sequence[int]) -> None:
        """Items of these parents were inserted, revived or ended by hand: make the parents agree."""

    def tidy(self) -> None:
        """Repair what belongs to this kind alone; called by the sweeper every second."""

    def notes(self) -> Sequence[str]:
        """Sentences for the status of the queue: what waits, for what, and what helps."""
        return ()

    def invariants(self) -> Sequence[Invariant]:
        """What `queue check` proves of this kind beyond the queue's own invariants."""
        return ()

    def hot_tables(self) -> Sequence[str]:
        """The tables that `queue maintain` vacuums: those whose rows change while work is done."""
        return (self.table,)

    def chores(self) -> Sequence[Chore]:
        """What `queue maintain` does for this kind beyond its tables."""
        return ()

    @property
    def table(self) -> str:
        return self.model._meta.db_table

    def sql(self, statement: str) -> str:
        return _render(self, statement)


@cache
def _render(kind: Kind, statement: str) -> str:
    place = "created_at"
    if settings.QUEUE_ORDER != "fifo":
        # What is admitted at its creation keeps its age; what had to wait queues up behind, so
        # owners share in proportion to their windows.
        place = "CASE WHEN created_at = now() THEN created_at ELSE clock_timestamp() END"
    return statement.format(
        table=kind.table,
        parent=kind.parent_sql,
        owner=kind.owner_sql,
        runnable=kind.runnable_sql,
        rescuable=kind.rescuable_sql,
        reason=kind.reason_sql,
        claimable=kind.claimable_sql,
        finished=kind.finished_sql,
        ended=", ".join(f"'{status}'" for status in kind.ended),
        place=place,
    )


@cache
def all_kinds() -> tuple[Kind, ...]:
    """The kinds that `settings.QUEUE_KINDS` names, in the order in which a drain serves them."""
    return tuple(import_string(path)() for path in settings.QUEUE_KINDS)


def kind_named(name: str) -> Kind:
    for kind in all_kinds():
        if kind.name == name:
            return kind
    raise LookupError(f"There is no kind of work named {name!r}.")
