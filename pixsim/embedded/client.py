"""Requests to the supervisor of the embedded services, which is started if there is none."""

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
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import CommandError
from django.db import OperationalError

from pixsim.embedded.paths import PathsError, ServicePaths, paths_for
from pixsim.embedded.redis import PASSWORD_VARIABLE, say


class EmbeddedServiceError(OperationalError, CommandError):
    """An embedded service cannot be had; the message says why and what to do next.

    To code it is a database that does not answer, to a person at `manage.py` a plain message.
    """


CONNECT_SECONDS = 30
"""Time for an ending supervisor to end and for a new one to start."""
ANSWER_SECONDS = 180
"""The first start creates the database; one after a crash replays its log."""

_link: socket.socket | None = None
_guard = threading.Lock()


def need(*services: str) -> dict[str, Any]:
    """Run `services` ("postgres", "redis") until this process ends, or longer if others need them.

    Cheap when they run. Return the supervisor's status. Raise EmbeddedServiceError if one cannot be
    started.
    """
    global _link
    with _guard:
        request = {"do": "need", "services": services}
        if _link is not None:
            with contextlib.suppress(OSError, ValueError):
                return _checked(_ask(_link, request))
        _link, answer = _connect_and_ask(_paths(), request)
        return _with_password(_checked(answer))


def keep(*services: str) -> dict[str, Any]:
    """Run `services` until `stop`. Return the supervisor's status."""
    link, answer = _connect_and_ask(_paths(), {"do": "keep", "services": services})
    link.close()
    return _with_password(_checked(answer))


def status() -> dict[str, Any] | None:
    """Return the supervisor's status; None if there is no supervisor. Start nothing."""
    link = _connect(_paths())
    if link is None:
        return None
    with link, contextlib.suppress(OSError, ValueError):
        return _ask(link, {"do": "status"})
    return None


def stop(*, force: bool = False) -> dict[str, Any] | None:
    """Stop the servers and their supervisor, and wait for their end. Return None if nothing runs.

    Without `force` servers that are in use are not stopped, and the answer has "error".
    """
    link = _connect(_paths())
    if link is None:
        return None
    with link, contextlib.suppress(ConnectionError):
        answer = _ask(link, {"do": "stop", "force": force})
        if "error" not in answer:
            link.recv(1)
        return answer
    return None


def _paths() -> ServicePaths:
    if os.name == "nt":
        raise EmbeddedServiceError("The embedded services run on Linux and macOS only.")
    try:
        return paths_for(settings.PIXSIM_HOME)
    except PathsError as error:
        raise EmbeddedServiceError(str(error)) from error


def _connect_and_ask(
    paths: ServicePaths, request: dict[str, Any]
) -> tuple[socket.socket, dict[str, Any]]:
    """Return a connection and the answer; from the next supervisor if one ends before it answers."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        if link := _connect(paths):
            try:
                return link, _ask(link, request)
            except (OSError, ValueError):
                link.close()
        else:
            _start_supervisor(paths)
        if time.monotonic() > deadline:
            raise EmbeddedServiceError(
                f"The supervisor of the embedded services does not answer. Its log: "
                f"{paths.log('supervisor')}. `manage.py services status` shows what runs."
            )
        time.sleep(0.02)


def _connect(paths: ServicePaths) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(ANSWER_SECONDS)
    try:
        link.connect(str(paths.supervisor_socket))
    except OSError:
        link.close()
        return None
    return link


def _start_supervisor(paths: ServicePaths) -> None:
    """Return when a supervisor listens, or when another is about to listen or to end."""
    try:
        paths.prepare()
    except PathsError as error:
        raise EmbeddedServiceError(str(error)) from error
    words = [paths.folder, paths.run, paths.user or "", settings.EMBEDDED_IDLE_SECONDS]
    project = str(Path(__file__).resolve().parents[2])
    imported_from = filter(None, [project, os.environ.get("PYTHONPATH")])
    started = subprocess.run(
        [sys.executable, "-m", "pixsim.embedded.supervisor", *map(str, words)],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(imported_from),
            PASSWORD_VARIABLE: _redis_password(),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if started.returncode:
        raise EmbeddedServiceError(
            f"The supervisor of the embedded services cannot start:\n{started.stderr.strip()}"
        )


def _ask(link: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    link.sendall(json.dumps(request).encode() + b"\n")
    with link.makefile("rb") as answers:
        line = answers.readline()
    if not line:
        raise ConnectionResetError("The supervisor of the embedded services has ended.")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _redis_password() -> str:
    is_embedded = "redis" in settings.EMBEDDED_SERVICES
    return (is_embedded and urlsplit(settings.CELERY_BROKER_URL).password) or ""


def _with_password(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer when a Redis that runs asks for our password, whatever started it."""
    if (password := _redis_password()) and "redis" in answer.get("services", {}):
        say(_paths(), "PING", password=password)
    return answer


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise EmbeddedServiceError(
            f"{answer['error']}\nTo use services of your own instead, set DATABASE_URL and "
            "CELERY_BROKER_URL."
        )
    return answer


def _forget_after_fork() -> None:
    """Give a child process a connection of its own: on a shared one answers would be mixed up."""
    global _link, _guard
    _link, _guard = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
