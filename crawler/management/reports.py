"""What the commands say about a crawl job, to people and as one JSON object."""

import json
from pathlib import Path
from typing import Any

from django.utils import timezone

from crawler import missing_source
from crawler.models import CrawlJob, JobStatus

COMPLETE, NOT_COMPLETE, INTERRUPTED = 0, 3, 130
"""Exit codes: all images are there, the job ended short or failed, Ctrl-C. Wrong usage is 2."""
WRONG_USAGE = 2


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


def as_json(job: CrawlJob, *, export: Path | None = None) -> str:
    return json.dumps(report(job, export=export))


def sentence(job: CrawlJob) -> str:
    """How the job stands, with the reason and the next step if it did not end well."""
    how = f"{job.status} short" if job.status == "completed" and job.ended_short else job.status
    told = (
        f"Crawl job {job.pk} is {how}: {job.valid_images:,} of {job.max_images:,} images in "
        f"{seconds_of(job):.1f} s."
    )
    if job.error_message:
        told += f" {job.error_message}"
    if job.failed_chunks and not job.is_open and job.status != JobStatus.CANCELLED:
        told += (
            f" {job.failed_chunks} of {job.total_chunks} chunks failed; try them again with: "
            f"manage.py crawl_job {job.pk} retry"
        )
    return told


def outcome_table(job: CrawlJob) -> str:
    """One line per outcome, the most frequent first; empty if there is none yet."""
    return "\n".join(f"  {count:>10,}  {name}" for name, count in _outcomes(job))


def outcome_line(job: CrawlJob, *, most: int = 5) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in _outcomes(job)[:most])


def seconds_of(job: CrawlJob) -> float:
    """From its creation to its end, or until now."""
    return max(0.0, ((job.completed_at or timezone.now()) - job.created_at).total_seconds())


def exit_code(job: CrawlJob) -> int:
    complete = job.status == JobStatus.COMPLETED and not job.ended_short
    return COMPLETE if complete else NOT_COMPLETE


def _outcomes(job: CrawlJob) -> list[tuple[str, int]]:
    counted = [(name, count) for name, count in job.outcomes.items() if count]
    return sorted(counted, key=lambda pair: (-pair[1], pair[0]))
