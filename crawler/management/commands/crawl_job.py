"""`manage.py crawl_job ID …`: look at a crawl job, steer it, export its dataset."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from crawler import missing_source, services
from crawler.errors import CrawlError, JobRefused
from crawler.export import export_job
from crawler.management import reports
from crawler.models import CrawlJob
from pixsim.core.priority import PRIORITY_HELP

ACTIONS = ("status", "pause", "resume", "cancel", "retry", "priority", "export")


class Command(BaseCommand):
    help = (
        "Look at a crawl job, steer it, or export its dataset. Exit code 1: it is not in a state "
        "for that, 2: wrong usage, 3: it could not be exported."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("value", nargs="?", type=int, help=f"the new priority: {PRIORITY_HELP}")
        parser.add_argument(
            "--to", type=Path, metavar="DIR", default=Path(), help="export: folder (this one)"
        )
        parser.add_argument(
            "--keep-metadata", action="store_true", help="export: leave EXIF and comments in files"
        )
        parser.add_argument("--json", action="store_true", help="print one object")

    def handle(self, *, id: int, action: str, value: int | None, **options: Any) -> None:
        if (value is not None) != (action == "priority"):
            raise _wrong("priority: give the new one, as in: manage.py crawl_job 12 priority 8")
        if not CrawlJob.objects.filter(pk=id).exists():
            raise _wrong(f"id: there is no crawl job {id}.")
        export = None
        if action == "export":
            export = self._export(id, options["to"], keep_metadata=options["keep_metadata"])
        elif action != "status":
            _steer(id, action, value)
        job = CrawlJob.objects.get(pk=id)
        if options["json"]:
            self.stdout.write(reports.as_json(job, export=export))
        elif export:
            self.stdout.write(f"Exported to {export}")
        else:
            self._describe(job)

    def _export(self, job_id: int, folder: Path, *, keep_metadata: bool) -> Path:
        try:
            export = export_job(job_id=job_id, folder=folder, keep_metadata=keep_metadata)
        except CrawlError as error:
            raise CommandError(str(error), returncode=reports.NOT_COMPLETE) from error
        return export.path

    def _describe(self, job: CrawlJob) -> None:
        self.stdout.write(reports.sentence(job))
        if reason := missing_source.reason(job):
            self.stdout.write(reason)
        self.stdout.write(
            f"Priority {job.priority}. {job.completed_chunks:,} of {job.total_chunks:,} chunks are "
            f"completed, {job.failed_chunks:,} failed. {job.total_images:,} addresses were found:"
        )
        for source in job.sources.order_by("id"):
            told = f"  {source.found:>10,}  {source.kind} {source.location}: {source.status}"
            if source.rejected:
                told += f", {source.rejected:,} entries rejected ({source.rejection})"
            if source.error_message:
                told += f" ({source.error_message})"
            self.stdout.write(told)
        if outcomes := reports.outcome_table(job):
            self.stdout.write(f"Outcomes:\n{outcomes}")


def _steer(job_id: int, action: str, value: int | None) -> None:
    try:
        if action == "pause":
            services.pause_job(job_id=job_id)
        elif action == "resume":
            services.resume_job(job_id=job_id)
        elif action == "cancel":
            services.cancel_job(job_id=job_id)
        elif action == "retry":
            services.retry_job(job_id=job_id)
        elif value is not None:
            services.change_priority(job_id=job_id, priority=value)
    except JobRefused as error:
        raise _wrong(str(error)) from error
    except CrawlError as error:
        raise CommandError(str(error)) from error


def _wrong(message: str) -> CommandError:
    return CommandError(message, returncode=reports.WRONG_USAGE)
