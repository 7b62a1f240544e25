"""Slots: which account takes the next generations, and never more at once than it may.

A live submission is the slot (design: "the submission is the slot"): used slots are counted
under the account's row lock, never kept in a counter. Accounts are looked at without locks, in
the order in which they are preferred, and one is locked; one that somebody else holds is passed
over.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db import connection

from pixsim.core.db.sql import fetch
from providers import circuits
from providers.adapters import Adapter
from providers.models import AccountStatus, ProviderAccount
from providers.models.submissions import LIVE

HEALTH_WINDOW = 20
"""An account's health is the share of its latest submissions that it did not fail."""

# What the content or the parameters are to blame for says nothing about the account.
_HEALTH = f"""
SELECT avg((recent.status NOT IN ('failed', 'timed_out')
            OR recent.error_class IN ('filtered', 'invalid_parameter'))::int)::float8
FROM (SELECT status, error_class FROM provider_submissions
      WHERE account_id = account.id AND reference IS NOT NULL AND responded_at IS NOT NULL
      ORDER BY responded_at DESC LIMIT {HEALTH_WINDOW}) recent
"""

# `rate_limited` and `exhausted` pass with their cooldown; `error` waits for somebody to mend it.
_OPEN = """
account.provider_id = ANY(%(providers)s)
AND account.status IN ('active', 'rate_limited', 'exhausted')
AND (account.cooldown_until IS NULL OR account.cooldown_until <= now())
"""

# Written out, so that a prepared plan can use the index of live submissions.
_LIVE = ", ".join(f"'{status}'" for status in LIVE)

_USED = f"""
SELECT count(*) FROM provider_submissions
WHERE account_id = account.id AND reference IS NOT NULL AND status IN ({_LIVE})
"""

_MIDNIGHT = "date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"

# What ended today and what is live, each by its index: an account may have a million older ones.
_TODAY = f"""
SELECT (SELECT count(*) FROM provider_submissions
        WHERE account_id = account.id AND reference IS NOT NULL
          AND responded_at >= {_MIDNIGHT} AND submitted_at >= {_MIDNIGHT})
     + (SELECT count(*) FROM provider_submissions
        WHERE account_id = account.id AND reference IS NOT NULL AND status IN ({_LIVE})
          AND submitted_at >= {_MIDNIGHT})
"""

# NULL: the provider has not told us, which is not the same as none.
_CREDIT = "SELECT sum(amount) FROM provider_credits WHERE account_id = account.id"

_FREE = f"""
least(account.max_concurrent_jobs - ({_USED}),
      account.max_daily_videos - CASE WHEN account.max_daily_videos IS NOT NULL THEN ({_TODAY}) END)
"""

CANDIDATES = f"""
SELECT id, provider_id, user_id, free, priority, health, credit FROM (
    SELECT account.id, account.provider_id, account.priority, account.last_used,
           CASE WHEN account.is_private THEN account.user_id END AS user_id,
           {_FREE} AS free, coalesce(({_HEALTH}), 1) AS health, ({_CREDIT}) AS credit
    FROM provider_accounts account WHERE {_OPEN}
) account
WHERE free > 0 AND (credit IS NULL OR credit > 0)
ORDER BY user_id IS NULL, priority DESC, round(health::numeric, 1) DESC, credit NULLS LAST,
         last_used NULLS FIRST, id
"""

LOCK = f"""
UPDATE provider_accounts SET last_used = now() WHERE id = (
    SELECT account.id FROM provider_accounts account WHERE account.id = %(id)s AND {_OPEN}
    FOR NO KEY UPDATE {{wait}})
RETURNING *
"""

# Whoever holds an account does so for milliseconds; for somebody's open session nobody stands still.
PATIENCE = "SET LOCAL lock_timeout = '1s'"

# A statement of its own after the lock, so that it sees what others have committed.
FREE = f"SELECT {_FREE} FROM provider_accounts account WHERE account.id = %(id)s"

# What people look at. NULL as health: nothing has ended yet.
STANDINGS = f"""
SELECT account.id, ({_USED}),
       CASE WHEN account.max_daily_videos IS NOT NULL THEN ({_TODAY}) ELSE 0 END, ({_HEALTH}),
       (SELECT coalesce(jsonb_object_agg(credit_type, amount), '{{}}')::text
        FROM provider_credits WHERE account_id = account.id)
FROM provider_accounts account WHERE account.id = ANY(%(ids)s)
"""


