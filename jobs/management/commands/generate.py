"""`manage.py generate`: ask a provider for a picture, a video or a song."""

import json
import sys
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError, transaction
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from accounts.errors import AccountsError, LimitExceeded
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused, WrongState
from jobs.management import generations
from jobs.management.progress import display_on, wait_for_job
from jobs.models import Job, JobStatus
from pixsim.core.priority import PRIORITY_HELP

# What a refusal calls a field, and the flag to correct.
FLAGS = {
    "idempotency_key": "key",
    "scheduled_at": "at",
    "highest_priority": "priority",
    "jobs_per_day": "owner",
}


class Command(BaseCommand):
    help = (
        "Ask a provider for a picture, a video or a song. The job is accepted and workers do it; "
        "with --wait this command stays until it has ended. What there is to ask for, and its "
        "parameters: manage.py providers list, providers schema. Exit code 0: completed (or "
        "accepted, without --wait), 3: failed, cancelled or not ended after --timeout, 2: it was "
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
            help="as in prompt='a red panda'; a value that is JSON is read as such, so a text that "
            "looks like a number goes in double quotes: title='\"1984\"'",
        )
        add(
            "--file",
            action="append",
            default=[],
            metavar="NAME=PATH",
            help="a file as an input, as in image=panda.png; it becomes an asset of the owner",
        )
        add("--owner", metavar="EMAIL", help="whose job it is; without, the system's own")
        add("--priority", type=int, help=PRIORITY_HELP)
        add("--at", metavar="TIME", help="not before this time, as in 2030-01-01T12:00")
        add("--parent", type=int, metavar="JOB", help="begin when that job is completed")
        add("--name")
        add("--key", help="idempotency key: the same key makes one job")
        add("--wait", action="store_true", help="stay until it has ended")
        add("--timeout", type=float, metavar="SECONDS", help="stay, but at most so long")
        add("--json", action="store_true", help="print one object")

    def handle(self, **options: Any) -> None:
        job = _accept(options)
        waits = options["wait"] or options["timeout"] is not None
        if waits:
            job = self._wait(job, options)
        if options["json"]:
            self.stdout.write(json.dumps(generations.report(job)))
        elif waits or job.status != JobStatus.PENDING:
            self.stdout.write(generations.sentence(job))
        else:
            self.stdout.write(
                f"Job {job.pk} is accepted. See how it goes with: manage.py job {job.pk} status"
            )
        if waits and job.status != JobStatus.COMPLETED:
            sys.exit(generations.NOT_COMPLETE)

    def _wait(self, job: Job, options: dict[str, Any]) -> Job:
        try:
            with display_on(self.stderr) as display:
                return wait_for_job(job.pk, display=display, timeout=options["timeout"])
        except WrongState as error:
            raise CommandError(str(error), returncode=generations.NOT_COMPLETE) from error
        except KeyboardInterrupt:
            if options["json"]:
                self.stdout.write(json.dumps(generations.report(job)))
            self.stderr.write(
                f"Stopped waiting; the job goes on in the workers. See it or end it with: "
                f"manage.py job {job.pk} status|cancel",
                style_func=str,
            )
            sys.exit(generations.INTERRUPTED)


def _accept(options: dict[str, Any]) -> Job:
    """The job, created. A refusal has a line for each field, and nothing is created then."""
    try:
        owner = _owner(options["owner"])
        params = _params(options["param"])
        with transaction.atomic():  # with the job refused, its inputs are not kept
            return services.create_job(
                owner=owner,
                provider=options["provider"],
                operation=options["operation"],
                model=options["model"],
                params=params | _uploads(options["file"], owner, given=params),
                priority=options["priority"],
                scheduled_at=_time(options["at"]),
                parent=_job(options["parent"]),
                name=options["name"],
                idempotency_key=options["key"],
            )
    except GenerationRefused as refused:
        lines = (f"{_flag(field)}: {text}" for field, text in refused.errors.items())
        raise _wrong("\n".join(lines)) from refused
    except LimitExceeded as refused:
        raise _wrong(f"{_flag(refused.limit)}: {refused}") from refused
    except AccountsError as refused:
        raise _wrong(f"owner: {refused}") from refused
    except OperationalError as error:
        raise CommandError(f"The database does not answer; no job was created. {error}") from error
    except ProgrammingError as error:
        raise CommandError(f"No job was created. Run manage.py migrate first. {error}") from error


def _flag(field: str) -> str:
    """The flag to correct, for what a refusal calls a field."""
    if name := field.partition("params.")[2]:
        return f"param {name}"
    return FLAGS.get(field, field)


def _params(pairs: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise _wrong(f"param: {pair!r} is no NAME=VALUE")
        if name in params:
            raise _wrong(f"param {name}: it is given twice")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
        except RecursionError as error:
            raise _wrong(f"param {name}: its values stand in each other too deep") from error
    return params


def _uploads(pairs: list[str], owner: Profile | None, *, given: dict[str, Any]) -> dict[str, str]:
    """The files as assets of the owner: the parameters that name them."""
    params: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise _wrong(f"file: {pair!r} is no NAME=PATH")
        if name in given or name in params:
            raise _wrong(f"param {name}: it is given twice")
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise _wrong(f"file {name}: {path} cannot be read: {error.strerror}") from error
        asset = services.upload_asset(owner=owner, data=data, name=Path(path).name)
        params[name] = f"asset:{asset.pk}"
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


def _time(text: str | None) -> datetime | None:
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
