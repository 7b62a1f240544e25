"""What the benchmarks share: an installation as in production, with its workers and peers."""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from cryptography.fernet import Fernet

from tests import queue_guard
from tests.world import PROJECT, World

PEERS = Path(__file__).with_name("peers")
BENCH_PYTHON = PROJECT / ".venv-bench" / "bin" / "python"
PROCESSES = 2


class Bench(World):
    def __init__(self, settings: str = "pixsim.settings", **environment: str) -> None:
        super().__init__(
            DJANGO_SETTINGS_MODULE=settings,
            ALLOWED_HOSTS="localhost",
            SECRET_KEY="benchmark",
            CREDENTIALS_KEYS=Fernet.generate_key().decode(),
            QUEUE_LEASE_SECONDS="30",
            **environment,
        )

    def __enter__(self) -> "Bench":
        super().__enter__()
        self.connection = psycopg.connect(self.database_url, autocommit=True)
        # What the tests change in their databases: data that survives no crash, and a trigger.
        self.sql("ALTER SYSTEM RESET ALL")
        self.sql("SELECT pg_reload_conf()")
        for name in queue_guard.TABLES:
            self.sql(f"DROP TRIGGER only_the_queue ON {name}")
        return self

    def sql(self, query: str, *params: Any, **named: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(query, named or params or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A Celery worker of PROCESSES processes while the block runs."""
        before = self.environment
        self.environment = {**before, **environment}
        process = self.start_worker(concurrency=PROCESSES)
        try:
            yield process
        finally:
            self.environment = before
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def wait_for(self, condition: Callable[[], Any], *, poll_seconds: float = 0.02) -> None:
        self.wait_until(condition, seconds=1800, what="its end", poll_seconds=poll_seconds)


@contextmanager
def every(seconds: float, action: Callable[[], Any]) -> Iterator[None]:
    """Call `action` in a thread, with pauses of so many seconds, while the block runs."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@dataclass
class Usage:
    cpu_seconds: float = 0.0
    """Known when the measured block has ended."""
    peak_megabytes: float = 0.0
    """Of the process that had most."""


@contextmanager
def usage_of(*roots: int) -> Iterator[Usage]:
    """What these process trees use while the block runs, sampled ten times a second."""
    used, cpu = Usage(), {}

    def sample() -> float:
        for root in roots:
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(root)
                for process in [parent, *parent.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        times = process.cpu_times()
                        cpu[process.pid] = times.user + times.system
                        memory = process.memory_info().rss / 1e6
                        used.peak_megabytes = max(used.peak_megabytes, memory)
        return sum(cpu.values())

    first = sample()
    with every(0.1, sample):
        yield used
    used.cpu_seconds = sample() - first


def output_of(*command: object, cwd: Path = PROJECT, env: dict[str, str] | None = None) -> str:
    """Run a command; return what it prints."""
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
