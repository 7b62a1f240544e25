"""What a person does in the admin stands once in the activity log and once in the History."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from accounts.models import ActivityLog, Profile
from crawler.models import CrawlJob, JobChunk
from crawler.services import lifecycle
from jobs.models import Job, QueuePause
from providers.models import ProviderAccount
from tests.admin_forms import sent

pytestmark = pytest.mark.django_db(transaction=True)

Seen = list[tuple[str, int, str]]


@pytest.fixture
def done(admin_client: Client, admin_user: User) -> Callable[[Callable[[], Any]], tuple[Any, Any]]:
    """What acting has left in the log, and in the History of the rows."""

    def act(what: Callable[[], Any]) -> tuple[list[str], list[tuple[str, int, str]]]:
        ActivityLog.objects.all().delete()
        LogEntry.objects.all().delete()
        assert what().status_code == 302
        logged = ActivityLog.objects.order_by("id")
        assert {entry.user for entry in logged} == {admin_user.profile}
        entries = LogEntry.objects.order_by("pk").select_related("content_type")
        return [entry.action for entry in logged], [
            (entry.content_type.model, entry.action_flag, entry.get_change_message())
            for entry in entries
        ]

    return act


def button(client: Client, row: Any, action: str, **data: Any) -> Any:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_act"
    return client.post(reverse(name, args=[row.pk, action]), {"confirmed": "yes", **data})


def chosen(client: Client, rows: Any, action: str, **data: Any) -> Any:
    names = rows.model._meta
    url = reverse(f"admin:{names.app_label}_{names.model_name}_changelist")
    keys = list(rows.values_list("pk", flat=True))
    return client.post(url, {"action": action, "_selected_action": keys, **data})


def form(client: Client, row: Any, **values: Any) -> Any:
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return client.post(url, sent(client.get(url), **values))


def test_whole_crawl_jobs(done: Any, admin_client: Client, job: CrawlJob) -> None:
    jobs = CrawlJob.objects.all()
    for act, activity, message in (
        (lambda: button(admin_client, job, "pause"), "paused", "Paused."),
        (lambda: chosen(admin_client, jobs, "resume"), "resumed", "Resumed."),
        (
            lambda: chosen(admin_client, jobs, "change_priority", priority="7"),
            "priority_changed",
            "Priority changed: priority 7; fields priority.",
        ),
        (
            lambda: form(admin_client, job, name="owls"),
            "changed",
            "Changed: name owls; fields name.",
        ),
        (lambda: button(admin_client, job, "cancel"), "cancelled", "Cancelled."),
        (lambda: button(admin_client, job, "retry"), "retried", "Retried: chunks 0."),
    ):
        assert done(act) == ([f"crawl_job.{activity}"], [("crawljob", CHANGE, message)])
    logged, history = done(lambda: button(admin_client, job, "repeat"))
    assert logged == ["crawl_job.created"]
    assert history == [("crawljob", ADDITION, "Created: max images 100.")]
    url = reverse("admin:crawler_crawljob_delete", args=[job.pk])
    logged, history = done(lambda: admin_client.post(url, {"post": "yes"}))
    assert (logged, [entry[:2] for entry in history]) == (
        ["crawl_job.deleted"],
        [("crawljob", DELETION)],
    )
    jobs = CrawlJob.objects.all()
    logged, history = done(lambda: chosen(admin_client, jobs, "delete_selected", post="yes"))
    assert (logged, len(history)) == (["crawl_job.deleted"], 1)


def test_the_page_says_who_asked(admin_client: Client, admin_user: User, job: CrawlJob) -> None:
    new = lifecycle.repeat_job(job_id=job.pk, actor=Profile.objects.get(user=admin_user))
    for one, is_known in ((new, True), (job, False)):
        live = admin_client.get(reverse("admin:crawler_crawljob_live", args=[one.pk])).json()
        assert (f"asked for by {admin_user.email}" in live["html"]) == is_known


def test_chunks(done: Any, admin_client: Client, job: CrawlJob) -> None:
    chunks = JobChunk.objects.all()
    count = chunks.count()
    assert count > 1
    for act, activity in (
        (lambda: chosen(admin_client, chunks, "hold"), "held"),
        (lambda: chosen(admin_client, chunks, "requeue"), "requeued"),
    ):
        logged, history = done(act)
        assert logged == [f"job_chunks.{activity}"]
        assert [entry[:2] for entry in history] == [("jobchunk", CHANGE)] * count
    chunk = chunks[0]
    logged, history = done(lambda: form(admin_client, chunk, priority="9"))
    assert (logged, len(history)) == (["job_chunks.changed"], 1)


def test_generations(done: Any, admin_client: Client, admin_user: User) -> None:
    add = reverse("admin:jobs_job_add") + "?provider=local&operation=text_to_image"
    values = {"params-prompt": "a hill", "owner": "", "priority": "5"}
    assert done(lambda: admin_client.post(add, values)) == (
        ["job.created"],
        [("job", ADDITION, "Created.")],
    )
    job = Job.objects.get()
    page = admin_client.get(reverse("admin:jobs_job_live", args=[job.pk])).json()["html"]
    assert f"asked for by {admin_user.email}, for the system" in page
    assert "by system" not in page
    for action, data, activity in (
        ("change_priority", {"priority": "7"}, "priority_changed"),
        ("cancel", {}, "cancelled"),
        ("retry", {}, "retried"),
    ):
        logged, history = done(lambda a=action, d=data: button(admin_client, job, a, **d))
        assert (logged, [entry[:2] for entry in history]) == (
            [f"job.{activity}"],
            [("job", CHANGE)],
        )


def test_what_has_no_service_is_recorded_too(
    done: Any, admin_client: Client, admin_user: User
) -> None:
    url = reverse("admin:auth_group_add")
    logged, history = done(lambda: admin_client.post(url, {"name": "night shift"}))
    assert (logged, [entry[:2] for entry in history]) == (["group.added"], [("group", ADDITION)])
    group = Group.objects.get()
    logged, history = done(lambda: form(admin_client, group, name="day shift"))
    assert (logged, [entry[:2] for entry in history]) == (["group.changed"], [("group", CHANGE)])
    url = reverse("admin:auth_group_delete", args=[group.pk])
    logged, history = done(lambda: admin_client.post(url, {"post": "yes"}))
    assert (logged, [entry[:2] for entry in history]) == (["group.deleted"], [("group", DELETION)])


def test_accounts_people_and_pauses(done: Any, admin_client: Client, admin_user: User) -> None:
    account = ProviderAccount.objects.create(provider_id="local", email="a@example.org")
    logged, history = done(lambda: button(admin_client, account, "disable"))
    assert (logged, len(history)) == (["provider_account.disabled"], 1)
    profile = Profile.objects.get(user=admin_user)
    logged, history = done(lambda: form(admin_client, profile, user_tier="PRO"))
    assert (logged, len(history)) == (["profile.tier_changed"], 1)
    url = reverse("admin:jobs_queuepause_add")
    values = {"scope": "host", "key": "example.org", "reason": "tired"}
    logged, history = done(lambda: admin_client.post(url, values))
    assert (len(logged), history[0][:2], len(history)) == (1, ("queuepause", ADDITION), 1)
    pauses = QueuePause.objects.all()
    logged, history = done(lambda: chosen(admin_client, pauses, "delete_selected", post="yes"))
    assert (len(logged), history[0][:2], len(history)) == (1, ("queuepause", DELETION), 1)
