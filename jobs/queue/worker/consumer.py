"""The worker's consumer of messages. A message is a call of one of our tasks, or it is dropped.

A message of Celery's says much more (time limits, callbacks, a chord, who asked), and a value of
another type than Celery expects ends the worker. Ours need none of it.

Whatever the broker answers instead of a message means that it is away: the worker goes on without
it, and connects again. Celery's own consumer ends with errors that are no loss of the connection.
"""

import json
import logging
import time
from collections.abc import Callable, Container
from typing import Any

from billiard.exceptions import WorkerLostError
from celery.worker.consumer import connection, consumer
from celery.worker.state import maybe_shutdown

from jobs.queue.worker import notify, shared_state
from pixsim.core.broker import log_dropped

logger = logging.getLogger(__name__)

STEADY_SECONDS = 3.0
"""The broker is back when nothing has failed for so long after the worker began to consume."""
FIRST_PAUSE_SECONDS, DOUBLINGS, TICK_SECONDS = 0.5, 3, 0.1

LONGEST_BODY = 64 * 1024
LONGEST_ID = 100
BUILT_IN = "celery."
"""Celery's own tasks, which call others: nothing here needs them."""


class Consumer(consumer.Consumer):
    """Celery's, with messages that are plain, and without what workers tell each other.

    Gossip and mingle read any message; the work rows have all that workers must know of each other.
    """

    connection_errors: Any

    def __init__(self, *args: Any, worker_options: Any = None, **options: Any) -> None:
        alone = {"without_gossip": True, "without_mingle": True}
        super().__init__(*args, worker_options={**(worker_options or {}), **alone}, **options)
        self._errors_of_broker = (*self.connection_errors, *self.channel_errors)
        self.connection_errors = (Exception,)  # after which Celery connects again
        self._failures = 0
        self._steady: Any = None
        for name in (consumer.__name__, connection.__name__):
            logging.getLogger(name).addFilter(self._is_no_repetition)

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes."""
        while True:
            maybe_shutdown()
            try:
                conn.connect()
            except Exception as error:
                self._wait_after(error)
            else:
                self.first_connection_attempt = False
                return conn

    def on_ready(self) -> None:
        super().on_ready()
        if self._failures:
            self._steady = self.timer.call_after(STEADY_SECONDS, self._note_back)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        self._wait_after(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        self._wait_after(exc)

    def _wait_after(self, error: Exception) -> None:
        """Wait, longer after each further failure. Raise SystemExit if the worker is to stop."""
        if isinstance(error, WorkerLostError):  # the pool, not the broker
            raise error
        if self._steady is not None:
            self._steady.cancel()
            self._steady = None
        if not self._failures and not isinstance(error, self._errors_of_broker):
            logger.error("The consumer of messages failed, and begins anew.", exc_info=error)
        notify.note_broker(shared_state.READING, error)
        pause = FIRST_PAUSE_SECONDS * 2 ** min(self._failures, DOUBLINGS)
        ends = time.monotonic() + pause
        self._failures += 1
        while time.monotonic() < ends:
            maybe_shutdown()
            time.sleep(TICK_SECONDS)

    def _note_back(self) -> None:
        self._steady, self._failures = None, 0
        notify.note_broker(shared_state.READING, None)

    def _is_no_repetition(self, record: logging.LogRecord) -> bool:
        """Celery says at each attempt what is said once here, when the broker goes and is back."""
        args = record.args if isinstance(record.args, tuple) else ()
        is_lost = consumer.CONNECTION_RETRY in args
        return not (is_lost or (self._failures and record.name == connection.__name__))

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **options)
        errors_of_broker = self._errors_of_broker

        def handle_or_drop(message: Any) -> None:
            try:
                make_plain(message, self.app.tasks)
                handle(message)
                if not self._failures:  # else the broker is to be steady first
                    notify.note_broker(shared_state.READING, None)
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
