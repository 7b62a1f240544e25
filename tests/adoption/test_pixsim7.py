"""PixSim7 is taken over from each of its states: people, generations and secrets, all of them."""

import pytest
from django.contrib.auth import authenticate

from providers.models import ProviderAccount
from tests.adoption import proof
from tests.adoption.conftest import TWINS
from tests.adoption.legacy import STATES
from tests.adoption.legacy.passwords import KNOWN_USERS, LONG

FULL_SIZE = ("pixsim7-7425b92ac62e", 10_000)
"""A state with so many jobs, with three submissions each; all states are tried with few."""


MINE = [name for name in STATES if name.startswith("pixsim7-")]


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        *(pytest.param(name, 40, marks=pytest.mark.long) for name in MINE[:-1]),
        (MINE[-1], 40),
        pytest.param(*FULL_SIZE, marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost(name, jobs, taken_over, sql, models):
    taken_over(name, jobs=jobs)

    assert proof.lost_people(sql) == []
    if name not in TWINS:
        _check_people(sql)
        _check_generations(sql)
        _check_secrets(sql)
    # The passwords of all states are the same, and hashing takes seconds.
    if (name, jobs) == (FULL_SIZE[0], 40):
        _check_logins()


def _check_people(sql):
    assert sql(
        "SELECT count(*) FROM auth_user FULL JOIN profiles ON user_id = auth_user.id"
        " WHERE user_id IS NULL OR auth_user.id IS NULL"
    ) == [(0,)]


def _check_logins():
    for username, password in KNOWN_USERS.items():
        assert authenticate(None, username=username, password=password) is not None
        # From then on it is ours, and knows all of the password.
        assert authenticate(None, username=username, password=password) is not None
        assert authenticate(None, username=username, password=password[:-1]) is None
    assert len(LONG.encode()) > 72


def _check_generations(sql):
    assert sql("SELECT count(*) FROM provider_submissions WHERE account_id IS NULL") == [(0,)]
    assert sql(
        "SELECT count(*) FROM jobs JOIN proof.jobs AS o USING (id) WHERE was_left"
        " AND jobs.error_message LIKE '%Retry it%' AND jobs.completed_at IS NOT NULL"
    ) == sql("SELECT count(*) FROM proof.jobs WHERE was_left")
    assert sql("SELECT count(*) FROM jobs WHERE held <> (status = 'pending')") == [(0,)]


def _check_secrets(sql):
    were = sql(f"SELECT id, {', '.join(proof.SECRETS)} FROM proof.provider_accounts ORDER BY 1")
    names = ("pk", *proof.SECRETS)
    accounts = ProviderAccount.objects.order_by("pk")
    assert [tuple(getattr(each, name) for name in names) for each in accounts] == were
