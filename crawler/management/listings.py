"""Lists for the command line: crawl jobs, and the addresses of a job that were refused, with the reason."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet

from accounts.management.lookup import find_profile
from crawler.export.csv_rows import csv_head, csv_row
from crawler.management import reports
from crawler.models import OPEN_STATUSES, Candidate, CrawlJob, Outcome
from crawler.public import shown_address
from crawler.sources.base import clean
from pixsim.core import cli
from pixsim.core.cli.tables import render, table
from pixsim.core.redaction import redact

OPEN = "open"
SYSTEM = "system"
DEFAULT_LIMIT = 20
PAGE_SIZE = 1000
NOT_REFUSED = (Outcome.STORED, Outcome.SURPLUS, Outcome.DUPLICATE_URL)
"""Left out unless asked for; of a duplicate address no row is kept."""
REFUSED_COLUMNS = ("outcome", "detail", "url", "label", "source", "source_id", "landing_page")
OUTCOMES = [outcome for outcome in Outcome.values if outcome != Outcome.DUPLICATE_URL]


def jobs(statuses: Sequence[str], owner: str | None) -> QuerySet[CrawlJob]:
    """Return the crawl jobs in one of these statuses (all without one), the newest first."""
    found = CrawlJob.objects.select_related("project__owner").order_by("-id")
    if owner is not None:
        profile = None if owner == SYSTEM else find_profile(owner, field="owner")
        found = found.filter(project__owner=profile)
    if statuses:
        wanted = {*statuses, *(OPEN_STATUSES if OPEN in statuses else ())}
        found = found.filter(status__in=wanted)
    return found


def print_jobs(command: cli.Command, found: QuerySet[CrawlJob], *, limit: int, json: bool) -> None:
    shown = list(found[:limit])
    if json:
        command.print_json({"jobs": [_described(job) for job in shown]})
        return
    heads = ("id", "name", "status", "owner", "priority", "stored", "of", "created")
    texts = 4
    command.stdout.write(render(table(heads, map(_row, shown), title="Crawl jobs", texts=texts)))
    if more := found.count() - len(shown):
        command.stdout.write(f"{more:,} older ones: see them with --limit {len(shown) + more}")


def print_refused(
    command: cli.Command,
    job: CrawlJob,
    outcomes: Sequence[str],
    *,
    limit: int | None,
    json: bool,
    csv: bool,
) -> None:
    """Print the addresses of a job that brought no image, grouped by outcome, each with the reason."""
    rows = _refused(job, outcomes, limit)
    if json:
        command.print_json({"job": job.pk, "refused": list(rows)})
    elif csv:
        if hasattr(command.stdout, "reconfigure"):  # whatever the terminal's encoding is
            command.stdout.reconfigure(encoding="utf-8", newline="")
        command.stdout.write(csv_head(REFUSED_COLUMNS).decode(), ending="")
        for row in rows:
            line = csv_row(row[column] for column in REFUSED_COLUMNS)
            command.stdout.write(line.decode(), ending="")
    else:
        for row in rows:
            why = f"  ({row['detail']})" if row["detail"] else ""
            command.stdout.write(f"{row['outcome']:<18}  {row['url']}{why}")


def _refused(
    job: CrawlJob, outcomes: Sequence[str], limit: int | None
) -> Iterator[dict[str, str | None]]:
    wanted = outcomes or [outcome for outcome in Outcome.values if outcome not in NOT_REFUSED]
    found = Candidate.objects.filter(job=job, outcome__in=wanted).order_by("outcome", "id")
    # The numbers at once and the rows in pages: a query that stays open slows the workers down.
    ids = list(found.values_list("id", flat=True)[:limit])
    for start in range(0, len(ids), PAGE_SIZE):
        for one in found.filter(id__in=ids[start : start + PAGE_SIZE]):
            known = one.provenance if isinstance(one.provenance, dict) else {}
            yield {
                "outcome": one.outcome,
                "detail": clean(one.detail or ""),
                "url": clean(shown_address(one.url, known), longest=len(one.url)),
                "label": one.label,
                **{name: known.get(name) for name in REFUSED_COLUMNS[4:]},
                "landing_page": known.get("landing_page") and redact(known["landing_page"]),
            }


def _described(job: CrawlJob) -> dict[str, Any]:
    return {
        **reports.report(job),
        "name": job.name,
        "owner": _owner(job),
        "project": job.project.name,
        "priority": job.priority,
        "created_at": job.created_at.isoformat(),
    }


def _row(job: CrawlJob) -> Sequence[object]:
    return (
        job.pk,
        job.name,
        job.status_words,
        _owner(job) or SYSTEM,
        job.priority,
        f"{job.valid_images:,}",
        f"{job.max_images:,}",
        f"{job.created_at:%Y-%m-%d %H:%M}",
    )


def _owner(job: CrawlJob) -> str | None:
    return job.project.owner.email if job.project.owner else None