@dataclass(frozen=True)
class Standing:
    """How an account stands at the moment."""

    used: int = 0
    """Slots in use."""
    today: int = 0
    """Submissions of this day (UTC); counted for an account with a daily cap only, else 0."""
    health: float | None = None
    """0 to 1; None: nothing has ended yet."""
    credits: Mapping[str, int] = field(default_factory=dict)
    """What the provider last said that it has, by type."""


@dataclass(frozen=True)
class Candidate:
    """An account with a free slot, and why it stands where it stands."""

    account_id: int
    provider_id: str
    user_id: int | None
    """Whose jobs alone it may take; None: everybody's."""
    free: int
    priority: int
    health: float
    credit: int | None
    is_probe: bool = False
    """The provider did not answer lately: one submission may ask whether it does again."""

    @property
    def max_submissions(self) -> int:
        """How many submissions the account may get at once, apart from its free slots."""
        return 1 if self.is_probe else sys.maxsize

    @property
    def reason(self) -> str:
        """Why it was chosen, for people."""
        parts = [
            "the user's own" if self.user_id else "shared",
            f"priority {self.priority}",
            f"health {self.health:.0%}",
            f"{self.free} free {'slot' if self.free == 1 else 'slots'}",
        ]
        if self.is_probe:
            parts.append("to find out whether the provider answers again")
        if self.credit is not None:
            parts.append(f"{self.credit:,} credits")
        return ", ".join(parts)


def candidates(providers: Sequence[str]) -> list[Candidate]:
    """Accounts of these providers that may take work now, the preferred one first.

    A user's own account before shared ones, then by priority, health (in tenths), least credit
    (small rests are used up) and least recently used. Of a provider that does not answer, one
    account for one submission, when it is time to probe it.
    """
    found = [Candidate(*row) for row in fetch(CANDIDATES, {"providers": list(providers)})]
    if not found:
        return []
    broken = circuits.open_circuits(sorted({one.provider_id for one in found}))
    room = {name: circuit.room for name, circuit in broken.items()}
    chosen = []
    for one in found:
        if one.provider_id not in room:
            chosen.append(one)
        elif room[one.provider_id]:
            room[one.provider_id] = 0
            chosen.append(replace(one, is_probe=True))
    return chosen


def standings(account_ids: Sequence[int]) -> dict[int, Standing]:
    """How these accounts stand, for people to look at: one statement, no lock."""
    if not account_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(STANDINGS, {"ids": list(account_ids)})
        return {
            account_id: Standing(used, today, health, json.loads(credits))
            for account_id, used, today, health, credits in cursor.fetchall()
        }


def lock_account(candidate: Candidate, *, wait: bool = False) -> ProviderAccount | None:
    """Lock the account until the transaction ends and return it.

    Return None if it takes no work any more, or if it is locked and `wait` is False. Raise
    OperationalError after waiting for a second.
    """
    if wait:
        fetch(PATIENCE, {})
    statement = LOCK.format(wait="" if wait else "SKIP LOCKED")
    params = {"id": candidate.account_id, "providers": [candidate.provider_id]}
    return next(iter(ProviderAccount.objects.raw(statement, params)), None)


def count_free_slots(account: ProviderAccount) -> int:
    """Return how many more submissions the locked account may carry."""
    return max(0, int(fetch(FREE, {"id": account.pk})[0][0]))


def ensure_keyless_account(adapter: Adapter, *, slots: int) -> None:
    """Make an account with `slots` slots for a provider that needs no key, unless there is one."""
    if ProviderAccount.objects.filter(provider_id=adapter.name).exists():
        return
    with connection.cursor() as cursor:  # else two would make two
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"account:{adapter.name}"])
    if not ProviderAccount.objects.filter(provider_id=adapter.name).exists():
        ProviderAccount.objects.create(
            provider_id=adapter.name,
            email=f"{adapter.name}@localhost",
            nickname=adapter.title,
            max_concurrent_jobs=slots,
            status=AccountStatus.ACTIVE,
        )
