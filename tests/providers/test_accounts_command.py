"""`manage.py providers accounts`: from adding one to what it has left, against a fake over HTTP."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

import tests.providers.adapters.simple_adapter  # noqa: F401 - registers `simple`
from accounts.models import ActivityLog
from jobs.models import Job
from providers import credits
from providers.adapters import all_adapters
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission
from tests.providers.adapters.simple_fake import SimpleFake

pytestmark = pytest.mark.django_db
all_adapters.cache_clear()


@pytest.fixture
def fake(settings) -> Iterator[SimpleFake]:
    with SimpleFake() as server:
        settings.PROVIDER_BASE_URLS = {"simple": server.base_url}
        yield server


@pytest.fixture
def account() -> ProviderAccount:
    return ProviderAccount.objects.create(
        provider_id="simple", email="a@x.org", api_key="test-key-1", max_concurrent_jobs=3
    )


def accounts(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("providers", "accounts", *map(str, arguments), stdout=out)
    return out.getvalue()


def refused(*arguments: Any) -> CommandError:
    with pytest.raises(CommandError) as error:
        accounts(*arguments)
    return error.value


class TestAdding:
    def test_the_secret_comes_from_standard_input(self, monkeypatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO("test-key-9\n"))
        told = accounts("add", "simple", "a@x.org", "--slots", 5, "--priority", 2)
        account = ProviderAccount.objects.get()
        assert f"Added account {account.pk}" in told
        assert "test-key-9" not in told
        assert (account.api_key, account.max_concurrent_jobs, account.priority) == (
            "test-key-9", 5, 2,
        )  # fmt: skip
        assert ActivityLog.objects.get().action == "provider_account.added"

    def test_or_from_a_variable_and_for_one_user_alone(self, monkeypatch) -> None:
        User.objects.create_user("ada")
        monkeypatch.setenv("THE_KEY", "test-key-8")
        accounts("add", "simple", "a@x.org", "--secret-env", "THE_KEY", "--owner", "ada")
        account = ProviderAccount.objects.get()
        assert (account.api_key, account.is_private, account.user.username) == (
            "test-key-8", True, "ada",
        )  # fmt: skip

    def test_what_makes_no_sense_is_refused_and_nothing_is_kept(self, monkeypatch, account) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        monkeypatch.setenv("KEY", "k")
        for code, *arguments in (
            (2, "nobody", "b@x.org"),
            (2, "simple", "b@x.org", "--secret-env", "NOT_SET"),
            (2, "simple", "b@x.org", "--owner", "nobody"),
            (1, "simple", "b@x.org"),
            (1, "simple", "b@x.org", "--secret-env", "KEY", "--slots", 0),
            (1, "simple", "a@x.org", "--secret-env", "KEY"),
        ):
            assert refused("add", *arguments).returncode == code, arguments
        assert ProviderAccount.objects.count() == 1


def test_list_shows_slots_status_and_credits_and_no_secret(account) -> None:
    ProviderCredit.objects.create(account=account, credit_type="monthly", amount=1200)
    _submission(account, status="accepted", accepted_at=timezone.now())
    _submission(account, status="succeeded", responded_at=timezone.now())
    (row,) = [line for line in accounts("list").splitlines() if "a@x.org" in line]
    assert [part for part in ("active", "1/3", "100%", "1,200 monthly") if part not in row] == []
    (listed,) = json.loads(accounts("list", "--json"))["accounts"]
    assert (listed["slots"], listed["credits"], listed["secrets"]) == (
        {"used": 1, "limit": 3}, {"monthly": 1200}, ["api_key"],
    )  # fmt: skip
    assert "test-key" not in accounts("list", "--json") + accounts("list")
    assert "There is no account" in accounts("list", "--provider", "openai")


def test_test_tells_whether_the_log_in_works_and_mends_what_was_in_error(fake, account) -> None:
    fake.expired.add("test-key-1")
    assert refused("test", account.pk).returncode == 1
    account.refresh_from_db()
    assert (account.status, account.last_error.startswith("auth")) == ("error", True)
    fake.expired.clear()
    assert "works" in accounts("test", account.pk)
    account.refresh_from_db()
    assert (account.status, account.last_error) == ("active", None)
    assert refused("test", account.pk, 999).returncode == 2


def test_disabled_is_disabled_until_it_is_enabled(account) -> None:
    assert "disabled." in accounts("disable", account.pk)
    assert "already" in accounts("disable", account.pk)
    ProviderAccount.objects.update(cooldown_until=timezone.now())
    assert "enabled." in accounts("enable", account.pk)
    account.refresh_from_db()
    assert (account.status, account.cooldown_until) == ("active", None)
    assert ActivityLog.objects.count() == 2


class TestCredits:
    def test_what_the_provider_says_is_kept_and_opens_what_was_exhausted(
        self, fake, account
    ) -> None:
        ProviderAccount.objects.update(status="exhausted", cooldown_until=timezone.now())
        ProviderCredit.objects.create(account=account, credit_type="gone", amount=0)
        assert "1,000 credits" in accounts("refresh")
        assert list(ProviderCredit.objects.values_list("credit_type", "amount")) == [
            ("credits", 1000)
        ]
        account.refresh_from_db()
        assert (account.status, account.cooldown_until) == ("active", None)

    def test_a_difference_from_what_we_expected_is_recorded(self, fake, account) -> None:
        ProviderCredit.objects.create(account=account, credit_type="credits", amount=1005)
        _submission(account, status="succeeded", responded_at=timezone.now(), cost=2)
        assert "3 less than expected after 2 spent" in accounts("refresh", account.pk)
        line = ActivityLog.objects.get()
        assert (line.action, line.metadata["difference"]) == ("provider_account.credits_differ", -3)
        accounts("refresh")
        assert ActivityLog.objects.count() == 1  # what it has now was expected

    def test_nothing_is_expected_where_the_cost_is_not_said(self, fake, account) -> None:
        ProviderCredit.objects.create(account=account, credit_type="credits", amount=1005)
        _submission(account, status="succeeded", responded_at=timezone.now())
        assert "does not say what 1 generations cost" in accounts("refresh")
        assert not ActivityLog.objects.exists()

    def test_no_answer_changes_nothing_and_is_told(self, fake, account) -> None:
        ProviderCredit.objects.create(account=account, credit_type="credits", amount=5)
        fake.expired.add("test-key-1")
        assert refused("refresh").returncode == 1
        assert ProviderCredit.objects.get().amount == 5
        local = ProviderAccount.objects.create(provider_id="local", email="l@x.org")
        (unknown,) = credits.refresh([local])
        assert "does not report" in unknown.reason

    @pytest.mark.django_db(transaction=True)  # VACUUM runs in none
    def test_maintenance_asks_for_all(self, fake, account, capsys) -> None:
        call_command("queue", "maintain")
        assert ProviderCredit.objects.get().amount == 1000


def test_no_secret_stands_on_a_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "providers", "accounts", "add", "--help"],
        cwd=django_settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert "--secret-env" in done.stdout
    assert "--secret " not in done.stdout


def _submission(account: ProviderAccount, **values: Any) -> None:
    user = User.objects.get_or_create(username="ann")[0]
    job = Job.objects.create(user=user, operation_type="text_to_image", provider_id="simple")
    with connection.cursor() as cursor:
        cursor.execute("SELECT gen_random_uuid()::text")
        reference = cursor.fetchone()[0]
    ProviderSubmission.objects.create(
        job=job, account=account, provider_id="simple", reference=reference, **values
    )
