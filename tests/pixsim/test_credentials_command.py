"""`manage.py credentials rotate`: no secret is lost, and old keys may go afterwards."""

import io

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from pixsim.core.crypto import CredentialsUnreadable, rotation
from providers.models import ProviderAccount

pytestmark = pytest.mark.django_db

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))


def rotate(*arguments: str) -> str:
    out = io.StringIO()
    call_command("credentials", "rotate", *arguments, stdout=out)
    return out.getvalue()


def account(number: int, **secrets: object) -> ProviderAccount:
    return ProviderAccount.objects.create(provider_id="simple", email=f"{number}@x.org", **secrets)


def tokens() -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key, cookies FROM provider_accounts ORDER BY id")
        return cursor.fetchall()


def test_all_secrets_are_under_the_first_key_and_the_old_one_may_go(settings, monkeypatch) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    settings.CREDENTIALS_KEYS = [OLD]
    accounts = [account(n, api_key=f"key-{n}", cookies={"n": n}) for n in range(5)]
    account(9)
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    accounts.append(account(10, api_key="key-new"))

    before = tokens()
    assert rotate("--dry-run").startswith("10 secrets would be encrypted anew, 1 had")
    assert tokens() == before
    assert rotate().startswith("10 secrets encrypted anew, 1 had the first key")
    assert rotate().startswith("0 secrets encrypted anew, 11 had")

    settings.CREDENTIALS_KEYS = [NEW]
    for one in accounts:
        one.refresh_from_db()
    assert [one.api_key for one in accounts] == [*(f"key-{n}" for n in range(5)), "key-new"]
    assert accounts[3].cookies == {"n": 3}


def test_what_no_key_opens_is_left_named_and_does_not_stop_the_rest(settings) -> None:
    settings.CREDENTIALS_KEYS = [LOST]
    lost = account(1, api_key="lost")
    settings.CREDENTIALS_KEYS = [OLD]
    account(2, api_key="kept")
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match=f"provider_accounts {lost.pk}: api_key") as refused:
        rotate()
    assert refused.value.returncode == 1
    settings.CREDENTIALS_KEYS = [NEW, LOST]
    kept, found = (
        ProviderAccount.objects.order_by("-id")[0],
        ProviderAccount.objects.get(pk=lost.pk),
    )
    assert (kept.api_key, found.api_key) == ("kept", "lost")
    settings.CREDENTIALS_KEYS = [OLD]
    with pytest.raises(CredentialsUnreadable):
        ProviderAccount.objects.get(pk=kept.pk).api_key


def test_a_secret_that_changes_meanwhile_is_not_overwritten(settings, monkeypatch) -> None:
    settings.CREDENTIALS_KEYS = [OLD]
    one = account(1, api_key="before")
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    replace = rotation._replace

    def late(*arguments):
        ProviderAccount.objects.filter(pk=one.pk).update(api_key="after")
        return replace(*arguments)

    monkeypatch.setattr(rotation, "_replace", late)
    assert rotate().startswith("0 secrets")
    one.refresh_from_db()
    assert one.api_key == "after"
