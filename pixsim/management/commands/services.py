"""`manage.py services status|start|stop`: the embedded PostgreSQL and Redis of this project."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import CommandError

from pixsim.core import cli
from pixsim.embedded import client
from pixsim.embedded.paths import paths_for

NOTHING = "Nothing is embedded here: the settings name a database and a broker."


class Command(cli.Command):
    help = (
        "The embedded PostgreSQL and Redis of this project. They start when something needs them "
        "and stop when nothing has used them for a while; `start` keeps them until `stop`. Exit code "
        "of `status`: 3 if one does not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["status", "start", "stop"])
        cli.add_json_flag(parser)
        parser.add_argument("--force", action="store_true", help="stop them even while in use")

    def handle(self, *, action: str, json: bool, force: bool, **options: Any) -> None:
        names, running = settings.EMBEDDED_SERVICES, None
        if action == "stop":
            answer = client.stop(force=force)
            if answer and "error" in answer:
                users = ", ".join(map(str, answer["clients"]))
                raise CommandError(
                    f"In use by process {users}, which would start the services again: end it first, "
                    "or use --force."
                )
        elif names:
            running = client.keep(*names) if action == "start" else client.status()
        elif action == "start":
            raise CommandError(NOTHING)
        if json:
            self.print_json({"embedded": names, **(running or {"services": {}})})
        else:
            self.stdout.write("\n".join(_lines(running)) if names else NOTHING)
        if action == "status" and set(names) - set(running["services"] if running else []):
            sys.exit(cli.ExitCode.NOT_COMPLETE)


def _lines(running: dict[str, Any] | None) -> Iterator[str]:
    for name in settings.EMBEDDED_SERVICES:
        state = "not running"
        if running and (found := running["services"].get(name)):
            state = "running, version {version}, process {pid}, log {log}".format(**found)
        yield f"{name:9} {state}"
    if running:
        until = "`services stop`" if running["kept"] else f"{running['idle_seconds']:g} s unused"
        users = ", ".join(map(str, running["clients"])) or "none"
        yield f"Used by process: {users}. They run until {until}."
    yield f"Data: {paths_for(settings.PIXSIM_HOME).data}"
