"""`manage.py crawl_job ID ACTION`: show a crawl job, control it, export its dataset; and list all."""

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from accounts.errors import AccountsError
from crawler import missing_source
from crawler.errors import CrawlError, JobRefused
from crawler.export import export_job
from crawler.management import listings, reports
from crawler.management.flags import add_format_flag
from crawler.models import CrawlJob, JobStatus
from crawler.services import lifecycle
from pixsim.core import cli
from pixsim.core.priority import PRIORITY_HELP

LIST = "list"
MAX_COUNT = 1_000_000_000
LIFECYCLE = {
    "pause": lifecycle.pause_job,
    "resume": lifecycle.resume_job,
    "cancel": lifecycle.cancel_job,
    "retry": lifecycle.retry_job,
}


class Command(cli.Command):
    help = (
        "List the crawl jobs; show one, control it, say what was refused and why, or export its "
        "dataset. Exit code 1: the job is not in a state for that, 2: wrong usage, 3: it could not be "
        "exported."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("id", type=_job_or_list, metavar="ID", help=f"a job's number, or the word {LIST}")
        add(
            "action",
            nargs="?",
            choices=["status", "refused", *LIFECYCLE, "repeat", "priority", "export"],
            help="status, if there is none",
        )
        add("value", nargs="?", type=int, help=f"the new priority, {PRIORITY_HELP}")
        add("--to", type=Path, metavar="DIR", default=Path(), help="export: folder (this one)")
        add_format_flag(parser)
        add("--keep-metadata", action="store_true", help="export: leave EXIF and comments in files")
        add(
            "--status",
            action="append",
            default=[],
            choices=[*JobStatus.values, listings.OPEN],
            help="list: only these",
        )
        add("--owner", metavar="EMAIL", help="list: whose jobs; system: those of nobody")
        add(
            "--limit",
            type=_count,
            metavar="N",
            help=f"list, refused: at most so many (list: {listings.DEFAULT_LIMIT})",
        )
        add(
            "--outcome",
            action="append",
            default=[],
            choices=listings.OUTCOMES,
            metavar="OUTCOME",
            help="refused: only these (all but stored and surplus)",
        )
        add("--csv", action="store_true", help="refused: as a CSV file, for spreadsheets")
        cli.add_json_flag(parser)

    def handle(
        self, *, id: int | str, action: str | None, value: int | None, **options: Any
    ) -> None:
        if isinstance(id, str):
            self._list(action, **options)
        else:
            self._act(id, action or "status", value, options)

    def _list(self, action: str | None, **options: Any) -> None:
        if action is not None:
            raise cli.UsageError(f"{LIST}: takes no action, as in: manage.py crawl_job list")
        found = listings.jobs(options["status"], options["owner"])
        limit = options["limit"] or listings.DEFAULT_LIMIT
        listings.print_jobs(self, found, limit=limit, json=options["json"])

    def _act(self, id: int, action: str, value: int | None, options: dict[str, Any]) -> None:
        if (value is not None) != (action == "priority"):
            raise cli.UsageError(
                "priority: give the new one, as in: manage.py crawl_job 12 priority 8"
            )
        if not CrawlJob.objects.filter(pk=id).exists():
            raise cli.UsageError(f"id: there is no crawl job {id}.")
        export = None
        try:
            if action == "export":
                export = export_job(
                    job_id=id,
                    folder=options["to"],
                    format=options["export_format"],
                    keep_metadata=options["keep_metadata"],
                )
            elif value is not None:
                lifecycle.change_priority(job_id=id, priority=value)
            elif action == "repeat":
                id = lifecycle.repeat_job(job_id=id).pk
            elif action in LIFECYCLE:
                LIFECYCLE[action](job_id=id)
        except (JobRefused, AccountsError) as error:
            raise cli.UsageError(str(error)) from error
        except CrawlError as error:
            exporting = action == "export"
            code = cli.ExitCode.NOT_COMPLETE if exporting else cli.ExitCode.FAILED
            raise CommandError(str(error), returncode=code) from error
        job = CrawlJob.objects.get(pk=id)
        if action == "refused":
            listings.print_refused(
                self,
                job,
                options["outcome"],
                limit=options["limit"],
                json=options["json"],
                csv=options["csv"],
            )
        elif options["json"]:
            self.print_json(reports.report(job, export=export))
        elif export:
            self.stdout.write(str(export))
        elif action == "repeat":
            self.stdout.write(reports.accepted(job))
        else:
            self._describe(job)

    def _describe(self, job: CrawlJob) -> None:
        self.stdout.write(reports.sentence(job))
        if reason := missing_source.reason(job):
            self.stdout.write(reason)
        self.stdout.write(
            f"Priority {job.priority}. {job.completed_chunks:,} of {job.total_chunks:,} chunks are "
            f"completed, {job.failed_chunks:,} failed. {job.total_images:,} addresses were found:"
        )
        for source in job.sources.order_by("id"):
            line = f"  {source.found:>10,}  {source}: {source.status}"
            if source.rejected:
                line += f", {source.rejected:,} entries rejected ({source.rejection})"
            if source.error_message:
                line += f" ({source.error_message})"
            self.stdout.write(line)
        if outcomes := reports.outcome_table(job):
            self.stdout.write(f"Outcomes:\n{outcomes}")


def _job_or_list(text: str) -> int | str:
    if text == LIST:
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise ArgumentTypeError(f"must be a job's number or the word {LIST}, not {text!r}")


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_COUNT:
        return int(text)
    raise ArgumentTypeError(f"must be a whole number from 1 to {MAX_COUNT:,}, not {text!r:.50}")
