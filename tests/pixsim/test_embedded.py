import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from pixsim.embedded import client as embedded
from pixsim.embedded.paths import PathsError, ServicePaths, paths_for
from pixsim.embedded.servers import reachable_copy
from tests.pixsim.support import (
    PROJECT,
    environment,
    manage,
    processes_of,
    run_python,
    short_home,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have a right to give up")

CONNECT = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT pg_postmaster_start_time()::text")
    print(cursor.fetchone()[0], flush=True)
"""
STAY = CONNECT + "input()\n"
PUBLISH = (
    CONNECT + "from pixsim.celery import app as celery_app; celery_app.send_task('jobs.work')\n"
)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with short_home() as folder:
        yield folder


def status(home: Path) -> dict:
    return json.loads(manage("services", "status", "--json", env=environment(home)).stdout)


def client(env: dict[str, str]) -> subprocess.Popen[str]:
    """A process that has connected and goes on until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", STAY],
        env=env,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline().startswith("2")
    return process


def test_the_first_connection_starts_database_and_broker(home: Path) -> None:
    done = run_python(PUBLISH, environment(home))

    assert done.returncode == 0, done.stderr
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in server_pids(home)}
    assert len(server_pids(home)) >= 2
    assert 0 not in owners


def server_pids(home: Path) -> list[int]:
    return [service["pid"] for service in status(home)["services"].values()]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_servers_end_by_themselves_after_their_last_client(
    home: Path, ending: signal.Signals
) -> None:
    manage("services", "stop", "--force", env=environment(home))
    process = client(environment(home, EMBEDDED_IDLE_SECONDS="0.3"))
    assert processes_of(home)

    process.send_signal(ending)
    process.wait()

    wait_until(lambda: not processes_of(home))


