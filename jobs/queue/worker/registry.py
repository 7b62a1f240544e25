"""The row by which a worker is known to be alive, and by which it is asked to drain."""

import os
import socket

from jobs.queue.worker import identity, shared_state
from pixsim.core.db.sql import fetch
from pixsim.core.version import VERSION

# A worker that was away keeps its row, so it also keeps draining.
SEEN = """
INSERT INTO workers (name, host, pid, processes, version)
VALUES (%(name)s, %(host)s, %(pid)s, %(processes)s, %(version)s)
ON CONFLICT (name, pid) DO UPDATE SET
    last_seen_at = now(), processes = EXCLUDED.processes, version = EXCLUDED.version
RETURNING is_draining
"""
FORGET = "DELETE FROM workers WHERE name = %(name)s AND pid = %(pid)s"
FORGET_OLD = "DELETE FROM workers WHERE last_seen_at < now() - interval '1 day'"


def say_alive() -> None:
    """Keep this worker's row fresh, and do as it says."""
    params = {
        **_key(),
        "host": socket.gethostname(),
        "processes": shared_state.pool_size(),
        "version": VERSION,
    }
    [(is_draining,)] = fetch(SEEN, params)
    shared_state.set_draining(is_draining)


def leave() -> None:
    """Remove this worker's row: it ends."""
    fetch(FORGET, _key())


def forget_old() -> None:
    """Remove the rows of workers that were killed."""
    fetch(FORGET_OLD, {})


def _key() -> dict[str, str | int]:
    return {"name": identity.node(), "pid": os.getpid()}
