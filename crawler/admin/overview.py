"""The live part of a crawl job's page: figures, outcomes, chunks, sources, latest images."""

from typing import Any

from django.db.models import Case, When
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts.models import ActivityLog
from crawler import missing_source
from crawler.export import newest_export
from crawler.models import CrawlJob, JobStatus, Outcome
from crawler.services.ending import failed_for_now
from crawler.services.why_short import why_short
from crawler.sources import title_of
from jobs.queue.items import Status
from pixsim.core.admin.charts import Row, bars
from pixsim.core.admin.display import age, badge, bar, shortened, tone_of
from pixsim.core.admin.links import linked, page_url
from pixsim.core.formats import format_duration, format_size
from pixsim.core.redaction import redact

STRIP_LIMIT = 1000
"""A job of more chunks is shown with a bar of their counts instead of a cell for each chunk."""
THUMBNAILS = 24
SOURCES = 100

# All others are failures. Surplus: the job had enough images already.
OUTCOME_TONES = {
    Outcome.STORED: "good",
    Outcome.DUPLICATE_URL: "quiet",
    Outcome.DUPLICATE: "quiet",
    Outcome.NEAR_DUPLICATE: "quiet",
    Outcome.SURPLUS: "quiet",
}

ALLOWED_ACTIONS = {
    JobStatus.PENDING: ("pause", "cancel"),
    JobStatus.RUNNING: ("pause", "cancel"),
    JobStatus.PAUSED: ("resume", "cancel"),
    JobStatus.COMPLETED: ("retry", "repeat"),
    JobStatus.FAILED: ("retry", "repeat"),
    JobStatus.CANCELLED: ("retry", "repeat"),
}


def is_live(job: CrawlJob) -> bool:
    """Return whether the page will change: workers give back what they have of an ended job."""
    busy = [rows.filter(status=Status.PROCESSING) for rows in (job.chunks, job.sources)]
    return job.is_open or any(rows.exists() for rows in busy)


def overview(job: CrawlJob, *, may_act: bool, may_add: bool) -> dict[str, Any]:
    """Return the context of the template `admin/crawler/crawljob/overview.html`."""
    return {
        "job": job,
        "owner": job.project.owner,
        "asked_by": _asked_by(job),
        "export": _export(job),
        "tone": tone_of(job.status),
        "state": job.status_words,
        "problem": job.error_message or why_short(job) or missing_source.reason(job),
        "retry_hint": failed_for_now(job),
        "stored": f"{job.valid_images:,} of {job.max_images:,} images",
        "progress": progress_bar(job),
        "facts": _facts(job),
        "outcomes": _outcomes(job),
        "chunks": _chunks(job),
        "sources": _sources(job),
        "more_sources": job.sources.count() - SOURCES,
        "images": list(job.images.order_by("-id")[:THUMBNAILS]),
        "near_duplicates": job.outcomes.get(Outcome.NEAR_DUPLICATE, 0),
        "buttons": buttons(job, may_add=may_add) if may_act else (),
        "like_url": page_url("crawler_crawljob_add", query=f"like={job.pk}"),
    }


def _export(job: CrawlJob) -> SafeString | str:
    """Return a link to the newest export with its size and age; empty if there is none."""
    found = newest_export(job.pk)
    if found is None:
        return ""
    is_here = found.is_here
    url = page_url("crawler_crawljob_export", job.pk) if is_here else ""
    where = "" if is_here else ", on the machine that made it"
    words = "{}, {}, {} ago{}"
    return format_html(
        words, linked(found.path.name, url), format_size(found.size), age(found.at), where
    )


def _asked_by(job: CrawlJob) -> str:
    """Return who asked for the job; empty if nobody did who is known, as on the command line."""
    log = ActivityLog.objects.filter(
        resource_type="crawl_job", resource_id=str(job.pk), action="crawl_job.created"
    )
    return log.values_list("user__email", flat=True).first() or ""


def buttons(job: CrawlJob, *, may_add: bool) -> tuple[str, ...]:
    """Return the actions that the job's status allows, and the right to add jobs."""
    is_whole = job.status == JobStatus.COMPLETED and not (job.ended_short or job.failed_chunks)
    refused = {"retry"} if is_whole else set()
    refused |= set() if may_add else {"repeat"}
    allowed = ALLOWED_ACTIONS.get(JobStatus(job.status), ())
    return tuple(action for action in allowed if action not in refused)


