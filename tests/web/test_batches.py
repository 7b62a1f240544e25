"""Actions that ask first, and actions on all rows of a filter."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.models import Profile
from crawler.admin.chunks import JobChunkAdmin
from crawler.admin.jobs import CrawlJobAdmin
from crawler.models import CrawlJob, CrawlSource, JobChunk, Project
from jobs.models import Job
from jobs.services import create_job
from tests.admin_forms import hidden
from tests.web.test_rights import allow

pytestmark = pytest.mark.django_db
JOBS = "/admin/crawler/crawljob/"
CHUNKS = "/admin/crawler/jobchunk/"


@pytest.fixture
def project() -> Project:
    return Project.objects.create(name="p")


def jobs_of(project: Project, count: int, **values: Any) -> list[CrawlJob]:
    return CrawlJob.objects.bulk_create(
        CrawlJob(project=project, name=f"crawl {n}", max_images=10, **values) for n in range(count)
    )


def asked(client: Client, url: str, action: str, rows: list[Any], **values: Any) -> Any:
    keys = [row.pk for row in rows]
    return client.post(url, {"action": action, "index": "0", "_selected_action": keys, **values})


def test_cancel_asks_first_on_the_page_and_in_the_list(
    admin_client: Client, project: Project
) -> None:
    one, two = jobs_of(project, 2)
    button = reverse("admin:crawler_crawljob_act", args=[one.pk, "cancel"])
    question = admin_client.post(button)
    assert "Are you sure" in question.content.decode()
    assert str(one) in question.content.decode()
    assert CrawlJob.objects.get(pk=one.pk).status == "pending"
    assert admin_client.post(button, hidden(question)).status_code == 302
    assert CrawlJob.objects.get(pk=one.pk).status == "cancelled"

    question = asked(admin_client, JOBS, "cancel", [two])
    assert "1 crawl job" in question.content.decode()
    assert CrawlJob.objects.get(pk=two.pk).status == "pending"
    done = admin_client.post(JOBS, hidden(question), follow=True)
    assert "1 crawl job is cancelled." in done.content.decode()
    assert CrawlJob.objects.get(pk=two.pk).status == "cancelled"

    job = create_job(
        owner=None, provider="local", operation="text_to_image", params={"prompt": "a cat"}
    )
    button = reverse("admin:jobs_job_act", args=[job.pk, "cancel"])
    question = admin_client.post(button)
    assert Job.objects.get().status == "pending"
    admin_client.post(button, hidden(question))
    assert Job.objects.get().status == "cancelled"


def test_an_action_on_all_that_match_the_filter_is_done_in_batches(
    admin_client: Client, project: Project, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CrawlJobAdmin, "batch_size", 3)
    running = jobs_of(project, 7, status="running", total_chunks=1)
    others = jobs_of(project, 2, status="paused", total_chunks=1)
    url = f"{JOBS}?status__exact=running"
    answer = asked(admin_client, url, "pause", running[:1], select_across="1")
    assert "7 crawl jobs" in answer.content.decode()
    later = jobs_of(project, 1, status="running", total_chunks=1)  # since the question
    counts = []
    while answer.status_code == 200:
        answer = admin_client.post(url, hidden(answer))
        counts.append(CrawlJob.objects.filter(status="paused").count() - len(others))
    assert counts == [3, 6, 7]
    page = admin_client.get(answer["Location"]).content.decode()
    assert "7 crawl jobs are paused." in page
    assert CrawlJob.objects.get(pk=later[0].pk).status == "running"


def test_a_batch_that_is_sent_again_goes_on_and_names_what_is_refused(
    admin_client: Client, project: Project, monkeypatch: Any
) -> None:
    monkeypatch.setattr(CrawlJobAdmin, "batch_size", 2)
    rows = [*jobs_of(project, 3, status="running"), *jobs_of(project, 2, status="completed")]
    first = asked(admin_client, JOBS, "cancel", rows, select_across="1")
    again = admin_client.post(JOBS, hidden(first))
    answer = admin_client.post(JOBS, hidden(first))  # its answer was lost
    assert (hidden(again)["changed"], hidden(answer)["changed"]) == (["2"], ["0"])
    while answer.status_code == 200:
        answer = admin_client.post(JOBS, hidden(answer))
    assert CrawlJob.objects.filter(status="cancelled").count() == 3
    assert CrawlJob.objects.filter(status="completed").count() == 2
    assert "refused or stay as they are" in admin_client.get(JOBS).content.decode()


@pytest.mark.long
def test_more_chunks_than_a_list_counts_can_be_changed_at_once(
    admin_client: Client, project: Project, monkeypatch: Any
) -> None:
    monkeypatch.setattr(JobChunkAdmin, "batch_size", 4_000)
    [job] = jobs_of(project, 1, status="running", total_chunks=10_001, active_chunks=10_001)
    JobChunk.objects.bulk_create(
        JobChunk(job=job, chunk_index=n, image_range={"start": n, "end": n + 1})
        for n in range(10_001)
    )
    some = list(JobChunk.objects.order_by("pk")[:2])
    assert "more than 10,000" in admin_client.get(CHUNKS).context["selection_note_all"]
    refused = asked(admin_client, CHUNKS, "change_priority", some, select_across="1")
    assert refused.status_code == 302  # no priority was chosen
    answer = asked(admin_client, CHUNKS, "change_priority", some, select_across="1", priority="9")
    assert "10,001 job chunks" in answer.content.decode()
    while answer.status_code == 200:
        answer = admin_client.post(CHUNKS, hidden(answer))
    assert JobChunk.objects.filter(priority=9).count() == 10_001
    page = admin_client.get(CHUNKS).content.decode()
    assert "10,001 job chunks are now with priority 9." in page


def test_again_like_this_begins_a_form_with_the_values_of_a_crawl(
    admin_client: Client, project: Project
) -> None:
    [job] = jobs_of(
        project, 1, keywords=["cats"], options={"min_side": 99}, chunk_size=7, priority=3
    )
    for place in ("https://a.example/map.xml", "https://b.example/map.xml"):
        CrawlSource.objects.create(job=job, kind="sitemap", location=place, label="cats")
    page = admin_client.get(reverse("admin:crawler_crawljob_change", args=[job.pk]))
    link = f"{reverse('admin:crawler_crawljob_add')}?like={job.pk}"
    assert link in page.content.decode()
    html = admin_client.get(link).content.decode()
    for text in ("crawl 0", "cats", "min_side", "https://a.example/map.xml", "https://b.example/"):
        assert text in html


def test_what_may_not_be_seen_is_no_beginning_of_a_form(client: Client, project: Project) -> None:
    ada: Profile = User.objects.create_user("ada", is_staff=True).profile
    [job] = jobs_of(project, 1)
    assert ada.user
    allow(ada.user, "add_crawljob", "view_crawljob")
    client.force_login(ada.user)
    html = client.get(f"{reverse('admin:crawler_crawljob_add')}?like={job.pk}").content.decode()
    assert "crawl 0" not in html
