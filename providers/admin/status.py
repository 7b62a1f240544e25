"""The providers' status page: rates, latencies, error classes and slots in use, as charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from pixsim.core.admin.charts import Column, Row, bars, columns
from pixsim.core.db.sql import one_moment
from pixsim.core.formats import format_duration
from providers.adapters.errors import ErrorClass
from providers.admin.figures import MINUTES, TIME_BOUNDS, ProviderFigures, figures
from providers.admin.standing import cooldown_of, health_bar, slot_bar, state_of

MANY_FAILED = 0.1
ACCOUNTS = 50
"""Most accounts of a provider on the page; the list of accounts has all."""
ENDINGS = (
    ("good", "succeeded", "succeeded"),
    ("warn", "refused", "refused or cancelled"),
    ("bad", "failed", "failed"),
)
# Colour by cause: the content, our rate of requests, or (all others) the provider.
ERROR_TONES: dict[str, str] = {
    ErrorClass.FILTERED: "warn",
    ErrorClass.INVALID_PARAMETER: "warn",
    ErrorClass.RATE_LIMIT: "busy",
    ErrorClass.CONCURRENT_LIMIT: "busy",
}


def page(owner: ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Return the whole page. Raise PermissionDenied for users who may not see accounts."""
    context = {
        **owner.admin_site.each_context(request),
        "title": "Status of the providers",
        "opts": owner.model._meta,
        **_checked(owner, request),
    }
    return render(request, "admin/providers/status.html", context)


def figures_only(owner: ModelAdmin[Any], request: HttpRequest) -> JsonResponse:
    """Return the live part of the page."""
    context = _checked(owner, request)
    html = render_to_string("admin/providers/status_figures.html", context, request)
    return JsonResponse({"html": html, "live": True})


def _checked(owner: ModelAdmin[Any], request: HttpRequest) -> dict[str, Any]:
    if not owner.has_view_permission(request):
        raise PermissionDenied
    with one_moment():
        found = figures(owner.get_queryset(request))
    return {
        # The busiest first.
        "providers": [
            _provider(one)
            for one in sorted(found, key=lambda one: (-one.ended, -one.used, one.provider_id))
        ],
        "endings": [(tone, words) for tone, _name, words in ENDINGS],
        "taken_at": timezone.now(),
        "may_add": owner.has_add_permission(request),
    }


def _provider(one: ProviderFigures) -> dict[str, Any]:
    accounts = reverse("admin:providers_provideraccount_changelist")
    return {
        "name": one.provider_id,
        "url": f"{accounts}?{urlencode({'provider_id': one.provider_id})}",
        "tiles": _tiles(one),
        "ended": one.ended,
        "is_sample": one.is_sample,
        "is_idle": not one.ended and not one.used,
        "minutes": _minutes(one.minutes),
        "times": _times(one.times),
        "time_words": _time_words(one),
        "slots": _slots(one),
        "limit": one.limit,
        "errors": _errors(one),
        "accounts": [
            {
                "row": account,
                "url": reverse("admin:providers_provideraccount_change", args=[account.pk]),
                "state": state_of(account),
                "slots": slot_bar(standing.used, account.max_concurrent_jobs),
                "health": health_bar(account, standing),
                "cooldown": cooldown_of(account),
            }
            for account, standing in one.accounts[:ACCOUNTS]
        ],
        "more_accounts": max(0, len(one.accounts) - ACCOUNTS),
    }


def _tiles(one: ProviderFigures) -> list[tuple[str, str, bool]]:
    """Return value, words and whether the value is bad, of each tile."""
    total = one.ended
    succeeded = sum(ending["succeeded"] for ending in one.minutes)
    failed = sum(ending["failed"] for ending in one.minutes) / total if total else 0.0
    active = sum(account.status == "active" for account, _standing in one.accounts)
    last = sum(ending.total() for ending in one.minutes[-5:])
    half, most = map(format_duration, one.seconds or (None, None))
    return [
        (f"{one.used:,} / {one.limit:,}", "slots in use", one.used > one.limit),
        (f"{total:,}", "ended in the last hour", False),
        (f"{last / 5:,.1f}", "ended per minute", False),
        (f"{succeeded / total:.1%}" if total else "-", "succeeded", False),
        (f"{failed:.1%}" if total else "-", "failed there", failed >= MANY_FAILED),
        (half, "half take up to", False),
        (most, "95 % take up to", False),
        (f"{active:,} / {len(one.accounts):,}", "accounts active", active == 0),
    ]


def _minutes(minutes: Sequence[Counter[str]]) -> SafeString:
    return columns(
        [
            Column(_parts(one), title=f"{_ago(place)}: {_words(one)}", label=_label(place))
            for place, one in enumerate(minutes)
        ],
        label="submissions that ended, by the minute",
    )


def _times(times: Sequence[Counter[str]]) -> SafeString | str:
    if not any(times):
        return ""
    labels = [*map(format_duration, TIME_BOUNDS), "longer"]
    return columns(
        [
            Column(_parts(one), title=f"up to {label}: {_words(one)}", label=label)
            for label, one in zip(labels, times, strict=True)
        ],
        label="submissions by how long they took",
    )


def _time_words(one: ProviderFigures) -> list[tuple[str, str]]:
    pairs = [("result", one.seconds), ("taken by the provider", one.accept_seconds)]
    return [
        (words, f"half within {format_duration(pair[0])}, 95 % within {format_duration(pair[1])}")
        for words, pair in pairs
        if pair is not None
    ]


def _slots(one: ProviderFigures) -> SafeString:
    """Return a chart of the slots in use per minute, and above them the free ones."""
    return columns(
        [
            Column(
                [("busy", used), ("track", max(0.0, one.limit - used))],
                title=f"{_ago(place)}: {used:.1f} of {one.limit:,} in use",
                label=_label(place),
            )
            for place, used in enumerate(one.slots)
        ],
        label="slots in use, by the minute",
    )


def _errors(one: ProviderFigures) -> SafeString | str:
    """Return a chart of the error classes, the most frequent first."""
    total = one.errors.total()
    rows = [
        Row(
            name.replace("_", " "),
            count,
            f"{count:,}",
            ERROR_TONES.get(name, "bad"),
            f"{count / total:.0%}",
        )
        for name, count in one.errors.most_common()
    ]
    return bars(rows) if rows else ""


def _parts(one: Counter[str]) -> list[tuple[str, float]]:
    return [(tone, one[name]) for tone, name, _words in ENDINGS]


def _words(one: Counter[str]) -> str:
    parts = [f"{one[name]:,} {words}" for _tone, name, words in ENDINGS if one[name]]
    return ", ".join(parts) or "none"


def _ago(place: int) -> str:
    ago = MINUTES - 1 - place
    return f"{ago} min ago" if ago else "this minute"


def _label(place: int) -> str:
    ago = MINUTES - 1 - place
    return f"-{ago} min" if ago and ago % 15 == 0 else "now" if ago == 0 else ""
