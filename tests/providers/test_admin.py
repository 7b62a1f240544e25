"""What people who look after provider accounts see and do."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs.models import Asset, Job, Workspace
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission

pytestmark = pytest.mark.django_db
ACCOUNTS = "/admin/providers/provideraccount/"
SUBMISSIONS = "/admin/providers/providersubmission/"
SECRET, OTHER = "s3cret-one", "s3cret-two"


def form(account: ProviderAccount | None = None, **changes: Any) -> dict[str, Any]:
    """What a browser sends from the form of an account."""
    rows = account.credits.count() if account else 0
    return {
        "provider_id": "local",
        "email": "a@x.org",
        "status": "active",
        "priority": 0,
        "max_concurrent_jobs": 2,
        "ema_alpha": 0.3,
        "credits-TOTAL_FORMS": rows,
        "credits-INITIAL_FORMS": rows,
        **changes,
    }


@pytest.fixture
def secretive(account: ProviderAccount) -> ProviderAccount:
    account.password = SECRET
    account.cookies = {"session": SECRET}
    account.save()
    return account


def test_every_list_and_form_opens(
    admin_client: Client, submission: ProviderSubmission, user: User
) -> None:
    ProviderCredit.objects.create(account=submission.account, credit_type="web", amount=5)
    Workspace.objects.create(user=user, name="w")
    Asset.objects.create(
        user=user, media_type="image", provider_id="p", provider_asset_id="1", remote_url="http://x"
    )
    for model in admin.site._registry:
        if model._meta.app_label in ("providers", "jobs"):
            url = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            assert admin_client.get(url, {"q": "1"}).status_code == 200
            row = model._default_manager.get()
            assert admin_client.get(f"{url}{row.pk}/change/").status_code == 200


def test_a_new_account_is_added_with_its_secrets(admin_client: Client) -> None:
    answer = admin_client.post(
        f"{ACCOUNTS}add/", form(new_password=SECRET, new_cookies='{"session": "x"}')
    )
    assert answer.status_code == 302
    account = ProviderAccount.objects.get()
    assert (account.password, account.cookies, account.api_key) == (SECRET, {"session": "x"}, None)


def test_an_edit_keeps_secrets_that_are_not_given_and_replaces_those_that_are(
    admin_client: Client, secretive: ProviderAccount
) -> None:
    url = f"{ACCOUNTS}{secretive.pk}/change/"
    assert admin_client.post(url, form(nickname="one", new_api_key=OTHER)).status_code == 302
    account = ProviderAccount.objects.get()
    assert (account.nickname, account.password, account.api_key) == ("one", SECRET, OTHER)
    assert admin_client.post(url, form(new_password=OTHER, forget=["cookies"])).status_code == 302
    account = ProviderAccount.objects.get()
    assert (account.password, account.cookies, account.api_key) == (OTHER, None, OTHER)


def test_a_secret_is_never_rendered_not_even_its_length_or_after_a_mistake(
    admin_client: Client, secretive: ProviderAccount
) -> None:
    url = f"{ACCOUNTS}{secretive.pk}/change/"
    pages = [
        admin_client.get(ACCOUNTS),
        admin_client.get(url),
        admin_client.get(f"{ACCOUNTS}{secretive.pk}/history/"),
        admin_client.get(f"{ACCOUNTS}{secretive.pk}/delete/"),
        admin_client.post(url, form(status="no such status", new_password=OTHER)),
        admin_client.post(url, form(new_password=OTHER, new_cookies=f'["{OTHER}"]')),
        admin_client.post(url, form(new_password=OTHER, new_cookies=f'{{"{OTHER}')),
    ]
    for page in pages:
        assert page.status_code == 200
        text = page.content.decode()
        assert SECRET not in text
        assert OTHER not in text
        assert "gAAAAA" not in text
        assert "•" not in text
    assert "password, cookies" in pages[1].content.decode()
    assert ProviderAccount.objects.get().password == SECRET


def test_list_and_form_work_when_the_secrets_cannot_be_read(
    admin_client: Client, secretive: ProviderAccount, settings: Any
) -> None:
    settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
    assert admin_client.get(ACCOUNTS).status_code == 200
    url = f"{ACCOUNTS}{secretive.pk}/change/"
    assert admin_client.get(url).status_code == 200
    assert admin_client.post(url, form(status="disabled")).status_code == 302
    assert ProviderAccount.objects.get().status == "disabled"


def test_an_account_with_history_is_not_deleted_and_disabling_is_suggested(
    admin_client: Client, submission: ProviderSubmission
) -> None:
    account = submission.account
    for page in (
        admin_client.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"}),
        admin_client.post(
            ACCOUNTS,
            {"action": "delete_selected", "_selected_action": [account.pk], "post": "yes"},
        ),
    ):
        assert "provider submissions" in page.content.decode()
        assert "status to disabled instead" in page.content.decode()
    assert ProviderAccount.objects.filter(pk=account.pk).exists()


def test_refusing_to_delete_does_not_read_the_history(
    admin_client: Client, submission: ProviderSubmission
) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"{ACCOUNTS}{submission.account_id}/delete/")
    reads = [query["sql"] for query in queries if 'FROM "provider_submissions"' in query["sql"]]
    assert reads
    assert all(sql.endswith("LIMIT 1") for sql in reads)


def test_an_account_without_history_is_deleted_with_its_credit(
    admin_client: Client, account: ProviderAccount
) -> None:
    ProviderCredit.objects.create(account=account, credit_type="web", amount=5)
    admin_client.post(f"{ACCOUNTS}{account.pk}/delete/", {"post": "yes"})
    assert not ProviderAccount.objects.exists()
    assert not ProviderCredit.objects.exists()


def test_accounts_are_disabled_and_enabled_from_the_list(
    admin_client: Client, account: ProviderAccount
) -> None:
    for action, status in (("disable", "disabled"), ("enable", "active")):
        admin_client.post(ACCOUNTS, {"action": action, "_selected_action": [account.pk]})
        assert ProviderAccount.objects.get().status == status


def test_submissions_filter_on_how_the_account_is_known_on_status_and_provider(
    admin_client: Client, submission: ProviderSubmission
) -> None:
    other = ProviderAccount.objects.create(provider_id="other", email="b")
    guessed = ProviderSubmission.objects.create(
        job=submission.job, account=other, provider_id="other", account_source="backfill"
    )
    for query, found in (
        ({"account_source__exact": "backfill"}, guessed),
        ({"account_source__exact": "recorded"}, submission),
        ({"provider_id": "other"}, guessed),
        ({"status__exact": "pending", "provider_id": "local"}, submission),
    ):
        page = admin_client.get(SUBMISSIONS, query)
        assert [row.pk for row in page.context["cl"].result_list] == [found.pk]


def test_the_list_of_submissions_has_no_query_per_row_and_no_distinct_over_them(
    admin_client: Client, submission: ProviderSubmission, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        ProviderSubmission.objects.create(
            job=submission.job, account=submission.account, provider_id="p", retry_attempt=number
        )
    with django_assert_max_num_queries(9) as queries:
        admin_client.get(SUBMISSIONS, {"account_source__exact": "recorded"})
    distinct = [query["sql"] for query in queries if "DISTINCT" in query["sql"]]
    assert all('FROM "provider_accounts"' in sql for sql in distinct)


def test_a_submission_is_found_by_its_job_and_by_the_providers_id(
    admin_client: Client, submission: ProviderSubmission
) -> None:
    ProviderSubmission.objects.update(provider_job_id="ext-1")
    for term, count in ((submission.job_id, 1), ("ext-1", 1), ("ext", 0), ("9" * 30, 0)):
        page = admin_client.get(SUBMISSIONS, {"q": term})
        assert page.context["cl"].result_count == count


@pytest.mark.parametrize("path", ["providers/providersubmission", "jobs/job", "jobs/asset"])
def test_records_cannot_be_added_changed_or_deleted(
    admin_client: Client, submission: ProviderSubmission, path: str
) -> None:
    row = submission.pk if "submission" in path else Job.objects.get().pk
    assert admin_client.get(f"/admin/{path}/add/").status_code == 403
    if path != "jobs/asset":
        assert admin_client.post(f"/admin/{path}/{row}/change/", {}).status_code == 403
        assert admin_client.post(f"/admin/{path}/{row}/delete/", {"post": "yes"}).status_code == 403
