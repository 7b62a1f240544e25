"""The queue's invariants, examined on the live database."""

import json
from collections.abc import Iterable
from dataclasses import replace

from accounts import tiers
from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind
from pixsim.core.invariants import Finding, Invariant, examine

GRACE_SECONDS = 10
"""What the sweeper repairs within a second or two may be broken for so long."""

# Rendered for a kind (see `Kind.sql`), with the parameters `grace` (seconds), `windows` (tier →
# window, JSON) and `max_retries`.
INVARIANTS = (
    Invariant(
        "processing-leased",
        "An item that is processed has a lease, a start, and a place in its owner's window.",
        """
        SELECT id, task_id, lease_id, lease_expires_at, ready_at, started_at
        FROM {table} item
        WHERE status = 'processing' AND ({rescuable})
          AND (lease_id IS NULL OR lease_expires_at IS NULL OR ready_at IS NULL
               OR started_at IS NULL)
        """,
        needs_worker=True,
    ),
    Invariant(
        "pending-unleased",
        "A pending item has no lease.",
        """
        SELECT id, task_id, lease_id, lease_expires_at FROM {table}
        WHERE status = 'pending' AND (lease_id IS NOT NULL OR lease_expires_at IS NOT NULL)
        """,
    ),
    Invariant(
        "ended-holds-nothing",
        "An item that has ended holds nothing: no lease, no place, no schedule.",
        """
        SELECT id, status, lease_id, lease_expires_at, ready_at, held, available_at, {finished}
        FROM {table}
        WHERE status NOT IN ('pending', 'processing') AND {finished} IS NOT NULL
          AND (lease_id IS NOT NULL OR lease_expires_at IS NOT NULL OR ready_at IS NOT NULL
               OR held OR available_at IS NOT NULL)
        """,
    ),
    # `started_at` says that the queue had it: rows of older systems know no `finished_at`.
    Invariant(
        "ends-registered",
        "An item that was ended by hand is registered within seconds (else: does a worker run?).",
        """
        SELECT id, status, lease_id, ready_at, held, available_at, started_at FROM {table}
        WHERE status NOT IN ('pending', 'processing') AND {finished} IS NULL
          AND (lease_id IS NOT NULL OR lease_expires_at IS NOT NULL OR ready_at IS NOT NULL
               OR held OR available_at IS NOT NULL OR started_at IS NOT NULL)
        """,
        needs_worker=True,
    ),
    Invariant(
        "held-not-ready",
        "A held item is not ready.",
        "SELECT id, status, ready_at FROM {table} WHERE held AND ready_at IS NOT NULL",
    ),
    # After a tier change the ready items beyond the window are withdrawn by the sweeper; what was
    # being processed runs to its end, and nothing is claimed until there is room again.
    Invariant(
        "window",
        "No owner has more items ready or processing than their window; only what was processed "
        "before their window shrank may exceed it until it ends.",
        """
        SELECT item.owner_id, profiles.user_tier AS tier, size AS window,
               count(*) FILTER (WHERE item.status = 'pending') AS ready,
               count(*) FILTER (WHERE item.status <> 'pending') AS processing,
               profiles.updated_at AS owner_changed_at
        FROM {table} item JOIN profiles ON profiles.id = item.owner_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN EXISTS (SELECT 1 FROM queue_pauses
                                     WHERE scope = 'owner' AND key = profiles.id::text)
                THEN 0 ELSE coalesce((%(windows)s::jsonb ->> profiles.user_tier)::int, 0) END AS size
            ) AS room
        CROSS JOIN LATERAL (
            SELECT profiles.updated_at + make_interval(secs => %(grace)s) AS repaired_by) AS change
        WHERE item.ready_at IS NOT NULL
        GROUP BY item.owner_id, profiles.id, size, repaired_by
        HAVING count(*) > size
           AND (count(*) FILTER (WHERE item.status = 'pending') > 0 AND now() > repaired_by
                OR count(*) FILTER (WHERE item.status <> 'pending'
                                      AND item.started_at > repaired_by) > size)
        """,
    ),
    Invariant(
        "leases-swept",
        "A lease that has ended is taken back within seconds (else: does a worker run?).",
        """
        SELECT id, task_id, lease_expires_at, retry_count FROM {table} item
        WHERE status = 'processing' AND ({rescuable})
          AND lease_expires_at < now() - make_interval(secs => %(grace)s)
        """,
        needs_worker=True,
    ),
    Invariant(
        "due-resumed",
        "An item whose time has come is resumed within seconds (else: does a worker run?).",
        """
        SELECT id, available_at, retry_count FROM {table} item
        WHERE held AND status = 'pending' AND ({runnable})
          AND available_at < now() - make_interval(secs => %(grace)s)
        """,
        needs_worker=True,
    ),
    Invariant(
        "unregistered-rows",
        "A row that was inserted or revived by hand is registered within seconds (else: does a "
        "worker run?).",
        """
        SELECT id, created_at, updated_at FROM {table}
        WHERE status = 'pending' AND ready_at IS NULL AND NOT held AND owner_id IS NULL
          AND greatest(created_at, updated_at) < now() - make_interval(secs => %(grace)s)
        """,
        needs_worker=True,
    ),
    Invariant(
        "retries-limited",
        "No item was tried again more often than the limit.",
        "SELECT id, status, retry_count FROM {table} WHERE retry_count > %(max_retries)s",
    ),
)


def check(kinds: Iterable[Kind]) -> list[Finding]:
    """Examine the invariants of these kinds: the queue's and their own."""
    return examine(invariant for kind in kinds for invariant in invariants_of(kind))


def invariants_of(kind: Kind) -> list[Invariant]:
    """Return what always holds of the kind's rows: the queue's invariants, then its own."""
    windows = json.dumps(tiers.windows())
    params = {"grace": GRACE_SECONDS, "max_retries": MAX_RETRIES, "windows": windows}
    return [
        *(
            replace(each, sql=kind.sql(each.sql), params=params, subject=kind.name)
            for each in INVARIANTS
        ),
        *(replace(each, subject=kind.name) for each in kind.invariants()),
    ]
