"""What the commands print about a crawl job, for people and as one JSON object."""

from pathlib import Path
from typing import Any

from django.utils import timezone

from crawler import missing_source
from crawler.models import CrawlJob, JobStatus
from pixsim.core.cli import ExitCode


def report(job: CrawlJob, *, export: Path | None = None) -> dict[str, Any]:
    return {
        "job": job.pk,
        "status": job.status,
        "requested": job.max_images,
        "stored": job.valid_images,
        "outcomes": dict(_outcomes(job)),
        "seconds": round(seconds_of(job), 1),
        "export": None if export is None else str(export),
        **({"waits": reason} if (reason := missing_source.reason(job)) else {}),
    }


def sentence(job: CrawlJob) -> str:
    """Return how the job stands, with the reason and the next step if it did not end well."""
    status = f"{job.status} short" if job.status == "completed" and job.ended_short else job.status
    text = (
        f"Crawl job {job.pk} is {status}: {job.valid_images:,} of {job.max_images:,} images in "
        f"{seconds_of(job):.1f} s."
    )
    if job.error_message:
        text += f" {job.error_message}"
    if job.failed_chunks and not job.is_open and job.status != JobStatus.CANCELLED:
        text += (
            f" {job.failed_chunks} of {job.total_chunks} chunks failed; try them again with: "
            f"manage.py crawl_job {job.pk} retry"
        )
    return text


def outcome_table(job: CrawlJob) -> str:
    """Return a line for each outcome, the most frequent first; empty if there is none yet."""
    return "\n".join(f"  {count:>10,}  {name}" for name, count in _outcomes(job))


def outcome_line(job: CrawlJob, *, most: int = 5) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in _outcomes(job)[:most])


def seconds_of(job: CrawlJob) -> float:
    """Return the seconds from the job's creation to its end, or until now."""
    return max(0.0, ((job.completed_at or timezone.now()) - job.created_at).total_seconds())


def exit_code(job: CrawlJob) -> ExitCode:
    complete = job.status == JobStatus.COMPLETED and not job.ended_short
    return ExitCode.DONE if complete else ExitCode.NOT_COMPLETE


def _outcomes(job: CrawlJob) -> list[tuple[str, int]]:
    counted = [(name, count) for name, count in job.outcomes.items() if count]
    return sorted(counted, key=lambda pair: (-pair[1], pair[0]))
