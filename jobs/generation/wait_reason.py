"""Why a job is not sent now, for people. Read without locks, so it holds for that moment only."""

from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from jobs.models import Job, JobStatus
from providers import circuits, model_access, slots
from providers.models import AccountStatus, ProviderAccount

SHOWN_ACCOUNTS = 3


def reason(job: Job) -> str | None:
    """Return why a pending job waits; None for other jobs."""
    if job.status != JobStatus.PENDING:
        return None
    if job.held:
        until = f" It is tried at {_time(job.available_at)}." if job.available_at else ""
        return f"{job.error_message or 'It waits for its time.'}{until}"
    if job.ready_at is None:
        return "It waits for a place in its owner's window."
    return no_slot(job) or "It waits for a worker, which takes it within a second if one runs."


def no_slot(job: Job) -> str | None:
    """Return why no account takes the job; None if one could."""
    circuit = circuits.open_circuits([job.provider_id]).get(job.provider_id)
    if circuit is not None:
        return (
            f"{job.provider_id} does not answer. It is tried again at {_time(circuit.probed_at)}."
        )
    usable = (None, job.user_id)
    if any(
        one.user_id in usable and job.model not in one.refused_models
        for one in slots.candidates([job.provider_id])
    ):
        return None
    accounts = list(
        ProviderAccount.objects.filter(
            Q(is_private=False) | Q(user_id=job.user_id), provider_id=job.provider_id
        ).order_by("-priority", "id")
    )
    if not accounts:
        return (
            f"There is no account with {job.provider_id}. Add one with: manage.py providers "
            f"accounts add {job.provider_id} EMAIL"
        )
    standings = slots.standings([account.pk for account in accounts])
    refusals = model_access.refusals(accounts, job.model or "")
    reasons = [
        f"{one} {_closed(one, standings[one.pk], refusals.get(one.pk))}"
        for one in accounts[:SHOWN_ACCOUNTS]
    ]
    if len(accounts) > SHOWN_ACCOUNTS:
        reasons.append(f"{len(accounts) - SHOWN_ACCOUNTS} more take nothing either")
    return f"No account takes it now: {'; '.join(reasons)}."


def _closed(account: ProviderAccount, standing: slots.Standing, refusal: str | None) -> str:
    if account.status == AccountStatus.DISABLED:
        return "is disabled"
    if account.status == AccountStatus.ERROR:
        return f"waits to be mended ({account.last_error or 'no error recorded'})"
    if refusal:
        return f"may not use this model ({refusal}); it is asked again within a day"
    if account.cooldown_until and account.cooldown_until > timezone.now():
        state = "cools down" if account.status == AccountStatus.ACTIVE else f"is {account.status}"
        return f"{state} until {_time(account.cooldown_until)}"
    if standing.credits and sum(standing.credits.values()) <= 0:
        return "has no credits left"
    if account.max_daily_videos is not None and standing.today >= account.max_daily_videos:
        return f"has had its {account.max_daily_videos} of the day"
    return f"has {standing.used} of {account.max_concurrent_jobs} slots in use"


def _time(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"
