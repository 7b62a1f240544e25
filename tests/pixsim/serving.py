"""The site as it is served in production, for tests that ask it as machines do."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.pixsim.support import PRODUCTION, free_port
from tests.world import PROJECT, World


@contextmanager
def production_server(world: World, *, workers: int) -> Iterator[int]:
    """Serve the site as in production; yield its port."""
    port = free_port()
    env = {**PRODUCTION, **world.env, "DEBUG": "false"}
    with (world.home / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(port), "--workers", str(workers)],
            cwd=PROJECT, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    """Ask by address, as machines do, without TLS."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def ask_json(port: int, path: str) -> tuple[int, Any]:
    status, body = ask(port, path)
    return status, json.loads(body)


def answers(port: int) -> bool:
    try:
        return ask(port, "/health/live")[0] == 200
    except OSError:
        return False
