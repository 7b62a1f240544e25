"""The timeline of a job: the events of its life, for the page of the job and for the terminal."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from django.utils import timezone
from django.utils.text import capfirst

from accounts.models import ActivityLog, CreditTransaction
from jobs.models import Asset, Job, JobStatus
from pixsim.core.formats import format_duration
from providers import masking
from providers.models import LIVE, ProviderSubmission

MAX_ACTIVITIES = 100
"""Of older activities of people nothing is shown."""
MAX_RUNS = 60
"""Of older runs no credits are shown."""
CREATED = "job.created"
SAME_MOMENT = timedelta(seconds=2)


@dataclass(frozen=True)
class Event:
    """One event, in plain text."""

    at: datetime
    title: str
    detail: str = ""
    error_class: str = ""
    status: str = ""
    """The status of the job or submission after the event, if it changed one."""
    attempt: ProviderSubmission | None = None
    """The submission, if the event is its beginning."""
    asset: Asset | None = None
    """What the job made, if the event is its completion."""
    is_ahead: bool = False
    """Whether the event is still to come."""


def attempts_of(job: Job) -> list[ProviderSubmission]:
    """Return the job's submissions with their accounts, the first attempt first."""
    return list(
        ProviderSubmission.objects.filter(job=job)
        .select_related("account")
        .defer("payload", "response", "outputs")
        .order_by("submitted_at", "id")
    )


def events_of(job: Job, attempts: Sequence[ProviderSubmission]) -> list[Event]:
    """Return what happened to the job, the earliest first; only these of its attempts."""
    events = chain(
        _activities(job),
        _credits(job),
        *(_attempt(number, one) for number, one in enumerate(attempts, start=1)),
        _next_try(job, attempts),
        _ended(job, attempts),
    )
    return sorted(events, key=lambda event: event.at)


def _requested(job: Job, asked: ActivityLog | None) -> Event:
    """Return how the job began, and who asked for it: on the command line nobody is known by name."""
    parts = [job.provider_id, job.model or "", f"priority {job.priority}"]
    if job.scheduled_at:
        parts.append(f"not before {timezone.localtime(job.scheduled_at):%Y-%m-%d %H:%M:%S %Z}")
    if job.parent_job_id:
        parts.append(f"after job {job.parent_job_id}")
    if job.run:
        parts.append(f"started anew by hand {_times(job.run)}")
    owner = str(job.user) if job.owner_id else "the system"
    actor = asked.user if asked else None
    whose = f"{actor.email}, for {owner}" if actor and actor.pk != job.owner_id else owner
    title = f"{capfirst(job.get_operation_type_display())} asked for by {whose}"
    return Event(job.created_at, title, ", ".join(filter(None, parts)))


def _credits(job: Job) -> Iterator[Event]:
    """Yield the credits held for each run, and those taken or given back."""
    if job.owner_id is None:
        return
    references = [f"job:{job.pk}:{run}" for run in range(job.run + 1)][-MAX_RUNS:]
    holds = CreditTransaction.objects.filter(reference__in=references)
    for hold in holds.prefetch_related("closings"):
        yield Event(hold.created_at, f"{-hold.amount:,} credits held")
        for line in hold.closings.all():
            taken, returned = -hold.amount - line.amount, f"{line.amount:,} credits given back"
            if taken <= 0:
                yield Event(line.created_at, returned)
            else:
                detail = returned if line.amount > 0 else ""
                yield Event(line.created_at, f"{taken:,} credits taken", detail)


def _activities(job: Job) -> Iterator[Event]:
    """Yield who asked for it, and what people did to it, as in `Cancelled by ann@example.org`."""
    log = ActivityLog.objects.filter(resource_type="job", resource_id=str(job.pk))
    yield _requested(job, log.filter(action=CREATED).select_related("user").first())
    log = log.exclude(action=CREATED)
    for line in reversed(log.select_related("user").order_by("-id")[:MAX_ACTIVITIES]):
        what = line.action.removeprefix("job.").replace("_", " ")
        values = "".join(f", {name} {value}" for name, value in (line.metadata or {}).items())
        actor = line.user.email if line.user else "an operator"
        yield Event(line.timestamp, capfirst(f"{what} by {actor}{values}"))


def _attempt(number: int, one: ProviderSubmission) -> Iterator[Event]:
    """Yield that a submission was sent, accepted, and ended, or how it stands."""
    choice = f"Chosen for: {one.choice}" if one.choice else "Why this account is not recorded"
    title = f"Attempt {number} through {one.account}"
    yield Event(one.submitted_at, title, choice, status="accepted", attempt=one)
    if one.accepted_at:
        after = format_duration((one.accepted_at - one.submitted_at).total_seconds())
        detail = f"There it is {one.provider_job_id}" if one.provider_job_id else ""
        yield Event(one.accepted_at, f"Accepted after {after}", detail, status="accepted")
    secrets = masking.secrets_of(one.account) if one.error_message else []
    message = masking.masked(one.error_message or "", secrets)
    polls = f", looked after {_times(one.polls)}" if one.polls else ""
    if one.responded_at:
        known = one.duration_ms is not None
        after = f" after {format_duration((one.duration_ms or 0) / 1000)}" if known else ""
        at, title = one.responded_at, f"{capfirst(one.get_status_display())}{after}{polls}"
    elif one.status in LIVE and one.reference:
        progress = f", {one.progress:.0%} done" if one.progress is not None else ""
        at, title = timezone.now(), f"Now {one.get_status_display()}{polls}{progress}"
    else:
        return
    yield Event(at, title, message, one.error_class or "", one.status)


def _next_try(job: Job, attempts: Sequence[ProviderSubmission]) -> Iterator[Event]:
    if job.status == JobStatus.PENDING and job.available_at:
        title = "It is tried again then" if attempts else "It begins then"
        reason = job.error_message or "" if attempts else ""
        is_ahead = job.available_at > timezone.now()
        yield Event(job.available_at, title, reason, status="held", is_ahead=is_ahead)


def _ended(job: Job, attempts: Sequence[ProviderSubmission]) -> Iterator[Event]:
    if job.completed_at is None:
        return
    # Not before the answer that ended it, whose time may come from another clock.
    answers = [one.responded_at for one in attempts if one.responded_at]
    at = max([job.completed_at, *(t for t in answers if t - job.completed_at < SAME_MOMENT)])
    title = capfirst(job.get_status_display())
    if job.status == JobStatus.COMPLETED and job.asset is not None:
        detail = ", ".join(filter(None, [job.asset.mime_type, job.asset.measures]))
        yield Event(at, title, detail, status=job.status, asset=job.asset)
    else:
        reason = job.error_message or "" if job.status == JobStatus.FAILED else ""
        yield Event(at, title, reason, job.error_class or "", job.status)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
