"""`manage.py up`: the site and a worker together, for a desk or a small machine."""

import os
import signal
import subprocess
import sys
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import CommandError, call_command

from pixsim.core import cli
from pixsim.processes import Process, start, stop
from pixsim.web import server

TICK_SECONDS = 0.1


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
        commands = {"web": server.command(host, port), "worker": worker_command(concurrency)}
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        processes = {
            name: start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
            for name, command in commands.items()
        }
        relays = [self._relay_output(*each, stopped) for each in processes.items()]
        try:
            while not stopped.wait(TICK_SECONDS) and not _ended(processes):
                pass
            ended = _ended(processes)
        finally:
            stop(processes.values())
        for relay in relays:
            relay.join(timeout=2)
        if not stopped.is_set():
            which = ", ".join(f"{name} (exit code {code})" for name, code in ended.items())
            raise CommandError(f"Ended by itself: {which}. Its last lines above say why.")

    def _relay_output(
        self, name: str, process: Process, stopped: threading.Event
    ) -> threading.Thread:
        def relay() -> None:
            try:
                for line in process.stdout or ():
                    self.stdout.write(f"{name:6} | {line.rstrip()}")
                    self.stdout.flush()
            except BrokenPipeError:  # nobody reads the output any more
                stopped.set()

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        return thread


def worker_command(concurrency: int | None) -> list[str]:
    worker = [sys.executable, "-m", "celery", "-A", "pixsim", "worker", "--loglevel", "INFO"]
    return worker if concurrency is None else [*worker, "--concurrency", str(concurrency)]


def _ended(processes: dict[str, Process]) -> dict[str, int]:
    codes = {name: process.poll() for name, process in processes.items()}
    return {name: code for name, code in codes.items() if code is not None}
