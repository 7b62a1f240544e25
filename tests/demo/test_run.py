"""`make demo` as somebody runs it, with a configuration of their own around it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.world import PROJECT

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(os.name == "nt", reason="the embedded services need POSIX"),
]

# An installation that the demo must leave alone, and could not even reach.
SOMEBODYS = {
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/precious",
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    "PIXSIM_STORAGE_URL": "s3://precious/",
    "DEBUG": "false",
}

GENERATED = {
    "picture.png": r"\(image/png, 768x768, \d\.\d MB\)",
    "animation.gif": r"\(image/gif, 320x320, \d\.\d MB, \d\.\d s\)",
    "song.wav": r"\(audio/wav, \d\.\d MB, \d+\.\d s\)",
}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pixsim-demo-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    subprocess.run([sys.executable, "-m", "demo.run", "--remove", folder], cwd=PROJECT, check=True)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left_behind(folder)


def start(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo.run", home, home / "output"],
        cwd=PROJECT,
        env={**os.environ, **SOMEBODYS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(home: Path) -> list[str]:
    """The processes that name `home` in their command line or their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(home) in word for word in words):
                found.append(f"{process.pid} {process.cmdline()}")
    return found


def test_the_demo_brings_what_its_site_has_and_leaves_nothing_running(home: Path) -> None:
    process = start(home)
    said, _nothing = process.communicate(timeout=170)
    assert process.returncode == 0, said
    assert "Every address ended as it must" in said
    assert "make demo-admin" in said

    sheet = Image.open(home / "output" / "contact-sheet.png")
    assert sheet.width > 500
    (archive,) = (home / "output").glob("demo-*.zip")
    with zipfile.ZipFile(archive) as dataset:
        lines = dataset.read("metadata.jsonl").splitlines()
        assert len(lines) == 285
        names = {json.loads(line)["file_name"] for line in lines}
        assert names <= set(dataset.namelist())
    for file, line in GENERATED.items():
        assert (home / "output" / file).stat().st_size > 10_000
        assert re.search(f"{file} {line}", said), said
    assert not left_behind(home)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_the_demo_can_be_ended_at_any_time_and_leaves_nothing_running(
    home: Path, number: signal.Signals
) -> None:
    process = start(home)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Crawling"):
            break
    process.send_signal(number)
    said, _nothing = process.communicate(timeout=40)
    assert process.returncode == 128 + number, said
    assert not left_behind(home)


LOST = """
import signal
from demo.processes import check_not_ended, orderly_end

with orderly_end():
    try:
        signal.raise_signal(signal.SIGTERM)
    except BaseException:  # as some libraries do
        pass
    check_not_ended()
    print("went on")
"""


def test_an_end_that_a_library_swallows_comes_with_the_next_wait() -> None:
    run = subprocess.run(
        [sys.executable, "-c", LOST], cwd=PROJECT, check=False, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (128 + signal.SIGTERM, ""), run.stderr


@pytest.mark.long
def test_a_demo_that_is_killed_leaves_nothing_running_for_long(home: Path) -> None:
    process = start(home)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Crawling"):
            break
    process.kill()
    process.wait()
    deadline = time.monotonic() + 40
    while left_behind(home):
        assert time.monotonic() < deadline, left_behind(home)
        time.sleep(0.2)
