"""Every state of every older system is taken over with nothing lost, and goes on to the head."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command

from pixsim.schema.adoption.revisions import PIXCRAWLER_BASE, REVISIONS
from providers.models import ProviderAccount
from tests.schema.adoption import proof
from tests.schema.conftest import ALIAS
from tests.schema.legacy import STATES
from tests.schema.legacy.passwords import KNOWN_USERS, LONG

FULL_SIZE = {"pixcrawler-002": 10_000, "pixsim7-7425b92ac62e": 10_000}
"""Jobs, with ten chunks or three submissions each; the other states have the same, but less of it."""

TWINS = (
    "pixsim7-daa977a0bfa9-migrated",
    "pixsim7-2330addema-models",
    "pixsim7-2330addema-migrated",
    "pixsim7-1105simplifylineage-models",
)
"""They become the same tables as another state, so its way to the head is theirs."""


@pytest.mark.parametrize("name", STATES)
def test_nothing_is_lost_and_the_tables_are_those_of_our_history(name, adopted, sql, db, models):
    state = adopted(name, jobs=FULL_SIZE.get(name, 40))

    assert proof.lost(sql, state) == []
    assert _last_applied(sql) >= _equals(state.revision)
    assert db("verify").code == 0
    if name in TWINS:
        return

    call_command("migrate", database=ALIAS, verbosity=0)

    assert proof.lost(sql, state) == []
    ran = db("verify")
    assert ran.code == 0, ran.out
    assert db("status").code == 0
    if state.system == "pixsim7":
        _check_people(sql)
        _check_generations(sql)
        _check_secrets(sql)
    else:
        _check_datasets(sql, state)


def _check_people(sql):
    assert proof.lost_people(sql) == []
    assert sql(
        "SELECT count(*) FROM auth_user FULL JOIN profiles ON user_id = auth_user.id"
        " WHERE user_id IS NULL OR auth_user.id IS NULL"
    ) == [(0,)]
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


def _check_datasets(sql, state):
    """Nobody had a password, so nobody can log in until one is set."""
    assert sql(
        "SELECT count(*) FROM profiles JOIN auth_user ON auth_user.id = user_id"
        " WHERE lower(auth_user.email) = lower(profiles.email)"
    ) == sql("SELECT count(*) FROM proof.profiles")
    assert not any(user.has_usable_password() for user in User.objects.all())
    if "job_chunks" in state.tables:
        assert sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]


def _last_applied(sql):
    return set(sql("SELECT app, max(name) FROM django_migrations GROUP BY app"))


def _equals(revision):
    return set(REVISIONS[revision] if revision else PIXCRAWLER_BASE)
