"""Pages of the admin with figures as charts: the status, for operators, and the tiers."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import PROFILE_FILTERS
from accounts.log_in import answer_refusal
from accounts.visibility import OTHERS_WORK, sees_all
from jobs.queue.items import MAX_RETRIES
from jobs.queue.ops.shared import shared
from jobs.queue.ops.status import Count, KindStatus, TableState
from jobs.queue.ops.trends import UNITS, Period, Unit
from pixsim import status, tiers
from pixsim.core.admin.charts import Column, Row, bars, columns
from pixsim.core.admin.display import badge, tone_of, until
from pixsim.core.admin.links import page_url, without_links
from pixsim.core.formats import format_duration, format_size
from pixsim.status import MINUTES, TIME_BOUNDS, Ended

OLD_SECONDS = 600.0
"""Ready work that waits for longer is shown as a problem."""
MANY_FAILED_PERCENT = 10.0
STATUS_SECONDS = 5
"""The figures that all viewers share are at most so old, if they cost little."""
BACKLOG_PERIODS = 12
"""So many periods ahead are shown."""

AT_LIMIT = ", at the limit"
TIER_TONES = {"FREE": "quiet", "PRO": "busy", "ENTERPRISE": "good"}

# State → colour and text, in the order in which an item passes through them.
STATES = {
    "ready": ("busy", "ready for a worker"),
    "waiting": ("quiet", "waits for its owner's window"),
    "scheduled": ("warn", "waits for its time"),
    "held": ("warn", "held by its job"),
    "processing": ("good", "being processed"),
    "failed": ("bad", "failed"),
    "cancelled": ("off", "cancelled"),
}


# Kind → its list in the admin; sources have none, they stand on the page of their job.
LISTS = {"chunk": "admin:crawler_jobchunk_changelist", "generation": "admin:jobs_job_changelist"}
STATE_FILTERS = {
    "ready": "state=ready",
    "waiting": "state=waiting",
    "scheduled": "state=scheduled",
    "held": "state=stopped",
    "processing": "status__exact=processing",
    "failed": "status__exact=failed",
    "cancelled": "state=cancelled",
}


def log_in(request: HttpRequest) -> HttpResponse:
    """Return the admin's log-in page, with status 429 while too many log-ins have failed."""
    return answer_refusal(admin.site.login(request))


def status_page(request: HttpRequest) -> HttpResponse:
    """Return the page, of everybody's work, to members of staff who may see it."""
    _require_all(request)
    by = _unit(request)
    context = {**admin.site.each_context(request), "title": "Status", "by": by}
    return render(request, "admin/status.html", {**context, "figures": _status(request, by)})


def status_figures(request: HttpRequest) -> JsonResponse:
    """Return the part of the page that is loaded again while the page is open."""
    _require_all(request)
    return JsonResponse({"html": _status(request, _unit(request)), "live": True})


def _require_all(request: HttpRequest) -> None:
    if not sees_all(request.user):
        raise PermissionDenied


def _status(request: HttpRequest, by: Unit) -> SafeString:
    """Return the figures as HTML, which all viewers share."""
    found = shared(f"status by {by}", partial(_figures, by), seconds=STATUS_SECONDS)
    taken_at = f"{timezone.localtime(found.taken_at):%H:%M:%S %Z}"
    words = f"As of {taken_at}, kept fresh while this page is open."
    shown = without_links(found.value, request)
    return format_html('{}<p class="px-quiet-text">{}</p>', shown, words)


def _figures(by: Unit) -> str:
    """Return the figures of this moment as HTML, with the links of who may open everything."""
    found = status.figures(by)
    kinds = [_kind(one, by) for one in found.kinds.values()]
    context = {
        "worker_runs": found.worker_runs,
        # Chunks come first: most of the work is theirs.
        "kinds": sorted(kinds, key=lambda kind: not kind["is_chunks"]),
        "by": by,
        "units": list(UNITS),
        "images": minutes_chart([[("good", n)] for n in found.images], "images"),
        "images_last_hour": sum(found.images),
        "accounts": [
            {**row, "state": badge(row["status"].replace("_", " "), tone_of(row["status"]))}
            for row in found.accounts
        ],
    }
    return render_to_string("admin/status_figures.html", context)


