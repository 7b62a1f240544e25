"""Slots: choose the account for the next generations, within its limit of live submissions.

A live submission is the slot: used slots are counted under the account's row lock, never stored
in a counter. Accounts are read without locks in order of preference; then one is locked, and an
account that another process has locked is skipped.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.db import connection

from pixsim.core.db.sql import fetch
from providers import circuits
from providers.adapters import Adapter
from providers.model_access import REFUSED
from providers.models import LIVE, AccountStatus, ProviderAccount

HEALTH_WINDOW = 20
"""Number of latest submissions that count. Health is the share of them that did not fail."""

# Errors of content or parameters say nothing about the account.
_HEALTH = f"""
SELECT avg((recent.status NOT IN ('failed', 'timed_out')
            OR recent.error_class IN ('filtered', 'invalid_parameter'))::int)::float8
FROM (SELECT status, error_class FROM provider_submissions
      WHERE account_id = account.id AND reference IS NOT NULL AND responded_at IS NOT NULL
      ORDER BY responded_at DESC LIMIT {HEALTH_WINDOW}) recent
"""

# `rate_limited` and `exhausted` end with the cooldown; `error` ends when a person repairs it.
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

# Submissions that ended today and live ones, each by its index: there may be a million older ones.
_TODAY = f"""
SELECT (SELECT count(*) FROM provider_submissions
        WHERE account_id = account.id AND reference IS NOT NULL
          AND responded_at >= {_MIDNIGHT} AND submitted_at >= {_MIDNIGHT})
     + (SELECT count(*) FROM provider_submissions
        WHERE account_id = account.id AND reference IS NOT NULL AND status IN ({_LIVE})
          AND submitted_at >= {_MIDNIGHT})
"""

# NULL: the provider has not reported its credits, which differs from none.
_CREDIT = "SELECT sum(amount) FROM provider_credits WHERE account_id = account.id"

_FREE = f"""
least(account.max_concurrent_jobs - ({_USED}),
      account.max_daily_videos - CASE WHEN account.max_daily_videos IS NOT NULL THEN ({_TODAY}) END)
"""

CANDIDATES = f"""
SELECT id, provider_id, user_id, free, priority, health, credit, refused FROM (
    SELECT account.id, account.provider_id, account.priority, account.last_used,
           CASE WHEN account.is_private THEN account.user_id END AS user_id,
           {_FREE} AS free, coalesce(({_HEALTH}), 1) AS health, ({_CREDIT}) AS credit,
           {REFUSED} AS refused
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

# Other processes hold an account's lock for milliseconds; do not wait for a person's open session.
PATIENCE = "SET LOCAL lock_timeout = '1s'"

# A statement of its own after the lock, so that it sees all committed submissions.
FREE = f"SELECT {_FREE} FROM provider_accounts account WHERE account.id = %(id)s"

# For pages and commands. NULL as health: nothing has ended yet.
STANDINGS = f"""
SELECT account.id, ({_USED}),
       CASE WHEN account.max_daily_videos IS NOT NULL THEN ({_TODAY}) ELSE 0 END, ({_HEALTH}),
       (SELECT coalesce(jsonb_object_agg(credit_type, amount), '{{}}')::text
        FROM provider_credits WHERE account_id = account.id)
FROM provider_accounts account WHERE account.id = ANY(%(ids)s)
"""


@dataclass(frozen=True)
class Standing:
    """An account's use and condition at the moment."""

    used: int = 0
    """Slots in use."""
    today: int = 0
    """Submissions of this day (UTC); counted for an account with a daily cap only, else 0."""
    health: float | None = None
    """0 to 1; None: nothing has ended yet."""
    credits: Mapping[str, int] = field(default_factory=dict)
    """The credits that the provider last reported, by type."""


@dataclass(frozen=True)
class Candidate:
    """An account with a free slot, and what its preference follows from."""

    account_id: int
    provider_id: str
    user_id: int | None
    """The only user whose jobs it may take; None: all users'."""
    free: int
    priority: int
    health: float
    credit: int | None
    refused_models: Sequence[str] = ()
    """The models that it may not use."""
    is_probe: bool = False
    """The provider's circuit is open: one submission may probe it."""

    @property
    def max_submissions(self) -> int:
        """How many submissions the account may get at once, apart from its free slots."""
        return 1 if self.is_probe else sys.maxsize

    @property
    def reason(self) -> str:
        """The reason of the choice, for people."""
        parts = [
            "the user's own" if self.user_id else "shared",
            f"priority {self.priority}",
            f"health {self.health:.0%}",
            f"{self.free} free {'slot' if self.free == 1 else 'slots'}",
        ]
        if self.is_probe:
            parts.append("to probe whether the provider answers again")
        if self.credit is not None:
            parts.append(f"{self.credit:,} credits")
        return ", ".join(parts)


def candidates(providers: Sequence[str]) -> list[Candidate]:
    """Return the accounts of these providers that may take work now, the preferred one first.

    A user's own account comes before shared ones, then by priority, health (in tenths), least
    credit and least recently used. Of a provider with an open circuit, return one account for one
    submission, when the probe is due.
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
    """Return the standing of these accounts: one statement, no lock."""
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
    with connection.cursor() as cursor:  # two processes must not create two
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"account:{adapter.name}"])
    if not ProviderAccount.objects.filter(provider_id=adapter.name).exists():
        ProviderAccount.objects.create(
            provider_id=adapter.name,
            email=f"{adapter.name}@localhost",
            nickname=adapter.title,
            max_concurrent_jobs=slots,
            status=AccountStatus.ACTIVE,
        )
