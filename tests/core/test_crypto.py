"""Secrets at rest, with the provider accounts that hold them."""

import io
import json
from pprint import pformat
from typing import Any

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.core.management import call_command
from django.db import DataError, connection, transaction
from django.forms import modelform_factory

from pixsim.core.crypto import CredentialsUnreadable
from pixsim.core.crypto.fields import Ciphertext
from providers.models import ProviderAccount, ProviderCredit

pytestmark = pytest.mark.django_db
SECRET = "s3cret-päßword"
OLD, NEW, FOREIGN = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.CREDENTIALS_KEYS = [OLD]


@pytest.fixture
def account() -> ProviderAccount:
    made = ProviderAccount.objects.create(
        provider_id="local", email="a@x.org", password=SECRET, cookies={"session": SECRET}
    )
    return ProviderAccount.objects.get(pk=made.pk)


def stored(column: str = "password") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM provider_accounts")
        return cursor.fetchone()[0]


def test_secrets_come_back_as_they_were_and_the_database_never_sees_them(
    account: ProviderAccount,
) -> None:
    assert account.password == SECRET
    assert account.cookies == {"session": SECRET}
    assert account.api_key is None
    assert SECRET not in stored("provider_accounts::text")
    assert "session" not in stored("provider_accounts::text")


@pytest.mark.parametrize("text", ["", " padded ", "\u0000\n\U0001f511", "x" * 100_000, "gAAAAA"])
def test_any_text_survives(account: ProviderAccount, text: str) -> None:
    account.password = text
    account.save()
    assert ProviderAccount.objects.get().password == text
    assert stored() != text


def test_a_change_inside_a_json_value_is_saved(account: ProviderAccount) -> None:
    account.cookies["theme"] = "dark"
    account.save()
    assert ProviderAccount.objects.get().cookies == {"session": SECRET, "theme": "dark"}


def test_every_way_of_writing_encrypts(account: ProviderAccount) -> None:
    ProviderAccount.objects.update(password="by update")
    assert ProviderAccount.objects.get().password == "by update"
    account.password = "by bulk_update"
    ProviderAccount.objects.bulk_update([account], ["password"])
    assert ProviderAccount.objects.get().password == "by bulk_update"
    account.delete()
    ProviderAccount.objects.bulk_create(
        [ProviderAccount(provider_id="local", email="b@x.org", password="by bulk_create")]
    )
    assert ProviderAccount.objects.defer("password").get().password == "by bulk_create"
    assert stored().startswith("gAAAAA")


def test_what_is_printed_logged_or_raised_shows_no_secret(account: ProviderAccount) -> None:
    shown = [repr(account), str(account), pformat(vars(account))]
    shown += map(repr, ProviderAccount.objects.values("password", "cookies"))
    shown += map(str, ProviderAccount.objects.values_list("password", flat=True))
    account.email = "e" * 300
    with pytest.raises(DataError) as failure, transaction.atomic():
        account.save()
    shown += [str(failure.value), str(failure.value.__cause__)]
    assert not [text for text in shown if SECRET in text or stored() in text]


def test_statements_carry_only_ciphertext(
    account: ProviderAccount, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1) as captured:
        ProviderAccount.objects.update(password=SECRET, cookies={"session": SECRET})
    assert SECRET not in captured[0]["sql"]
    assert "session" not in captured[0]["sql"]


@pytest.mark.parametrize(
    "lookup",
    [
        {"password": SECRET},
        {"password__in": [SECRET]},
        {"password__startswith": "s"},
        {"password__regex": "."},
        {"cookies__session": SECRET},
        {"password": None},
    ],
)
def test_secrets_cannot_be_looked_up(lookup: dict[str, Any]) -> None:
    for name, model in (("", ProviderAccount), ("account__", ProviderCredit)):
        with pytest.raises(FieldError) as refusal:
            model.objects.filter(**{name + key: value for key, value in lookup.items()}).exists()
        assert SECRET not in str(refusal.value)


