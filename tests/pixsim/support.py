"""Real processes for the tests of settings, embedded services and `up`."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV")
PRODUCTION = {
    "DEBUG": "false",
    "ALLOWED_HOSTS": "pixsim.example",
    "SECRET_KEY": "k3-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
    "CREDENTIALS_KEYS": "bmV2ZXIgdXNlIHRoaXMga2V5IGFueXdoZXJlIGVsc2U=",
    "DATABASE_URL": "postgres://pixsim:secret-1@127.0.0.1:1/pixsim",
}


def environment(home: Path, **variables: str) -> dict[str, str]:
    """An environment with nothing of this test run's settings, for an installation at `home`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    nowhere = str(home / "no.env")
    return {
        **kept,
        "HOME": str(home),
        "PIXSIM_HOME": str(home),
        "PIXSIM_ENV_FILE": nowhere,
        **variables,
    }


def run_python(
    code: str, env: Mapping[str, str], *, python: str = sys.executable, user: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `code` with Django set up."""
    setup = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'pixsim.settings'\n"
    setup += "import django; django.setup()\n"
    return subprocess.run(
        [python, "-c", setup + code],
        env=dict(env),
        cwd=PROJECT,
        user=user,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def manage(*words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `manage.py`."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        env=dict(env),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def short_home() -> Iterator[Path]:
    """A folder with a short path that other users may pass through, and no services afterwards."""
    home = Path(tempfile.mkdtemp(prefix="pixsim-", dir="/tmp"))
    home.chmod(0o711)
    try:
        yield home
    finally:
        manage("services", "stop", "--force", env=environment(home))
        shutil.rmtree(home)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Return when `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def processes_of(mark: Path | str) -> list[int]:
    """The processes that have `mark` in their command line or title, this one excepted."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(mark).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]
