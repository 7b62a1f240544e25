"""`manage.py services status|start|stop`: the embedded PostgreSQL and Redis of this project."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from pixsim.embedded import client

NOT_RUNNING = 3
"""Exit code of `status`, as init scripts have it."""


class Command(BaseCommand):
    help = (
        "The embedded PostgreSQL and Redis of this project. They start when something needs them "
        "and stop when nothing has used them for a while; `start` keeps them until `stop`."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["status", "start", "stop"])
        parser.add_argument("--json", action="store_true", help="print one object")
        parser.add_argument("--force", action="store_true", help="stop them even while in use")

    def handle(self, *, action: str, json: bool, force: bool, **options: Any) -> None:
        names = settings.EMBEDDED_SERVICES
        if action == "start":
            if not names:
                raise CommandError(
                    "Nothing is embedded here: the settings name a database and a broker."
                )
            self._report(client.keep(*names), json)
        elif action == "stop":
            answer = client.stop(force=force)
            if answer and "error" in answer:
                users = ", ".join(map(str, answer["clients"]))
                raise CommandError(
                    f"In use by process {users}, which would start them again. End it first, or "
                    "use --force."
                )
            self._report(None, json)
        else:
            running = client.status() if names else None
            self._report(running, json)
            if set(names) - set(running["services"] if running else []):
                sys.exit(NOT_RUNNING)

    def _report(self, status: dict[str, Any] | None, as_json: bool) -> None:
        names = settings.EMBEDDED_SERVICES
        services = status["services"] if status else {}
        if as_json:
            self.stdout.write(json.dumps({"embedded": names, **(status or {"services": {}})}))
            return
        if not names:
            self.stdout.write("Nothing is embedded here: the settings name database and broker.")
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
            self.stdout.write(f"Data: {client.data_folder()}")
