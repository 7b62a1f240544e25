"""Credits are held, captured and released, so that the ledger always explains the balance.

The ledger is append-only and its sum is the balance. Work holds its estimate when it is created
(an entry `hold`, negative). When the work ends, one entry closes the hold: `capture` returns what
the work did not cost (or takes what it cost more), `release` returns all of it. Each step is one
conditional UPDATE of the balance and its entry in the same transaction, so that no two callers can
spend the same credits.

A month's use (UTC) grows with a hold and is corrected when the hold is closed; a hold that would
exceed the account's monthly limit is refused. When an entry brings the balance below the threshold
of an account with automatic refill, the same transaction grants the amount, once: the next time is
when the balance has been above the threshold and falls below it again.

Lock order: the credit account comes after everything else that a transaction locks.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.utils import timezone

from accounts import activity
from accounts.errors import InsufficientCredits, MonthlyLimitReached
from accounts.models import CreditAccount, CreditTransaction, Profile, TransactionType, month_of
from pixsim.core.invariants import Finding, Invariant, examine

# `monthly_usage` is of the month in which the row was changed last.
USED_THIS_MONTH = """
CASE WHEN date_trunc('month', updated_at, 'UTC') = date_trunc('month', now(), 'UTC')
     THEN monthly_usage ELSE 0 END
"""

# Only if the balance does not go below zero. Every change of a balance writes an entry.
CHANGE = f"""
UPDATE credit_accounts SET
    current_balance = current_balance + %(amount)s,
    monthly_usage = greatest(0, {USED_THIS_MONTH} + %(used)s), updated_at = now()
WHERE user_id = %(profile)s AND current_balance + %(amount)s >= 0
RETURNING id, current_balance,
    auto_refill_enabled AND current_balance < refill_threshold
        AND current_balance - %(amount)s >= refill_threshold,
    refill_amount
"""

LOCK = f"""
SELECT current_balance, {USED_THIS_MONTH}, monthly_limit FROM credit_accounts
WHERE user_id = %(profile)s FOR NO KEY UPDATE
"""

TERMS = ("monthly_limit", "auto_refill_enabled", "refill_threshold", "refill_amount")
"""What a person may change of an account."""

# `carried_over`: an older system made the balance, and no entry was written here since.
LEDGER_ADDS_UP = Invariant(
    "ledger-adds-up",
    "A credit balance is the sum of its ledger.",
    """
    SELECT account.user_id AS profile, account.current_balance AS balance,
        coalesce(sum(entry.amount), 0) AS ledger,
        NOT coalesce(bool_or(entry.reference IS NOT NULL OR entry.settles_id IS NOT NULL), FALSE)
            AS carried_over
    FROM credit_accounts account
    LEFT JOIN credit_transactions entry
        ON entry.account_id = account.id AND entry.status = 'completed'
    GROUP BY account.id
    HAVING account.current_balance <> coalesce(sum(entry.amount), 0)
    """,
    subject="credits",
)

USED_LEDGER_ADDS_UP = replace(
    LEDGER_ADDS_UP, sql=f"SELECT * FROM ({LEDGER_ADDS_UP.sql}) AS found WHERE NOT carried_over"
)
"""The same invariant, without balances that `credits check --explain` has yet to explain."""

# An account that is older than the ledger gets an entry that explains its balance.
OPENING = """
INSERT INTO credit_transactions (account_id, user_id, type, description, amount, balance_after,
    reference)
SELECT account.id, account.user_id, 'adjustment', %(description)s,
    account.current_balance - coalesce(sum(entry.amount), 0), account.current_balance,
    'opening:' || account.id
FROM credit_accounts account
LEFT JOIN credit_transactions entry
    ON entry.account_id = account.id AND entry.status = 'completed'
GROUP BY account.id
HAVING account.current_balance <> coalesce(sum(entry.amount), 0)
ON CONFLICT DO NOTHING
"""


def open_account(profile: Profile) -> CreditAccount:
    """Return the profile's credit account; make one with a balance of zero if there is none."""
    CreditAccount.objects.bulk_create([CreditAccount(user=profile)], ignore_conflicts=True)
    return CreditAccount.objects.get(user=profile)


def balance(profile: Profile) -> int:
    """Return what the profile may spend now, without what is held."""
    found = CreditAccount.objects.filter(user=profile).values_list("current_balance", flat=True)
    return found.first() or 0


def grant(
    *, profile: Profile, amount: int, description: str, reference: str, type_: str = "bonus"
) -> CreditTransaction:
    """Add credits: `purchase`, `bonus` or `refund`. The same reference adds once to each profile."""
    if amount <= 0:
        raise ValueError(f"amount must be positive, not {amount}")
    return _once(profile, amount=amount, type_=type_, description=description, reference=reference)


def hold(
    *, profile: Profile | None, amount: int, description: str, reference: str
) -> CreditTransaction | None:
    """Hold credits for work that begins; return the entry, or None for the system, which pays nothing.

    The same reference holds once. Raise InsufficientCredits if the balance is too small, and
    MonthlyLimitReached if the month's use would exceed the account's limit; nothing is written then.
    """
    if profile is None:
        return None
    if amount < 0:
        raise ValueError(f"amount must not be negative, not {amount}")
    type_ = TransactionType.HOLD
    return _once(profile, amount=-amount, type_=type_, description=description, reference=reference)


