"""`manage.py generate`: ask a provider for a picture, a video or a song."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from accounts.errors import AccountsError
from accounts.management.lookup import find_owner
from accounts.models import Profile
from jobs import services
from jobs.errors import GenerationRefused, WrongState
from jobs.management import generations
from jobs.management.progress import wait_for_job
from jobs.models import Job, JobStatus
from pixsim.core import cli
from pixsim.core.cli import UsageError
from pixsim.core.cli.progress import display_on
from pixsim.core.priority import PRIORITY_HELP
from providers import model_dates
from providers.adapters import adapter_named

# What a refusal calls a field, and the flag to correct.
FLAGS = {
    "idempotency_key": "key",
    "scheduled_at": "at",
    "highest_priority": "priority",
    "jobs_per_day": "owner",
    "generate": "owner",
    "schedule": "at",
}


class Command(cli.Command):
    help = (
        "Ask a provider for a picture, a video or a song. The job is accepted and workers do it; "
        "with --wait this command stays until the job has ended. `manage.py providers list` and "
        "`providers schema` show what can be asked for, with which parameters. Exit code 0: "
        "completed (or accepted, without --wait), 3: failed, cancelled or not ended after --timeout, "
        "2: refused, and nothing was kept."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--provider", required=True)
        add("--operation", required=True, help="text_to_image, image_to_video, song, …")
        add("--model", help="default: that of the provider")
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
        add("--wait", action="store_true", help="stay until the job has ended")
        add("--timeout", type=float, metavar="SECONDS", help="wait, but at most so long")
        cli.add_json_flag(parser)

    def handle(self, **options: Any) -> None:
        job = _accept(options)
        if coming := model_dates.warning(adapter_named(job.provider_id), job.model or ""):
            self.stderr.write(f"Warning: {coming}", style_func=str)
        waits = options["wait"] or options["timeout"] is not None
        if waits:
            job = self._wait(job, options)
        if options["json"]:
            self.print_json(generations.report(job))
        elif waits or job.status != JobStatus.PENDING:
            self.stdout.write(generations.sentence(job))
        else:
            self.stdout.write(
                f"Job {job.pk} is accepted. See how it goes with: manage.py job {job.pk} status"
            )
        if waits and job.status != JobStatus.COMPLETED:
            sys.exit(cli.ExitCode.NOT_COMPLETE)

    def _wait(self, job: Job, options: dict[str, Any]) -> Job:
        try:
            with display_on(self.stderr) as display:
                return wait_for_job(job.pk, display=display, timeout=options["timeout"])
        except WrongState as error:
            raise CommandError(str(error), returncode=cli.ExitCode.NOT_COMPLETE) from error
        except KeyboardInterrupt:
            if options["json"]:
                self.print_json(generations.report(job))
            self.stderr.write(
                f"Stopped waiting; the job goes on in the workers. See it or end it with: "
                f"manage.py job {job.pk} status|cancel",
                style_func=str,
            )
            sys.exit(cli.ExitCode.INTERRUPTED)


def _accept(options: dict[str, Any]) -> Job:
    """Create the job. Raise CommandError, with a line for each field, if it is refused."""
    try:
        with cli.database_errors("No job was created."):
            owner = find_owner(options["owner"])
            params = _params(options["param"])
            with transaction.atomic():  # with the job refused, its inputs are not kept
                return services.create_job(
                    owner=owner,
                    provider=options["provider"],
                    operation=options["operation"],
                    model=options["model"],
                    params=params,
                    files=_uploads(options["file"], owner, given=params),
                    priority=options["priority"],
                    scheduled_at=_time(options["at"]),
                    parent=_parent(options["parent"]),
                    name=options["name"],
                    idempotency_key=options["key"],
                )
    except GenerationRefused as refused:
        lines = (f"{_flag(field)}: {text}" for field, text in refused.errors.items())
        raise UsageError("\n".join(lines)) from refused
    except AccountsError as refused:
        raise UsageError(f"{_flag(refused.subject)}: {refused}") from refused


def _flag(field: str) -> str:
    """Return the flag to correct, for what a refusal calls a field."""
    if name := field.partition("params.")[2]:
        return f"param {name}"
    return FLAGS.get(field, field)


def _pairs(flag: str, texts: list[str], *, form: str, taken: set[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each argument. Raise UsageError for another form or a second value."""
    for text in texts:
        name, value = cli.split_pair(flag, text, form=form)
        if name in taken:
            raise UsageError(f"param {name}: it is given twice")
        taken.add(name)
        yield name, value


def _params(texts: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, value in _pairs("param", texts, form="NAME=VALUE", taken=set()):
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
        except RecursionError as error:
            raise UsageError(f"param {name}: its values are nested too deeply") from error
    return params


def _uploads(texts: list[str], owner: Profile | None, *, given: Iterable[str]) -> dict[str, str]:
    """Store the files as assets of the owner; return `asset:ID` by the parameter's name."""
    assets: dict[str, str] = {}
    for name, path in _pairs("file", texts, form="NAME=PATH", taken=set(given)):
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"file {name}: {path} cannot be read: {error.strerror}") from error
        asset = services.upload_asset(owner=owner, data=data, name=Path(path).name)
        assets[name] = f"asset:{asset.pk}"
    return assets


def _parent(number: int | None) -> Job | None:
    job = None if number is None else Job.objects.filter(pk=number).first()
    if number is not None and job is None:
        raise UsageError(f"parent: there is no job {number}.")
    return job


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(f"at: must be a time like 2030-01-01T12:00, not {text!r}")
    return make_aware(moment) if is_naive(moment) else moment
