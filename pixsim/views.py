"""The status page of the admin: the figures for operators, as charts."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString

from jobs.queue.items import MAX_RETRIES
from jobs.queue.ops.status import Count, IndexUse, KindStatus, TableState
from pixsim.core.admin.charts import Column, Row, bars, columns
from pixsim.core.admin.display import badge, until
from pixsim.core.formats import format_duration, format_size
from pixsim.core.priority import PRIORITIES
from pixsim.status import MINUTES, TIME_BOUNDS, AccountState, Course, Ended, Figures, figures

OLD_SECONDS = 600.0
"""Ready work that waits for longer is shown as a problem."""
MANY_FAILED_PERCENT = 10.0

# State → colour and text, in the order in which an item passes through them.
STATES = {
    "ready": ("busy", "ready for a worker"),
    "waiting": ("quiet", "waits for its owner's window"),
    "scheduled": ("warn", "waits for its time"),
    "held": ("warn", "held by its job"),
    "processing": ("good", "being processed"),
    "failed": ("bad", "failed"),
}
ACCOUNT_TONES = {"active": "good", "exhausted": "warn", "rate_limited": "warn", "error": "bad"}


def status_page(request: HttpRequest) -> HttpResponse:
    """Return the page. The URL configuration lets only staff see it."""
    context = {
        **admin.site.each_context(request),
        "title": "Status",
        **page_context(figures()),
    }
    return render(request, "admin/status.html", context)


def status_figures(request: HttpRequest) -> JsonResponse:
    """Return the part of the page that is loaded again while the page is open."""
    html = render_to_string("admin/status_figures.html", page_context(figures()), request)
    return JsonResponse({"html": html, "live": True})


def page_context(found: Figures) -> dict[str, Any]:
    """Return the figures as texts and charts, for the template."""
    return {
        "taken_at": found.taken_at,
        "worker_runs": found.worker_runs,
        # Chunks come first: most of the work is theirs.
        "kinds": sorted(
            (_kind(one, course) for one, course in found.kinds),
            key=lambda kind: not kind["is_chunks"],
        ),
        "images": _minutes([[("good", n)] for n in found.images_per_minute], "images"),
        "images_last_hour": sum(found.images_per_minute),
        "accounts": _accounts(found.accounts),
    }


def _kind(one: KindStatus, course: Course) -> dict[str, Any]:
    recent = one.recent
    return {
        "name": one.kind,
        "tiles": _tiles(one),
        "throughput": _minutes([_parts(ended) for ended in course.minutes], one.kind),
        "rates": ", ".join(
            f"{rate:,.1f} in the last {_minute_words(minutes)}"
            for minutes, rate in recent.per_minute.items()
        ),
        "times": _times(course.times) if any(t.completed or t.failed for t in course.times) else "",
        "time_words": [
            (words, format_duration(value))
            for words, value in (
                ("half took up to", recent.seconds_p50),
                ("95 % up to", recent.seconds_p95),
                ("the longest", recent.seconds_max),
            )
            if value is not None
        ],
        "depth": _depth(one),
        "ages": _ages(one),
        "retries": _retries(one),
        "tiers": bars(
            [Row(tier, count.number, str(count)) for tier, count in sorted(one.tiers.items())]
        ),
        "has_open": bool(one.tiers),
        "stuck": [{"lease": lease, "over": until(lease.lease_expires_at)} for lease in one.stuck],
        "stuck_count": one.stuck_count,
        "indexes": _indexes(one.indexes),
        "table": _table(one.table),
        "is_chunks": one.kind == "chunk",
    }


def _tiles(one: KindStatus) -> list[dict[str, Any]]:
    counts, ages, recent = one.counts, one.ages, one.recent
    failed = recent.failed_percent
    return [
        _tile(str(counts["ready"]), "ready"),
        _tile(str(counts["processing"]), "processing"),
        _tile(str(counts["waiting"]), "wait for a window"),
        _tile(str(_sum(counts["held"], counts["scheduled"])), "held or due later"),
        _tile(f"{recent.per_minute.get(5, 0):,.1f}", "finished per minute"),
        _tile(
            "-" if failed is None else f"{failed:.1f} %",
            "failed in the last hour",
            bad=failed is not None and failed >= MANY_FAILED_PERCENT,
        ),
        _tile(format_duration(ages.ready), "oldest ready", bad=(ages.ready or 0) > OLD_SECONDS),
        _tile(f"{one.stuck_count:,}", "stuck leases", bad=one.stuck_count > 0),
    ]


def _tile(value: str, words: str, *, bad: bool = False) -> dict[str, Any]:
    return {"value": value, "words": words, "bad": bad}


def _sum(*counts: Count) -> Count:
    return Count(sum(c.number for c in counts), all(c.exact for c in counts))


def _parts(ended: Ended) -> list[tuple[str, float]]:
    return [("good", ended.completed), ("bad", ended.failed)]


def _minutes(parts: Sequence[Sequence[tuple[str, float]]], what: str) -> SafeString:
    """Return a column for each of the last minutes, the present one at the right."""
    items = []
    for place, one in enumerate(parts):
        ago = MINUTES - 1 - place
        numbers = " + ".join(f"{value:,.0f}" for _tone, value in one if value) or "0"
        failed = ", failed last" if len(one) > 1 and one[1][1] else ""
        items.append(
            Column(
                one,
                title=f"{ago} min ago: {numbers}{failed}",
                label=f"-{ago} min" if ago and ago % 15 == 0 else "now" if ago == 0 else "",
            )
        )
    return columns(items, label=f"{what} per minute in the last hour")


def _times(times: Sequence[Ended]) -> SafeString:
    labels = [*map(format_duration, TIME_BOUNDS), "longer"]
    items = [
        Column(
            _parts(ended),
            title=f"{label}: {ended.completed:,} completed, {ended.failed:,} failed",
            label=label,
        )
        for label, ended in zip(labels, times, strict=True)
    ]
    return columns(items, label="items by processing time")


def _depth(one: KindStatus) -> SafeString:
    return bars(
        [
            Row(words, one.counts[state].number, str(one.counts[state]), tone)
            for state, (tone, words) in STATES.items()
        ]
    )


def _ages(one: KindStatus) -> SafeString | str:
    """Return how long the oldest ready item of each priority has waited, the most urgent first."""
    ages = one.ages.ready_by_priority
    rows = [
        Row(
            f"priority {priority}",
            max(ages[priority], 0),
            format_duration(ages[priority]),
            "bad" if ages[priority] > OLD_SECONDS else "busy",
        )
        for priority in PRIORITIES
        if priority in ages
    ]
    if one.ages.waiting is not None:
        rows.append(
            Row(
                "waiting for a window",
                one.ages.waiting,
                format_duration(one.ages.waiting),
                "quiet",
                "1 owner" if one.waiting_owners == 1 else f"{one.waiting_owners} owners",
            )
        )
    if one.ages.processing is not None:
        rows.append(
            Row(
                "longest attempt", one.ages.processing, format_duration(one.ages.processing), "good"
            )
        )
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


def _indexes(indexes: Sequence[IndexUse]) -> SafeString:
    return bars(
        [
            Row(
                index.name,
                index.scans,
                f"{index.scans:,} scans" if index.scans else "unused",
                "busy" if index.scans else "off",
                format_size(index.bytes),
            )
            for index in indexes
        ]
    )


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


def _accounts(states: Sequence[AccountState]) -> list[dict[str, Any]]:
    return [
        {
            "provider": state.provider_id,
            "state": badge(state.status.replace("_", " "), ACCOUNT_TONES.get(state.status, "off")),
            "accounts": state.accounts,
            "cooling": state.cooling,
        }
        for state in states
    ]


def _minute_words(minutes: int) -> str:
    return "minute" if minutes == 1 else "hour" if minutes == 60 else f"{minutes} minutes"