def capture(*, reference: str, actual: int) -> int:
    """Close the hold of `reference` with what the work cost; return how much was taken.

    What the work cost more than was held is taken from the balance, at most all of it: a finished
    job stays finished. A hold that is closed or does not exist changes nothing and returns 0.
    """
    if actual < 0:
        raise ValueError(f"actual must not be negative, not {actual}")
    _held, taken = _close(reference, TransactionType.CAPTURE, actual)
    return taken


def release(*, reference: str) -> int:
    """Return all of the hold of `reference` to the balance; return how much.

    A hold that is closed or does not exist changes nothing and returns 0.
    """
    held, _taken = _close(reference, TransactionType.RELEASE, 0)
    return held


@transaction.atomic
def change_terms(*, account: CreditAccount, actor: Profile | None, **terms: int) -> None:
    """Change some of TERMS, and log it; refill at once an account that is now due for it."""
    row = CreditAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    was_due = row.is_due_for_refill
    row.monthly_usage = row.used_this_month  # since `updated_at` moves on
    before = {name: getattr(row, name) for name in terms}
    for name, value in terms.items():
        setattr(row, name, value)
    row.save(update_fields=[*terms, "monthly_usage", "updated_at"])
    activity.record_change(
        "credit_account", row.pk, "terms_changed", actor=actor, before=before, after=terms
    )
    if row.is_due_for_refill and not was_due:
        _refill(row.user_id, row.refill_amount, why="automatic refill was changed")


def check() -> Finding:
    """Return the accounts whose balance is not the sum of their ledger."""
    [finding] = examine([LEDGER_ADDS_UP])
    return finding


def explain_openings(*, description: str) -> int:
    """Write the missing difference of each account to its ledger, once per account.

    Return how many entries were written.
    """
    with connection.cursor() as cursor:
        cursor.execute(OPENING, {"description": description})
        return int(cursor.rowcount)


@transaction.atomic
def _once(profile: Profile, **entry: Any) -> CreditTransaction:
    """Return the profile's entry of this reference; change the balance and write it if there is none."""
    open_account(profile)
    # Under the lock of the account no other caller writes the same reference.
    available, used, limit = _lock(profile.pk)
    theirs = CreditTransaction.objects.filter(user=profile)
    if known := theirs.filter(reference=entry["reference"]).first():
        return known
    wanted = max(0, -entry["amount"])
    if wanted and used + wanted > limit:
        raise MonthlyLimitReached(limit=limit, used=used, wanted=wanted)
    written = _change(profile.pk, used=wanted, **entry)
    if written is None:
        raise InsufficientCredits(wanted=wanted, available=available)
    return written


@transaction.atomic
def _close(reference: str, type_: TransactionType, actual: int) -> tuple[int, int]:
    """Close a hold; return what it held and what was taken, both 0 if there is no open hold."""
    holds = CreditTransaction.objects.filter(reference=reference, type=TransactionType.HOLD)
    hold = holds.first()
    available = _lock(hold.user_id)[0] if hold else 0
    # Read again under the lock: another process may have closed it in the meantime.
    hold = holds.filter(closings=None).first()
    if hold is None:
        return 0, 0
    held = -hold.amount
    taken = min(actual, held + available)
    figures = {"held": held, "actual": actual, "taken": taken}
    # A hold counts in the month in which it was made.
    counted = held if month_of(hold.created_at) == month_of(timezone.now()) else min(held, taken)
    _change(
        hold.user_id,
        amount=held - taken,
        used=taken - counted,
        type_=type_,
        description=hold.description,
        closes=hold,
        metadata=figures if type_ == TransactionType.CAPTURE else None,
    )
    return held, taken


def _lock(profile_id: UUID) -> tuple[int, int, int]:
    """Lock the account; return its balance, what was used this month, and its monthly limit."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"profile": profile_id})
        balance, used, limit = cursor.fetchone()
    return balance, used, limit


def _change(
    profile_id: UUID, *, amount: int, used: int, type_: str, description: str, **entry: Any
) -> CreditTransaction | None:
    """Change the balance and return the entry; None if the balance is too small."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGE, {"profile": profile_id, "amount": amount, "used": used})
        row = cursor.fetchone()
    if row is None:
        return None
    account_id, left, is_due, refill = row
    entry_ = CreditTransaction.objects.create(
        account_id=account_id,
        user_id=profile_id,
        type=type_,
        description=description,
        amount=amount,
        balance_after=left,
        **entry,
    )
    if is_due:
        _refill(profile_id, refill, why=f"{type_} left {left}")
    return entry_


def _refill(profile_id: UUID, amount: int, *, why: str) -> None:
    _change(
        profile_id,
        amount=amount,
        used=0,
        type_=TransactionType.BONUS,
        description=f"automatic refill: {why}",
        reference=f"refill:{uuid4()}",
    )