def test_whether_a_secret_is_set_can_be_asked(account: ProviderAccount) -> None:
    assert ProviderAccount.objects.filter(password__isnull=False, api_key__isnull=True).exists()
    assert account.stored_credentials == ["password", "cookies"]


def test_a_wrong_key_is_reported_by_setting_and_column_only(
    account: ProviderAccount, settings: Any
) -> None:
    settings.CREDENTIALS_KEYS = [FOREIGN]
    account = ProviderAccount.objects.select_related("user").get()
    with pytest.raises(CredentialsUnreadable) as failure:
        account.password
    message = str(failure.value)
    assert "provider_accounts.password" in message
    assert "CREDENTIALS_KEYS" in message
    assert stored() not in message
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__


def test_without_the_key_other_columns_can_be_saved_and_the_secret_stays(
    account: ProviderAccount, settings: Any
) -> None:
    before = stored()
    settings.CREDENTIALS_KEYS = [FOREIGN]
    account = ProviderAccount.objects.get()
    account.nickname = "renamed"
    account.save()
    assert account.stored_credentials == ["password", "cookies"]
    assert stored() == before
    settings.CREDENTIALS_KEYS = [OLD]
    assert ProviderAccount.objects.get(nickname="renamed").password == SECRET


def test_a_changed_token_is_unreadable(account: ProviderAccount) -> None:
    token = stored()
    with connection.cursor() as cursor:
        for broken in (token[:-4], token[:40] + "AAAA" + token[44:], "plaintext", ""):
            cursor.execute("UPDATE provider_accounts SET password = %s", [broken])
            with pytest.raises(CredentialsUnreadable):
                ProviderAccount.objects.get().password


def test_the_first_key_encrypts_and_all_keys_decrypt(
    account: ProviderAccount, settings: Any
) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]
    account = ProviderAccount.objects.get()
    assert account.password == SECRET
    account.save()
    settings.CREDENTIALS_KEYS = [NEW]
    account = ProviderAccount.objects.get()
    assert account.password == SECRET
    with pytest.raises(CredentialsUnreadable):
        account.cookies


def test_a_token_can_be_rotated_without_its_plaintext_being_handled(
    account: ProviderAccount, settings: Any
) -> None:
    rotated = MultiFernet([Fernet(NEW), Fernet(OLD)]).rotate(stored()).decode()
    ProviderAccount.objects.update(password=Ciphertext(rotated))
    settings.CREDENTIALS_KEYS = [NEW]
    assert ProviderAccount.objects.get().password == SECRET


@pytest.mark.parametrize(("keys", "part"), [([], "is empty"), ([OLD, "my-bad-key"], "Key 2")])
def test_missing_and_malformed_keys_are_named_and_not_shown(
    settings: Any, keys: list[str], part: str
) -> None:
    settings.CREDENTIALS_KEYS = keys
    with pytest.raises(ImproperlyConfigured, match=part) as failure:
        ProviderAccount.objects.create(provider_id="local", email="a", password=SECRET)
    assert "my-bad-key" not in str(failure.value)
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_dumpdata_writes_tokens_and_loaddata_reads_them(
    account: ProviderAccount, tmp_path: Any, form: str
) -> None:
    dump = io.StringIO()
    call_command("dumpdata", "providers.provideraccount", format=form, stdout=dump)
    assert SECRET not in dump.getvalue()
    assert json.dumps(SECRET) not in dump.getvalue()
    account.delete()
    fixture = tmp_path / f"accounts.{form}"
    fixture.write_text(dump.getvalue())
    call_command("loaddata", fixture, verbosity=0)
    loaded = ProviderAccount.objects.get()
    assert (loaded.password, loaded.cookies) == (SECRET, {"session": SECRET})
    assert loaded.api_key is None


def test_no_model_form_shows_a_secret(account: ProviderAccount) -> None:
    form = modelform_factory(ProviderAccount, fields="__all__")(instance=account)
    assert "password" not in form.fields
    assert SECRET not in form.as_p()
