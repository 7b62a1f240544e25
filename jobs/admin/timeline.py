"""The live part of a job's page: its state, its timeline, and what it made."""

import json
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs import pricing, timeline
from jobs.admin.adding import choice_of
from jobs.admin.assets import job_link, player
from jobs.generation import wait_reason
from jobs.models import OPEN, Asset, Job, JobStatus
from pixsim.core.admin.display import age, badge, bar, shortened, tone_of
from pixsim.core.admin.links import linked, row_url
from pixsim.core.formats import format_duration
from providers import masking
from providers.models import LIVE, ProviderSubmission

SHOWN_ATTEMPTS = 60
SHOWN_CHILDREN = 20
SHOWN_ASSETS = 12
MAX_PARAM = 600


def context_of(job: Job, *, may_act: bool) -> dict[str, Any]:
    """Return the context of the template `admin/jobs/job/timeline.html`."""
    attempts = timeline.attempts_of(job)
    shown = attempts[:SHOWN_ATTEMPTS]
    return {
        "job": job,
        "state": state_of(job),
        "progress": _progress(job, attempts),
        "facts": _facts(job, attempts),
        "problem": _problem(job),
        "is_unresolved": job.error_class == pricing.UNRESOLVED,
        "events": [_row(job, event) for event in timeline.events_of(job, shown)],
        "more_attempts": len(attempts) - len(shown),
        "made": _made(job),
        "params": _params(job),
        "children": [
            (linked(f"job {child.pk}", row_url(child)), child)
            for child in job.children.order_by("pk")[:SHOWN_CHILDREN]
        ],
        "buttons": _buttons(job) if may_act else [],
    }


def is_live(job: Job) -> bool:
    """Return whether the job may still change, or a provider still works on it."""
    return (
        job.status in OPEN
        or ProviderSubmission.objects.filter(job=job, next_poll_at__isnull=False).exists()
    )


def state_of(job: Job) -> SafeString:
    """Return the status as a badge."""
    return badge("held", "warn") if is_held(job) else badge(job.status)


def is_held(job: Job) -> bool:
    """Return whether the job waits for its time or its parent."""
    return job.status == JobStatus.PENDING and job.held


def took(job: Job) -> str:
    """Return the time from the request until the job ended, or until now."""
    ended = job.completed_at or (timezone.now() if job.status in OPEN else None)
    return format_duration((ended - job.created_at).total_seconds() if ended else None)


def _buttons(job: Job) -> list[tuple[str, str]]:
    """Return the actions that the job allows now, and their labels."""
    if job.error_class == pricing.UNRESOLVED:
        charged = ("resolve_charged", "Resolve: it was charged")
        return [charged, ("resolve_released", "Resolve: it was not")]
    if job.status in OPEN:
        is_adopted = job.held and job.params_hash is None
        return [*([("resume", "Resume")] if is_adopted else []), ("cancel", "Cancel")]
    return [("retry", "Retry")] if job.status != JobStatus.COMPLETED else []


def _progress(job: Job, attempts: list[ProviderSubmission]) -> SafeString | str:
    """Return a bar of the progress that the provider reports."""
    live = [one for one in attempts if one.status in LIVE and one.reference]
    share = live[-1].progress if live else None
    if job.status != JobStatus.PROCESSING or share is None:
        return ""
    return bar([("busy", share)], label=f"{share:.0%} done, says the provider")


def _facts(job: Job, attempts: list[ProviderSubmission]) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [("Asked", format_html("{} ago", age(job.created_at)))]
    if attempts:
        waited = (attempts[0].submitted_at - job.created_at).total_seconds()
        facts.append(("Waited", format_duration(max(0.0, waited))))
    going = "Waits for" if job.status == JobStatus.PENDING else "Runs for"
    facts += [
        ("Took" if job.completed_at else going, took(job)),
        ("Attempts", len(attempts)),
        ("Priority", job.priority),
        ("Cost", _cost(job)),
    ]
    if job.parent_job_id:
        facts.append(("Parent", job_link(job.parent_job_id)))
    return facts


def _cost(job: Job) -> str:
    if job.estimate is None:
        return "nothing"
    if job.cost is not None:
        return f"{job.cost:,} of {job.estimate:,} credits held"
    if job.error_class == pricing.UNRESOLVED:
        return f"{job.estimate:,} credits held, unresolved"
    if job.status in OPEN:
        return f"{job.estimate:,} credits held"
    return f"nothing; {job.estimate:,} credits given back"


def _problem(job: Job) -> str | None:
    if job.status == JobStatus.PENDING:
        return wait_reason.reason(job)
    return job.error_message if job.status == JobStatus.FAILED else None


def _params(job: Job) -> list[tuple[str, Any]]:
    """Return the params in the schema's order, without empty ones; long values are cut."""
    choice = choice_of(job)
    order = {name: i for i, name in enumerate(choice.schema.model_fields if choice else ())}
    values = masking.masked(job.params)
    return [
        (name.replace("_", " "), shortened(_text(values[name]), MAX_PARAM))
        for name in sorted(values, key=lambda name: order.get(name, len(order)))
        if values[name] not in (None, "", [], {})
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _made(job: Job) -> list[dict[str, Any]]:
    """Return the assets of the job's runs, and an asset that another job had made before."""
    assets = {asset.pk: asset for asset in Asset.objects.filter(source_job=job).order_by("pk")}
    if job.asset is not None:
        assets.setdefault(job.asset.pk, job.asset)
    return [
        {
            "player": player(asset),
            "pk": asset.pk,
            "link": linked(f"asset {asset.pk}", row_url(asset)),
            "type": asset.mime_type,
            "size": asset.measures or "-",
            "sha256": shortened(asset.sha256, 16),
        }
        for asset in list(assets.values())[:SHOWN_ASSETS]
    ]


def _row(job: Job, event: timeline.Event) -> dict[str, Any]:
    """Return the event with links, and with a bar if it is the beginning of an attempt."""
    title: SafeString | str = event.title
    detail: SafeString | str = event.detail
    one = event.attempt
    subjects = ("account", one and one.account), ("submission", one), ("asset", event.asset)
    for label, about in subjects:
        if about is not None:
            link = linked(f"{label} {about.pk}", row_url(about), "px-more")
            title = format_html("{} {}", title, link)
    if event.error_class:
        detail = format_html('<span class="px-tier">{}</span> {}', event.error_class, detail)
    return {
        "at": event.at,
        "tone": tone_of(event.status),
        "title": title,
        "detail": detail,
        "bar": _bar(job, one) if one else "",
        "is_ahead": event.is_ahead,
    }


def _bar(job: Job, one: ProviderSubmission) -> SafeString | str:
    """Return when in the life of the job the call was, and the provider's work."""
    begin, now = job.created_at, timezone.now()
    end = job.completed_at or now
    whole = (end - begin).total_seconds()
    if whole <= 0 or one.submitted_at < begin:
        return ""
    taken = one.accepted_at or one.responded_at or now
    ended = one.responded_at or min(now, end)
    tone = tone_of(one.status)
    parts: list[tuple[str, timedelta]] = [
        ("track", one.submitted_at - begin),
        ("quiet" if one.accepted_at else tone, taken - one.submitted_at),
        (tone, ended - taken),
    ]
    return bar(
        [(tone, max(0.0, part.total_seconds() / whole)) for tone, part in parts],
        label="when in the life of the job the attempt was",
    )
