"""What the processes of one worker share: stop and drain requests, which of them work, and whether
the broker is away.

Celery tells only the parent that it must stop, and a warm shutdown waits for whole tasks. So
this module's memory, made when the parent imports it, is shared with all that it forks. Plain
cells, no lock: a process killed while it holds a lock would stop all others.
"""

import ctypes
import mmap
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MAX_CHILDREN = 1024

READING, SENDING = 3, 4
"""What failed when the broker is away. The two can differ: each may be forbidden alone."""
_STOP, _POOL_SIZE, _DRAINING, _FIRST_SLOT = 0, 1, 2, 5
_memory = mmap.mmap(-1, (_FIRST_SLOT + MAX_CHILDREN) * ctypes.sizeof(ctypes.c_int32))
_cells = (ctypes.c_int32 * (_FIRST_SLOT + MAX_CHILDREN)).from_buffer(_memory)
_stop_this_process = False


def request_stop() -> None:
    """Ask this process, and all that were forked from it, to finish or give back."""
    _cells[_STOP] = 1


def stop_requested() -> bool:
    return _stop_this_process or _cells[_STOP] != 0


def set_draining(draining: bool) -> None:
    """Note whether this worker ends what it has in hand and takes nothing more."""
    _cells[_DRAINING] = draining


def is_draining() -> bool:
    return bool(_cells[_DRAINING])


def may_take_work() -> bool:
    """Return whether this process may claim and begin items: it neither stops nor drains."""
    return not stop_requested() and not _cells[_DRAINING]


def pool_size() -> int:
    """Return how many items this worker works on at once."""
    return _cells[_POOL_SIZE] or 1


def begin_worker(*, pool_size: int) -> None:
    """Forget what an earlier worker shared. Call it in the parent, before it forks."""
    global _stop_this_process
    _stop_this_process = False
    _cells[_STOP] = _cells[_DRAINING] = 0
    _cells[_POOL_SIZE] = pool_size


def set_broker_away(attempt: int, away: bool) -> None:
    """Note the outcome of the last attempt, READING or SENDING, of any process of the worker.

    Who can read again has no reason to think that sending fails; it is tried when there is need.
    """
    _cells[attempt] = away
    if attempt == READING and not away:
        _cells[SENDING] = 0


def is_broker_away() -> bool:
    return bool(_cells[READING] or _cells[SENDING])


def set_working(working: bool) -> None:
    """Note whether this process runs the worker loop."""
    _cells[_FIRST_SLOT + os.getpid() % MAX_CHILDREN] = os.getpid() if working else 0


def idle_processes() -> int:
    """Return how many of the worker's processes do not run the worker loop."""
    working = sum(1 for pid in _cells[_FIRST_SLOT:] if pid and _alive(pid))
    return max(0, _cells[_POOL_SIZE] - working)


def anyone_working() -> bool:
    return any(pid and _alive(pid) for pid in _cells[_FIRST_SLOT:])


def stop_on_sigterm() -> None:
    """Make SIGTERM to this process alone finish or give back what is in hand, from now on."""
    signal.signal(signal.SIGTERM, _stop_this)


@contextmanager
def finishing_before_sigterm() -> Iterator[None]:
    """Make SIGTERM to this process alone finish or give back first, and end the process then.

    Only while work is in hand: an idle process of a pool ends at once. (A handler set when the
    process starts would not last: the pool sets its own afterwards.)
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, _stop_this)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual or signal.SIG_DFL)
        if _stop_this_process:
            os.kill(os.getpid(), signal.SIGTERM)


def _stop_this(signum: int, frame: FrameType | None) -> None:
    global _stop_this_process
    _stop_this_process = True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
