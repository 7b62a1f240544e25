"""People by tier: how many over time, what they use of each limit, and whose tier changed.

The past is counted back from today's people, by their creation and the changes in the activity log.
A change by SQL is not in that log: people who got their tier so are counted as if they had it always.
"""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.db.models.expressions import RawSQL

from accounts.credits import USED_THIS_MONTH
from accounts.models import ActivityLog, Profile, TierName
from accounts.tiers import LIMITS, all_tiers
from jobs.queue.kinds import all_kinds
from jobs.queue.ops.trends import Unit, starts
from pixsim.core.db.sql import fetch

DAYS = 30
MAX_CHANGES = 50
TIER_CHANGED = "action = 'profile.tier_changed' AND resource_type = 'profile'"

# By period: how many people came to a tier, those who are new (with their first tier) included.
MOVES = f"""
SELECT date_trunc(%(unit)s, timestamp, 'UTC'), metadata_->>'before', metadata_->>'after', count(*)
FROM activity_logs
WHERE {TIER_CHANGED} AND resource_id IS NOT NULL AND timestamp >= %(first)s
  AND EXISTS (SELECT FROM profiles WHERE profiles.id::text = resource_id)
GROUP BY 1, 2, 3
UNION ALL
SELECT date_trunc(%(unit)s, created_at, 'UTC'), NULL, coalesce((
    SELECT metadata_->>'before' FROM activity_logs
    WHERE {TIER_CHANGED} AND resource_id = profiles.id::text
    ORDER BY timestamp, id LIMIT 1), user_tier), count(*)
FROM profiles WHERE created_at >= %(first)s
GROUP BY 1, 2, 3
"""

# What people use of a limit now: (what, limit of the tier, owner and number of each).
TODAY = "date_trunc('day', now(), 'UTC')"
IN_WINDOW = """SELECT owner_id, count(*) FROM {table}
    WHERE ready_at IS NOT NULL AND owner_id IS NOT NULL GROUP BY owner_id"""
CRAWLS = """SELECT projects.user_id, count(*) FROM crawl_jobs
    JOIN projects ON projects.id = crawl_jobs.project_id
    WHERE projects.user_id IS NOT NULL AND {condition} GROUP BY projects.user_id"""
OPEN_CRAWLS = CRAWLS.format(condition="crawl_jobs.status IN ('pending', 'running', 'paused')")
CRAWLS_TODAY = CRAWLS.format(condition=f"crawl_jobs.created_at >= {TODAY}")
GENERATIONS_TODAY = f"""SELECT profiles.id, count(*) FROM jobs
    JOIN profiles ON profiles.user_id = jobs.user_id
    WHERE jobs.created_at >= {TODAY} GROUP BY profiles.id"""
PROJECTS = """SELECT user_id, count(*) FROM projects
    WHERE user_id IS NOT NULL GROUP BY user_id"""

USES = """
SELECT user_tier, what, count(*), max(number), (array_agg(profiles.id ORDER BY number DESC))[1],
    (array_agg(email ORDER BY number DESC))[1],
    count(*) FILTER (WHERE number >= (%(limits)s::jsonb -> user_tier ->> limited)::int)
FROM ({parts}) AS used (what, limited, owner, number)
JOIN profiles ON profiles.id = owner
GROUP BY user_tier, what
"""

TOTALS = f"""
SELECT user_tier, count(*), coalesce(sum(images), 0), coalesce(sum(bytes), 0),
    coalesce(sum(credits), 0)
FROM profiles
LEFT JOIN (
    SELECT user_id, sum(images_processed) AS images,
        sum(coalesce(bandwidth_used_bytes, bandwidth_used_gb * 1e9)) AS bytes
    FROM usage_metrics WHERE metric_date > (now() AT TIME ZONE 'UTC')::date - {DAYS}
    GROUP BY user_id) AS metrics ON metrics.user_id = profiles.id
LEFT JOIN (
    SELECT user_id, {USED_THIS_MONTH} AS credits FROM credit_accounts
    ) AS accounts ON accounts.user_id = profiles.id
GROUP BY user_tier
"""


@dataclass(frozen=True)
class Use:
    """What the people of one tier use of one limit, now."""

    tier: str
    what: str
    limit: str
    allowed: int
    people: int = 0
    """How many use any of it."""
    most: int = 0
    most_by_id: UUID | None = None
    most_by: str = ""
    at_limit: int = 0
    """How many can have no more."""


