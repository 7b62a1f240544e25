"""A PgBouncer in transaction mode before the server of the tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest

from tests.pixsim.support import free_port
from tests.world import World

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine")


class Pooler:
    """Give every client of `host` and `user` one of `size` sessions for each of its transactions.

    Use as a context manager. It refuses what a connection may not ask of a pooler as it begins.
    """

    def __init__(
        self, *, host: str, user: str, port: str = "5432", password: str = "", size: int = 4
    ) -> None:
        self.port = free_port()
        self.user = user
        self.size = size
        self._folder = Path(tempfile.mkdtemp(prefix="pooler-", dir="/tmp"))
        server = f"host={host} port={port or 5432} user={user}"
        server += f" password={password}" if password else ""
        (self._folder / "pgbouncer.ini").write_text(f"""
            [databases]
            * = {server} pool_size={size}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = any
            admin_users = {user}
            pool_mode = transaction
            max_client_conn = 500
            server_login_retry = 1
            logfile = {self._folder / "log"}
        """)

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        who: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self._process = subprocess.Popen(
            [PROGRAM, "--quiet", self._folder / "pgbouncer.ini"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **who,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.console("SHOW VERSION")
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.log()
                assert self._process.poll() is None, self.log()
                time.sleep(0.05)
            else:
                return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        shutil.rmtree(self._folder)

    def url(self, database: str) -> str:
        return f"postgres://{self.user}@127.0.0.1:{self.port}/{database}"

    def console(self, command: str) -> list[tuple[Any, ...]]:
        """Run a command of the pooler's own console."""
        cursor_factory = psycopg.ClientCursor  # the console speaks the simple protocol alone
        with psycopg.connect(
            self.url("pgbouncer"), autocommit=True, cursor_factory=cursor_factory
        ) as console:
            cursor = console.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""


@contextmanager
def before(world: World) -> Iterator[Pooler]:
    """Let everything in `world` reach its database through a pooler inside the block."""
    with Pooler(host=str(world.paths.sockets), user="pixsim") as pooler:
        world.environment["DATABASE_URL"] = pooler.url("pixsim")
        yield pooler
