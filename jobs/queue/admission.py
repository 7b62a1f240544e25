"""Admission: the one rule behind quotas, fairness, pause, cancel and scheduling.

An owner's window is how many of their items may be ready or processing at once. Finishing admits
the next ones by itself (`statements`); this is the exact form, for everything else.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection, transaction

from accounts import tiers
from jobs.queue import sql
from jobs.queue.kinds import Kind
from jobs.queue.transitions import window_params
from pixsim.core.db.sql import fetch

NOBODY = UUID(int=0)


def admit(kind: Kind, owner: UUID) -> int:
    """Make the owner's best items, as many as their window has room for, ready; how many are new.

    Ready items that better ones displace go back to waiting; items being processed stay. Locks
    the owner's profile, so it may be called at any time, by anyone, at once.
    """
    with transaction.atomic():
        locked = fetch(sql.LOCK_OWNER, {"owner": owner})
        if not locked:
            return 0
        params = {"owner": owner, "window": tiers.windows().get(locked[0][0], 0)}
        fetch(kind.sql(sql.WITHDRAW), params)
        return len(fetch(kind.sql(sql.GRANT), params))


def admit_all(kind: Kind, owners: Iterable[UUID | None]) -> int:
    """Admit for several owners, in key order so that two callers cannot deadlock."""
    return sum(admit(kind, owner) for owner in sorted({o for o in owners if o is not None}))


def adopt(kind: Kind, *, item_id: int | None = None, limit: int = 1000) -> int:
    """Take in rows that were inserted or revived by hand, all or the one named; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(kind.sql(sql.STRANGERS), {"id": item_id, "limit": limit})
        strangers = cursor.fetchall()
        if not strangers:
            return 0
        kind.take_in_changes(cursor, sorted({parent for _id, parent in strangers if parent}))
        cursor.execute(kind.sql(sql.ADOPT), {"ids": [row[0] for row in strangers]})
        rows = cursor.fetchall()
    admit_all(kind, (owner for _id, owner in rows))
    return len(rows)


def release(kind: Kind, *, limit: int = 1000) -> int:
    """Let in the items whose time has come; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(kind.sql(sql.RELEASE), {"limit": limit})
        let_in = [owner for owner, held in cursor.fetchall() if not held]
    admit_all(kind, let_in)
    return len(let_in)


def wake(kind: Kind, *, parent_id: int) -> int:
    """Let in the parent's items that wait for what has come now; how many."""
    with transaction.atomic():
        rows = fetch(kind.sql(sql.WAKE), {"parent": parent_id})
    admit_all(kind, (owner for _id, owner in rows))
    return len(rows)


def next_owners(kind: Kind, *, after: UUID, limit: int) -> list[tuple[UUID, bool]]:
    """Owners who have anything waiting or ready, by key, and whether they need to be admitted for.

    So they do when their window has room, is overfull, or holds the wrong items.
    """
    params = {"after": after, "limit": limit, **window_params()}
    return [(owner, unsettled) for owner, unsettled in fetch(kind.sql(sql.OWNERS), params)]
