"""PixCrawler is taken over from each of its states: people, datasets and records, all of them."""

import pytest
from django.contrib.auth.models import User

from tests.adoption.legacy import STATES

FULL_SIZE = {"pixcrawler-002": 10_000}
"""Jobs, with ten chunks each; the other states have the same rows, but fewer."""


@pytest.mark.parametrize("name", [name for name in STATES if name.startswith("pixcrawler-")])
def test_nothing_is_lost(name, taken_over, sql, models):
    state = taken_over(name, jobs=FULL_SIZE.get(name, 40))

    # Nobody had a password, so nobody can log in until one is set.
    assert sql(
        "SELECT count(*) FROM profiles JOIN auth_user ON auth_user.id = user_id"
        " WHERE lower(auth_user.email) = lower(profiles.email)"
    ) == sql("SELECT count(*) FROM proof.profiles")
    assert not any(user.has_usable_password() for user in User.objects.all())
    if "job_chunks" in state.tables:
        assert sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]
