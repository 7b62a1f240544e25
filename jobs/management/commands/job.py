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

    def handle(self, *, id: int, action: str, **options: Any) -> None:
        if (action == "resolve") != (options["charge"] or options["release"]):
            raise cli.UsageError(
                "resolve: say --charge or --release, as in: manage.py job 7 resolve --release"
            )
        try:
            self._print(_steered(id, action, charge=options["charge"]), action, options["json"])
        except (GenerationError, AccountsError) as error:
            raise CommandError(str(error)) from error

    def _print(self, job: Job, action: str, as_json: bool) -> None:
        if as_json:
            told = generations.report(job)
            if action == "explain":
                told["timeline"] = generations.timeline_lines(job)
            self.print_json(told)
        elif action == "explain":
            self.stdout.write("\n".join(generations.timeline_lines(job)))
        else:
            self.stdout.write(generations.sentence(job))


def _steered(job_id: int, action: str, *, charge: bool) -> Job:
    """The job after the action."""
    jobs = Job.objects.select_related("asset", "user").filter(pk=job_id)
    job = jobs.first()
    if job is None:
        raise cli.UsageError(f"id: there is no job {job_id}.")
    if action == "cancel":
        services.cancel_job(job=job)
    elif action == "retry":
        services.retry_job(job=job)
    elif action == "resolve":
        services.resolve_charge(job=job, charge=charge)
    changed: Job = jobs.get()
    return changed
