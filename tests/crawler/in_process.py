"""A worker inside the test's process: what a Celery worker's sweeper and children do, in a thread."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.loop import run_worker_loop
from jobs.queue.worker.sweeper import Sweeper


@contextmanager
def working() -> Iterator[None]:
    """Work is done while the block runs. Needs a test whose transactions commit."""
    over = threading.Event()
    sweeper = Sweeper(FallbackWorkers(1))

    def work() -> None:
        try:
            while not over.is_set():
                sweeper.sweep()
                run_worker_loop(task_id="test", slice_seconds=1)
                over.wait(0.02)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def wait_until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
