"""Work without Celery: run the worker loop in this process until a condition ends it."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.worker import shared_state
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.loop import run_worker_loop
from jobs.queue.worker.sweeper import Sweeper

IDLE_SECONDS = 5.0
SOON_SECONDS = 15.0
"""Longer than the backoff before a last retry: what is due later waits for something else."""
LOOK_SECONDS = 0.2
STDIN = 0

# Anything that runs, may run now, or will be resumed soon.
ANY_WORK = """
SELECT EXISTS (SELECT 1 FROM {table} WHERE status = 'pending' AND ready_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM {table} WHERE status = 'pending' AND ready_at IS NULL AND NOT held)
    OR EXISTS (SELECT 1 FROM {table} item WHERE status = 'processing' AND ({rescuable}))
    OR EXISTS (SELECT 1 FROM {table} item
               WHERE held AND status = 'pending' AND ({runnable})
                 AND available_at < now() + make_interval(secs => %(soon)s))
"""


def run(*, task_id: str, while_stdin_open: bool, seconds: float | None, until_idle: bool) -> int:
    """Work until stopped, or until one of the conditions comes true; how many items were taken up.

    SIGTERM, SIGINT and the end of standard input finish or give back what is in hand. Unless a
    worker is at the other end of standard input, which sweeps itself, this sweeps too.
    """
    shared_state.stop_on_sigterm()
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    if while_stdin_open:
        threading.Thread(target=_stop_when_stdin_closes, daemon=True).start()
    ends = time.monotonic() + (float("inf") if seconds is None else seconds)
    with _sweeping(not while_stdin_open):
        return _work(task_id, ends, while_stdin_open=while_stdin_open, until_idle=until_idle)


def _work(task_id: str, ends: float, *, while_stdin_open: bool, until_idle: bool) -> int:
    taken_up, idle_since = 0, time.monotonic()
    while not shared_state.stop_requested() and (now := time.monotonic()) < ends:
        count = run_worker_loop(
            task_id=task_id, slice_seconds=min(settings.QUEUE_SLICE_SECONDS, ends - now)
        )
        taken_up += count
        now = time.monotonic()
        if count:
            idle_since = now
            continue
        out_of_work = until_idle and not any(_has_work(kind) for kind in all_kinds())
        if out_of_work or (while_stdin_open and now - idle_since >= IDLE_SECONDS):
            break
        time.sleep(LOOK_SECONDS)
    return taken_up


@contextmanager
def _sweeping(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    sweeper = Sweeper(FallbackWorkers(0))
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()


def _has_work(kind: Kind) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute(kind.sql(ANY_WORK), {"soon": SOON_SECONDS})
            return bool(cursor.fetchone()[0])
    except (OperationalError, InterfaceError):  # a database that restarts comes back
        connection.close()
        return True


def _stop_when_stdin_closes() -> None:
    """Read by descriptor: a thread inside `sys.stdin` would disturb the interpreter's end."""
    try:
        while os.read(STDIN, 4096):
            pass
    except OSError:
        pass  # no standard input at all
    shared_state.request_stop()
