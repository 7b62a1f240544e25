"""`manage.py up`: the site and a worker together, for a desk or a small machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from pixsim.core import cli
from pixsim.processes import Process, start, stop
from pixsim.web import server

TICK_SECONDS = 0.1
START_SECONDS = 20.0
"""What ends with an error before, when it is started first, would do so each time: a port in use."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


class Command(cli.Command):
    help = (
        "Run the site and a Celery worker together. Ctrl-C stops both. "
        "What ends by itself is started again."
    )

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
        children = [
            Child("web", server.command(host, port), self._relay_output, stopped),
            Child("worker", worker_command(concurrency), self._relay_output, stopped),
        ]
        try:
            for child in children:
                child.start()
            while not stopped.wait(TICK_SECONDS):
                for child in children:
                    self._look_after(child)
        finally:
            stop([child.process for child in children if child.process])
            for child in children:
                child.relay.join(timeout=2)

    def _look_after(self, child: "Child") -> None:
        if (code := child.ended()) is not None:
            if child.cannot_start(code):
                raise CommandError(
                    f"Ended by itself: {child.name} (exit code {code}). "
                    "Its last lines above say why."
                )
            pause = child.start_later()
            self.stdout.write(
                f"{child.name:6} | It ended by itself ({_how(code)}) and is started again in "
                f"{pause:.0f} s."
            )
        elif child.is_due():
            child.start()

    def _relay_output(self, name: str, process: Process, stopped: threading.Event) -> None:
        try:
            for line in process.stdout or ():
                self.stdout.write(f"{name:6} | {line.rstrip()}")
                self.stdout.flush()
        except BrokenPipeError:  # nobody reads the output any more
            stopped.set()


class Child:
    """One of the two processes. What it writes is relayed by `relay(name, process, stopped)`."""

    def __init__(
        self,
        name: str,
        command: list[str],
        relay: Callable[[str, Process, threading.Event], None],
        stopped: threading.Event,
    ) -> None:
        self.name = name
        self.process: Process | None = None
        self.relay = threading.Thread()
        self._command = command
        self._relay_output = relay
        self._stopped = stopped
        self._starts = 0
        self._pause = FIRST_PAUSE_SECONDS
        self._began = self._due = 0.0

    def start(self) -> None:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._began = time.monotonic()
        self._starts += 1
        self.process = start(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env
        )
        self.relay = threading.Thread(
            target=self._relay_output, args=(self.name, self.process, self._stopped), daemon=True
        )
        self.relay.start()

    def ended(self) -> int | None:
        """Return the exit code of a process that has just ended."""
        return None if self.process is None else self.process.poll()

    def cannot_start(self, code: int) -> bool:
        """Whether starting it again would not help. A signal is somebody else's doing."""
        return self._starts == 1 and code >= 0 and self._seconds() < START_SECONDS

    def start_later(self) -> float:
        """Return in how many seconds it is due: longer each time, unless it ran for long."""
        if self.process is not None:
            stop([self.process])  # what it has left of its own
        if self._seconds() > LONGEST_PAUSE_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self.process, self._due = None, time.monotonic() + pause
        return pause

    def is_due(self) -> bool:
        return self.process is None and time.monotonic() >= self._due

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def worker_command(concurrency: int | None) -> list[str]:
    worker = [sys.executable, "-m", "celery", "-A", "pixsim", "worker", "--loglevel", "INFO"]
    return worker if concurrency is None else [*worker, "--concurrency", str(concurrency)]


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
