"""Pages of the admin with figures as charts: the status, for operators, and the tiers."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Kind, all_kinds
from jobs.queue.ops.status import Count, KindStatus, TableState, snapshot
from jobs.queue.ops.trends import Unit
from pixsim import status, tiers
from pixsim.core.admin.charts import Column, Row, bars, columns
from pixsim.core.admin.display import badge, tone_of, until
from pixsim.core.formats import format_duration, format_size
from pixsim.status import MINUTES, TIME_BOUNDS, Ended

OLD_SECONDS = 600.0
"""Ready work that waits for longer is shown as a problem."""
MANY_FAILED_PERCENT = 10.0

TIER_TONES = {"FREE": "quiet", "PRO": "busy", "ENTERPRISE": "good"}

# State → colour and text, in the order in which an item passes through them.
STATES = {
    "ready": ("busy", "ready for a worker"),
    "waiting": ("quiet", "waits for its owner's window"),
    "scheduled": ("warn", "waits for its time"),
    "held": ("warn", "held by its job"),
    "processing": ("good", "being processed"),
    "failed": ("bad", "failed"),
}


def status_page(request: HttpRequest) -> HttpResponse:
    """Return the page. The URL configuration lets only staff see it."""
    context = {**admin.site.each_context(request), "title": "Status", **_figures()}
    return render(request, "admin/status.html", context)


def status_figures(request: HttpRequest) -> JsonResponse:
    """Return the part of the page that is loaded again while the page is open."""
    html = render_to_string("admin/status_figures.html", _figures(), request)
    return JsonResponse({"html": html, "live": True})


def tiers_page(request: HttpRequest) -> HttpResponse:
    """Return the page of the tiers, for those who may see people."""
    if not request.user.has_perm("accounts.view_profile"):
        raise PermissionDenied
    by: Unit = "day" if request.GET.get("by") == "day" else "week"
    items = []
    for start, people in tiers.people_over_time(by):
        parts = [(tone, float(people[tier])) for tier, tone in TIER_TONES.items()]
        numbers = ", ".join(f"{people[tier]:,} {tier}" for tier in TIER_TONES)
        items.append(Column(parts, title=f"{start:%Y-%m-%d}: {numbers}"))
    context = {
        **admin.site.each_context(request),
        "title": "Tiers",
        "by": by,
        "units": ("day", "week"),
        "days": tiers.DAYS,
        "chart": columns(items, label=f"people by tier at the end of each {by}"),
        "tones": [(tone, tier) for tier, tone in TIER_TONES.items()],
        "totals": tiers.totals(),
        "uses": tiers.uses(),
        "changes": tiers.changes(),
        "profiles": reverse("admin:accounts_profile_changelist"),
    }
    return render(request, "admin/tiers.html", context)


def _figures() -> dict[str, Any]:
    """Return the figures of this moment as texts and charts, for the template."""
    images = status.images_per_minute()
    return {
        "taken_at": timezone.now(),
        "worker_runs": status.worker_runs(),
        # Chunks come first: most of the work is theirs.
        "kinds": sorted(map(_kind, all_kinds()), key=lambda kind: not kind["is_chunks"]),
        "images": _minutes([[("good", n)] for n in images], "images"),
        "images_last_hour": sum(images),
        "accounts": [
            {**row, "state": badge(row["status"].replace("_", " "), tone_of(row["status"]))}
            for row in status.accounts()
        ],
    }


def _kind(kind: Kind) -> dict[str, Any]:
    one, (minutes, times) = snapshot(kind), status.course(kind)
    recent = one.recent
    lengths = [
        ("half took up to", recent.seconds_p50),
        ("95 % up to", recent.seconds_p95),
        ("the longest", recent.seconds_max),
    ]
    return {
        "name": one.kind,
        "tiles": _tiles(one),
        "throughput": _minutes([_parts(ended) for ended in minutes], one.kind),
        "rates": ", ".join(
            f"{rate:,.1f} in the last {_minute_words(minutes)}"
            for minutes, rate in recent.per_minute.items()
        ),
        "times": _times(times) if any(map(any, times)) else "",
        "time_words": [(words, format_duration(s)) for words, s in lengths if s is not None],
        "depth": bars(
            [
                Row(words, one.counts[state].number, str(one.counts[state]), tone)
                for state, (tone, words) in STATES.items()
            ]
        ),
        "ages": _ages(one),
        "retries": _retries(one),
        "tiers": bars(
            [Row(tier, count.number, str(count)) for tier, count in sorted(one.tiers.items())]
        ),
        "has_open": bool(one.tiers),
        "stuck": [{"lease": lease, "over": until(lease.lease_expires_at)} for lease in one.stuck],
        "stuck_count": one.stuck_count,
        "indexes": bars(
            [
                Row(
                    index.name,
                    index.scans,
                    f"{index.scans:,} scans" if index.scans else "unused",
                    "busy" if index.scans else "off",
                    format_size(index.bytes),
                )
                for index in one.indexes
            ]
        ),
        "table": _table(one.table),
        "is_chunks": one.kind == "chunk",
    }


def _tiles(one: KindStatus) -> list[tuple[str, str, bool]]:
    """Return a value, what it means, and whether it is a problem, for each tile."""
    counts, ready, failed = one.counts, one.ages.ready, one.recent.failed_percent
    held, scheduled = counts["held"], counts["scheduled"]
    later = Count(held.number + scheduled.number, held.exact and scheduled.exact)
    return [
        (str(counts["ready"]), "ready", False),
        (str(counts["processing"]), "processing", False),
        (str(counts["waiting"]), "wait for a window", False),
        (str(later), "held or due later", False),
        (f"{one.recent.per_minute.get(5, 0):,.1f}", "finished per minute", False),
        (
            "-" if failed is None else f"{failed:.1f} %",
            "failed in the last hour",
            (failed or 0) >= MANY_FAILED_PERCENT,
        ),
        (format_duration(ready), "oldest ready", (ready or 0) > OLD_SECONDS),
        (f"{one.stuck_count:,}", "stuck leases", one.stuck_count > 0),
    ]


def _parts(ended: Ended) -> list[tuple[str, float]]:
    return [("good", ended[0]), ("bad", ended[1])]


def _minutes(parts: Sequence[Sequence[tuple[str, float]]], what: str) -> SafeString:
    """Return a column for each of the last minutes, the present one at the right."""
    items = []
    for ago, one in zip(reversed(range(MINUTES)), parts, strict=True):
        numbers = " + ".join(f"{value:,.0f}" for _tone, value in one if value) or "0"
        failed = ", failed last" if len(one) > 1 and one[1][1] else ""
        label = "now" if ago == 0 else f"-{ago} min" if ago % 15 == 0 else ""
        items.append(Column(one, title=f"{ago} min ago: {numbers}{failed}", label=label))
    return columns(items, label=f"{what} per minute in the last hour")


def _times(times: Sequence[Ended]) -> SafeString:
    labels = [*map(format_duration, TIME_BOUNDS), "longer"]
    items = []
    for label, ended in zip(labels, times, strict=True):
        title = f"{label}: {ended[0]:,} completed, {ended[1]:,} failed"
        items.append(Column(_parts(ended), title=title, label=label))
    return columns(items, label="items by processing time")


def _ages(one: KindStatus) -> SafeString | str:
    """Return how long the oldest ready item of each priority has waited, the most urgent first."""
    rows = []

    def add(label: str, seconds: float | None, tone: str, note: str = "") -> None:
        if seconds is not None:
            rows.append(Row(label, max(seconds, 0), format_duration(seconds), tone, note))

    for priority, seconds in sorted(one.ages.ready_by_priority.items(), reverse=True):
        add(f"priority {priority}", seconds, "bad" if seconds > OLD_SECONDS else "busy")
    owners = "1 owner" if one.waiting_owners == 1 else f"{one.waiting_owners} owners"
    add("waiting for a window", one.ages.waiting, "quiet", owners)
    add("longest attempt", one.ages.processing, "good")
    return bars(rows) if rows else ""


def _retries(one: KindStatus) -> SafeString:
    finished, retrying = one.recent.retries, one.retrying
    rows = []
    for retries in range(MAX_RETRIES + 1):
        ended, waits = finished.get(retries, 0), retrying.get(retries, 0)
        words = "no retry" if retries == 0 else "1 retry" if retries == 1 else f"{retries} retries"
        tone = "good" if retries == 0 else "warn" if retries < MAX_RETRIES else "bad"
        rows.append(Row(words, ended, f"{ended:,}", tone, f"{waits:,} wait" if waits else ""))
    return bars(rows)


def _table(table: TableState | None) -> str:
    if table is None:
        return ""
    vacuumed = "never"
    if table.vacuumed_at:
        ago = (timezone.now() - table.vacuumed_at).total_seconds()
        vacuumed = f"{format_duration(int(ago))} ago"
    return (
        f"{table.live_rows:,} live rows, {table.dead_rows:,} dead; {format_size(table.table_bytes)}, and "
        f"{format_size(table.index_bytes)} of indexes; vacuumed {vacuumed}"
    )


def _minute_words(minutes: int) -> str:
    return "minute" if minutes == 1 else "hour" if minutes == 60 else f"{minutes} minutes"
