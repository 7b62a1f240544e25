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
        note_broker(shared_state.SENDING, error)
        metrics.add(("notifications", "failed"))
    else:
        note_broker(shared_state.SENDING, None)
        metrics.add(("notifications", "sent"))


def notify_if_idle() -> None:
    """Notify if another process of this worker is idle: more work waits than this one takes."""
    if shared_state.idle_processes():
        notify()


def note_broker(attempt: int, error: Exception | None) -> None:
    """Note what an attempt to use the broker met. Log once a worker that it is away, and is back."""
    was_away = shared_state.is_broker_away()
    shared_state.set_broker_away(attempt, error is not None)
    if error and not was_away:
        logger.warning("The broker is away; the sweeper finds work without it: %s", error)
    elif was_away and not shared_state.is_broker_away():
        logger.info("The broker is back.")


def _take_turn(seconds: float, *, force: bool = False) -> bool:
    global _silent_until
    now = time.monotonic()
    with _guard:
        if now < _silent_until and not force:
            return False
        _silent_until = now + seconds
        return True
