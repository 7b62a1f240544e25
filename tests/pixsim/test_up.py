import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixsim.core.cli.pipes import CLOSED_PIPE
from pixsim.embedded.paths import paths_for
from tests.pixsim.support import (
    PRODUCTION,
    PROJECT,
    environment,
    free_port,
    manage,
    processes_of,
    short_home,
    wait_until,
)

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc"),
]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with short_home() as folder:
        yield folder


@pytest.fixture
def port() -> int:
    return free_port()


def start_up(home: Path, port: int, *words: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "up", "--port", str(port), "--concurrency", "1"]
    return subprocess.Popen(
        [*command, *words],
        env=environment(home, EMBEDDED_IDLE_SECONDS="1", **variables),
        cwd=PROJECT,
        stdout=(home / "up.log").open("w"),
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(home: Path, *words: str) -> bool:
    """Whether one line of the output has all the words."""
    lines = (home / "up.log").read_text().splitlines()
    return any(all(word in line for word in words) for line in lines)


def children(process: subprocess.Popen[str]) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    "ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_up_serves_the_site_and_runs_a_worker_until_it_is_told_to_stop(
    home: Path, port: int, ending: signal.Signals
) -> None:
    process = start_up(home, port, "--migrate")
    wait_until(lambda: said(home, "worker |", "ready"), seconds=60)
    wait_until(lambda: said(home, "web    |", "Started worker"))
    assert fetch(port, "/admin/login/", {"Host": "localhost"}).status == 200
    started = children(process)

    process.send_signal(ending)

    assert process.wait(timeout=30) == 0
    assert gone(started)
    assert not said(home, "Traceback")
    wait_until(lambda: not processes_of(home))


def test_up_stops_both_without_a_word_when_its_output_is_read_no_more(
    home: Path, port: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--port", str(port), "--concurrency", "1"],
        env=environment(home, EMBEDDED_IDLE_SECONDS="1"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    assert " | " in process.stdout.readline()
    started = children(process)

    process.stdout.close()

    assert process.wait(timeout=30) == CLOSED_PIPE
    assert process.stderr.read() == ""
    assert gone(started)


def test_up_ends_with_an_error_when_one_of_the_two_ends(home: Path, port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()

        process = start_up(home, port)

        assert process.wait(timeout=60) == 1
    assert said(home, "web    |", "already in use")
    assert said(home, "Ended by itself: web (exit code 1)")
    wait_until(lambda: not processes_of(home))


@pytest.mark.long
def test_up_starts_again_what_ends_by_itself(home: Path, port: int) -> None:
    process = start_up(home, port, "--migrate")
    wait_until(lambda: said(home, "worker |", "ready"), seconds=60)
    wait_until(lambda: said(home, "web    |", "Started worker"))
    before = children(process)

    for pid in before:
        os.kill(pid, signal.SIGKILL)

    wait_until(lambda: said(home, "worker |", "killed by SIGKILL", "again in 1 s"))
    wait_until(lambda: said(home, "web    |", "killed by SIGKILL", "again in 1 s"))
    ready = "celery.apps.worker"
    wait_until(lambda: (home / "up.log").read_text().count(ready) == 2, seconds=60)
    wait_until(lambda: answers(port), seconds=30)
    assert not set(children(process)) & set(before)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    wait_until(lambda: not processes_of(home))


def answers(port: int) -> bool:
    try:
        return fetch(port, "/admin/login/", {"Host": "localhost"}).status == 200
    except OSError:
        return False


def test_a_killed_up_takes_its_processes_along(home: Path, port: int) -> None:
    process = start_up(home, port)
    wait_until(lambda: said(home, "worker |", "ready"), seconds=60)
    started = children(process)

    process.kill()
    process.wait()

    wait_until(lambda: gone(started))
    wait_until(lambda: not processes_of(home))


def test_up_in_production_serves_the_site_and_its_static_files(home: Path, port: int) -> None:
    services = manage("services", "start", env=environment(home))
    assert services.returncode == 0, services.stderr
    sockets = paths_for(home).sockets
    password = (home / "redis_password").read_text()
    production = {
        **PRODUCTION,
        "DATABASE_URL": f"postgres://pixsim@/pixsim?host={sockets}",
        "CELERY_BROKER_URL": f"redis+socket://:{password}@{sockets}/redis.sock",
        "BEHIND_TLS_PROXY": "true",
        "STATIC_ROOT": str(home / "static"),
    }
    assert manage("collectstatic", env=environment(home, **production)).returncode == 0
    process = start_up(home, port, "--migrate", **production)
    wait_until(lambda: said(home, "web    |", "Started worker"), seconds=60)

    page = fetch(port, "/admin/login/", {"X-Forwarded-Proto": "https"})
    (style,) = re.findall(r'href="(/static/admin/css/base\.\w+\.css)"', page.read().decode())
    sheet = fetch(port, style, {"X-Forwarded-Proto": "https"})
    plain = fetch(port, "/admin/login/", {})

    process.terminate()
    assert process.wait(timeout=30) == 0
    manage("services", "stop", "--force", env=environment(home))
    assert (page.status, sheet.status) == (200, 200)
    assert page.headers["Strict-Transport-Security"].startswith("max-age=3600")
    assert (plain.status, plain.headers["Location"]) == (301, "https://pixsim.example/admin/login/")


def fetch(port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """One answer, redirects not followed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": "pixsim.example", **headers})
    return connection.getresponse()
