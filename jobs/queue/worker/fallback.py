"""Fallback workers: processes beside a worker's pool that work without a broker."""

import os
import subprocess
import sys

from jobs.queue.worker import identity

STOP_SECONDS = 10


class FallbackWorkers:
    """Up to `size` processes `manage.py queue work`.

    Each ends by itself when it has found nothing to do, or when its standard input closes: so
    none outlives the worker that started it, however that ends.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Bring the number of running processes up to the size."""
        self.forget_ended()
        while len(self._processes) < self._size:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "django", "queue", "work", "--while-stdin-open"],
                    stdin=subprocess.PIPE,
                    env={
                        **os.environ,
                        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                        identity.NODE_VARIABLE: identity.node(),
                    },
                )
            )

    def forget_ended(self) -> None:
        """Collect the exit codes of those that have ended, so that the system can forget them."""
        self._processes = [process for process in self._processes if process.poll() is None]

    def stop(self) -> None:
        for process in self._processes:
            if process.stdin:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = []
