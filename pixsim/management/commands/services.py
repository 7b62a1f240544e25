"""`manage.py services status|start|stop`: the embedded PostgreSQL and Redis of this project."""

import sys
from argparse import ArgumentParser
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
        names = settings.EMBEDDED_SERVICES
        if action == "start":
            if not names:
                raise CommandError(NOTHING)
            self._report(client.keep(*names), json)
        elif action == "stop":
            answer = client.stop(force=force)
            if answer and "error" in answer:
                users = ", ".join(map(str, answer["clients"]))
                raise CommandError(
                    f"In use by process {users}, which would start the services again: end it first, "
                    "or use --force."
                )
            self._report(None, json)
        else:
            running = client.status() if names else None
            self._report(running, json)
            if set(names) - set(running["services"] if running else []):
                sys.exit(cli.ExitCode.NOT_COMPLETE)

    def _report(self, status: dict[str, Any] | None, as_json: bool) -> None:
        names = settings.EMBEDDED_SERVICES
        services = status["services"] if status else {}
        if as_json:
            self.print_json({"embedded": names, **(status or {"services": {}})})
            return
        if not names:
            self.stdout.write(NOTHING)
        for name in names:
            if name in services:
                found = services[name]
                self.stdout.write(
                    f"{name:9} running, version {found['version']}, process {found['pid']}, "
                    f"log {found['log']}"
                )
            else:
                self.stdout.write(f"{name:9} not running")
        if status:
            until = "`services stop`" if status["kept"] else f"{status['idle_seconds']:g} s unused"
            users = ", ".join(map(str, status["clients"])) or "none"
            self.stdout.write(f"Used by process: {users}. They run until {until}.")
        if names:
            self.stdout.write(f"Data: {paths_for(settings.PIXSIM_HOME).data}")
