"""What the page of a job shows of it, live: its state, what it made, and its story as a timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from accounts.models import CreditTransaction
from jobs import pricing
from jobs.admin.adding import choice_of
from jobs.admin.assets import player, size_of
from jobs.generation import wait_reason
from jobs.models import Asset, Job, JobStatus
from jobs.timeline import deeds
from pixsim.core.admin.display import age, badge, bar, shortened, tone_of
from providers.admin import masking
from providers.admin.status import seconds
from providers.models import ProviderSubmission
from providers.models.submissions import LIVE

SHOWN_ATTEMPTS = 60
SHOWN_CHILDREN = 20
SHOWN_ASSETS = 12
LONGEST_PARAM = 600
SAME_MOMENT = timedelta(seconds=2)

OPEN = (JobStatus.PENDING, JobStatus.PROCESSING)


@dataclass(frozen=True)
class Event:
    """One point of the timeline. `detail` is HTML or a plain text."""

    at: datetime
    tone: str
    title: SafeString | str
    detail: SafeString | str = ""
    course: SafeString | str = ""
    """A bar of how the time of an attempt was spent."""
    is_ahead: bool = False
    """Whether it is still to come."""


def story(job: Job, *, may_steer: bool, may_see_assets: bool) -> dict[str, Any]:
    """The context of the template `admin/jobs/job/story.html`."""
    attempts = _attempts(job)
    shown = attempts[:SHOWN_ATTEMPTS]
    return {
        "job": job,
        "state": state_of(job),
        "progress": _progress(job, attempts),
        "facts": _facts(job, attempts),
        "problem": _problem(job),
        "undecided": job.error_class == pricing.UNRESOLVED,
        "events": sorted(_events(job, shown), key=lambda event: event.at),
        "more_attempts": len(attempts) - len(shown),
        "made": _made(job) if may_see_assets else [],
        "params": _params(job),
        "children": list(job.children.order_by("pk")[:SHOWN_CHILDREN]),
        "verbs": verbs(job) if may_steer else [],
    }


def is_live(job: Job) -> bool:
    """Whether the page may still change: the job, or what a provider still does about it."""
    return (
        job.status in OPEN
        or ProviderSubmission.objects.filter(job=job, next_poll_at__isnull=False).exists()
    )


def verbs(job: Job) -> list[tuple[str, str]]:
    """How the job may be steered now: name and words of each button."""
    if job.error_class == pricing.UNRESOLVED:
        return [("charge", "Settle: it was charged"), ("waive", "Settle: it was not")]
    if job.status in OPEN:
        release = [("release", "Release")] if job.held and job.params_hash is None else []
        return [*release, ("cancel", "Cancel")]
    return [("retry", "Retry")] if job.status != JobStatus.COMPLETED else []


def state_of(job: Job) -> SafeString:
    """The status as a pill; a job that waits for its time or its parent is held."""
    if job.status == JobStatus.PENDING and job.held:
        return badge("held", "warn")
    return badge(job.status)


def took(job: Job) -> str:
    """From asking until it had ended, or until now."""
    ended = job.completed_at or (timezone.now() if job.status in OPEN else None)
    return seconds((ended - job.created_at).total_seconds()) if ended else "-"


# Parts of the page


def _progress(job: Job, attempts: list[ProviderSubmission]) -> SafeString | str:
    """How far the provider says it is, while it is at work."""
    live = [one for one in attempts if one.status in LIVE and one.reference]
    if job.status != JobStatus.PROCESSING or not live:
        return ""
    share = live[-1].progress
    if share is None:
        return ""
    return bar([("busy", share)], label=f"{share:.0%} done, says the provider")


def _facts(job: Job, attempts: list[ProviderSubmission]) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [("Asked", format_html("{} ago", age(job.created_at)))]
    if attempts:
        waited = (attempts[0].submitted_at - job.created_at).total_seconds()
        facts.append(("Waited", seconds(max(0.0, waited))))
    going = "Waits for" if job.status == JobStatus.PENDING else "Runs for"
    facts.append(("Took" if job.completed_at else going, took(job)))
    facts.append(("Attempts", len(attempts)))
    facts.append(("Priority", job.priority))
    facts.append(("Cost", _cost(job)))
    if job.parent_job_id:
        facts.append(("Parent", _job_link(job.parent_job_id)))
    return facts


def _cost(job: Job) -> str:
    if job.estimate is None:
        return "nothing"
    if job.cost is not None:
        return f"{job.cost:,} of {job.estimate:,} credits held"
    if job.error_class == pricing.UNRESOLVED:
        return f"{job.estimate:,} credits held, undecided"
    if job.status in OPEN:
        return f"{job.estimate:,} credits held"
    return f"nothing; {job.estimate:,} credits given back"


def _problem(job: Job) -> str | None:
    if job.status == JobStatus.PENDING:
        return wait_reason.reason(job)
    return job.error_message if job.status == JobStatus.FAILED else None


def _params(job: Job) -> list[tuple[str, Any]]:
    """What was asked for, in the schema's order, without what is empty; long data cut."""
    choice = choice_of(job)
    places = list(choice.schema.model_fields) if choice else []
    shown = []
    values = masking.masked(job.params)
    for name in sorted(values, key=lambda name: places.index(name) if name in places else 99):
        value = values[name]
        if value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown.append((name.replace("_", " "), shortened(text, LONGEST_PARAM)))
    return shown


