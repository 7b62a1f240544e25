"""`manage.py db` as a process of its own, on the scratch database: something that can be killed."""

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

from tests.scratch import ALIAS

MANAGE = Path(__file__).parents[2] / "manage.py"
Start = Callable[..., "subprocess.Popen[str]"]


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


def scratch_url() -> str:
    """The scratch database as DATABASE_URL names it, whether on a port or on a socket."""
    where = connections[ALIAS].settings_dict
    user = quote(where["USER"]) + (f":{quote(where['PASSWORD'])}" if where["PASSWORD"] else "")
    if where["HOST"].startswith("/"):
        return f"postgres://{user}@/{where['NAME']}?{urlencode({'host': where['HOST']})}"
    return f"postgres://{user}@{where['HOST']}:{where['PORT'] or 5432}/{where['NAME']}"


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)
