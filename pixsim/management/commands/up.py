"""`manage.py up`: the site and a worker together, for a desk or a small machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from pixsim.core import cli
from pixsim.embedded.servers import end_with_parent

STOP_SECONDS = 15
"""A worker finishes or gives back its work within ten."""
TICK_SECONDS = 0.1

Process = subprocess.Popen[str]


class Command(cli.Command):
    help = "Run the site and a Celery worker together. Ctrl-C stops both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--host", default="127.0.0.1")
        add("--port", type=int, default=8000)
        add("--concurrency", type=int, help="worker processes (default: one a core)")
        add("--migrate", action="store_true", help="migrate the database first")

    def handle(
        self, *, host: str, port: int, concurrency: int | None, migrate: bool, **options: Any
    ) -> None:
        if settings.EMBEDDED_SERVICES:
            from pixsim.embedded import client  # POSIX only, like the services

            client.need(*settings.EMBEDDED_SERVICES)
        if migrate:
            call_command("migrate", stdout=self.stdout)
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        processes = {
            "web": _start(web_command(host, port)),
            "worker": _start(worker_command(concurrency)),
        }
        relays = [self._relay_output(name, process) for name, process in processes.items()]
        try:
            while not stopped.wait(TICK_SECONDS) and not _ended(processes):
                pass
            ended = _ended(processes)
        finally:
            _stop(processes.values())
        for relay in relays:
            relay.join(timeout=2)
        if not stopped.is_set():
            which = ", ".join(f"{name} (exit code {code})" for name, code in ended.items())
            raise CommandError(f"Ended by itself: {which}. Its last lines above say why.")

    def _relay_output(self, name: str, process: Process) -> threading.Thread:
        def relay() -> None:
            for line in process.stdout or ():
                self.stdout.write(f"{name:6} | {line.rstrip()}")
                self.stdout.flush()

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        return thread


def web_command(host: str, port: int) -> list[str]:
    """Return Django's own server in development, where it serves static files too; else uvicorn."""
    if settings.DEBUG:
        return [sys.executable, "manage.py", "runserver", "--noreload", f"{host}:{port}"]
    uvicorn = [sys.executable, "-m", "uvicorn", "pixsim.asgi:application"]
    return [*uvicorn, "--host", host, "--port", str(port)]


def worker_command(concurrency: int | None) -> list[str]:
    worker = [sys.executable, "-m", "celery", "-A", "pixsim", "worker", "--loglevel", "INFO"]
    return worker if concurrency is None else [*worker, "--concurrency", str(concurrency)]


def _start(command: list[str]) -> Process:
    # Each has a session of its own, so Ctrl-C reaches only this process, which stops both in order.
    return subprocess.Popen(
        command,
        cwd=settings.BASE_DIR,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=partial(end_with_parent, signal.SIGTERM) if os.name == "posix" else None,
    )


def _ended(processes: dict[str, Process]) -> dict[str, int]:
    codes = {name: process.poll() for name, process in processes.items()}
    return {name: code for name, code in codes.items() if code is not None}


def _stop(processes: Iterable[Process]) -> None:
    """End the processes and what they started: SIGTERM first, SIGKILL for what is left."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
