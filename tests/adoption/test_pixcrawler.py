"""PixCrawler is taken over from each of its states: people, datasets and records, all of them."""

import pytest
from django.contrib.auth.models import User

from tests.adoption.legacy import STATES

FULL_SIZE = ("pixcrawler-002", 10_000)
"""A state with so many jobs, with ten chunks each; all states are tried with few."""


MINE = [name for name in STATES if name.startswith("pixcrawler-")]


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        *(pytest.param(name, 40, marks=pytest.mark.long) for name in MINE[:-1]),
        (MINE[-1], 40),
        pytest.param(*FULL_SIZE, marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost(name, jobs, taken_over, sql, models):
    state = taken_over(name, jobs=jobs)

    # Nobody had a password, so nobody can log in until one is set.
    assert sql(
        "SELECT count(*) FROM profiles JOIN auth_user ON auth_user.id = user_id"
        " WHERE lower(auth_user.email) = lower(profiles.email)"
    ) == sql("SELECT count(*) FROM proof.profiles")
    assert not any(user.has_usable_password() for user in User.objects.all())
    if "job_chunks" in state.tables:
        assert sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]
