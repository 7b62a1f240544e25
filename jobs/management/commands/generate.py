"""`manage.py generate`: ask a provider for a picture, a video or a song."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from accounts.errors import AccountsError
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused
from jobs.management import generations
from jobs.models import Job


class Command(BaseCommand):
    help = (
        "Ask a provider for a picture, a video or a song. What there is to ask for, and its "
        "parameters: manage.py providers list, providers schema. Exit code 3: it failed, 2: it was "
        "refused and nothing was kept."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--provider", required=True)
        add("--operation", required=True, help="text_to_image, image_to_video, song, …")
        add("--model", help="without, the provider's default")
        add(
            "--param",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help='as in prompt="a red panda"; a value that is JSON is read as such',
        )
        add("--owner", metavar="EMAIL", help="whose job it is; without, the system's own")
        add("--priority", type=int, help="0 to 10; higher is more urgent")
        add("--at", metavar="TIME", help="not before this time, as in 2030-01-01T12:00")
        add("--parent", type=int, metavar="JOB", help="begin when that job is completed")
        add("--name")
        add("--key", help="idempotency key: the same key makes one job")
        add("--wait", action="store_true", help="wait until it has ended")
        add("--json", action="store_true", help="print one object")

    def handle(self, **options: Any) -> None:
        try:
            job = services.create_job(
                owner=_owner(options["owner"]),
                provider=options["provider"],
                operation=options["operation"],
                model=options["model"],
                params=_params(options["param"]),
                priority=options["priority"],
                scheduled_at=_time(options["at"]),
                parent=_job(options["parent"]),
                name=options["name"],
                idempotency_key=options["key"],
            )
        except GenerationRefused as refused:
            raise CommandError(
                "\n".join(f"{field}: {text}" for field, text in refused.errors.items()),
                returncode=generations.WRONG_USAGE,
            ) from refused
        except AccountsError as refused:
            raise CommandError(str(refused), returncode=generations.WRONG_USAGE) from refused
        if options["wait"]:
            job = generations.watch(job, tell=lambda state: self._tell(f"Job {job.pk}: {state}"))
        if options["json"]:
            self.stdout.write(json.dumps(generations.report(job)))
        else:
            self.stdout.write(generations.sentence(job))
        if options["wait"] and job.status != "completed":
            raise SystemExit(generations.NOT_COMPLETE)

    def _tell(self, text: str) -> None:
        self.stderr.write(text)


def _params(pairs: list[str]) -> dict[str, Any]:
    params = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise _wrong(f"param: {pair!r} is no NAME=VALUE")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def _owner(email: str | None) -> Profile | None:
    if email is None:
        return None
    if owner := Profile.objects.filter(email=email).first():
        return owner
    raise _wrong(f"owner: nobody has the e-mail {email!r} here; people are in the admin")


def _job(number: int | None) -> Job | None:
    if number is None:
        return None
    if job := Job.objects.filter(pk=number).first():
        return job
    raise _wrong(f"parent: there is no job {number}.")


def _time(text: str | None) -> Any:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise _wrong(f"at: {text!r} is no time like 2030-01-01T12:00")
    return make_aware(moment) if is_naive(moment) else moment


def _wrong(message: str) -> CommandError:
    return CommandError(message, returncode=generations.WRONG_USAGE)
