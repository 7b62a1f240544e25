"""What a Celery worker has beyond its tasks: the sweeper, metrics, and stop requests."""

import logging
from functools import partial
from typing import Any

from celery import bootsteps, signals
from django.conf import settings

from jobs.queue.kinds import all_kinds
from jobs.queue.worker import celery_tools, identity, metrics, shared_state
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper

logger = logging.getLogger(__name__)


class SweeperStep(bootsteps.StartStopStep):
    """Runs the sweeper in the worker's parent, from before the broker is connected."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        # Steps are made before any of them starts: nothing is forked yet.
        identity.set_node(parent.hostname)
        shared_state.begin_worker(pool_size=parent.concurrency or 1)
        for kind in all_kinds():
            kind.load()
        celery_tools.say_that_events_are_wanted(bool(parent.task_events))
        self._sweeper = Sweeper(
            FallbackWorkers(parent.concurrency or 1), on_draining=partial(_consume, parent)
        )

    def start(self, parent: Any) -> None:
        self._sweeper.start()

    def stop(self, parent: Any) -> None:
        self._sweeper.stop()

    terminate = stop


class MetricsStep(bootsteps.StartStopStep):
    """Answers on the worker's own port with its metrics, if a port is given."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, metrics_port: int | None = None, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        port = metrics_port or settings.METRICS_PORT
        self.enabled = bool(port)
        if port:
            metrics.begin()
            self._server = metrics.MetricsServer(port)

    def start(self, parent: Any) -> None:
        self._server.start()

    def stop(self, parent: Any) -> None:
        self._server.stop()

    terminate = stop


def _consume(parent: Any, draining: bool) -> None:
    """Leave the notifications to other workers while this one drains."""
    control = parent.app.control
    change = control.cancel_consumer if draining else control.add_consumer
    for queue in list(parent.app.amqp.queues):
        try:
            change(queue, destination=[parent.hostname])
        except Exception as error:  # whatever the transport raises
            logger.warning("The broker did not take %s: %s", change.__name__, error)


@signals.worker_shutting_down.connect
def _stop_all(**kwargs: Any) -> None:
    shared_state.request_stop()
