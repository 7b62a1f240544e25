"""A page of the admin that was open meanwhile overwrites nothing, and says what has changed."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core import signing
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import CreditAccount, Profile
from crawler.models import CrawlJob, JobChunk, Project
from crawler.services import chunks, lifecycle
from jobs.queue import api
from jobs.queue.kinds import kind_named
from pixsim.core.admin.base import ModelAdmin
from pixsim.core.admin.inlines import TabularInline
from pixsim.core.admin.shown import SALT, TOKEN
from providers import services
from providers.models import ProviderAccount, ProviderCredit
from tests.admin_forms import sent
from tests.browser import a_browser

pytestmark = pytest.mark.django_db


def set_(**values: Any) -> Callable[[Any], object]:
    return lambda row: type(row).objects.filter(pk=row.pk).update(**values)


# Of each model whose page has a form: what happens meanwhile, and what a person types.
CASES: dict[type, tuple[Callable[[Any], object], dict[str, Any], dict[str, Any]]] = {
    User: (set_(first_name="Ada"), {"last_name": "L"}, {"first_name": "Ada", "last_name": "L"}),
    Group: (
        lambda row: row.permissions.add(1),
        {"name": "editors"},
        {"name": "editors", "permissions__id": 1},
    ),
    Profile: (
        set_(avatar_url="https://x.org/1"),
        {"user_tier": "PRO"},
        {"avatar_url": "https://x.org/1", "user_tier": "PRO"},
    ),
    CreditAccount: (
        set_(refill_amount=7),
        {"monthly_limit": "9"},
        {"refill_amount": 7, "monthly_limit": 9},
    ),
    Project: (
        set_(description="d"),
        {"name": "cats"},
        {"description": "d", "name": "cats"},
    ),
    CrawlJob: (
        lambda row: lifecycle.pause_job(job_id=row.pk),
        {"name": "cats"},
        {"status": "paused", "name": "cats"},
    ),
    JobChunk: (
        lambda row: chunks.hold([row.pk]),
        {"priority": "7"},
        {"held": True, "priority": 7},
    ),
    ProviderAccount: (
        lambda row: services.disable_account(account=row),
        {"priority": "7"},
        {"status": "disabled", "priority": 7},
    ),
}  # fmt: skip


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def said(answer: Any) -> list[str]:
    return list(answer.context["adminform"].form.non_field_errors())


def test_every_form_of_the_admin_knows_what_it_showed() -> None:
    for shown in admin.site._registry.values():
        assert isinstance(shown, ModelAdmin)
        assert not shown.list_editable
        assert all(issubclass(inline, TabularInline) for inline in shown.inlines)


def test_every_model_with_a_form_is_tried_here(admin_client: Client, rows: Any) -> None:
    pages = {model: admin_client.get(page_of(rows[model])) for model in admin.site._registry}
    with_forms = {
        model
        for model, page in pages.items()
        if page.status_code == 200 and page.context.get("has_change_permission")
        if "adminform" in page.context and page.context["adminform"].form.fields
    }
    assert with_forms == set(CASES)


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.__name__)
def test_what_has_changed_meanwhile_is_listed_and_not_overwritten(
    admin_client: Client, rows: Any, model: type
) -> None:
    happen, typed, wanted = CASES[model]
    row = rows[model]
    page = admin_client.get(page_of(row))
    happen(row)

    refused = admin_client.post(page_of(row), sent(page, **typed))

    assert "has changed since the page was shown" in said(refused)[0]
    lines = "\n".join(said(refused)[1:])
    assert "would become" in lines
    assert "stays so" in lines
    assert not model.objects.filter(**wanted).exists()  # type: ignore[attr-defined]
    # The page that says so is one of now: what was typed is kept, and may be saved knowingly.
    assert admin_client.post(page_of(row), sent(refused)).status_code == 302
    assert model.objects.filter(**wanted).exists()  # type: ignore[attr-defined]


@pytest.mark.parametrize("model", CASES, ids=lambda model: model.__name__)
def test_a_form_without_what_its_page_showed_is_refused_in_words(
    admin_client: Client, rows: Any, model: type
) -> None:
    row, typed = rows[model], CASES[model][1]
    page = sent(admin_client.get(page_of(row)), **typed)
    before = model.objects.filter(pk=row.pk).values().get()  # type: ignore[attr-defined]
    other = signing.dumps({f"{row._meta.label_lower}:0": {}}, salt=SALT)

    for token in (None, "", "abc", page[TOKEN][:-1] + "~", other):
        refused = admin_client.post(
            page_of(row), {k: v for k, v in {**page, TOKEN: token}.items() if v is not None}
        )
        assert "missing from the form or was altered" in said(refused)[0]
        assert "would become" in said(refused)[1]
        assert model.objects.filter(pk=row.pk).values().get() == before  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
def test_a_held_chunk_that_was_finished_meanwhile_stays_finished(
    admin_client: Client, rows: Any
) -> None:
    """From the report: it became pending and held again, in a job that was completed, for ever."""
    chunk, kind = rows[JobChunk], kind_named("chunk")
    api.register(kind)
    lifecycle.pause_job(job_id=chunk.job_id)
    page = admin_client.get(page_of(chunk))
    lifecycle.resume_job(job_id=chunk.job_id)
    [work] = api.claim(kind, limit=1, task_id="t")
    assert api.complete([work]) == {chunk.pk}

    refused = admin_client.post(page_of(chunk), sent(page, priority="9"))

    assert sorted(said(refused)[1:]) == [
        "Held: was yes, is no now, stays so.",
        "Priority: was 5, is 5 now, would become 9.",
        "Status: was “pending”, is “completed” now, stays so.",
    ]
    again = admin_client.post(page_of(chunk), sent(refused))
    assert "its priority cannot change" in again.content.decode()
    chunk.refresh_from_db()
    assert (chunk.status, chunk.held, chunk.priority) == ("completed", False, 5)


def test_what_workers_count_meanwhile_refuses_no_form(admin_client: Client, rows: Any) -> None:
    account, job = rows[ProviderAccount], rows[CrawlJob]
    pages = [(row, admin_client.get(page_of(row))) for row in (account, job)]
    set_(failure_streak=2, total_videos_generated=9, last_error="e")(account)
    set_(valid_images=3, progress=30, total_chunks=8)(job)

    for row, page in pages:
        assert admin_client.post(page_of(row), sent(page, priority="4")).status_code == 302
        row.refresh_from_db()
        assert row.priority == 4
    assert (account.failure_streak, account.total_videos_generated) == (2, 9)
    assert (job.valid_images, job.total_chunks) == (3, 8)


def test_only_the_columns_that_a_person_changed_are_written(
    admin_client: Client, rows: Any
) -> None:
    account = rows[ProviderAccount]
    page = admin_client.get(page_of(account))
    with CaptureQueriesContext(connection) as queries:
        admin_client.post(page_of(account), sent(page, priority="4", new_password="p"))
    [update] = [one["sql"] for one in queries if one["sql"].startswith('UPDATE "provider_acc')]
    columns = update.partition(" SET ")[2].partition(" WHERE ")[0]
    assert [part.split('"')[1] for part in columns.split(', "')[:1]] == ["password"]
    assert columns.count('" = ') == 3, columns  # and when it was changed
    page = admin_client.get(page_of(account))
    with CaptureQueriesContext(connection) as queries:
        assert admin_client.post(page_of(account), sent(page)).status_code == 302
    assert not [one["sql"] for one in queries if one["sql"].startswith('UPDATE "provider_acc')]


def test_a_secret_that_was_typed_must_be_typed_again(admin_client: Client, rows: Any) -> None:
    account = rows[ProviderAccount]
    page = admin_client.get(page_of(account))
    services.disable_account(account=account)

    refused = admin_client.post(page_of(account), sent(page, new_api_key="key-1"))

    assert said(refused)[-1] == "New API key: type it again, pages show no secret."
    assert "key-1" not in refused.content.decode()
    account.refresh_from_db()
    assert account.api_key is None


def test_a_row_that_was_deleted_meanwhile_is_named(admin_client: Client, rows: Any) -> None:
    group = rows[Group]
    page = sent(admin_client.get(page_of(group)), name="new")
    url = page_of(group)
    group.delete()

    answer = admin_client.post(url, page, follow=True)

    assert "Perhaps it was deleted?" in answer.content.decode()
    assert not Group.objects.exists()


# Inlines


def with_credit(page: Any, **values: Any) -> dict[str, Any]:
    """What the page of an account sends with its one row of credits."""
    credit = ProviderCredit.objects.get()
    row = {"id": credit.pk, "account": credit.account_id, "credit_type": "web", "amount": 5}
    counts = {"credits-TOTAL_FORMS": "1", "credits-INITIAL_FORMS": "1"}
    named = {f"credits-0-{name}": value for name, value in {**row, **values}.items()}
    return {**sent(page), **counts, **named}


@pytest.mark.parametrize("typed", [{"credit_type": "paid"}, {"DELETE": "on"}])
def test_a_row_of_an_inline_is_neither_changed_nor_deleted_when_it_has_changed_meanwhile(
    admin_client: Client, rows: Any, typed: dict[str, str]
) -> None:
    url = page_of(rows[ProviderAccount])
    page = admin_client.get(url)
    form = with_credit(page, **typed)
    ProviderCredit.objects.update(amount=0)

    refused = admin_client.post(url, form)

    text = refused.content.decode()
    assert "This provider credit has changed since the page was shown" in text
    assert "Amount: was 5, is 0 now, stays so." in text
    credit = ProviderCredit.objects.get()
    assert (credit.amount, credit.credit_type) == (0, "web")
    missing = admin_client.post(url, {**form, TOKEN: ""})
    assert "missing from the form or was altered" in missing.content.decode()
    assert ProviderCredit.objects.get().credit_type == "web"
    token = refused.context["shown_token"]
    assert admin_client.post(url, {**form, "credits-0-amount": 0, TOKEN: token}).status_code == 302
    after = ProviderCredit.objects.filter(credit_type="paid", amount=0)
    assert after.exists() if "credit_type" in typed else not ProviderCredit.objects.exists()


def test_a_row_of_an_inline_that_was_deleted_meanwhile_is_named(
    admin_client: Client, rows: Any
) -> None:
    url = page_of(rows[ProviderAccount])
    form = with_credit(admin_client.get(url), amount=7)
    ProviderCredit.objects.all().delete()

    refused = admin_client.post(url, form)

    assert "This provider credit was deleted since the page was shown" in refused.content.decode()
    assert admin_client.post(url, {**form, "credits-0-DELETE": "on"}).status_code == 302


# At the same moment


@pytest.mark.django_db(transaction=True)
def test_a_change_that_commits_while_the_form_is_saved_is_seen(
    admin_client: Client, admin_user: User
) -> None:
    account = ProviderAccount.objects.create(provider_id="local", email="a@x.org")
    form = sent(admin_client.get(page_of(account)), priority="9")
    answers: list[Any] = []

    def save() -> None:
        answers.append(admin_client.post(page_of(account), form))
        connection.close()

    saving = threading.Thread(target=save)
    with transaction.atomic():
        services.disable_account(account=account)
        saving.start()
        wait_for_a_lock()
    saving.join(timeout=60)

    assert "Status: was “active”, is “disabled” now, stays so." in said(answers[0])
    account.refresh_from_db()
    assert (account.status, account.priority) == ("disabled", 0)


def wait_for_a_lock() -> None:
    """Wait until another connection waits for a lock that this one holds."""
    waiting = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
    with connection.cursor() as cursor:
        for _ in range(6000):
            cursor.execute(waiting)
            if cursor.fetchone():
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    pytest.fail("nobody waited for the lock")


# In a browser


@pytest.mark.django_db(transaction=True)
def test_a_browser_shows_what_has_changed_and_saves_it_knowingly(
    admin_client: Client, live_server: Any
) -> None:
    account = ProviderAccount.objects.create(provider_id="local", email="a@x.org")
    with a_browser() as browser:
        browser.open(f"{live_server.url}/admin/login/")
        browser.cookie("sessionid", admin_client.cookies["sessionid"].value)
        browser.open(live_server.url + page_of(account))
        services.disable_account(account=account)
        type_ = "document.querySelector('#id_priority').value = '9'; arguments[0](1)"
        browser.run(type_)
        browser.click("[name=_save]")
        browser.wait_for(".errorlist.nonfield")
        lines = browser.texts(".errorlist.nonfield li")
        assert "Status: was “active”, is “disabled” now, stays so." in lines
        assert "Priority: was 0, is 0 now, would become 9." in lines
        shown = "arguments[0]([id_status.value, id_priority.value])"
        assert browser.run(shown) == ["disabled", "9"]
        account.refresh_from_db()
        assert (account.status, account.priority) == ("disabled", 0)
        browser.click("[name=_save]")
        browser.wait_for(".messagelist .success")
    account.refresh_from_db()
    assert (account.status, account.priority) == ("disabled", 9)
