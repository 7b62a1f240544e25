"""A server of an installed PostgreSQL, with a superuser of its own: it has contrib and ICU."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections

from tests.scratch import ALIAS

FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
OPTIONS = "-c listen_addresses='' -c fsync=off -c wal_level=logical"


class InstalledServer:
    """The superuser is `dba`; `app` owns its databases and is none, `reader` may not log in."""

    def __init__(self, folder: Path, *, options: str = "") -> None:
        if not FOLDERS:
            pytest.skip("no PostgreSQL server is installed in /usr/lib/postgresql")
        self.folder = folder
        self._binaries = FOLDERS[-1]
        self._options = options

    def start(self) -> None:
        data = self.folder / "data"
        self._run(
            "initdb", "-D", data, "-U", "dba", "-E", "UTF8", "--no-locale", "-A", "trust", "-N"
        )
        options = f"{OPTIONS} {self._options} -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "start", "-w", "-D", data, "-l", self.folder / "log", "-o", options)
        with self.connect() as dba:
            dba.execute("CREATE ROLE app LOGIN CREATEDB")
            dba.execute("CREATE ROLE reader")

    def stop(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self.folder / "data")

    def connect(self, database: str = "postgres", user: str = "dba") -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self.folder), dbname=database, user=user, autocommit=True)

    def _run(self, program: str, *words: str | Path) -> None:
        who: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        # The server inherits what it writes to: with pipes one would wait for its end.
        with (self.folder / "said").open("w+") as said:
            done = subprocess.run(
                [self._binaries / program, *words],
                env={**os.environ, "LOCPATH": str(self.folder)},  # for locales that a test makes
                stdout=said,
                stderr=said,
                cwd=self.folder,
                check=False,
                **who,
            )
            said.seek(0)
            assert done.returncode == 0, said.read()


@pytest.fixture(scope="session")
def installed_server(django_db_blocker: Any) -> Iterator[InstalledServer]:
    """A server with contrib; the test is skipped where none is installed."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = InstalledServer(folder)
    try:
        server.start()
        with server.connect() as dba:
            found = dba.execute(
                "SELECT count(*) FROM pg_available_extensions "
                "WHERE name IN ('pg_stat_statements', 'pg_trgm', 'hstore')"
            ).fetchone()
        if found != (3,):
            pytest.skip("the installed PostgreSQL has no contrib")
        with django_db_blocker.unblock():
            yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def alias_on(server: InstalledServer, database: str, *, user: str = "app") -> Iterator[None]:
    """Let the alias of the scratch database be one of this server, as one of its roles."""
    connections.databases[ALIAS] = deepcopy(connections["default"].settings_dict) | {
        "NAME": database,
        "HOST": str(server.folder),
        "PORT": "",
        "USER": user,
        "PASSWORD": "",
    }
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]
