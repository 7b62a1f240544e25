"""What an error does: to the account that met it, and to the job that it befell.

The class decides (`adapters.errors`), here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from providers.adapters.errors import ErrorClass, ProviderError
from providers.models import AccountStatus, ProviderAccount, SubmissionStatus


@dataclass(frozen=True)
class Consequence:
    """`again_seconds`: the job is tried again after so long, with another account where there is
    one; None: it is final. `budget`: how many submissions of a job may end with this class.
    """

    again_seconds: float | None = None
    budget: int = 0
    cooldown_seconds: float | None = None
    status: AccountStatus | None = None
    ends_as: SubmissionStatus = SubmissionStatus.FAILED


CONSEQUENCES = {
    ErrorClass.AUTH: Consequence(again_seconds=0, budget=5, status=AccountStatus.ERROR),
    ErrorClass.QUOTA: Consequence(
        again_seconds=0, budget=20, cooldown_seconds=3600, status=AccountStatus.EXHAUSTED
    ),
    ErrorClass.RATE_LIMIT: Consequence(
        again_seconds=1, budget=50, cooldown_seconds=15, status=AccountStatus.RATE_LIMITED
    ),
    ErrorClass.CONCURRENT_LIMIT: Consequence(again_seconds=1, budget=50, cooldown_seconds=2),
    ErrorClass.FILTERED: Consequence(ends_as=SubmissionStatus.FILTERED),
    ErrorClass.INVALID_PARAMETER: Consequence(),
    ErrorClass.UNAVAILABLE: Consequence(again_seconds=2, budget=6),
    # What may have been accepted is never sent again by itself.
    ErrorClass.TIMEOUT: Consequence(),
    ErrorClass.UNKNOWN: Consequence(),
}

RESTING_STREAK = 3
"""After so many failures in a row that are the provider's, an account rests, longer each time."""
LONGEST_REST_SECONDS = 300.0


def visit(account_id: int, error: ProviderError) -> Consequence:
    """Let the account feel the error; what it means for the job."""
    consequence = CONSEQUENCES[error.error_class]
    accounts = ProviderAccount.objects.filter(pk=account_id)
    now = timezone.now()
    changes: dict[str, object] = {"last_error": f"{error.error_class}: {error}"[:1000]}
    seconds = error.retry_after or consequence.cooldown_seconds
    if consequence.status is not None:
        accounts = accounts.exclude(status=AccountStatus.DISABLED)
        changes["status"] = consequence.status
    if consequence.cooldown_seconds is not None and seconds:
        changes["cooldown_until"] = now + timedelta(seconds=seconds)
    accounts.update(**changes)
    if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.TIMEOUT, ErrorClass.UNKNOWN):
        _count_failure(account_id)
    return consequence


def recover(account: ProviderAccount) -> None:
    """A submission went well: the account is in order. Asks only if something may be wrong."""
    if account.failure_streak == 0 and account.status == AccountStatus.ACTIVE:
        return
    ProviderAccount.objects.filter(pk=account.pk).exclude(
        failure_streak=0, status=AccountStatus.ACTIVE
    ).exclude(status=AccountStatus.DISABLED).update(
        failure_streak=0, status=AccountStatus.ACTIVE, cooldown_until=None
    )


def _count_failure(account_id: int) -> None:
    """The circuit breaker: each further failure in a row doubles the rest."""
    accounts = ProviderAccount.objects.filter(pk=account_id)
    accounts.update(failure_streak=F("failure_streak") + 1)
    streak = accounts.values_list("failure_streak", flat=True).get()
    if streak >= RESTING_STREAK:
        rest = min(LONGEST_REST_SECONDS, 2.0 ** (streak - RESTING_STREAK + 1))
        accounts.update(cooldown_until=timezone.now() + timedelta(seconds=rest))
