"""`manage.py db` as a process of its own, on the scratch database: something that can be killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.scratch import ALIAS

MANAGE = Path(__file__).parents[2] / "manage.py"
Start = Callable[..., "subprocess.Popen[str]"]
Manage = Callable[..., str]
EACH = """
import json, os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
from django.core.management import execute_from_command_line
for words in json.loads(sys.argv[1]):
    execute_from_command_line(["manage.py", *words])
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `manage.py db <words>`; with `env` on top of the environment."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, str(MANAGE), "db", *words],
            env={**os.environ, "DATABASE_URL": scratch_url(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


@pytest.fixture
def manage(database: str, tmp_path: Path) -> Manage:
    """Runs `manage.py <line>` for each line on the scratch database, in a process of their own."""

    def run(*lines: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", EACH, json.dumps([line.split() for line in lines])],
            cwd=MANAGE.parent,
            env={
                **os.environ,
                "DATABASE_URL": scratch_url(),
                "PIXSIM_HOME": str(tmp_path / "home"),
                "CRAWL_FOLDER_ROOTS": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def scratch_url() -> str:
    """The scratch database as DATABASE_URL names it."""
    return url_of(connections[ALIAS])


def url_of(connection: BaseDatabaseWrapper) -> str:
    """The database of a connection as DATABASE_URL names it, whether on a port or on a socket."""
    where = connection.settings_dict
    user = quote(where["USER"]) + (f":{quote(where['PASSWORD'])}" if where["PASSWORD"] else "")
    if where["HOST"].startswith("/"):
        return f"postgres://{user}@/{where['NAME']}?{urlencode({'host': where['HOST']})}"
    return f"postgres://{user}@{where['HOST']}:{where['PORT'] or 5432}/{where['NAME']}"


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
