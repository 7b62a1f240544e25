"""A command whose reader leaves ends quietly, as `manage.py db history | head` should."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.db import connection

from pixsim.core.cli import ExitCode
from pixsim.core.cli.pipes import CLOSED_PIPE, QuietOnClosedPipe, quiet_on_closed_pipe
from tests.pixsim.support import PROJECT, environment
from tests.schema.commands import url_of

NOWHERE = "postgres://pixsim:secret@127.0.0.1:1/pixsim"
NO_BROKER = "redis://127.0.0.1:1/0"
DEMO = [sys.executable, "-m", "demo.site"]


def without_a_reader(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` with a standard output that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=PROJECT,
            env=env,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "line",
    [
        "crawl --help",
        "db sql head",
        "help",
        "diffsettings",
        *(
            pytest.param(line, marks=pytest.mark.long)
            for line in ("db --help", "db heads --json", "db status", "version", "check")
        ),
    ],
)
def test_it_ends_without_a_word_also_where_no_database_is(tmp_path: Path, line: str) -> None:
    done = without_a_reader(*line.split(), env=environment(tmp_path, DATABASE_URL=NOWHERE))

    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


@pytest.mark.django_db
@pytest.mark.parametrize("line", ["db history", "db status", "migrate --plan", "queue status"])
def test_it_ends_without_a_word_when_it_asks_the_database(tmp_path: Path, line: str) -> None:
    env = environment(tmp_path, DATABASE_URL=url_of(connection), CELERY_BROKER_URL=NO_BROKER)

    done = without_a_reader(*line.split(), env=env)

    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_what_was_read_before_is_complete(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", 'python manage.py db sql head | head -1; exit "${PIPESTATUS[0]}"'],
        cwd=PROJECT,
        env={
            **environment(tmp_path, DATABASE_URL=NOWHERE),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")
    assert done.stdout.startswith("-- head: migrations to be applied: ")
    assert done.stdout.count("\n") == 1


def test_every_command_of_ours_does_so() -> None:
    get_commands.cache_clear()  # tests with other apps may have filled it
    ours = {app.name for app in apps.get_app_configs() if not app.name.startswith("django.")}
    commands = {name: app for name, app in get_commands().items() if app in ours}

    assert {"db", "migrate", "queue", "crawl", "up"} <= commands.keys()
    for name, app in commands.items():
        assert isinstance(load_command_class(app, name), QuietOnClosedPipe), name


def test_ctrl_c_ends_any_command_with_a_sentence_and_130(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "shell",
            "-c",
            "import time; print(1, flush=True); time.sleep(60)",
        ],
        cwd=PROJECT,
        env=environment(tmp_path, DATABASE_URL=NOWHERE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout is not None
    while running.stdout.readline().strip() != "1":
        assert running.poll() is None
    running.send_signal(signal.SIGINT)

    assert running.communicate(timeout=60)[1] == "Interrupted. What was done before stays.\n"
    assert running.returncode == ExitCode.INTERRUPTED


def test_another_pipe_that_breaks_is_an_error_as_ever() -> None:
    with pytest.raises(BrokenPipeError, match="of a server"), quiet_on_closed_pipe():
        raise BrokenPipeError("of a server")


def test_the_sample_pictures_are_drawn_without_a_reader_too(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "from demo import pictures; pictures.STYLES.clear(); import runpy; "
    code += "runpy.run_module('demo.samples', run_name='__main__')"
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        words,
        cwd=PROJECT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")
    assert (tmp_path / "list.csv").is_file()


@pytest.mark.parametrize("words", [["--help"], ["/tmp/site", "--help"], []])
def test_the_demos_site_explains_itself_and_starts_nothing(words: list[str]) -> None:
    done = subprocess.run(
        [*DEMO, *words], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )

    assert "usage: python -m demo.site [-h] [--port PORT] CACHE_FOLDER" in done.stdout + done.stderr
    assert done.returncode == (0 if words else 2)
