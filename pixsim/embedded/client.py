"""How a process of ours asks the keeper for a server, and starts the keeper if there is none."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings

from pixsim.embedded.errors import EmbeddedServiceError
from pixsim.embedded.paths import Place, PlaceError, place_for

CONNECT_SECONDS = 30
"""For a keeper that is just ending to be gone, and ours to be there."""
ANSWER_SECONDS = 180
"""The first start makes the database; one after a crash replays its log."""

_link: socket.socket | None = None
_guard = threading.Lock()


def need(*services: str) -> dict[str, Any]:
    """Have `services` ("postgres", "redis") running until this process ends.

    Cheap when they run (one exchange on a local socket). Returns the keeper's status. Raises
    EmbeddedServiceError if one cannot be started.
    """
    global _link
    with _guard:
        request = {"do": "need", "services": services}
        if _link is not None:
            with contextlib.suppress(OSError, ValueError):
                return _checked(_ask(_link, request))
        _link, answer = _connect_and_ask(_place(), request)
        return _checked(answer)


def keep(*services: str) -> dict[str, Any]:
    """Have `services` running until `stop`. Returns the keeper's status."""
    link, answer = _connect_and_ask(_place(), {"do": "keep", "services": services})
    link.close()
    return _checked(answer)


def status() -> dict[str, Any] | None:
    """The keeper's status, or None if there is no keeper. Starts nothing."""
    link = _connect(_place())
    if link is None:
        return None
    with link, contextlib.suppress(OSError, ValueError):
        return _ask(link, {"do": "status"})
    return None


def stop(*, force: bool = False) -> dict[str, Any] | None:
    """Stop the servers and their keeper, and wait for their end; None if nothing runs.

    Without `force` it leaves servers that are in use alone, and the answer has "error".
    """
    link = _connect(_place())
    if link is None:
        return None
    with link, contextlib.suppress(ConnectionError):
        answer = _ask(link, {"do": "stop", "force": force})
        if "error" not in answer:
            link.recv(1)
        return answer
    return None


def data_folder() -> Path:
    """Where the servers keep their data."""
    return _place().data


def _place() -> Place:
    if os.name == "nt":
        raise EmbeddedServiceError("The embedded services run on Linux and macOS only.")
    try:
        return place_for(settings.PIXSIM_HOME)
    except PlaceError as error:
        raise EmbeddedServiceError(str(error)) from error


def _connect_and_ask(place: Place, request: dict[str, Any]) -> tuple[socket.socket, dict[str, Any]]:
    """A link to a keeper and its answer, from the next keeper if this one ends before it answers."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        if link := _connect(place):
            try:
                return link, _ask(link, request)
            except (OSError, ValueError):
                link.close()
        else:
            _start_keeper(place)
        if time.monotonic() > deadline:
            raise EmbeddedServiceError(
                f"The keeper of the embedded services does not answer. Its log: "
                f"{place.log('keeper')}. `manage.py services status` shows what runs."
            )
        time.sleep(0.02)


def _connect(place: Place) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(ANSWER_SECONDS)
    try:
        link.connect(str(place.keeper_socket))
    except OSError:
        link.close()
        return None
    return link


def _start_keeper(place: Place) -> None:
    """Returns when a keeper listens, or when another one is about to listen or to end."""
    try:
        place.prepare()
    except PlaceError as error:
        raise EmbeddedServiceError(str(error)) from error
    words = [place.folder, place.run, place.user or "", settings.EMBEDDED_IDLE_SECONDS]
    project = str(Path(__file__).resolve().parents[2])
    paths = filter(None, [project, os.environ.get("PYTHONPATH")])
    started = subprocess.run(
        [sys.executable, "-m", "pixsim.embedded.supervisor", *map(str, words)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode:
        raise EmbeddedServiceError(
            f"The keeper of the embedded services cannot start:\n{started.stderr.strip()}"
        )


def _ask(link: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    link.sendall(json.dumps(request).encode() + b"\n")
    with link.makefile("rb") as answers:
        line = answers.readline()
    if not line:
        raise ConnectionResetError("The keeper of the embedded services has ended.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise EmbeddedServiceError(
            f"{answer['error']}\nTo use services of your own instead, set DATABASE_URL and "
            "CELERY_BROKER_URL."
        )
    return answer


def _forget_after_fork() -> None:
    """A child asks on a connection of its own; the inherited one would mix up the answers."""
    global _link, _guard
    _link, _guard = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
