"""What people who look after provider accounts see and do."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Asset, Job, QueuePause, WorkAttempt, Worker, Workspace
from providers.admin.figures import figures
from providers.models import ProviderAccount, ProviderCredit, ProviderSubmission
from tests.admin_forms import sent
from tests.providers.adapters.simple_fake import SimpleFake

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
        "model_refusals-TOTAL_FORMS": 0,
        "model_refusals-INITIAL_FORMS": 0,
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
    WorkAttempt.objects.create(
        kind="generation",
        item_id=submission.job_id,
        number=1,
        outcome="completed",
        started_at=timezone.now(),
        ended_at=timezone.now(),
    )
    QueuePause.objects.create(scope="host", key="h")
    Worker.objects.create(name="w@h", host="h", pid=1, processes=1, version="1")
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
    given = sent(admin_client.get(url), nickname="one", new_api_key=OTHER)
    assert admin_client.post(url, given).status_code == 302
    account = ProviderAccount.objects.get()
    assert (account.nickname, account.password, account.api_key) == ("one", SECRET, OTHER)
    given = sent(admin_client.get(url), new_password=OTHER, forget=["cookies"])
    assert admin_client.post(url, given).status_code == 302
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
    page = admin_client.get(url)
    assert admin_client.post(url, sent(page, status="disabled")).status_code == 302
    assert ProviderAccount.objects.get().status == "disabled"


NONSENSE = [
    ({"provider_id": "nonsense"}, "provider_id", "There is no such provider; there is: "),
    ({"email": "x"}, "email", "no e-mail address"),
    ({"max_concurrent_jobs": -3}, "max_concurrent_jobs", "give it a slot"),
    ({"max_concurrent_jobs": 0}, "max_concurrent_jobs", "give it a slot"),
    ({"max_daily_videos": -1}, "max_daily_videos", "fewer than none"),
    ({"max_daily_videos": "9" * 20}, "max_daily_videos", "less than or equal"),
    ({"provider_id": "replicate"}, "status", "An account of replicate needs its api_key before"),
    ({"status": "nonsense"}, "status", "not one of the available choices"),
    ({"nickname": "n" * 101}, "nickname", "at most 100 characters"),
]


@pytest.mark.parametrize(("values", "field", "words"), NONSENSE)
def test_nonsense_in_the_form_of_an_account_is_refused_at_its_field(
    admin_client: Client, account: ProviderAccount, values: Any, field: str, words: str
) -> None:
    url = f"{ACCOUNTS}{account.pk}/change/"
    page = sent(admin_client.get(url), **values)
    for answer in (
        admin_client.post(f"{ACCOUNTS}add/", form(email="b@x.org") | values),
        admin_client.post(url, page),
    ):
        errors = answer.context["adminform"].form.errors
        assert list(errors) == [field]
        assert words in errors[field][0]
    assert ProviderAccount.objects.values().get() == {
        **ProviderAccount.objects.values().get(),
        "provider_id": account.provider_id,
        "email": account.email,
        "max_concurrent_jobs": account.max_concurrent_jobs,
    }


def test_an_active_account_keeps_the_secret_that_it_needs(
    admin_client: Client, account: ProviderAccount
) -> None:
    needs = {"provider_id": "replicate", "email": "b@x.org"}
    for given in ({"new_api_key": SECRET}, {"status": "disabled", "email": "c@x.org"}):
        added = admin_client.post(f"{ACCOUNTS}add/", form(**needs | given))
        assert added.status_code == 302
    active, disabled = ProviderAccount.objects.filter(provider_id="replicate").order_by("id")

    url = f"{ACCOUNTS}{active.pk}/change/"
    refused = admin_client.post(url, sent(admin_client.get(url), forget=["api_key"]))
    assert "needs its api_key" in refused.context["adminform"].form.errors["status"][0]
    answer = admin_client.post(
        ACCOUNTS,
        {"action": "enable", "_selected_action": [disabled.pk, account.pk]},
        follow=True,
    )
    assert "needs its api_key before it can be active" in answer.content.decode()
    with pytest.raises(CommandError, match="needs its api_key"):
        call_command("providers", "accounts", "enable", str(disabled.pk))
    disabled.refresh_from_db()
    active.refresh_from_db()
    assert (disabled.status, active.api_key) == ("disabled", SECRET)


def test_what_an_older_account_has_does_not_stop_a_change_of_something_else(
    admin_client: Client, account: ProviderAccount
) -> None:
    ProviderAccount.objects.update(provider_id="gone", email="a name", max_concurrent_jobs=0)
    url = f"{ACCOUNTS}{account.pk}/change/"
    assert admin_client.post(url, sent(admin_client.get(url), nickname="n")).status_code == 302
    assert ProviderAccount.objects.get().nickname == "n"


def test_the_same_account_is_not_added_twice(
    admin_client: Client, account: ProviderAccount
) -> None:
    again = form(provider_id=account.provider_id, email=account.email)
    refused = admin_client.post(f"{ACCOUNTS}add/", again)
    words = f"Account {account.pk} is {account.email} at {account.provider_id} already."
    assert refused.context["adminform"].form.errors == {"email": [words]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["local", "x"], "email: This is no e-mail address"),
        (["local", "x@y.org", "--slots", "-3"], "give it a slot"),
        (["local", "x@y.org", "--daily-cap", "-3"], "fewer than none"),
    ],
)
def test_the_command_refuses_what_the_form_refuses(given: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("providers", "accounts", "add", *given)
    assert not ProviderAccount.objects.exists()


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
    if path != "jobs/job":  # there it is the form that asks for one
        assert admin_client.get(f"/admin/{path}/add/").status_code == 403
    if path != "jobs/asset":
        assert admin_client.post(f"/admin/{path}/{row}/change/", {}).status_code == 403
        assert admin_client.post(f"/admin/{path}/{row}/delete/", {"post": "yes"}).status_code == 403


# How accounts stand


def live_submission(account: ProviderAccount, **values: Any) -> ProviderSubmission:
    """A submission that occupies a slot of the account."""
    user = User.objects.get_or_create(username="asker")[0]
    job = Job.objects.create(
        user=user, operation_type="text_to_image", provider_id=account.provider_id
    )
    values.setdefault("reference", f"ours-{job.pk}")
    return ProviderSubmission.objects.create(
        job=job, account=account, provider_id=account.provider_id, **values
    )


def ended_submission(account: ProviderAccount, minutes_ago: float, **values: Any) -> None:
    seconds = values.pop("seconds", 4.0)
    ended = timezone.now() - timedelta(minutes=minutes_ago)
    live_submission(
        account,
        submitted_at=ended - timedelta(seconds=seconds),
        accepted_at=ended - timedelta(seconds=seconds / 2),
        responded_at=ended,
        duration_ms=int(seconds * 1000),
        **{"status": "succeeded", **values},
    )


def test_the_list_shows_slots_health_cooldown_and_credits_with_one_query_for_all(
    admin_client: Client, account: ProviderAccount, django_assert_max_num_queries: Any
) -> None:
    account.max_concurrent_jobs = 3
    account.cooldown_until = timezone.now() + timedelta(minutes=5, seconds=5)
    account.save()
    live_submission(account)
    live_submission(account, status="accepted")
    live_submission(account, reference=None)  # an older system's: no slot
    ended_submission(account, 1)
    ended_submission(account, 2, status="failed", error_class="unavailable")
    ended_submission(account, 3, status="failed", error_class="invalid_parameter")
    ended_submission(account, 4, status="filtered", error_class="filtered")
    ProviderCredit.objects.create(account=account, credit_type="web", amount=0)
    for number in range(30):
        ProviderAccount.objects.create(provider_id="local", email=f"{number}@x.org")
    with django_assert_max_num_queries(9) as queries:
        page = admin_client.get(ACCOUNTS).content.decode()
    assert sum("jsonb_object_agg" in query["sql"] for query in queries) == 1
    assert "2 / 3" in page
    assert "75%" in page
    assert "cooling" in page
    assert "5 min left" in page
    assert "0 web" in page


def test_an_account_is_tested_with_its_own_credentials(
    admin_client: Client, settings: Any, account: ProviderAccount
) -> None:
    import tests.providers.adapters.simple_adapter  # noqa: F401 - registers `simple`
    from providers.adapters import all_adapters

    all_adapters.cache_clear()
    url = f"{ACCOUNTS}{account.pk}/act/test/"
    with SimpleFake() as fake:
        settings.PROVIDER_BASE_URLS = {"simple": fake.base_url}
        account.provider_id, account.api_key, account.status = "simple", "test-key-1", "error"
        account.save()
        page = admin_client.post(url, follow=True).content.decode()
        assert "works and is active again" in page
        fake.expired.add("test-key-1")
        page = admin_client.post(url, follow=True).content.decode()
        assert "Bad key." in page
        assert "test-key-1" not in page
        account.refresh_from_db()
        assert account.status == "error"
        settings.CREDENTIALS_KEYS = [Fernet.generate_key().decode()]
        assert admin_client.post(url, follow=True).status_code == 200
    ProviderAccount.objects.update(provider_id="gone")
    assert "There is no provider" in admin_client.post(url, follow=True).content.decode()


def test_cooldowns_are_cleared_from_the_list_and_who_may_only_look_cannot(
    admin_client: Client, client: Client, account: ProviderAccount
) -> None:
    ProviderAccount.objects.update(
        cooldown_until=timezone.now() + timedelta(hours=1), failure_streak=5
    )
    data = {"action": "clear_cooldown", "_selected_action": [account.pk]}
    looker = User.objects.create_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_provideraccount"))
    client.force_login(looker)
    client.post(ACCOUNTS, data)
    assert client.post(f"{ACCOUNTS}{account.pk}/act/disable/").status_code == 403
    assert "Disable" not in client.get(f"{ACCOUNTS}{account.pk}/change/").content.decode()
    assert ProviderAccount.objects.get().failure_streak == 5

    assert "1 account is ready" in admin_client.post(ACCOUNTS, data, follow=True).content.decode()
    account.refresh_from_db()
    assert (account.cooldown_until, account.failure_streak, account.status) == (None, 0, "active")


def test_payload_and_response_are_shown_without_secrets(
    admin_client: Client, secretive: ProviderAccount, job: Job
) -> None:
    submission = ProviderSubmission.objects.create(
        job=job,
        account=secretive,
        provider_id="local",
        status="failed",
        error_class="auth",
        error_message=f"The token {SECRET} is not valid.",
        payload={
            "prompt": "a panda",
            "author": "somebody",
            "max_tokens": 7,
            "nested": [{"Authorization": "Bearer hidden-1", "X-Api-Key": ["hidden-2"]}],
            "session": {"id": "hidden-3"},
            "image": "data:image/png;base64," + "A" * 5000,
        },
        response={
            "echo": f"you sent {SECRET}",
            "url": "https://files.x.org/a.png?X-Amz-Signature=hidden-4&width=5&token=hidden-5",
            "b64_json": "Qk" * 4000,
        },
        outputs=[{"url": "https://x.org/?sig=hidden-6"}],
    )
    pages = [
        admin_client.get(f"{SUBMISSIONS}{submission.pk}/change/").content.decode(),
        admin_client.get(SUBMISSIONS).content.decode(),
        admin_client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode(),
    ]
    for page in pages:
        assert SECRET not in page
        assert "hidden-" not in page
        assert len(page) < 60_000
    for kept in ("a panda", "somebody", "max_tokens&quot;: 7", "width=5", "a.png"):
        assert kept in pages[0]
    assert "(5,022 characters)" in pages[0]
    assert admin_client.post(f"{SUBMISSIONS}{submission.pk}/change/", {}).status_code == 403


# The status page


def test_the_status_page_counts_what_ended_by_provider_class_and_time(
    admin_client: Client, account: ProviderAccount
) -> None:
    second = ProviderAccount.objects.create(provider_id="local", email="b@x.org")
    other = ProviderAccount.objects.create(provider_id="other", email="c@x.org", status="disabled")
    for minute in range(10):
        ended_submission(account, minute + 0.5, seconds=2.0)
    ended_submission(second, 5.5, status="failed", error_class="unavailable", seconds=20.0)
    ended_submission(second, 5.5, status="filtered", error_class="filtered")
    ended_submission(second, 61.5)
    live_submission(account, submitted_at=timezone.now() - timedelta(minutes=30))

    found = {one.provider_id: one for one in figures(ProviderAccount.objects.all())}
    local = found["local"]
    assert (local.ended, local.used, local.limit) == (12, 1, 4)
    assert local.errors == {"unavailable": 1, "filtered": 1}
    assert [sum(one["succeeded"] for one in local.minutes), local.minutes[54].total()] == [10, 3]
    assert local.seconds == [2.0, 2.0]
    assert local.accept_seconds is not None
    assert local.times[2]["succeeded"] == 10
    assert local.times[4]["failed"] == 1
    # The live one fills a slot for thirty minutes, an ended one for two of sixty seconds.
    assert local.slots[45] == pytest.approx(1, abs=0.01)
    assert local.slots[10] == pytest.approx(0, abs=0.01)
    # now() stands still in a test's transaction, some seconds behind the clock.
    assert sum(local.slots) == pytest.approx(30 + (10 * 2 + 20 + 4) / 60, abs=0.2)
    assert (found["other"].ended, found["other"].limit) == (0, 0)

    page = admin_client.get(f"{ACCOUNTS}status/").content.decode()
    for words in ("1 / 4", "83.3%", "unavailable", "succeeded", other.email):
        assert words in page
    live = admin_client.get(f"{ACCOUNTS}status/figures/").json()
    assert live["live"] is True
    assert "Errors by class" in live["html"]


def test_the_status_page_asks_as_often_for_many_accounts_as_for_few(
    admin_client: Client, client: Client, django_assert_max_num_queries: Any
) -> None:
    assert "no provider account yet" in admin_client.get(f"{ACCOUNTS}status/").content.decode()
    for number in range(30):
        account = ProviderAccount.objects.create(provider_id=f"p{number % 3}", email=str(number))
        ended_submission(account, 3)
    with django_assert_max_num_queries(12):
        admin_client.get(f"{ACCOUNTS}status/")
    nobody = User.objects.create_user("nobody", is_staff=True)
    client.force_login(nobody)
    assert client.get(f"{ACCOUNTS}status/").status_code == 403
