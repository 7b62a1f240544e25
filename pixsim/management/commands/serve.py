"""`manage.py serve`: the site alone."""

import os
import subprocess
from argparse import ArgumentParser
from typing import Any

from pixsim.core import cli
from pixsim.web import server


class Command(cli.Command):
    help = "Run the site, as `up` does, without a worker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--host", default="127.0.0.1")
        add("--port", type=int, default=8000)
        add("--workers", type=int, default=1, help="web processes (default: 1)")

    def handle(self, *, host: str, port: int, workers: int, **options: Any) -> None:
        command = server.command(host, port, workers=workers)
        if os.name == "posix":
            os.execv(command[0], command)  # noqa: S606  signals reach the server itself
        raise SystemExit(subprocess.call(command))
