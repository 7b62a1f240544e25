"""The operator's home, above the models of the admin: what needs somebody, what runs, and who works.

Every number is that of a list, with the same condition; people see the numbers of their own lists.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Count, Max, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.visibility import sees_all
from crawler.admin.chunks import ChunkStateFilter
from crawler.models import CrawlJob, JobChunk
from jobs.admin.attempts import item_link
from jobs.admin.filters import error_class_of, failed_with
from jobs.admin.jobs import JobStateFilter, UnresolvedFilter
from jobs.models import Job, JobStatus, QueuePause, Worker
from jobs.pricing import UNRESOLVED
from jobs.queue.items import Status
from jobs.queue.kinds import all_kinds, kind_named
from jobs.queue.ops import workers
from jobs.queue.ops.shared import shared
from pixsim import status
from pixsim.core.admin.display import age, badge
from pixsim.core.admin.links import page_url, visible
from pixsim.schema import backfills
from pixsim.views import minutes_chart
from providers.models import ProviderAccount

SECONDS = 5
BACKFILL_SECONDS = 300
CLASSES = 20
"""The most classes of errors of a kind that are shown."""
IN_HAND = 4
"""The most items of a worker that are shown; the list of workers has more."""
RETRY_SECONDS = 10.0
RETRY_AT_ONCE = 200
# Kind → its model and the list of its items.
KINDS: dict[str, tuple[type[Model], str]] = {
    "chunk": (JobChunk, "crawler_jobchunk_changelist"),
    "generation": (Job, "jobs_job_changelist"),
}


@dataclass(frozen=True)
class Tile:
    """A number of rows, and the list that shows just these."""

    words: str
    model: type[Model]
    condition: Q
    query: str

    def count(self, user: Any) -> int:
        rows = visible(self.model._default_manager.all(), user)
        return int(rows.filter(self.condition).count())

    def url(self) -> str:
        meta = self.model._meta
        return page_url(f"{meta.app_label}_{meta.model_name}_changelist", query=self.query)


NEEDS = (
    Tile("chunks whose lease is stuck", JobChunk, ChunkStateFilter.conditions["stuck"][1],
         "state=stuck"),
    Tile("generations whose lease is stuck", Job, JobStateFilter.conditions["stuck"][1],
         "state=stuck"),
    Tile("provider accounts in error", ProviderAccount, Q(status="error"), "status__exact=error"),
    Tile("charges to resolve", Job, UnresolvedFilter.conditions[UNRESOLVED][1],
         f"cost={UNRESOLVED}"),
    Tile("kinds, owners or hosts paused", QueuePause, Q(), ""),
)  # fmt: skip
RUNS = (
    Tile("crawl jobs running", CrawlJob, Q(status="running"), "status__exact=running"),
    Tile("chunks being processed", JobChunk, Q(status=Status.PROCESSING),
         "status__exact=processing"),
    Tile("generations being processed", Job, Q(status=JobStatus.PROCESSING),
         "status__exact=processing"),
)  # fmt: skip


def page(request: HttpRequest) -> HttpResponse:
    """Return the admin's first page, with the figures above its models."""
    return admin.site.index(request, {"home": home(request)})


def figures(request: HttpRequest) -> JsonResponse:
    """Return the part of the page that is loaded again while the page is open."""
    return JsonResponse({"html": home(request), "live": True})


@require_POST
def retry(request: HttpRequest) -> HttpResponse:
    """Start anew what failed with errors of one class, as far as the user sees it."""
    kind, error = request.POST.get("kind", ""), request.POST.get("error", "")
    if kind not in KINDS or not _may_retry(request, kind):
        raise PermissionDenied
    rows = failed_with(visible(KINDS[kind][0]._default_manager.all(), request.user), kind, error)
    ids = list(rows.order_by("pk").values_list("pk", flat=True))
    started, tried, until = 0, 0, time.monotonic() + RETRY_SECONDS
    while tried < len(ids) and time.monotonic() < until:
        some = ids[tried : tried + RETRY_AT_ONCE]
        started += kind_named(kind).retry(some)
        tried += len(some)
    refused, left = tried - started, len(ids) - tried
    words = [f"{kind}: {started:,} started anew"]
    words += [f"{refused:,} refused"] if refused else []
    words += [f"{left:,} still to be started: press the button again"] if left else []
    messages.success(request, f"{', '.join(words)}.")
    return HttpResponseRedirect(reverse("admin:index"))


