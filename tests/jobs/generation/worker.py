"""A worker process for tests that kills itself with -9 at a named step of a submission.

    python -m tests.jobs.generation.worker [STEP]

Without a step it works until it is stopped.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

django.setup()

import tests.providers.adapters.simple_adapter  # noqa: E402, F401 - registers `simple`
from jobs.generation import allocation, files, result_handling  # noqa: E402
from jobs.queue.worker import notify  # noqa: E402
from jobs.queue.worker.fallback import FallbackWorkers  # noqa: E402
from jobs.queue.worker.loop import run_worker_loop  # noqa: E402
from jobs.queue.worker.sweeper import Sweeper  # noqa: E402


def die(*_args: Any, **_options: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(step: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> None:
        step(*args, **options)
        die()

    return run


STEPS: dict[str, tuple[object, str, bool]] = {
    # What is replaced, and whether it is done first.
    "before intent": (allocation, "_insert_submissions", False),
    "after intent": (allocation, "request_for", False),
    "after send": (result_handling, "handle_sent", False),
    "after accept": (result_handling, "handle_sent", True),
    "during polling": (result_handling, "handle_checked", False),
    "after success before the asset": (result_handling, "complete_jobs", False),
    "after the asset before commit": (files, "record", True),
}


def main(step: str | None) -> None:
    if step is not None:
        place, name, is_done_first = STEPS[step]
        setattr(place, name, then_die(getattr(place, name)) if is_done_first else die)
    notify.notify = lambda: None
    sweeper = Sweeper(FallbackWorkers(size=1))
    while True:
        sweeper.sweep()
        run_worker_loop(task_id=f"worker-{os.getpid()}", slice_seconds=0.2)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
