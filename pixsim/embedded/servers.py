"""The base of the two servers: a child process of the supervisor with a log."""

import os
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any

from pixsim.core import private
from pixsim.embedded.paths import ServicePaths, ids_of, reachable
from pixsim.processes import end_with_parent

LOG_TAIL_LINES = 12


class ServerError(Exception):
    """A server cannot be found or started; the message holds the end of its log."""


class Server(ABC):
    """One server process. Subclasses define how it is started and when it is ready."""

    name: str
    start_seconds = 120
    """A database that crashed under load replays its log first."""
    stop_signals: tuple[str, ...] = ("SIGTERM", "SIGKILL")
    """Tried in this order, ten seconds each. Names, since Windows must be able to import this."""

    def __init__(self, paths: ServicePaths) -> None:
        self.paths = paths
        self.log = paths.log(self.name)
        self.version = ""
        """Of the binary, known once it has been started."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers. Do nothing if it runs."""
        if self.alive:
            return
        with open(self.log, "wb", opener=private.opener) as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=partial(end_with_parent, signal.SIGINT),
                start_new_session=True,
                **_as_service_user(self.paths),
            )
        deadline = time.monotonic() + self.start_seconds
        while not self.ready():
            if not self.alive:
                raise ServerError(self._explain("ended while starting"))
            if time.monotonic() > deadline:
                self.stop()
                raise ServerError(self._explain(f"did not answer in {self.start_seconds} s"))
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server, gently first."""
        for name in self.stop_signals:
            if self._process is None or self._process.poll() is not None:
                break
            self._process.send_signal(signal.Signals[name])
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        self._process = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line; prepare what the server needs."""

    @abstractmethod
    def ready(self) -> bool:
        """Return whether the server answers."""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.alive else None

    def _explain(self, what: str) -> str:
        return f"The embedded {self.name} {what}. The end of {self.log}:\n{tail(self.log)}"


def run_as_service_user(paths: ServicePaths, command: list[str], *, text: str = "") -> None:
    """Run a short command as the services' user. Raise ServerError with its output if it fails."""
    options = {"text": True, "check": False, **_as_service_user(paths)}
    done = subprocess.run(command, input=text, capture_output=True, **options)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise ServerError(f"{Path(command[0]).name} failed:\n{output}")


def reachable_copy(paths: ServicePaths, tree: Path, *, name: str) -> Path:
    """Return `tree`, or a copy of it if the services' user cannot reach it."""
    if paths.user is None or reachable(tree, paths.user):
        return tree
    copy = paths.folder / name
    if not copy.exists():
        new = [folder for folder in copy.parents if not folder.exists()]
        copy.parent.mkdir(parents=True, exist_ok=True)
        for folder in new:
            folder.chmod(0o711)  # whatever our umask
        draft = copy.with_name(f"{copy.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(tree, draft, symlinks=True)
        draft.rename(copy)
    return copy


def tail(path: Path) -> str:
    """Return the last lines of a log, indented."""
    try:
        lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines or ["(empty)"])


def _as_service_user(paths: ServicePaths) -> dict[str, Any]:
    options: dict[str, Any] = {
        "cwd": paths.data,
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        "umask": 0o077,
    }
    if paths.user:
        user, group = ids_of(paths.user)
        options |= {"user": user, "group": group, "extra_groups": []}
    return options
