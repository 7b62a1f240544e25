"""Credits that accounts have left at their providers: fetch, store, compare with our record."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from accounts import activity
from pixsim.core.crypto import CredentialsUnreadable
from providers.adapters import Adapter, all_adapters
from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass, ProviderError
from providers.credentials import ask, credentials_of, open_session
from providers.models import AccountStatus, ProviderAccount, ProviderCredit

ASKED_AT_ONCE = 8
LARGEST_BALANCE = 2**31 - 1
"""What our column holds."""

# The cost of generations, as the provider reported it, since its balance was last fetched.
SPENT = """
SELECT coalesce(sum(cost), 0)::float8, count(*) FILTER (WHERE cost IS NULL)
FROM provider_submissions
WHERE account_id = %(account)s AND reference IS NOT NULL AND status = 'succeeded'
  AND responded_at > %(since)s AND responded_at <= %(until)s
"""


@dataclass(frozen=True)
class Balance:
    """An account's credits by type, as its provider reports them, and those stored before."""

    account: ProviderAccount
    credits: Mapping[str, int]
    before: Mapping[str, int]
    spent: float = 0.0
    """Reported cost of the generations since then."""
    unpriced: int = 0
    """Generations since then without a reported cost."""

    @property
    def difference(self) -> float | None:
        """Reported minus expected credits; None if no expectation can be computed."""
        if not self.before or self.unpriced:
            return None
        return sum(self.credits.values()) - (sum(self.before.values()) - self.spent)


@dataclass(frozen=True)
class Unknown:
    """An account whose credits could not be fetched, and the reason."""

    account: ProviderAccount
    reason: str


def refreshable() -> list[ProviderAccount]:
    """Return the accounts that may take work and whose providers report credits."""
    reporting = [name for name, adapter in all_adapters().items() if reports_credits(adapter)]
    return list(
        ProviderAccount.objects.filter(provider_id__in=reporting)
        .exclude(status__in=[AccountStatus.DISABLED, AccountStatus.ERROR])
        .order_by("provider_id", "id")
    )


def reports_credits(adapter: Adapter) -> bool:
    return type(adapter).credits is not Adapter.credits


def refresh(accounts: Sequence[ProviderAccount]) -> list[Balance | Unknown]:
    """Fetch the credits of these accounts, several at once and outside any transaction; store them.

    Set an exhausted account that has credits to active. Record a difference from our expectation
    in the activity log.
    """
    asked_at = timezone.now()
    results: list[Balance | Unknown] = []
    askable = []
    for account in accounts:
        adapter = all_adapters().get(account.provider_id)
        if adapter is None or not reports_credits(adapter):
            reason = f"{account.provider_id} does not report its accounts' credits."
            results.append(Unknown(account, reason))
            continue
        try:
            askable.append((account, adapter, credentials_of(account)))
        except CredentialsUnreadable as error:
            results.append(Unknown(account, str(error)))
    answers = asyncio.run(_ask_all([(adapter, keys) for _, adapter, keys in askable]))
    for (account, _, _), answer in zip(askable, answers, strict=True):
        if isinstance(answer, ProviderError):
            results.append(Unknown(account, f"{answer.error_class}: {answer}"))
        else:
            results.append(_keep(account, answer, asked_at=asked_at))
    return results


@transaction.atomic
def _keep(account: ProviderAccount, credits: Mapping[str, int], *, asked_at: datetime) -> Balance:
    ProviderAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    rows = {row.credit_type: row for row in ProviderCredit.objects.filter(account=account)}
    before = {name: row.amount for name, row in rows.items()}
    spent, unpriced = 0.0, 0
    if rows:
        since = max(row.updated_at for row in rows.values())
        with connection.cursor() as cursor:
            cursor.execute(SPENT, {"account": account.pk, "since": since, "until": asked_at})
            spent, unpriced = cursor.fetchone()
    ProviderCredit.objects.filter(account=account).exclude(credit_type__in=credits).delete()
    for name, amount in credits.items():
        row = rows.get(name) or ProviderCredit(account=account, credit_type=name)
        row.amount = amount
        row.save()
    # Generations that succeeded during the request belong to the next comparison.
    ProviderCredit.objects.filter(account=account).update(updated_at=asked_at)
    if sum(credits.values()) > 0:
        ProviderAccount.objects.filter(pk=account.pk, status=AccountStatus.EXHAUSTED).update(
            status=AccountStatus.ACTIVE, cooldown_until=None, updated_at=timezone.now()
        )
    balance = Balance(account, dict(credits), before, spent, unpriced)
    if balance.difference:
        activity.record_change(
            "provider_account",
            account.pk,
            "credits_differ",
            actor=None,
            before=before,
            spent=spent,
            now=dict(credits),
            difference=balance.difference,
        )
    return balance


async def _ask_all(
    asked: Sequence[tuple[Adapter, Credentials]],
) -> list[Mapping[str, int] | ProviderError]:
    room = asyncio.Semaphore(ASKED_AT_ONCE)
    async with open_session() as session:

        async def answer(adapter: Adapter, keys: Credentials) -> Mapping[str, int] | ProviderError:
            try:
                async with room:
                    credits = await ask(session, adapter, adapter.credits, keys)
                return {
                    name: max(-LARGEST_BALANCE, min(int(amount), LARGEST_BALANCE))
                    for name, amount in credits.items()
                }
            except ProviderError as error:
                return error
            except (TypeError, ValueError, OverflowError) as error:
                return ProviderError(ErrorClass.UNKNOWN, f"The answer tells no balance: {error}")

        return await asyncio.gather(*(answer(*one) for one in asked))
