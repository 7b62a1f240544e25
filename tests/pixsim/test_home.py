"""The operator's home: what needs somebody, what runs, who works; every number leads to its rows."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from crawler.models import CrawlJob, JobChunk, Project
from jobs.models import Job, QueuePause, SharedFigures, WorkAttempt, Worker
from jobs.pricing import UNRESOLVED
from providers.models import ProviderAccount

HOME, FIGURES, RETRY = (reverse(name) for name in ("admin:index", "home_figures", "home_retry"))
pytestmark = pytest.mark.django_db


@pytest.fixture
def system():
    """Work of all states, of the system and of Ada."""
    now = timezone.now()
    ada = User.objects.create_user("ada", "ada@example.org", is_staff=True)
    for owner in (None, ada.profile):
        project = Project.objects.create(name="p", owner=owner)
        crawl = CrawlJob.objects.create(project=project, name="c", max_images=9, status="running")

        def chunk(error=None, *, crawl=crawl, owner=owner, **values):
            index = crawl.chunks.count()
            span = {"start": index, "end": index + 1}
            made = JobChunk.objects.create(
                job=crawl, owner=owner, chunk_index=index, image_range=span, **values
            )
            if error:
                WorkAttempt.objects.create(
                    kind="chunk", item_id=made.pk, number=1, started_at=now, ended_at=now,
                    outcome="failed", error_class=error,
                )  # fmt: skip
            return made

        failed = {"status": "failed", "retry_count": 3, "finished_at": now}
        chunk("OSError", attempt_count=1, error_message="disk <full>", **failed)
        chunk("OSError", attempt_count=1, **failed)
        chunk("KeyError", attempt_count=1, **failed)
        chunk(**failed)
        chunk(status="processing", lease_expires_at=now - timedelta(minutes=1))
        chunk(status="processing", lease_expires_at=now + timedelta(minutes=1))
    job = {"user": ada, "owner": ada.profile, "operation_type": "text_to_image"}
    Job.objects.create(provider_id="local", status="failed", error_class=UNRESOLVED, **job)
    Job.objects.create(provider_id="local", status="processing", **job)
    ProviderAccount.objects.create(provider_id="local", email="a@x.org", status="error")
    QueuePause.objects.create(scope="host", key="example.org")
    Worker.objects.create(name="w@h", host="h", pid=1, processes=2, version="1")
    return ada


def links(html):
    """Every number that is a link: its address → its number."""
    found = re.findall(r'<a href="([^"]+)">([\d,]+)</a>', html)
    return {unescape(url): int(number.replace(",", "")) for url, number in found}


def test_every_number_leads_to_a_list_of_just_these_rows(admin_client, system):
    html = admin_client.get(FIGURES).json()["html"]

    found = links(html)
    assert found == {url: admin_client.get(url).context["cl"].result_count for url in found}
    chunks = "/admin/crawler/jobchunk/?"
    assert found[f"{chunks}error=OSError"] == 4
    assert found[f"{chunks}error=KeyError"] == found[f"{chunks}error=unknown"] == 2
    assert found[f"{chunks}state=stuck"] == 2
    assert found[f"{chunks}status__exact=processing"] == 4
    assert found["/admin/providers/provideraccount/?status__exact=error"] == 1
    assert found[f"/admin/jobs/job/?cost={UNRESOLVED}"] == 1
    assert found["/admin/jobs/queuepause/"] == found["/admin/jobs/worker/"] == 1
    assert "disk &lt;full&gt;" in html
    assert "w@h" in html


def test_the_models_stay_below_the_figures(admin_client, system):
    html = admin_client.get(HOME).content.decode()
    assert html.index("What needs somebody") < html.index("/admin/accounts/creditaccount/")


def test_nothing_needs_anybody_in_an_empty_system(admin_client):
    html = admin_client.get(FIGURES).json()["html"]
    assert "Nothing does." in html
    assert "No worker runs" in html


def test_what_failed_with_one_class_of_errors_is_started_anew(admin_client, system):
    assert "Retry these" in admin_client.get(HOME).content.decode()

    answer = admin_client.post(RETRY, {"kind": "chunk", "error": "OSError"}, follow=True)

    assert [str(each) for each in answer.context["messages"]] == ["chunk: 4 started anew."]
    assert JobChunk.objects.filter(status="failed").count() == 4
    assert admin_client.get(RETRY).status_code == 405
    assert admin_client.post(RETRY, {"kind": "discovery", "error": "x"}).status_code == 403


def test_staff_with_few_rights_have_the_numbers_of_their_own_lists(system):
    system.user_permissions.set(Permission.objects.filter(codename="view_jobchunk"))
    ada = Client()
    ada.force_login(system)

    html = ada.get(FIGURES).json()["html"]

    found = links(html)
    assert found["/admin/crawler/jobchunk/?error=OSError"] == 2
    assert {url.split("?")[0] for url in found} == {"/admin/crawler/jobchunk/"}
    assert found == {url: ada.get(url).context["cl"].result_count for url in found}
    assert "Retry these" not in html
    assert "w@h" not in html
    assert ada.post(RETRY, {"kind": "chunk", "error": "OSError"}).status_code == 403

    system.user_permissions.add(Permission.objects.get(codename="change_jobchunk"))
    ada.post(RETRY, {"kind": "chunk", "error": "OSError"})
    assert JobChunk.objects.filter(status="failed").count() == 6, "not those of the system"


def test_a_worker_is_gone_when_it_was_not_seen_for_a_lease(admin_client, system):
    Worker.objects.update(
        last_seen_at=timezone.now() - timedelta(seconds=settings.QUEUE_LEASE_SECONDS + 1)
    )
    assert "w@h" not in admin_client.get(FIGURES).json()["html"]


def test_all_viewers_share_the_figures(admin_client, system):
    admin_client.get(HOME)
    QueuePause.objects.create(scope="host", key="example.com")
    shown = links(admin_client.get(FIGURES).json()["html"])
    assert shown["/admin/jobs/queuepause/"] == 1
    SharedFigures.objects.all().delete()
    shown = links(admin_client.get(FIGURES).json()["html"])
    assert shown["/admin/jobs/queuepause/"] == 2
