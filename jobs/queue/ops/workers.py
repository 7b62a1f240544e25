"""The workers that are alive: what each does, and since when; drain one, or let it go on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.activity import record_change
from accounts.models import Profile
from jobs.models import Worker
from jobs.queue.kinds import Kind, all_kinds
from pixsim.core.db.sql import one_moment

MAX_IN_HAND = 200
"""So many items of a kind are shown."""

# A job whose provider is at work on it has no lease: no process holds it.
IN_HAND = """
SELECT id, {parent}, worker, task_id, attempt_count, started_at, lease_expires_at
FROM {table} WHERE status = 'processing' AND lease_expires_at IS NOT NULL
ORDER BY started_at, id LIMIT %(limit)s
"""


@dataclass(frozen=True)
class InHand:
    """An item that a process works on."""

    kind: str
    id: int
    parent: int | None
    pid: int | None
    task_id: str | None
    attempt: int
    started_at: datetime
    lease_expires_at: datetime


@dataclass(frozen=True)
class WorkerState:
    """One worker that is alive."""

    name: str
    host: str
    pid: int
    processes: int
    version: str
    started_at: datetime
    last_seen_at: datetime
    is_draining: bool
    in_hand: list[InHand] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def alive() -> list[WorkerState]:
    """Return the workers that were seen within a lease, by name, with what they have in hand."""
    held = in_hand(all_kinds())
    return [
        WorkerState(
            name=row.name,
            host=row.host,
            pid=row.pid,
            processes=row.processes,
            version=row.version,
            started_at=row.started_at,
            last_seen_at=row.last_seen_at,
            is_draining=row.is_draining,
            in_hand=held.get(row.name, []),
        )
        for row in seen_within_a_lease().order_by("name", "pid")
    ]


def seen_within_a_lease() -> QuerySet[Worker]:
    """Return a queryset of the workers that are alive."""
    lease = timedelta(seconds=settings.QUEUE_LEASE_SECONDS)
    return Worker.objects.filter(last_seen_at__gt=Now() - lease)


def in_hand(kinds: Sequence[Kind]) -> dict[str, list[InHand]]:
    """Return what is in hand, by the worker's name."""
    found: dict[str, list[InHand]] = defaultdict(list)
    with one_moment() as cursor:
        for kind in kinds:
            cursor.execute(kind.sql(IN_HAND), {"limit": MAX_IN_HAND})
            for id, parent, worker, task, attempt, started, lease in cursor.fetchall():
                name, _, pid = (worker or "").rpartition(":")
                number = int(pid) if pid.isdecimal() else None
                item = InHand(kind.name, id, parent, number, task, attempt, started, lease)
                found[name].append(item)
    return found


def drain(name: str, *, actor: Profile | None = None) -> int:
    """Ask the workers of that name to take nothing more; return how many are alive."""
    return _set_draining(name, True, actor)


def undrain(name: str, *, actor: Profile | None = None) -> int:
    """Let the workers of that name take items again; return how many are alive."""
    return _set_draining(name, False, actor)


def _set_draining(name: str, draining: bool, actor: Profile | None) -> int:
    with transaction.atomic():
        count = seen_within_a_lease().filter(name=name).update(is_draining=draining)
        if count:
            what = "drained" if draining else "undrained"
            record_change("worker", name[:255], what, actor=actor)
    return int(count)
