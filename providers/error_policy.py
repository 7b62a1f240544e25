"""The error policy: what each class of error (`adapters.errors`) means for the account and the job."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from providers.adapters.errors import ErrorClass, ProviderError
from providers.models import AccountStatus, ProviderAccount, SubmissionStatus


@dataclass(frozen=True)
class ErrorPolicy:
    """What an error of one class means."""

    retry_seconds: float | None = None
    """The job is retried after this time, with another account if there is one; None: it fails."""
    max_submissions: int = 0
    """How many submissions of a job may end with this class before the job fails."""
    cooldown_seconds: float | None = None
    """The account takes no work for this time."""
    account_status: AccountStatus | None = None
    """The account gets this status."""
    submission_status: SubmissionStatus = SubmissionStatus.FAILED
    """The submission ends with this status."""


POLICIES = {
    ErrorClass.AUTH: ErrorPolicy(
        retry_seconds=0, max_submissions=5, account_status=AccountStatus.ERROR
    ),
    # Another account is tried at once; with none left, the job fails (`model_access`).
    ErrorClass.MODEL_ACCESS: ErrorPolicy(retry_seconds=0, max_submissions=50),
    ErrorClass.QUOTA: ErrorPolicy(
        retry_seconds=0,
        max_submissions=20,
        cooldown_seconds=3600,
        account_status=AccountStatus.EXHAUSTED,
    ),
    ErrorClass.RATE_LIMIT: ErrorPolicy(
        retry_seconds=1,
        max_submissions=50,
        cooldown_seconds=15,
        account_status=AccountStatus.RATE_LIMITED,
    ),
    ErrorClass.CONCURRENT_LIMIT: ErrorPolicy(
        retry_seconds=1, max_submissions=50, cooldown_seconds=2
    ),
    ErrorClass.FILTERED: ErrorPolicy(submission_status=SubmissionStatus.FILTERED),
    ErrorClass.INVALID_PARAMETER: ErrorPolicy(),
    ErrorClass.UNAVAILABLE: ErrorPolicy(retry_seconds=2, max_submissions=6),
    # The provider may have accepted it: it is never sent again automatically.
    ErrorClass.TIMEOUT: ErrorPolicy(),
    ErrorClass.UNKNOWN: ErrorPolicy(),
}

COOLDOWN_STREAK = 3
"""After this many failures of the provider in a row the account cools down, longer each time."""
MAX_COOLDOWN_SECONDS = 300.0
MAX_UNAVAILABLE_SECONDS = 3600.0
"""A provider that is down, or what stands before it, may say "tomorrow" and be back sooner."""


def apply(account_id: int, error: ProviderError) -> ErrorPolicy:
    """Apply the error to the account; return the policy, which says whether the job is retried."""
    policy = POLICIES[error.error_class]
    accounts = ProviderAccount.objects.filter(pk=account_id)
    now = timezone.now()
    changes: dict[str, object] = {"last_error": f"{error.error_class}: {error}"[:1000]}
    rests = policy.cooldown_seconds is not None
    seconds = error.retry_after or policy.cooldown_seconds
    if error.error_class is ErrorClass.UNAVAILABLE and error.retry_after:
        rests, seconds = True, min(error.retry_after, MAX_UNAVAILABLE_SECONDS)
    if policy.account_status is not None:
        accounts = accounts.exclude(status=AccountStatus.DISABLED)
        changes["status"] = policy.account_status
    if rests and seconds:
        changes["cooldown_until"] = now + timedelta(seconds=seconds)
    accounts.update(**changes)
    if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.TIMEOUT, ErrorClass.UNKNOWN):
        _count_failure(account_id)
    return policy


def record_success(account: ProviderAccount) -> None:
    """Make the account active again after a successful submission. No query if it is already.

    A rest that the provider asked for goes on: what succeeds may have been sent before it.
    """
    if account.failure_streak == 0 and account.status == AccountStatus.ACTIVE:
        return
    accounts = ProviderAccount.objects.filter(pk=account.pk).exclude(status=AccountStatus.DISABLED)
    asked_to_rest = Q(cooldown_until__gt=timezone.now(), failure_streak__lt=COOLDOWN_STREAK)
    accounts.exclude(asked_to_rest).update(
        failure_streak=0, status=AccountStatus.ACTIVE, cooldown_until=None
    )
    accounts.filter(asked_to_rest, failure_streak__gt=0).update(failure_streak=0)


def _count_failure(account_id: int) -> None:
    """Count a failure in a row; from COOLDOWN_STREAK on, each one doubles the cooldown."""
    accounts = ProviderAccount.objects.filter(pk=account_id)
    accounts.update(failure_streak=F("failure_streak") + 1)
    streak = accounts.values_list("failure_streak", flat=True).get()
    if streak >= COOLDOWN_STREAK:
        seconds = min(MAX_COOLDOWN_SECONDS, 2.0 ** (streak - COOLDOWN_STREAK + 1))
        until = timezone.now() + timedelta(seconds=seconds)
        accounts.update(cooldown_until=Greatest("cooldown_until", until))
