"""`manage.py job ID …`: look at a generation, steer it, and hear its whole story."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.errors import AccountsError
from jobs import services
from jobs.errors import GenerationError
from jobs.management import generations
from jobs.models import Job

ACTIONS = ("status", "cancel", "retry", "explain", "settle")


class Command(BaseCommand):
    help = (
        "Look at a generation, cancel it, try it again, or hear its story. Exit code 1: it is not "
        "in a state for that, 2: wrong usage."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("--json", action="store_true", help="print one object")
        decision = parser.add_mutually_exclusive_group()
        decision.add_argument("--charge", action="store_true", help="settle: it was charged")
        decision.add_argument("--release", action="store_true", help="settle: it was not")

    def handle(self, *, id: int, action: str, **options: Any) -> None:
        job = Job.objects.filter(pk=id).first()
        if job is None:
            raise _wrong(f"id: there is no job {id}.")
        if (action == "settle") != (options["charge"] or options["release"]):
            raise _wrong(
                "settle: say --charge or --release, as in: manage.py job 7 settle --release"
            )
        try:
            if action == "cancel":
                services.cancel_job(job=job)
            elif action == "retry":
                services.retry_job(job=job)
            elif action == "settle":
                services.settle_job(job=job, charge=options["charge"])
        except (GenerationError, AccountsError) as error:
            raise CommandError(str(error)) from error
        job = Job.objects.select_related("asset").get(pk=id)
        if options["json"]:
            self.stdout.write(json.dumps(generations.report(job)))
        elif action == "explain":
            self.stdout.write("\n".join(generations.story(job)))
        else:
            self.stdout.write(generations.sentence(job))


def _wrong(message: str) -> CommandError:
    return CommandError(message, returncode=generations.WRONG_USAGE)
