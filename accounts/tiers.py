"""What each tier may do: the only table of it, and the only check.

`settings.TIERS` overrides single fields of single tiers, as in {"FREE": {"jobs_per_day": 10}}. In
development (DEBUG) no limit is smaller than `DEVELOPMENT` says. A profile of None is the system
itself and has no limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from accounts.errors import LimitExceeded
from accounts.models import Profile, TierName
from pixsim.core.priority import DEFAULT_PRIORITY, MAX_PRIORITY

FEATURES = frozenset({"crawl", "export", "generate", "api", "schedule"})


@dataclass(frozen=True)
class Tier:
    """The limits of one tier. Raise ValueError for values that make no sense."""

    name: str
    features: frozenset[str]
    window: int  # work items ready or processing at once
    concurrent_jobs: int
    images_per_job: int
    jobs_per_day: int
    projects: int
    members: int  # people in one project
    default_priority: int
    highest_priority: int
    api_requests_per_minute: int
    price_per_image: int  # credits

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} must be a whole number from 0 up, not {value!r}")
        if self.window < 1:
            raise ValueError("window must be at least 1, or nothing would ever run")
        if not self.default_priority <= self.highest_priority <= MAX_PRIORITY:
            raise ValueError(
                f"default_priority {self.default_priority} <= highest_priority "
                f"{self.highest_priority} <= {MAX_PRIORITY} must hold"
            )
        if unknown := self.features - FEATURES:
            raise ValueError(f"unknown features {sorted(unknown)}; there are {sorted(FEATURES)}")


LIMITS = tuple(field.name for field in fields(Tier) if field.name not in ("name", "features"))

TABLE = {
    TierName.FREE.value: Tier(
        name="FREE",
        features=frozenset({"crawl", "export", "generate"}),
        window=2,
        concurrent_jobs=1,
        images_per_job=100,
        jobs_per_day=3,
        projects=3,
        members=1,
        default_priority=3,
        highest_priority=5,
        api_requests_per_minute=60,
        price_per_image=4,
    ),
    TierName.PRO.value: Tier(
        name="PRO",
        features=FEATURES,
        window=6,
        concurrent_jobs=3,
        images_per_job=1_000,
        jobs_per_day=20,
        projects=10,
        members=5,
        default_priority=5,
        highest_priority=8,
        api_requests_per_minute=300,
        price_per_image=2,
    ),
    TierName.ENTERPRISE.value: Tier(
        name="ENTERPRISE",
        features=FEATURES,
        window=20,
        concurrent_jobs=10,
        images_per_job=10_000,
        jobs_per_day=1_000,
        projects=100,
        members=50,
        default_priority=7,
        highest_priority=MAX_PRIORITY,
        api_requests_per_minute=1_200,
        price_per_image=1,
    ),
}

# Windows stay as they are: they divide the workers among owners and refuse nothing.
DEVELOPMENT: dict[str, int] = {
    "concurrent_jobs": 100,
    "images_per_job": 100_000,
    "jobs_per_day": 10_000,
    "projects": 1_000,
    "members": 100,
    "highest_priority": MAX_PRIORITY,
    "api_requests_per_minute": 10_000,
}


# Queries


def all_tiers() -> dict[str, Tier]:
    """Return every tier by name, with the overrides of the settings.

    Raise ImproperlyConfigured if `settings.TIERS` is wrong; a system check reports that earlier.
    """
    problems, tiers = _build(settings.TIERS, generous=settings.DEBUG)
    if problems:
        raise ImproperlyConfigured(" ".join(problems))
    return tiers


def tier_of(profile: Profile) -> Tier:
    """Return the profile's tier. Raise KeyError for a tier outside the table: it may do nothing."""
    return all_tiers()[profile.user_tier]


def default_priority(profile: Profile | None) -> int:
    """Return the priority of the profile's work that names none; None is the system."""
    return DEFAULT_PRIORITY if profile is None else tier_of(profile).default_priority


def windows() -> dict[str, int]:
    """Return by tier name how many of an owner's work items may be ready or processing at once."""
    return {name: tier.window for name, tier in all_tiers().items()}


def feature_allowed(profile: Profile | None, feature: str) -> bool:
    """Return whether the profile's tier has `feature`. Raise ValueError for an unknown feature."""
    if feature not in FEATURES:
        raise ValueError(f"There is no feature {feature!r}; there are {sorted(FEATURES)}.")
    return profile is None or feature in tier_of(profile).features


def require(
    profile: Profile | None,
    limit: str,
    use: int,
    wanted: int = 1,
    resets_at: datetime | None = None,
) -> None:
    """Raise LimitExceeded if `wanted` more of `limit` is too much when `use` is in use already.

    `limit` is a number field of Tier. For limits of a single value (images_per_job,
    highest_priority) `use` is 0. Count `use` under a lock on the profile's row, in the
    transaction that creates the work; else two requests can both pass. Raise ValueError if there is
    no such limit.
    """
    if limit not in LIMITS:
        raise ValueError(f"There is no limit {limit!r}; there are {', '.join(LIMITS)}.")
    if profile is None:
        return
    tier = tier_of(profile)
    allowed = getattr(tier, limit)
    if use + wanted > allowed:
        raise LimitExceeded(
            limit=limit,
            tier=tier.name,
            allowed=allowed,
            use=use,
            wanted=wanted,
            resets_at=resets_at,
        )


def setting_problems() -> list[str]:
    """Return what is wrong with `settings.TIERS`, one sentence each."""
    return _build(settings.TIERS, generous=settings.DEBUG)[0]


def _build(overrides: Any, *, generous: bool) -> tuple[list[str], dict[str, Tier]]:
    if not isinstance(overrides, Mapping):
        return [f"TIERS must map tier names to fields, not {overrides!r}."], {}
    problems = [
        f"TIERS: there is no tier {name!r}; there are {', '.join(TABLE)}."
        for name in overrides
        if name not in TABLE
    ]
    tiers = {}
    for name, tier in TABLE.items():
        if generous:
            tier = replace(tier, **{f: max(getattr(tier, f), v) for f, v in DEVELOPMENT.items()})
        try:
            tiers[name] = _overridden(tier, overrides.get(name, {}))
        except ValueError as error:
            problems.append(f"TIERS[{name!r}]: {error}.")
    return problems, tiers


def _overridden(tier: Tier, values: Any) -> Tier:
    if not isinstance(values, Mapping):
        raise ValueError(f"must map fields to values, not {values!r}")
    if unknown := [name for name in values if name not in LIMITS and name != "features"]:
        raise ValueError(f"unknown fields {unknown}; there are features, {', '.join(LIMITS)}")
    if not values:
        return tier
    changed = dict(values)
    if "features" in changed:
        changed["features"] = _feature_set(changed["features"])
    return replace(tier, **changed)


def _feature_set(value: Any) -> frozenset[str]:
    if not isinstance(value, list | frozenset) or not all(isinstance(n, str) for n in value):
        raise ValueError(f"features must be a list of names, not {value!r}")
    return frozenset(value)