def test_processes_that_connect_at_once_to_a_new_home_share_one_server() -> None:
    with short_home() as home:
        env = environment(home)
        together = [
            subprocess.Popen(
                [sys.executable, "manage.py", "shell", "--no-imports", "-c", CONNECT],
                env=env,
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        answers = {process.communicate(timeout=120)[0] for process in together}

        assert [process.returncode for process in together] == [0, 0, 0]
        assert len(answers) == 1


@pytest.mark.long
def test_a_client_that_dies_in_the_first_start_leaves_no_half_made_database() -> None:
    with short_home() as home:
        env = environment(home, EMBEDDED_IDLE_SECONDS="0.3")
        words = [sys.executable, "manage.py", "shell", "--no-imports", "-c", CONNECT]
        process = subprocess.Popen(words, env=env, cwd=PROJECT)
        wait_until(lambda: any((home / "embedded").glob("services/postgres-*")))
        for pid in [process.pid, *processes_of(home)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

        assert run_python(CONNECT, env).returncode == 0


def test_a_killed_supervisor_takes_its_servers_along_and_the_next_connection_starts_anew(
    home: Path,
) -> None:
    process = client(environment(home))
    before = server_pids(home)

    os.kill(status(home)["supervisor"], signal.SIGKILL)

    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    assert run_python(PUBLISH, environment(home)).returncode == 0
    process.communicate("\n")


@pytest.mark.long
@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_a_server_that_dies_is_started_again_while_somebody_uses_it(
    home: Path, server: str
) -> None:
    process = client(environment(home))
    pid = status(home)["services"][server]["pid"]

    os.kill(pid, signal.SIGKILL)

    wait_until(lambda: status(home)["services"].get(server, {"pid": pid})["pid"] != pid)
    assert run_python(PUBLISH, environment(home)).returncode == 0
    process.communicate("\n")


@pytest.mark.long
def test_data_survives_a_stop() -> None:
    with short_home() as home:
        env = environment(home)
        make = "\nfrom django.db import connection as c; c.cursor().execute('CREATE TABLE t ()')"
        read = "\nfrom django.db import connection as c; c.cursor().execute('SELECT * FROM t')"
        assert run_python(make, env).returncode == 0

        assert manage("services", "stop", env=env).returncode == 0

        assert processes_of(home) == []
        assert run_python(read, env).returncode == 0


def test_services_says_what_runs_keeps_it_and_stops_it(home: Path) -> None:
    env = environment(home, EMBEDDED_IDLE_SECONDS="0.1")
    manage("services", "stop", "--force", env=env)
    assert manage("services", "status", env=env).returncode == 3

    started = manage("services", "start", env=env)

    assert started.returncode == 0, started.stderr
    assert "postgres  running, version 1" in started.stdout
    run_python(CONNECT, env)
    assert manage("services", "status", env=env).returncode == 0
    process = client(env)
    refused = manage("services", "stop", env=env)
    assert refused.returncode == 1
    assert f"In use by process {process.pid}" in refused.stderr
    process.communicate("\n")
    assert manage("services", "stop", env=env).returncode == 0
    assert processes_of(home) == []


def test_a_supervisor_that_ends_before_it_answers_is_no_error_the_next_one_is_asked(
    settings: Any,
) -> None:
    def end_twice_then_answer() -> None:
        for line in (b"", b"", b'{"services": {}}\n'):
            link, _ = listener.accept()
            with link:
                link.recv(4096)
                link.sendall(line)

    with short_home() as home, socket.socket(socket.AF_UNIX) as listener:
        settings.PIXSIM_HOME = home
        paths_for(home).prepare()
        listener.bind(str(paths_for(home).supervisor_socket))
        listener.listen()
        supervisor = threading.Thread(target=end_twice_then_answer)
        supervisor.start()

        assert embedded.status() is None
        assert embedded.keep("redis") == {"services": {}}
        supervisor.join()


def test_services_has_nothing_to_do_where_the_settings_name_both(home: Path) -> None:
    env = environment(
        home, DATABASE_URL="postgres://u@h/d", CELERY_BROKER_URL="redis://127.0.0.1:1/0"
    )

    assert manage("services", "status", env=env).returncode == 0
    assert "Nothing is embedded here" in manage("services", "start", env=env).stderr


@pytest.mark.long
def test_a_server_that_cannot_start_is_explained_by_the_end_of_its_log() -> None:
    with short_home() as home:
        run_python(CONNECT, environment(home))
        manage("services", "stop", "--force", env=environment(home))
        (version,) = (home / "embedded").glob("services/postgres-*/PG_VERSION")
        version.write_text("7.3\n")

        done = manage("migrate", env=environment(home))

    assert done.returncode == 1
    assert "The embedded postgres ended while starting. The end of" in done.stderr
    assert "version 7.3" in done.stderr
    assert "set DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_home_with_a_long_path_has_its_sockets_elsewhere() -> None:
    with short_home() as short:
        home = short / ("long-" * 20)
        done = run_python(PUBLISH, environment(home))
        paths = paths_for(home)
        manage("services", "stop", "--force", env=environment(home))
        shutil.rmtree(paths.run)

    assert done.returncode == 0, done.stderr
    assert paths.run.parent == Path("/tmp")
    assert paths.folder == home / "embedded"


def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "embedded"
    folder.mkdir(mode=0o750)
    (folder / "services").symlink_to("/etc")

    with pytest.raises(PathsError, match="belongs to another user"):
        ServicePaths(folder=folder, run=folder, user=None).prepare()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


@as_root
def test_started_by_root_the_data_goes_where_the_unprivileged_user_can_reach_it() -> None:
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        paths = paths_for(home)
        done = run_python(PUBLISH, environment(home))
        pids = server_pids(home)
        assert done.returncode == 0, done.stderr
        assert paths.folder.parent == Path("/var/lib/pixsim")
        assert all(Path(f"/proc/{pid}").stat().st_uid for pid in pids)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    finally:
        manage("services", "stop", "--force", env=environment(home))
        shutil.rmtree(paths.folder)
        shutil.rmtree(home)


@pytest.mark.long
@as_root
def test_binaries_that_the_unprivileged_user_cannot_reach_are_copied() -> None:
    with short_home() as home, tempfile.TemporaryDirectory(dir="/tmp") as closed:
        binary = Path(closed) / "bin" / "postgres"
        binary.parent.mkdir()
        binary.write_text("#!/bin/sh\n")
        binary.chmod(0o755)
        paths = ServicePaths(folder=home, run=home, user="nobody")

        copy = reachable_copy(paths, binary.parent, name="copy")

        assert (copy, (copy / "postgres").stat().st_mode & 0o777) == (home / "copy", 0o755)
        assert stat.S_IMODE(Path(closed).stat().st_mode) == 0o700


@as_root
def test_an_ordinary_user_runs_the_services_as_itself() -> None:
    python = next(filter(can_run_as_nobody, (sys.executable, "/usr/bin/python3.11")), None)
    if python is None:
        pytest.skip("the user nobody can run no Python 3.11 here")
    with short_home() as outer:
        home = outer / "own"
        home.mkdir()
        shutil.chown(home, "nobody")
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        env = environment(home, PYTHONPATH=packages, EMBEDDED_IDLE_SECONDS="0.3")

        done = run_python(CONNECT, env, python=python, user="nobody")

        wait_until(lambda: not processes_of(home))
        assert done.returncode == 0, done.stderr
        assert {path.owner() for path in home.rglob("*")} == {"nobody"}
        assert stat.S_IMODE((home / "embedded").stat().st_mode) == 0o700


def can_run_as_nobody(python: str) -> bool:
    try:
        version = subprocess.run(
            [python, "-c", "import sys; print(sys.version_info[:2])"],
            user="nobody",
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return version.stdout.strip() == str(sys.version_info[:2])


@pytest.mark.long
def test_the_embedded_redis_asks_for_its_password_also_if_it_had_none(home: Path) -> None:
    process = client(environment(home))
    socket = str(paths_for(home).sockets / "redis.sock")
    kept = home / "redis_password"
    assert kept.stat().st_mode & 0o777 == 0o600
    command = Path(f"/proc/{status(home)['services']['redis']['pid']}/cmdline").read_text()
    assert kept.read_text() not in command
    unnamed = redis.Redis(unix_socket_path=socket)
    with pytest.raises(redis.AuthenticationError):
        unnamed.ping()

    # As one that an older supervisor has started.
    redis.Redis(unix_socket_path=socket, password=kept.read_text()).config_set("requirepass", "")
    assert unnamed.ping()
    assert run_python(PUBLISH, environment(home)).returncode == 0
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(unix_socket_path=socket).ping()
    process.communicate("\n")
