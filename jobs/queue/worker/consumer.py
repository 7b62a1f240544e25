"""The worker's consumer of messages. A message is a call of one of our tasks, or it is dropped.

A message of Celery's says much more (time limits, callbacks, a chord, who asked), and a value of
another type than Celery expects ends the worker. Ours need none of it.
"""

import json
import logging
from collections.abc import Callable, Container
from typing import Any

from celery.worker import consumer

from pixsim.core.broker import log_dropped

logger = logging.getLogger(__name__)

LONGEST_BODY = 64 * 1024
LONGEST_ID = 100
BUILT_IN = "celery."
"""Celery's own tasks, which call others: nothing here needs them."""


class Consumer(consumer.Consumer):
    """Celery's, with messages that are plain, and without what workers tell each other.

    Gossip and mingle read any message; the work rows have all that workers must know of each other.
    """

    def __init__(self, *args: Any, worker_options: Any = None, **options: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options={**(worker_options or {}), **alone}, **options)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **options)
        errors_of_broker = (*self.connection_errors, *self.channel_errors)

        def handle_or_drop(message: Any) -> None:
            try:
                make_plain(message, self.app.tasks)
                handle(message)
            except errors_of_broker:
                raise
            except Exception as error:
                log_dropped(error)
                message.reject_log_error(logger, errors_of_broker)

        return handle_or_drop


def make_plain(message: Any, tasks: Container[str]) -> None:
    """Leave of a message its task, its id and its arguments. Raise ValueError for any other."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    name, id = headers.get("task"), headers.get("id")
    if not isinstance(name, str) or name.startswith(BUILT_IN) or name not in tasks:
        raise ValueError(f"it names no task of ours: {name!r}")
    if not isinstance(id, str) or not id.isprintable() or len(id) > LONGEST_ID:
        raise ValueError(f"it has no id: {id!r:.100}")
    if message.content_type != "application/json":
        raise ValueError(f"its content is {message.content_type!r:.100}")
    body = message.body if isinstance(message.body, str) else bytes(message.body)
    if len(body) > LONGEST_BODY:
        raise ValueError(f"it has {len(body)} bytes")
    args, kwargs, _ = json.loads(body)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise ValueError("its arguments are none")
    message.body = json.dumps([args, kwargs, {}])
    message.content_encoding = "utf-8"
    message.headers = {
        "lang": "py",
        "task": name,
        "id": id,
        "root_id": id,
        "argsrepr": f"{args!r:.100}",
        "kwargsrepr": f"{kwargs!r:.100}",
    }
    for name in ("correlation_id", "reply_to"):
        message.properties.pop(name, None)