def progress_bar(job: CrawlJob) -> Any:
    share = job.valid_images / job.max_images if job.max_images > 0 else 1.0
    words = f"{job.valid_images:,} of {job.max_images:,} images"
    return bar([(tone_of(job.status), share)], label=words)


def _facts(job: CrawlJob) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Found", f"{job.total_images:,} addresses"),
        ("Downloaded", f"{job.downloaded_images:,} pictures"),
        ("Started", format_html("{} ago", age(job.started_at)) if job.started_at else "not yet"),
    ]
    if job.started_at is None:
        return facts
    ended = job.completed_at or timezone.now()
    seconds = max((ended - job.started_at).total_seconds(), 0.001)
    rate = job.valid_images / seconds
    facts.append(("Took" if job.completed_at else "Runs for", format_duration(seconds)))
    facts.append(("Rate", f"{rate:,.1f} images/s"))
    if job.status == JobStatus.RUNNING and rate > 0:
        left = (job.max_images - job.valid_images) / rate
        facts.append(("Left", f"about {format_duration(left)}"))
    return facts


def _outcomes(job: CrawlJob) -> SafeString | str:
    """Return bars of the outcomes, the most frequent first, with links to their candidates."""
    counts = [
        (name, count)
        for name, count in job.outcomes.items()
        if isinstance(count, int) and count > 0
    ]
    total = sum(count for _name, count in counts)
    rows = [
        Row(
            name,
            count,
            f"{count:,}",
            OUTCOME_TONES.get(name, "bad"),
            f"{100 * count / total:.1f} %",
            page_url(
                "crawler_candidate_changelist",
                query=urlencode({"q": job.pk, "outcome": name}),
            ),
        )
        for name, count in sorted(counts, key=lambda item: -item[1])
    ]
    return bars(rows) if rows else ""


def _sources(job: CrawlJob) -> list[dict[str, Any]]:
    is_failed = Case(When(status=Status.FAILED, then=0), default=1)
    is_paused = job.status == JobStatus.PAUSED
    return [
        {
            "name": shortened(redact(source.location), 60),
            "kind": title_of(source.kind),
            "state": badge(
                _state(job, source.status, "paused" if source.held and is_paused else source.status)
            ),
            "found": f"{source.found:,} found"
            + (f", {source.rejected:,} rejected" if source.rejected else ""),
            "problem": shortened(source.error_message or source.last_rejection, 200),
        }
        for source in job.sources.order_by(is_failed, "id")[:SOURCES]
    ]


def _state(job: CrawlJob, status: str, held_words: str) -> str:
    """Return how a chunk or source stands: `held_words` are for a pending one of an open job."""
    if status != Status.PENDING:
        return status
    if job.is_open:
        return held_words
    return "cancelled" if job.status == JobStatus.CANCELLED else "not needed"


def _chunks(job: CrawlJob) -> dict[str, Any]:
    counts: dict[str, int] = {
        "completed": job.completed_chunks,
        "failed": job.failed_chunks,
        "unfinished" if job.is_open else "cancelled": max(job.active_chunks, 0),
    }
    rows = list(
        job.chunks.order_by("chunk_index").values_list(
            "pk", "chunk_index", "status", "held", "retry_count"
        )[: STRIP_LIMIT + 1]
    )
    if len(rows) > STRIP_LIMIT:
        total = max(job.total_chunks, 1)
        parts = [("good", counts["completed"] / total), ("bad", counts["failed"] / total)]
        return {"counts": counts, "bar": bar(parts, label=f"{job.total_chunks:,} chunks")}
    cells = [
        {
            "id": pk,
            "state": (state := _state(job, status, "held" if held else status)),
            "tone": tone_of(state),
            "title": f"chunk {index}: {state}" + (f", retry {retries}" if retries else ""),
        }
        for pk, index, status, held, retries in rows
    ]
    by_state = {
        state: sum(cell["state"] == state for cell in cells)
        for state in ("completed", "processing", "pending", "held", "failed", "cancelled")
    }
    return {"counts": {state: n for state, n in by_state.items() if n}, "cells": cells}
