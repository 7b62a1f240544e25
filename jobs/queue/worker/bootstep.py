"""What a Celery worker needs beyond its tasks: the sweeper, and stop requests."""

from typing import Any

from celery import bootsteps, signals

from jobs.queue.kinds import all_kinds
from jobs.queue.worker import identity, shared_state
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper


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
        self._sweeper = Sweeper(FallbackWorkers(parent.concurrency or 1))

    def start(self, parent: Any) -> None:
        self._sweeper.start()

    def stop(self, parent: Any) -> None:
        self._sweeper.stop()

    terminate = stop


@signals.worker_shutting_down.connect
def _stop_all(**kwargs: Any) -> None:
    shared_state.request_stop()
