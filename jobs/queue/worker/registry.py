"""The row by which a worker is known to be alive, and is asked to drain or to sweep."""

import os
import socket

from jobs.queue.worker import identity, shared_state
from pixsim.core.db.sql import fetch
from pixsim.core.version import VERSION

ACTIVE_SECONDS = 5
"""The row is written every second. Without that for so long, another sweeper takes over."""

# A worker that was away keeps its row, so it also keeps draining. One that was started anew may have
# the name and the number of a process that was killed (in a container it has): its row begins anew.
SEEN = """
INSERT INTO workers (name, host, pid, processes, version)
VALUES (%(name)s, %(host)s, %(pid)s, %(processes)s, %(version)s)
ON CONFLICT (name, pid) DO UPDATE SET
    last_seen_at = now(), processes = EXCLUDED.processes, version = EXCLUDED.version,
    started_at = CASE WHEN %(is_new)s THEN now() ELSE workers.started_at END,
    is_draining = workers.is_draining AND NOT %(is_new)s
RETURNING is_draining, NOT EXISTS (
    SELECT FROM workers AS other
    WHERE other.id < workers.id
      AND other.last_seen_at > now() - make_interval(secs => %(active_seconds)s))
"""
FORGET = "DELETE FROM workers WHERE name = %(name)s AND pid = %(pid)s"
FORGET_OLD = "DELETE FROM workers WHERE last_seen_at < now() - interval '1 day'"


def say_alive(*, is_new: bool = False) -> bool:
    """Keep this worker's row fresh, and do as it says; `is_new` the first time.

    Return whether this worker's sweeper is the active one: that of the first row which was seen within
    ACTIVE_SECONDS. For a moment two can be active, which costs time and changes no result.
    """
    params = {
        **_key(),
        "is_new": is_new,
        "host": socket.gethostname(),
        "processes": shared_state.pool_size(),
        "version": VERSION,
        "active_seconds": ACTIVE_SECONDS,
    }
    [(is_draining, is_active)] = fetch(SEEN, params)
    shared_state.set_draining(is_draining)
    return bool(is_active)


def leave() -> None:
    """Remove this worker's row: it ends."""
    fetch(FORGET, _key())


def forget_old() -> None:
    """Remove the rows of workers that were killed."""
    fetch(FORGET_OLD, {})


def _key() -> dict[str, str | int]:
    return {"name": identity.node(), "pid": os.getpid()}
