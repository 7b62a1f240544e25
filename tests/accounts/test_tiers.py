"""The one table of tiers and its one check."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from accounts.errors import FeatureRefused, LimitExceeded
from accounts.models import Profile, TierName
from accounts.tiers import FEATURES, TABLE, all_tiers, require, require_feature, tier_of, windows

PROJECT = Path(__file__).resolve().parents[2]
FREE = Profile(email="f@x.org", user_tier="FREE")
PRO = Profile(email="p@x.org", user_tier="PRO")


@pytest.fixture(autouse=True)
def production(settings: Any) -> None:
    settings.DEBUG = False
    settings.TIERS = {}


def test_every_tier_of_the_database_is_in_the_table() -> None:
    assert list(all_tiers()) == TierName.values
    assert list(windows()) == TierName.values


def test_a_higher_tier_allows_more_of_everything() -> None:
    for lower, higher in pairwise(all_tiers().values()):
        for limit in fields(lower):
            allowed = getattr(lower, limit.name)
            if isinstance(allowed, int) and limit.name != "price_per_image":
                assert 0 < allowed <= getattr(higher, limit.name), (higher, limit.name)
        assert lower.price_per_image >= higher.price_per_image


def test_what_fits_is_allowed_and_one_more_is_refused() -> None:
    require(FREE, "jobs_per_day", 2)
    require(FREE, "images_per_job", 0, 100)
    with pytest.raises(LimitExceeded):
        require(FREE, "jobs_per_day", 3)
    with pytest.raises(LimitExceeded):
        require(FREE, "images_per_job", 0, 101)


def test_a_refusal_names_the_limit_the_use_when_it_resets_and_the_next_step() -> None:
    midnight = datetime(2030, 1, 2, tzinfo=UTC)
    with pytest.raises(LimitExceeded) as refused:
        require(FREE, "jobs_per_day", 3, resets_at=midnight)
    assert str(refused.value) == (
        "jobs_per_day: tier FREE allows 3, 3 in use, 1 more asked for. "
        "Wait until 2030-01-02 00:00 UTC, or ask for a higher tier."
    )
    assert refused.value.as_dict() == {
        "limit": "jobs_per_day",
        "tier": "FREE",
        "allowed": 3,
        "use": 3,
        "wanted": 1,
        "resets_at": "2030-01-02T00:00:00+00:00",
        "message": str(refused.value),
        "next": "Wait until 2030-01-02 00:00 UTC, or ask for a higher tier.",
    }
    with pytest.raises(LimitExceeded, match="Ask for at most 100, or for a higher tier"):
        require(FREE, "images_per_job", 0, 500, resets_at=midnight)
    with pytest.raises(LimitExceeded, match="Finish or remove something first"):
        require(FREE, "projects", 3)


def test_the_system_has_no_limits() -> None:
    require(None, "images_per_job", 0, 10**9)
    require_feature(None, "schedule")


def test_features_belong_to_tiers() -> None:
    require_feature(PRO, "schedule")
    with pytest.raises(FeatureRefused) as refused:
        require_feature(FREE, "schedule")
    assert str(refused.value) == (
        "schedule: tier FREE does not have this feature. "
        "Ask for a tier that has it: PRO, ENTERPRISE."
    )


def test_a_feature_that_no_tier_has_is_refused_as_such(settings: Any) -> None:
    settings.TIERS = {name: {"features": []} for name in TierName.values}
    with pytest.raises(FeatureRefused, match="No tier has it"):
        require_feature(PRO, "export")


@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_each_feature_of_the_table_is_asked_for_somewhere(feature: str) -> None:
    files = [path for app in ("crawler", "jobs") for path in (PROJECT / app).rglob("*.py")]
    asked = re.compile(rf"""tiers\.require_feature\(\w[\w.]*, "{feature}"\)""")
    assert any(asked.search(path.read_text()) for path in files)


def test_a_limit_or_feature_nobody_declared_is_an_error_and_not_a_pass() -> None:
    for profile in (FREE, None):
        with pytest.raises(ValueError, match="no limit 'job_per_day'"):
            require(profile, "job_per_day", 0)
        with pytest.raises(ValueError, match="no feature 'fly'"):
            require_feature(profile, "fly")


def test_a_tier_outside_the_table_may_do_nothing() -> None:
    with pytest.raises(KeyError):
        require(Profile(user_tier="GOLD"), "jobs_per_day", 0)


def test_settings_override_single_fields(settings: Any) -> None:
    settings.TIERS = {"FREE": {"window": 4, "features": ["export"]}}
    assert all_tiers()["FREE"] == replace(TABLE["FREE"], window=4, features=frozenset({"export"}))
    assert all_tiers()["PRO"] == TABLE["PRO"]
    assert run_checks() == []


def test_in_development_limits_are_generous_and_settings_still_decide(settings: Any) -> None:
    settings.DEBUG = True
    settings.TIERS = {"FREE": {"jobs_per_day": 1}}
    require(FREE, "images_per_job", 0, 100_000)
    assert tier_of(FREE).jobs_per_day == 1
    assert all(
        getattr(all_tiers()[name], limit) >= getattr(tier, limit)
        for name, tier in TABLE.items()
        for limit in ("concurrent_jobs", "images_per_job", "projects", "highest_priority")
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "must map tier names"),
        ({"GOLD": {}}, "no tier 'GOLD'"),
        ({"FREE": 3}, "must map fields"),
        ({"FREE": {"windw": 3}}, r"unknown fields \['windw'\]"),
        ({"FREE": {"members": 3}}, r"unknown fields \['members'\]"),
        ({"FREE": {"features": ["api"]}}, "unknown features"),
        ({"FREE": {"name": "x"}}, r"unknown fields \['name'\]"),
        ({"FREE": {"window": 0}}, "window must be at least 1"),
        ({"FREE": {"projects": -1}}, "projects must be a whole number from 0 up, not -1"),
        ({"FREE": {"projects": "9"}}, "not '9'"),
        ({"FREE": {"projects": True}}, "not True"),
        ({"FREE": {"highest_priority": 11}}, "<= 10"),
        ({"FREE": {"default_priority": 6}}, "default_priority 6 <= highest_priority 5"),
        ({"FREE": {"features": ["fly"]}}, "unknown features"),
        ({"FREE": {"features": "export"}}, "must be a list"),
        ({"FREE": {"features": 3}}, "must be a list"),
    ],
)
def test_wrong_settings_fail_the_system_check_and_are_never_used(
    settings: Any, overrides: Any, message: str
) -> None:
    settings.TIERS = overrides
    errors = [error for error in run_checks() if error.id == "accounts.E001"]
    assert len(errors) == 1
    with pytest.raises(ImproperlyConfigured, match=message):
        tier_of(PRO)
