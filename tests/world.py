"""A whole installation for tests about failures: its own PostgreSQL, Redis and workers.

Everything in it may be killed. The servers are the embedded ones, driven directly. Its migrated
data folder is a copy of one that is made once.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg

from pixsim.embedded.paths import paths_for
from pixsim.embedded.postgres import Postgres
from pixsim.embedded.redis import SOCKET_NAME, Redis, find_redis
from tests import queue_guard
from tests.databases import PROJECT, make_unsafe_and_fast, schema_digest

PREPARED = PROJECT / ".pixsim" / "test" / "worlds"


class World:
    """Use as a context manager; on leaving, everything it started is gone."""

    def __init__(self, *, broker: str = "redis", **environment: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pixsim-", dir="/tmp"))
        self.home.chmod(0o711)
        self.paths = paths_for(self.home)
        self.paths.prepare()
        self.postgres = Postgres(self.paths)
        self.redis = Redis(self.paths)
        self.broker = broker
        self.environment = environment
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "World":
        _copy(_prepared(), self.paths.folder)
        self.postgres.start()
        if self.broker == "redis":
            self.redis.start()
        return self

    def prepare(self, target: Path) -> None:
        """Make the servers' files and the migrated database, and copy them to `target`."""
        try:
            self.postgres.start()
            with psycopg.connect(self.database_url, autocommit=True) as server:
                make_unsafe_and_fast(server)
            self.manage("migrate", "--verbosity=0")
            with psycopg.connect(self.database_url, autocommit=True) as server:
                server.execute(queue_guard.INSTALL)
            self.postgres.stop()
            draft = target.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _copy(self.paths.folder, draft)
            draft.rename(target)
        finally:
            self.__exit__()

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes:
            self.kill(process)
        self.redis.stop()
        self.postgres.stop()
        for folder in {self.home, self.paths.folder, self.paths.run}:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def database_url(self) -> str:
        return f"postgresql://pixsim@/pixsim?host={self.paths.sockets}"

    @property
    def broker_url(self) -> str:
        if self.broker == "redis":
            return f"redis+socket://{self.paths.sockets / SOCKET_NAME}"
        if self.broker == "filesystem":
            return f"filesystem://{self.home / 'broker'}"
        return self.broker

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PIXSIM_HOME": str(self.home),
            "PIXSIM_ENV_FILE": str(self.home / "no.env"),
            "DATABASE_URL": self.database_url,
            "CELERY_BROKER_URL": self.broker_url,
            "CRAWL_ALLOWED_PRIVATE": "127.0.0.0/8",
            "QUEUE_LEASE_SECONDS": "3",
            "QUEUE_BACKOFF_SECONDS": "0.3",
            **self.environment,
        }

    def manage(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def python(self, code: str) -> subprocess.Popen[str]:
        """Start `code` in a process that has Django set up, as a web process would; read its stdout."""
        setup = "import django; django.setup(); import pixsim.celery\n"
        return subprocess.Popen(
            [sys.executable, "-c", setup + code],
            cwd=PROJECT,
            env={"DJANGO_SETTINGS_MODULE": "pixsim.settings", **self.env},
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def start_worker(self, *words: str, concurrency: int = 2) -> subprocess.Popen[bytes]:
        """A real Celery worker, started as the README says, with these further words."""
        log = (self.home / "worker.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "pixsim", "worker", f"-c{concurrency}", *words],
            cwd=PROJECT,
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def log(self) -> str:
        return (self.home / "worker.log").read_text(errors="replace")

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run a statement as a person would by hand, who may change work rows; return its rows."""
        by_hand = f"-c {queue_guard.BY_HAND}=on"
        with psycopg.connect(self.database_url, autocommit=True, options=by_hand) as connection:
            cursor = connection.execute(query, params)
            return cursor.fetchall() if cursor.description else []

    def wait_until(
        self, condition: Callable[[], Any], *, seconds: float, what: str, poll_seconds: float = 0.1
    ) -> None:
        """Return when `condition` holds. A database that is away meanwhile is no failure."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                if condition():
                    return
            assert time.monotonic() < deadline, (
                f"{what}: not within {seconds} s\n{self.log()[-6000:]}"
            )
            time.sleep(poll_seconds)

    def crawl(self, *words: str) -> int:
        """Create a crawl job on the command line; its id."""
        done = self.manage("crawl", "--json", *words, check=False)
        assert done.returncode in (0, 3), done.stdout + done.stderr
        return int(json.loads(done.stdout)["job"])

    def family(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """A worker's parent and all its descendants that run; nobody when it has ended."""
        if process.poll() is not None:
            return []
        parent = psutil.Process(process.pid)
        return [one for one in (parent, *parent.children(recursive=True)) if _command(one)]

    def fallback_workers(self, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The processes with which a worker works without a broker."""
        return [one for one in self.family(process) if "--while-stdin-open" in _command(one)]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL a worker and what belongs to it, all at once."""
        for member in self.family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        process.wait(timeout=10)

    def flush_redis(self) -> None:
        binary = find_redis()
        assert binary is not None
        subprocess.run(
            [binary.with_name("redis-cli"), "-s", self.paths.sockets / SOCKET_NAME, "FLUSHALL"],
            capture_output=True,
            check=False,
        )


def _prepared() -> Path:
    """Return the folder with what all worlds begin with; make it if it is missing."""
    PREPARED.mkdir(parents=True, exist_ok=True)
    target = PREPARED / schema_digest()
    with (PREPARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            for old in PREPARED.glob("*/"):
                shutil.rmtree(old)
            World().prepare(target)
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy a folder's content with its owners and modes."""
    subprocess.run(["cp", "-Rp", f"{source}/.", str(target)], check=True)


def _command(process: psutil.Process) -> list[str]:
    """The words of its command line, none if it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def has_redis() -> bool:
    return find_redis() is not None