def _made(job: Job) -> list[dict[str, Any]]:
    """The assets of the job: what its last run made, and what it has from another of its kind."""
    assets = {asset.pk: asset for asset in Asset.objects.filter(source_job=job).order_by("pk")}
    if job.asset is not None:
        assets.setdefault(job.asset.pk, job.asset)
    return [
        {
            "player": player(asset),
            "url": reverse("admin:jobs_asset_change", args=[asset.pk]),
            "name": f"asset {asset.pk}",
            "type": asset.mime_type,
            "size": size_of(asset),
            "sha256": shortened(asset.sha256, 16),
        }
        for asset in list(assets.values())[:SHOWN_ASSETS]
    ]


# The timeline


def _events(job: Job, attempts: list[ProviderSubmission]) -> Iterator[Event]:
    yield Event(job.created_at, "quiet", _asked(job), _lines_of_asking(job))
    yield from _ledger(job)
    for at, deed in deeds(job):
        yield Event(at, "quiet", capfirst(deed))
    for number, one in enumerate(attempts):
        yield from _attempt_events(job, number, one)
    if job.status == JobStatus.PENDING and job.available_at:
        is_retry = bool(attempts)
        yield Event(
            job.available_at,
            "warn",
            "It is tried again then" if is_retry else "It begins then",
            job.error_message or "" if is_retry else "",
            is_ahead=job.available_at > timezone.now(),
        )
    if job.completed_at:
        yield Event(_end_of(job, attempts), tone_of(job.status), *_ending(job))


def _end_of(job: Job, attempts: list[ProviderSubmission]) -> datetime:
    """When it ended: not before the answer that ended it, which another clock may have noted."""
    ended: datetime = job.completed_at  # type: ignore[assignment]
    answers = [one.responded_at for one in attempts if one.responded_at]
    return max([ended, *(at for at in answers if at - ended < SAME_MOMENT)])


def _asked(job: Job) -> SafeString:
    return format_html(
        "<strong>{}</strong> asked for by {}",
        job.get_operation_type_display(),
        str(job.user),
    )


def _lines_of_asking(job: Job) -> str:
    parts = [f"{job.provider_id}, {job.model}" if job.model else job.provider_id]
    parts.append(f"priority {job.priority}")
    if job.scheduled_at:
        parts.append(f"not before {_exact(job.scheduled_at)}")
    if job.parent_job_id:
        parts.append(f"after job {job.parent_job_id}")
    if job.run:
        parts.append(f"started anew by hand {'once' if job.run == 1 else f'{job.run} times'}")
    return ", ".join(parts)


def _ledger(job: Job) -> Iterator[Event]:
    """Credits held for each run, and what became of them."""
    if job.owner_id is None:
        return
    references = [f"job:{job.pk}:{run}" for run in range(job.run + 1)][-SHOWN_ATTEMPTS:]
    holds = CreditTransaction.objects.filter(reference__in=references)
    for hold in holds.prefetch_related("settlements"):
        yield Event(hold.created_at, "quiet", f"{-hold.amount:,} credits held")
        for line in hold.settlements.all():
            taken = -hold.amount - line.amount
            if taken > 0:
                back = f", {line.amount:,} given back" if line.amount > 0 else ""
                yield Event(line.created_at, "quiet", f"{taken:,} credits taken{back}")
            else:
                yield Event(line.created_at, "quiet", f"{line.amount:,} credits given back")


