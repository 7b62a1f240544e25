"""`manage.py job ID ACTION`: show a generation, control it, and explain what happened to it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.errors import AccountsError
from jobs import services
from jobs.errors import GenerationError
from jobs.management import generations
from jobs.models import Job
from pixsim.core import cli

ACTIONS = ("status", "cancel", "retry", "explain", "resolve")


class Command(cli.Command):
    help = (
        "Show a generation, cancel it, retry it, explain what happened to it, or resolve its charge. "
        "Exit code 1: the job is not in a state for that and nothing was changed, 2: wrong usage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument("action", choices=ACTIONS)
        cli.add_json_flag(parser)
        decision = parser.add_mutually_exclusive_group()
        decision.add_argument("--charge", action="store_true", help="resolve: it was charged")
        decision.add_argument("--release", action="store_true", help="resolve: it was not")

    def handle(self, *, id: int, action: str, charge: bool, release: bool, **options: Any) -> None:
        if (action == "resolve") != (charge or release):
            raise cli.UsageError(
                "resolve: say --charge or --release, as in: manage.py job 7 resolve --release"
            )
        jobs = Job.objects.select_related("asset", "user").filter(pk=id)
        job = jobs.first()
        if job is None:
            raise cli.UsageError(f"id: there is no job {id}.")
        try:
            if action == "cancel":
                services.cancel_job(job=job)
            elif action == "retry":
                services.retry_job(job=job)
            elif action == "resolve":
                services.resolve_charge(job=job, charge=charge)
        except (GenerationError, AccountsError) as error:
            raise CommandError(str(error)) from error
        self._print(jobs.get(), explain=action == "explain", as_json=options["json"])

    def _print(self, job: Job, *, explain: bool, as_json: bool) -> None:
        timeline = generations.timeline_lines(job) if explain else []
        if as_json:
            self.print_json(generations.report(job) | ({"timeline": timeline} if explain else {}))
        else:
            self.stdout.write("\n".join(timeline or [generations.sentence(job)]))
