"""Notifications: a Celery message that says "look at the table", and nothing else.

It carries no row id: losing one costs a second (the sweeper looks by itself), and one too many
costs an empty look.
"""

import logging
import threading
import time

from celery import current_app
from django.db import transaction

from jobs.queue.worker import metrics, shared_state

logger = logging.getLogger(__name__)

WORK_TASK = "jobs.work"
PAUSE_SECONDS = 0.020
"""After a notification no other is sent for so long: the worker loop looks for longer than that."""
BROKEN_SECONDS = 1.0
"""After a failure the broker is left alone for so long; the sweeper covers it."""

_silent_until = 0.0
_is_broken = False
_guard = threading.Lock()


def notify_on_commit() -> None:
    """Notify when the current transaction commits, or now if there is none."""
    transaction.on_commit(notify)


def notify() -> None:
    """Make one worker process look for work. Never raises; takes at most half a second with the
    broker down.
    """
    if not _take_turn(PAUSE_SECONDS):
        return
    try:
        current_app.send_task(WORK_TASK, retry=False, ignore_result=True)
    except Exception as error:  # whatever the transport raises: the row is the truth
        _take_turn(BROKEN_SECONDS, force=True)
        _note_broken(error)
        metrics.add(("notifications", "failed"))
    else:
        _note_broken(None)
        metrics.add(("notifications", "sent"))


def notify_if_idle() -> None:
    """Notify if another process of this worker is idle: more work waits than this one takes."""
    if shared_state.idle_processes():
        notify()


def _note_broken(error: Exception | None) -> None:
    """Log once that the broker is away, and once that it is back."""
    global _is_broken
    if error and not _is_broken:
        logger.warning("The broker does not answer; the sweeper finds work without it: %s", error)
    elif _is_broken and not error:
        logger.info("The broker answers again.")
    _is_broken = error is not None


def _take_turn(seconds: float, *, force: bool = False) -> bool:
    global _silent_until
    now = time.monotonic()
    with _guard:
        if now < _silent_until and not force:
            return False
        _silent_until = now + seconds
        return True
