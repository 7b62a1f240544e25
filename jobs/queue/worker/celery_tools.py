"""What Celery's own tools are told: the items in hand, beside the tasks that work on them.

One task, `jobs.work`, works on many items, so `inspect active`, Flower and the task events would name
only it. Here `inspect active` lists the items in hand as well, and a worker that sends events (`-E`)
sends them for each attempt: a task named after the kind, with the item's key as its argument and
`kind-key-attempt` as its id.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from celery import current_app
from celery.worker.control import Panel, active
from django.db import connection

from jobs.queue.worker import identity

logger = logging.getLogger(__name__)

SILENT_SECONDS = 5.0
"""After a failure no event is sent for so long: they are a convenience."""

_wanted = False
_silent_until = 0.0


class Event(NamedTuple):
    """A step of an attempt, as Celery's task events tell it."""

    type: str
    """received, started, succeeded, failed, retried or revoked."""
    kind: str
    item: int
    attempt: int
    more: dict[str, Any] = {}


def say_that_events_are_wanted(wanted: bool) -> None:
    """Note whether the worker sends task events (`-E`). Call it in the parent, before it forks."""
    global _wanted
    _wanted = wanted


def are_events_wanted() -> bool:
    return _wanted


def send(events: Sequence[Event]) -> None:
    """Send events, if the worker sends any. Never raises."""
    global _silent_until
    if not _wanted or not events or time.monotonic() < _silent_until:
        return
    try:
        with current_app.events.default_dispatcher(hostname=identity.node()) as dispatcher:
            for event in events:
                dispatcher.send(
                    f"task-{event.type}",
                    uuid=f"{event.kind}-{event.item}-{event.attempt}",
                    name=f"queue.{event.kind}",
                    args=f"({event.item},)",
                    kwargs="{}",
                    **event.more,
                )
    except Exception as error:  # whatever the transport raises
        _silent_until = time.monotonic() + SILENT_SECONDS
        logger.info("Task events are not sent for %g s: %s", SILENT_SECONDS, error)


def _active_with_items(state: Any, safe: bool = False, **options: Any) -> list[dict[str, Any]]:
    """List the tasks that are executed now, and the items that they have in hand."""
    from jobs.queue.kinds import all_kinds
    from jobs.queue.ops import workers

    tasks: list[dict[str, Any]] = active(state, safe=safe, **options)
    try:
        held = workers.in_hand(all_kinds()).get(identity.node(), [])
    except Exception as error:  # the tasks alone are better than no answer
        logger.warning("The items in hand cannot be read: %s", error)
        held = []
    finally:
        connection.close()
    return tasks + [
        {
            "id": f"{one.kind}-{one.id}-{one.attempt}",
            "name": f"queue.{one.kind}",
            "args": [one.id],
            "kwargs": {} if one.parent is None else {"job": one.parent},
            "type": f"queue.{one.kind}",
            "hostname": identity.node(),
            "time_start": one.started_at.timestamp(),
            "acknowledged": True,
            "delivery_info": {},
            "worker_pid": one.pid,
        }
        for one in held
    ]


Panel.register(type="inspect", name="active", alias="dump_active")(_active_with_items)

REMOVED = ("pool_restart", "pool_grow", "pool_shrink", "autoscale", "memdump", "objgraph")
"""Remote control is for whoever has the broker's password. It can stop workers and their tasks, but
it runs no code and spends nothing: `pool_restart` imports modules, the pool has the size it started
with, and the last two write what is in memory."""

for _name in REMOVED:
    Panel.data.pop(_name, None)
    Panel.meta.pop(_name, None)