def _attempt_events(job: Job, number: int, one: ProviderSubmission) -> Iterator[Event]:
    """An attempt: sent, accepted, ended, each when it happened; its errors with their class."""
    secrets = masking.secrets_of(one.account) if one.error_message else []
    yield Event(
        one.submitted_at,
        "busy",
        format_html(
            'Attempt {} through <a href="{}">{}</a> <a class="px-more" href="{}">submission {}</a>',
            number + 1,
            reverse("admin:providers_provideraccount_change", args=[one.account_id]),
            str(one.account),
            reverse("admin:providers_providersubmission_change", args=[one.pk]),
            one.pk,
        ),
        f"Chosen for: {one.choice}." if one.choice else "Why this account is not recorded.",
        course=_course(job, one),
    )
    if one.accepted_at:
        yield Event(
            one.accepted_at,
            "busy",
            f"Accepted after {seconds((one.accepted_at - one.submitted_at).total_seconds())}",
            f"There it is {one.provider_job_id}." if one.provider_job_id else "",
        )
    failure = _failure(one, masking.masked(one.error_message or "", secrets))
    if one.responded_at:
        length = f" after {seconds(one.duration_ms / 1000)}" if one.duration_ms is not None else ""
        looks = f", looked after {_times(one.polls)}" if one.polls else ""
        yield Event(
            one.responded_at,
            tone_of(one.status),
            format_html("{}{}{}", one.get_status_display().capitalize(), length, looks),
            failure,
        )
    elif one.status in LIVE and one.reference:
        yield Event(
            timezone.now(),
            tone_of(one.status),
            format_html(
                "Now {}{}{}",
                one.get_status_display(),
                f", looked after {_times(one.polls)}" if one.polls else "",
                f", {one.progress:.0%} done" if one.progress is not None else "",
            ),
            failure,
        )


def _failure(one: ProviderSubmission, message: str) -> SafeString | str:
    if not one.error_class:
        return message
    return format_html('<span class="px-tier">{}</span> {}', one.error_class, message)


def _course(job: Job, one: ProviderSubmission) -> SafeString | str:
    """When in the life of the job the attempt was: its call, and the provider's work."""
    begin = job.created_at
    end = job.completed_at or timezone.now()
    whole = (end - begin).total_seconds()
    if whole <= 0 or one.submitted_at < begin:
        return ""
    taken = one.accepted_at or one.responded_at or timezone.now()
    ended = one.responded_at or min(timezone.now(), end)
    tone = tone_of(one.status)
    return bar(
        [
            ("track", _share(one.submitted_at - begin, whole)),
            ("quiet" if one.accepted_at else tone, _share(taken - one.submitted_at, whole)),
            (tone, _share(ended - taken, whole)),
        ],
        label="when in the life of the job the attempt was",
    )


def _share(part: timedelta, whole: float) -> float:
    return max(0.0, part.total_seconds() / whole)


def _ending(job: Job) -> tuple[SafeString | str, SafeString | str]:
    if job.status == JobStatus.COMPLETED:
        if job.asset is None:
            return "Completed", ""
        url = reverse("admin:jobs_asset_change", args=[job.asset.pk])
        what = f"{job.asset.mime_type}, {size_of(job.asset)}"
        return "Completed", format_html(
            'It is <a href="{}">asset {}</a>: {}', url, job.asset.pk, what
        )
    why = job.error_message or "" if job.status == JobStatus.FAILED else ""
    if not job.error_class:
        return job.get_status_display().capitalize(), why
    return (
        job.get_status_display().capitalize(),
        format_html('<span class="px-tier">{}</span> {}', job.error_class, why),
    )


def _attempts(job: Job) -> list[ProviderSubmission]:
    return list(
        ProviderSubmission.objects.filter(job=job)
        .select_related("account")
        .defer("payload", "response", "outputs")
        .order_by("submitted_at", "id")
    )


def _job_link(number: int) -> SafeString:
    url = reverse("admin:jobs_job_change", args=[number])
    return format_html('<a href="{}">job {}</a>', url, number)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _exact(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}"