@dataclass(frozen=True)
class Total:
    """The people of one tier; their use of the last DAYS days, and their credits of this month."""

    tier: str
    people: int = 0
    images: int = 0
    traffic_bytes: int = 0
    credits: int = 0


@dataclass(frozen=True)
class Change:
    """One change of a person's tier; `by` is empty for the system."""

    at: datetime
    profile_id: str
    email: str
    before: str
    after: str
    by: str


def people_over_time(unit: Unit) -> list[tuple[datetime, dict[str, int]]]:
    """Return how many people each tier had at the end of each period; the last one is not over."""
    periods = starts(unit)
    came: dict[datetime, Counter[str]] = {start: Counter() for start in periods}
    for start, before, after, number in fetch(MOVES, {"unit": unit, "first": periods[0]}):
        came[start][after] += number
        if before is not None:
            came[start][before] -= number
    found = Profile.objects.values_list("user_tier").annotate(Count("id")).order_by()
    present = Counter(dict(found))
    points = []
    for start in reversed(periods):
        points.append((start, {tier: present[tier] for tier in TierName.values}))
        present.subtract(came[start])
    return points[::-1]


def counted() -> dict[str, tuple[str, str]]:
    """Return what is counted against a limit: its name → the limit, and owner and number of each."""
    kinds = {
        f"{kind.name} items ready or processing": ("window", IN_WINDOW.format(table=kind.table))
        for kind in all_kinds()
    }
    return kinds | {
        "open crawl jobs": ("concurrent_jobs", OPEN_CRAWLS),
        "crawl jobs of today": ("jobs_per_day", CRAWLS_TODAY),
        "generations of today": ("jobs_per_day", GENERATIONS_TODAY),
        "projects": ("projects", PROJECTS),
    }


def people_who_use(what: str, *, at_limit: bool) -> QuerySet[Profile]:
    """Return those who use any of what is counted, or as much as their tier allows."""
    limit, select = counted()[what]
    condition = "number >= (%s::jsonb -> user_tier ->> %s)::int" if at_limit else "number > 0"
    params = [json.dumps(_limits()), limit] if at_limit else []
    owners = RawSQL(  # noqa: S611 - our own statement
        f"""SELECT profiles.id FROM profiles
        JOIN ({select}) AS used (owner, number) ON owner = profiles.id WHERE {condition}""",
        params,
    )
    return Profile.objects.filter(pk__in=owners)


def uses() -> list[Use]:
    """Return what people use of each limit that counts what is there, by tier."""
    parts = counted()
    union = " UNION ALL ".join(
        f"SELECT '{what}', '{limit}', counted.* FROM ({select}) AS counted"
        for what, (limit, select) in parts.items()
    )
    limits = _limits()
    found = {
        (tier, what): figures
        for tier, what, *figures in fetch(
            USES.format(parts=union), {"limits": json.dumps(limits)}, plan_anew=True
        )
    }
    return [
        Use(name, what, limit, limits[name][limit], *found.get((name, what), ()))
        for name in limits
        for what, (limit, _select) in parts.items()
    ]


def _limits() -> dict[str, dict[str, int]]:
    tiers = all_tiers().items()
    return {name: {limit: getattr(tier, limit) for limit in LIMITS} for name, tier in tiers}


def totals() -> list[Total]:
    """Return the people and the use of each tier."""
    found = {row[0]: row[1:] for row in fetch(TOTALS, {})}
    return [Total(name, *map(int, found.get(name, ()))) for name in TierName.values]


def changes() -> list[Change]:
    """Return the latest changes of tiers, the newest first; those of people who are gone have no
    e-mail.
    """
    rows = ActivityLog.objects.filter(
        resource_type="profile", resource_id__isnull=False, action="profile.tier_changed"
    )
    found = list(rows.select_related("user").order_by("-timestamp", "-id")[:MAX_CHANGES])
    people = Profile.objects.in_bulk([UUID(row.resource_id) for row in found])
    return [
        Change(
            row.timestamp,
            str(row.resource_id),
            people[UUID(row.resource_id)].email if UUID(row.resource_id) in people else "",
            (row.metadata or {}).get("before", ""),
            (row.metadata or {}).get("after", ""),
            row.user.email if row.user else "",
        )
        for row in found
    ]


def as_dict(unit: Unit) -> dict[str, Any]:
    """Return all of it as plain values, for JSON."""
    return {
        "tiers": [asdict(each) for each in totals()],
        "use": [asdict(each) for each in uses()],
        "over_time": [
            {"start": start, "people": people} for start, people in people_over_time(unit)
        ],
        "changes": [asdict(each) for each in changes()],
    }
