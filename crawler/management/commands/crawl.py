"""`manage.py crawl`: accept a crawl job, and on request wait for it and export its dataset."""

import json
import os
import sys
from argparse import ArgumentParser
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from django.db import DatabaseError, OperationalError, transaction

from accounts import tiers
from accounts.errors import AccountsError, FeatureRefused
from accounts.management.lookup import find_owner
from crawler.errors import CrawlError, JobRefused, SourceRefused
from crawler.export import Export, export_job
from crawler.fetch.rules import Rules
from crawler.labels import MAX_NAME
from crawler.management import reports
from crawler.management.flags import (
    absolute_location,
    add_format_flag,
    add_source_flags,
    given_options,
    is_source_option,
    option_named,
)
from crawler.management.reports import wait_for_job
from crawler.models import CrawlJob
from crawler.services import accepting, projects
from pixsim.core import cli
from pixsim.core.cli.progress import display_on
from pixsim.core.priority import PRIORITY_HELP
from pixsim.core.private import make_folder
from pixsim.core.text import path_text

# What a refusal calls a field, and the flag to correct.
FLAGS = {
    "kind": "source",
    "location": "from",
    "keywords": "label",
    "crawl": "owner",
    "images_per_job": "max-images",
    "highest_priority": "priority",
    "concurrent_jobs": "owner",
    "jobs_per_day": "owner",
    "projects": "project",
}


LINE_SECONDS = 5.0
"""Without a terminal, progress is printed at most so often."""


class Command(cli.Command):
    help = (
        "Crawl images into a dataset. The job is accepted and workers do it; with --wait this "
        "command stays until it has ended. Exit code 0: complete (or accepted, without --wait), "
        "3: ended short, failed or still running after --timeout, 2: wrong usage."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--max-images", required=True, type=int, help="how many distinct images to collect")
        add("--label", default="", help="class label of what is found")
        add("--priority", type=int, help=PRIORITY_HELP)
        add("--owner", metavar="EMAIL", help="whose job it is; without, the system's own")
        add("--project", metavar="NAME", help="the owner's project; made if there is none")
        add("--name", help="name of the job and of the exported archive")
        add("--chunk-size", type=int, help="images per chunk")
        add(
            "--option",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="another option of the source, or a limit of this crawl: "
            + ", ".join(field.name for field in fields(Rules)),
        )
        add("--wait", action="store_true", help="stay until the job has ended")
        add("--timeout", type=float, metavar="SECONDS", help="wait, but at most so long")
        add("--export", type=Path, metavar="DIR", help="wait, then write the dataset there")
        add_format_flag(parser)
        cli.add_json_flag(parser)
        add_source_flags(parser)

    def handle(self, **options: Any) -> None:
        folder: Path | None = options["export"]
        if folder is not None:
            _check_writable(folder)
        job = _accept(options)
        if not options["wait"] and options["timeout"] is None and folder is None:
            self._print(
                job,
                options,
                reports.accepted(job),
            )
            return
        export, failure = None, ""
        try:
            quiet = options["verbosity"] == 0
            with display_on(self.stderr, line_seconds=LINE_SECONDS, quiet=quiet) as display:
                job = wait_for_job(job.pk, display=display, timeout=options["timeout"])
            if folder is not None and not job.is_open:
                export = export_job(job_id=job.pk, folder=folder, format=options["export_format"])
        except KeyboardInterrupt:
            self._interrupted(job, options)
        except (CrawlError, FeatureRefused, OperationalError) as error:
            failure = str(error)
        goes_on = f"It goes on. See it with: manage.py crawl_job {job.pk} status"
        self._print(
            job,
            options,
            reports.sentence(job),
            reports.outcome_table(job),
            goes_on if job.is_open else "",
            str(export) if export else "",
            export=export,
        )
        if failure:
            self.stderr.write(failure)
        sys.exit(cli.ExitCode.NOT_COMPLETE if failure else reports.exit_code(job))

    def _print(
        self, job: CrawlJob, options: dict[str, Any], *lines: str, export: Export | None = None
    ) -> None:
        if options["json"]:
            self.print_json(reports.report(job, export=export))
        else:
            self.stdout.write("\n".join(filter(None, lines)))

    def _interrupted(self, job: CrawlJob, options: dict[str, Any]) -> None:
        with suppress(DatabaseError, CrawlJob.DoesNotExist):
            job.refresh_from_db()
        if options["json"]:
            self.print_json(reports.report(job))
        going_on = " The job goes on in the workers." if job.is_open else ""
        self.stderr.write(
            f"Stopped waiting. {job.valid_images:,} of {job.max_images:,} images of crawl job "
            f"{job.pk} are kept.{going_on} See it, end it or export it with: manage.py crawl_job "
            f"{job.pk} status|cancel|export",
            style_func=str,
        )
        sys.exit(cli.ExitCode.INTERRUPTED)


def _accept(options: dict[str, Any]) -> CrawlJob:
    """Create the job. Raise CommandError, naming the flag to correct, if it is refused."""
    kind, label = options["source"], " ".join(options["label"].split())
    location = absolute_location(kind, options["location"])
    source_options, rules = _split_options(kind, options)
    try:
        with cli.database_errors("No job was created."), transaction.atomic():
            owner = find_owner(options["owner"])
            if options["export"] is not None:  # else the refusal would come after the crawl
                tiers.require_feature(owner, "export")
            return accepting.create_crawl_job(
                owner=owner,
                name=options["name"]
                or (path_text(label) or f"{kind} {_last_part(location)}")[:MAX_NAME],
                max_images=options["max_images"],
                source_specs=[accepting.SourceSpec(kind, location, label, source_options)],
                keywords=[label] if label else [],
                priority=options["priority"],
                project=projects.project_named(owner=owner, name=options["project"])
                if options["project"]
                else None,
                options=rules,
                chunk_size=options["chunk_size"],
            )
    except (JobRefused, SourceRefused) as error:
        if error.field == "options":  # the message begins with the option's name
            raise cli.UsageError(f"option {error.message}") from error
        raise cli.UsageError(f"{_flag(error.field)}: {error.message}") from error
    except AccountsError as error:
        raise cli.UsageError(f"{_flag(error.subject)}: {error}") from error


def _last_part(location: str) -> str:
    if not location.startswith("file:"):
        return path_text(Path(location).name)
    return path_text(unquote_to_bytes(location.rstrip("/").rpartition("/")[2]))


def _flag(field: str) -> str:
    name = field.removeprefix("options.")
    if name != field and not is_source_option(name):
        return f"option {name}"
    return FLAGS.get(name, name.replace("_", "-"))


def _split_options(kind: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    of_source = given_options(options)
    rules = {}
    for text in options["option"]:
        name, value = cli.split_pair("option", text)
        if option := option_named(kind, name):
            of_source[name] = value if option.type is str else _value(value)
        else:
            rules[name] = _rule_value(name, value)
    return of_source, rules


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _rule_value(name: str, text: str) -> Any:
    is_list = any(
        field.name == name and isinstance(field.default, tuple) for field in fields(Rules)
    )
    return [one.strip() for one in text.split(",") if one.strip()] if is_list else _value(text)


def _check_writable(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise cli.UsageError(f"export: {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise cli.UsageError(f"export: {folder} cannot be written to")