def tiers_page(request: HttpRequest) -> HttpResponse:
    """Return the page of the tiers, for those who may see people."""
    if not request.user.has_perms(["accounts.view_profile", OTHERS_WORK]):
        raise PermissionDenied
    by: Unit = "day" if request.GET.get("by") == "day" else "week"
    items = []
    for place, (start, people) in enumerate(tiers.people_over_time(by)):
        parts = [(tone, float(people[tier])) for tier, tone in TIER_TONES.items()]
        numbers = ", ".join(f"{people[tier]:,} {tier}" for tier in TIER_TONES)
        label = f"{start:%m-%d}" if place % 6 == 0 else ""
        items.append(Column(parts, title=f"{start:%Y-%m-%d}: {numbers}", label=label))
    context = {
        **admin.site.each_context(request),
        "title": "Tiers",
        "by": by,
        "units": ("day", "week"),
        "days": tiers.DAYS,
        "chart": columns(items, label=f"people by tier at the end of each {by}"),
        "tones": [(tone, tier) for tier, tone in TIER_TONES.items()],
        "totals": tiers.totals(),
        "uses": [(each, _users(each), _users(each, AT_LIMIT)) for each in tiers.uses()],
        "changes": tiers.changes(),
        "profiles": page_url("accounts_profile_changelist"),
    }
    return render(request, "admin/tiers.html", context)


class UseFilter(admin.SimpleListFilter):
    """Profiles by what they use of a limit."""

    title = "use of a limit"
    parameter_name = "uses"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(what + end, what + end) for what in tiers.counted() for end in ("", AT_LIMIT)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        what = value.removesuffix(AT_LIMIT)
        if what not in tiers.counted():
            return queryset
        people = tiers.people_who_use(what, at_limit=value.endswith(AT_LIMIT))
        return queryset.filter(pk__in=people)


PROFILE_FILTERS.append(UseFilter)


def _users(use: tiers.Use, end: str = "") -> str:
    """Return the list of the people of a tier who use any of a limit, or all of it."""
    query = urlencode({"user_tier__exact": use.tier, "uses": use.what + end})
    return page_url("accounts_profile_changelist", query=query)


def _unit(request: HttpRequest) -> Unit:
    """Return the periods of the trends that are asked for, hours without a wish."""
    return next((unit for unit in UNITS if unit == request.GET.get("by")), "hour")


