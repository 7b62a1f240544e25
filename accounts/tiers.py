"""What each tier may do, the only check of it; `tiers.toml` is the only table.

The table has what something enforces, and nothing else: a feature is asked for with
`require_feature` in the service that does it, a limit with `require`.

`settings.TIERS` overrides single fields of single tiers, as in {"FREE": {"jobs_per_day": 10}}. In
development (DEBUG) no limit is smaller than `DEVELOPMENT` says. A profile of None is the system
itself and has no limits.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Error, register
from django.core.exceptions import ImproperlyConfigured

from accounts.errors import FeatureRefused, LimitExceeded
from accounts.models import Profile
from pixsim.core.priority import DEFAULT_PRIORITY, MAX_PRIORITY

FEATURES = frozenset({"crawl", "export", "generate", "schedule"})


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
    default_priority: int
    highest_priority: int
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

_DATA = tomllib.loads(Path(__file__).with_name("tiers.toml").read_text("utf-8"))
TABLE = {
    name: Tier(name=name, **{**values, "features": frozenset(values["features"])})
    for name, values in _DATA["tiers"].items()
}
DEVELOPMENT: dict[str, int] = _DATA["development"]


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


def require_feature(profile: Profile | None, feature: str) -> None:
    """Raise FeatureRefused if the profile's tier does not have `feature`.

    Raise ValueError if there is no such feature.
    """
    if feature not in FEATURES:
        raise ValueError(f"There is no feature {feature!r}; there are {sorted(FEATURES)}.")
    if profile is None:
        return
    tier = tier_of(profile)
    if feature not in tier.features:
        had_by = [each.name for each in all_tiers().values() if feature in each.features]
        raise FeatureRefused(feature, tier=tier.name, had_by=had_by)


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
        raise LimitExceeded(limit, tier.name, allowed, use, wanted, resets_at)


@register()
def setting_is_valid(**kwargs: Any) -> list[Error]:
    """Return what is wrong with `settings.TIERS`: a system check refuses it at the start."""
    problems, _tiers = _build(settings.TIERS, generous=settings.DEBUG)
    hint = "See accounts/tiers.toml for the table."
    return [Error(problem, hint=hint, id="accounts.E001") for problem in problems]


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
    features = values.get("features", tier.features)
    if not isinstance(features, list | frozenset) or not all(isinstance(n, str) for n in features):
        raise ValueError(f"features must be a list of names, not {features!r}")
    return replace(tier, **{**values, "features": frozenset(features)})