def home(request: HttpRequest) -> SafeString | str:
    """Return the figures that the user may see, as HTML; empty while they look as an owner."""
    user: Any = request.user
    if getattr(request, "looks_as", None):
        return ""
    name = "home" if sees_all(user) else f"home of {user.pk}"
    found = shared(name, partial(_found, user), seconds=SECONDS)
    context = {
        "failed": _failed(request, found.value["failed"]),
        "needs": [tile for tile in _tiles(NEEDS, found.value["needs"]) if tile["count"]],
        "runs": _tiles(RUNS, found.value["runs"]),
        "workers": _workers(found.value["workers"]),
        "worker_list": page_url("jobs_worker_changelist"),
        "taken_at": found.taken_at,
    }
    if sees_all(user):
        backfills_left = shared("backfills", _backfills, seconds=BACKFILL_SECONDS)
        context |= {
            "backfills": backfills_left.value,
            "charts": [
                (name, minutes_chart([[("good", done), ("bad", failed)] for done, failed in minutes],
                                     name))
                for name, minutes in found.value["minutes"].items() if name in KINDS
            ],
        }  # fmt: skip
    return render_to_string("admin/home.html", context, request)


def _may_retry(request: HttpRequest, kind: str) -> bool:
    meta = KINDS[kind][0]._meta
    return bool(request.user.has_perm(f"{meta.app_label}.change_{meta.model_name}"))


# What is shared


def _found(user: Any) -> dict[str, Any]:
    """Return the figures of what the user sees, as JSON can hold them."""
    return {
        "failed": [
            [kind, *row]
            for kind, (model, _list) in KINDS.items()
            for row in _failed_of(visible(model._default_manager.all(), user), kind)
        ],
        "needs": [tile.count(user) for tile in NEEDS],
        "runs": [tile.count(user) for tile in RUNS],
        "workers": [_worker(one, user) for one in workers.alive()],
        "minutes": _minutes() if sees_all(user) else {},
    }


def _failed_of(rows: QuerySet[Any], kind: str) -> list[tuple[str, int, str]]:
    """Return each class of errors with how many items failed with it, and what one of them said."""
    by_class = rows.filter(status=Status.FAILED).order_by().values(last_error=error_class_of(kind))
    found = by_class.annotate(count=Count("pk"), message=Max("error_message"))
    return [
        (row["last_error"], row["count"], (row["message"] or "")[:160])
        for row in found.order_by("-count", "last_error")[:CLASSES]
    ]


def _minutes() -> dict[str, list[status.Ended]]:
    return {kind.name: status.course(kind)[0] for kind in all_kinds()}


def _worker(one: workers.WorkerState, user: Any) -> dict[str, Any]:
    held = [(item.kind, item.id) for item in one.in_hand]
    seen = {
        (kind.name, key)
        for kind in all_kinds()
        if (keys := [key for name, key in held if name == kind.name])
        for key in visible(kind.model._default_manager.filter(pk__in=keys), user).values_list(
            "pk", flat=True
        )
    }
    return {
        "name": one.name,
        "processes": one.processes,
        "is_draining": one.is_draining,
        "seen": one.last_seen_at.isoformat(),
        "busy": len(held),
        "in_hand": [pair for pair in held if pair in seen][:IN_HAND],
    }


def _backfills() -> list[list[str]]:
    """Return the name and the state of each backfill that is not finished."""
    return [
        [one.backfill.name, one.state]
        for one in backfills.statuses(connection, backfills.registered().values())
        if one.pending and one.state is not backfills.State.DONE
    ]


# How it is shown


def _tiles(tiles: Sequence[Tile], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Return the numbers of lists that the user may open."""
    shown = [(tile, tile.url(), count) for tile, count in zip(tiles, counts, strict=True)]
    return [{"words": tile.words, "url": url, "count": count} for tile, url, count in shown if url]


def _failed(request: HttpRequest, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    found = []
    for kind, error, count, message in rows:
        query = urlencode({"error": error})
        if url := page_url(KINDS[kind][1], query=query):
            may_retry = _may_retry(request, kind)
            found.append({"kind": kind, "error": error, "count": f"{count:,}", "message": message,
                          "url": url, "may_retry": may_retry})  # fmt: skip
    return found


def _workers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the table of workers shows, to who may see the list of them."""
    if not page_url(f"jobs_{Worker._meta.model_name}_changelist"):
        return []
    return [
        {
            **row,
            "seen": age(datetime.fromisoformat(row["seen"])),
            "state": badge("drains", "warn") if row["is_draining"]
            else badge("busy", "good") if row["busy"] else badge("idle", "quiet"),
            "items": [item_link(kind, key) for kind, key in row["in_hand"]],
            "more": row["busy"] - len(row["in_hand"]),
        }
        for row in rows
    ]  # fmt: skip