def _kind(figures: status.KindFigures, by: Unit) -> dict[str, Any]:
    """Return the figures of a kind of work as texts and charts, for the template."""
    one, minutes, times = figures.status, figures.minutes, figures.times
    recent = one.recent
    lengths = [
        ("half took up to", recent.seconds_p50),
        ("95 % up to", recent.seconds_p95),
        ("the longest", recent.seconds_max),
    ]
    return {
        "name": one.kind,
        "tiles": _tiles(one),
        "trends": _trends(one.kind, figures.periods, by),
        "backlog": _backlog(one, by),
        "throughput": minutes_chart([_parts(ended) for ended in minutes], one.kind),
        "rates": ", ".join(
            f"{rate:,.1f} in the last {_minute_words(minutes)}"
            for minutes, rate in recent.per_minute.items()
        ),
        "times": _times(times) if any(map(any, times)) else "",
        "time_words": [(words, format_duration(s)) for words, s in lengths if s is not None],
        "depth": bars(
            [
                Row(
                    words,
                    one.counts[state].number,
                    str(one.counts[state]),
                    tone,
                    url=_list(one.kind, STATE_FILTERS[state]),
                )
                for state, (tone, words) in STATES.items()
            ]
        ),
        "ages": _ages(one),
        "retries": _retries(one),
        "tiers": bars(
            [
                Row(tier, count.number, str(count), url=_list(one.kind, f"state=open&tier={tier}"))
                for tier, count in sorted(one.tiers.items())
            ]
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


def _list(kind: str, query: str) -> str:
    """Return the URL of the list of a kind's items with a filter; empty if it has none."""
    return f"{reverse(LISTS[kind])}?{query}" if kind in LISTS else ""


def _attempts(kind: str, outcome: str = "") -> str:
    query = f"kind={kind}" + (f"&outcome={outcome}" if outcome else "")
    return f"{reverse('admin:jobs_workattempt_changelist')}?{query}"


def _tiles(one: KindStatus) -> list[tuple[str, str, bool, str]]:
    """Return a value, what it means, whether it is a problem, and its list, for each tile."""
    counts, ready, failed = one.counts, one.ages.ready, one.recent.failed_percent
    held, scheduled = counts["held"], counts["scheduled"]
    later = Count(held.number + scheduled.number, held.exact and scheduled.exact)
    by_state = {state: _list(one.kind, query) for state, query in STATE_FILTERS.items()}
    return [
        (str(counts["ready"]), "ready", False, by_state["ready"]),
        (str(counts["processing"]), "processing", False, by_state["processing"]),
        (str(counts["waiting"]), "wait for a window", False, by_state["waiting"]),
        (str(later), "held or due later", False, _list(one.kind, "state=held")),
        (
            f"{one.recent.per_minute.get(5, 0):,.1f}",
            "finished per minute",
            False,
            _attempts(one.kind),
        ),
        (
            "-" if failed is None else f"{failed:.1f} %",
            "failed in the last hour",
            (failed or 0) >= MANY_FAILED_PERCENT,
            _attempts(one.kind, "failed"),
        ),
        (format_duration(ready), "oldest ready", (ready or 0) > OLD_SECONDS, by_state["ready"]),
        (
            f"{one.stuck_count:,}",
            "stuck leases",
            one.stuck_count > 0,
            _list(one.kind, "state=stuck"),
        ),
    ]


def _trends(kind: str, periods: Sequence[Period], by: Unit) -> list[tuple[str, SafeString, str]]:
    """Return a title, a chart and a link for each course of the attempts, period by period."""
    form = "%H:%M" if by == "hour" else "%m-%d"

    def drawn(title: str, parts: Callable[[Period], tuple[list[tuple[str, float]], str]]) -> Any:
        items = []
        for place, period in enumerate(periods):
            values, words = parts(period)
            # In UTC: the charts are made once for all viewers.
            label = f"{period.start:{form}}" if place % (len(periods) // 4) == 0 else ""
            told = f"{period.start:%Y-%m-%d %H:%M} UTC: {words}"
            items.append(Column(values, title=told, label=label))
        return columns(items, label=f"{kind}: {title} by the {by}")

    def finished(one: Period) -> tuple[list[tuple[str, float]], str]:
        words = f"{one.completed:,} completed, {one.failed:,} failed"
        return [("good", one.completed), ("bad", one.failed)], words

    def failed(one: Period) -> tuple[list[tuple[str, float]], str]:
        share = one.failed_percent
        return [("bad", share or 0.0)], "none finished" if share is None else f"{share:.1f} %"

    def retries(one: Period) -> tuple[list[tuple[str, float]], str]:
        words = f"{one.retries:,} retries, {one.lost:,} lost"
        return [("warn", one.retries), ("bad", one.lost)], words

    def times(one: Period) -> tuple[list[tuple[str, float]], str]:
        half, most = one.seconds_p50 or 0.0, one.seconds_p95 or 0.0
        words = f"half up to {format_duration(half)}, 95 % up to {format_duration(most)}"
        return [("busy", half), ("quiet", most - half)], words

    return [
        (f"Finished by the {by}", drawn("finished", finished), _attempts(kind)),
        ("Failed, per cent", drawn("failed per cent", failed), _attempts(kind, "failed")),
        ("Retries and lost", drawn("retries", retries), _attempts(kind, "retry")),
        ("Seconds: half, and 95 %", drawn("seconds", times), _attempts(kind, "completed")),
    ]


def _backlog(one: KindStatus, by: Unit) -> tuple[str, SafeString | str]:
    """Return when the backlog is empty at the present rate, in words and period by period."""
    backlog = one.backlog
    left, seconds = backlog.items.number, backlog.seconds
    if not left:
        return "Nothing waits.", ""
    if not backlog.per_hour or seconds is None:
        return f"{backlog.items} items; nothing has finished in the last 24 hours.", ""
    hours = UNITS[by][0] / timedelta(hours=1)
    items = [
        Column([("busy", rest)], title=f"in {place} {by}s: {rest:,.0f} left", label=str(place))
        for place in range(BACKLOG_PERIODS + 1)
        for rest in [max(0.0, left - backlog.per_hour * hours * place)]
    ]
    words = (
        f"{backlog.items} items, {backlog.per_hour:,.1f} finished per hour: empty in "
        f"{format_duration(seconds)}, if nothing is added."
    )
    return words, columns(items, label=f"{one.kind}: backlog in the next {by}s")


def _parts(ended: Ended) -> list[tuple[str, float]]:
    return [("good", ended[0]), ("bad", ended[1])]


def minutes_chart(parts: Sequence[Sequence[tuple[str, float]]], what: str) -> SafeString:
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
