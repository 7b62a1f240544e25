"""The status page of the admin."""

import re
import tempfile
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from crawler.models import CrawlJob, Image, JobChunk, Project
from jobs.models import WorkRollup
from jobs.queue.kinds import kind_named
from jobs.queue.worker import registry
from pixsim import status
from pixsim.core.admin.charts import Column, Row, bars, columns, nice_ceiling
from providers.models import ProviderAccount

PAGE, FIGURES = reverse("status"), reverse("status_figures")

pytestmark = pytest.mark.django_db


@pytest.fixture
def job():
    return CrawlJob.objects.create(
        project=Project.objects.create(name="p"), name="j", max_images=100, status="running"
    )


def make_chunk(job, **values):
    index = job.chunks.count()
    return JobChunk.objects.create(
        job=job, chunk_index=index, image_range={"start": index, "end": index + 1}, **values
    )


def finished(minutes_ago, seconds, **values):
    ended = timezone.now() - timedelta(minutes=minutes_ago, seconds=5)
    return {
        "status": "completed",
        "finished_at": ended,
        "started_at": ended - timedelta(seconds=seconds),
        **values,
    }


def test_an_empty_system_has_a_page(admin_client):
    page = admin_client.get(PAGE)

    assert page.status_code == 200
    html = page.content.decode()
    assert "No worker runs" in html
    assert "Nothing waits" in html


def test_only_staff_who_may_see_everybodys_work_sees_the_figures(client, db):
    assert [client.get(url).status_code for url in (PAGE, FIGURES)] == [302, 302]
    client.force_login(User.objects.create_user("eve"))
    assert [client.get(url).status_code for url in (PAGE, FIGURES)] == [302, 302]
    sam = User.objects.create_user("sam", is_staff=True)
    client.force_login(sam)
    assert [client.get(url).status_code for url in (PAGE, FIGURES)] == [403, 403]
    sam.user_permissions.set(Permission.objects.filter(codename__in=["system_work", "others_work"]))
    assert [client.get(url).status_code for url in (PAGE, FIGURES)] == [200, 200]


def test_the_admins_first_page_leads_to_it(admin_client):
    assert f'href="{PAGE}"' in admin_client.get(reverse("admin:index")).content.decode()


def test_the_page_shows_what_operators_watch(admin_client, job):
    for ago in (0, 0, 3):
        make_chunk(job, **finished(ago, 2.0))
    make_chunk(job, **finished(1, 20.0, status="failed", retry_count=3))
    make_chunk(job, ready_at=timezone.now() - timedelta(minutes=20), priority=7)
    stuck = make_chunk(
        job,
        status="processing",
        ready_at=timezone.now(),
        task_id="<b>lost</b>",
        lease_expires_at=timezone.now() - timedelta(minutes=3),
        started_at=timezone.now() - timedelta(minutes=4),
    )
    ProviderAccount.objects.create(
        provider_id="local", email="a@b", cooldown_until=timezone.now() + timedelta(minutes=1)
    )
    Image.objects.create(crawl_job=job, original_url="x", filename="x", retrieved_at=timezone.now())

    answer = admin_client.get(FIGURES).json()

    html = answer["html"]
    assert answer["live"] is True
    assert "25.0 %" in html, "one of four has failed"
    assert "the longest 20 s" in html
    assert "priority 7" in html
    assert "20 min" in html
    assert f"#{stuck.pk}" in html
    assert "&lt;b&gt;lost&lt;/b&gt;" in html
    assert "<b>lost" not in html
    assert "3 retries" in html
    assert "ix_job_chunks_claim" in html
    assert "1 in the last hour" in html
    assert "local" in html


def test_figures_are_by_the_minute_and_by_how_long_it_took(job):
    make_chunk(job, **finished(0, 0.02))
    make_chunk(job, **finished(10, 50))
    make_chunk(job, **finished(10, 50, status="failed"))
    make_chunk(job, **finished(70, 1))
    make_chunk(job, **finished(5, 10_000))

    minutes, times = status.course(kind_named("chunk"))

    assert minutes[-1] == (1, 0)
    assert minutes[-11] == (1, 1)
    assert times[1] == (1, 0), "above 10 ms, up to 30 ms"
    assert times[-1] == (1, 0), "above 300 s"
    assert sum(map(sum, minutes)) == 4


def hrefs(html):
    return [unescape(href) for href in re.findall(r'href="([^"]+)"', html)]


def test_the_numbers_lead_to_lists_of_just_those_rows(admin_client, job):
    ready_at = timezone.now()
    for state in (
        {"ready_at": ready_at},
        {"ready_at": ready_at},
        {},
        {"held": True},
        {"held": True, "available_at": timezone.now() + timedelta(hours=1)},
        {"status": "processing", "ready_at": ready_at},
        {"status": "failed", "retry_count": 3},
    ):
        make_chunk(job, **state)
    html = admin_client.get(FIGURES).json()["html"]

    listed = {}
    for url in {href for href in hrefs(html) if href.startswith("/admin/")}:
        page = admin_client.get(url)
        assert page.status_code == 200, url  # an unknown filter is redirected away
        if "/change/" not in url:
            listed[url] = page.context["cl"].result_count
    chunks = "/admin/crawler/jobchunk/?"
    assert listed[f"{chunks}state=ready"] == 2
    assert listed[f"{chunks}state=waiting"] == 1
    assert listed[f"{chunks}state=held"] == 2
    assert listed[f"{chunks}state=scheduled"] == listed[f"{chunks}state=stopped"] == 1
    assert listed[f"{chunks}status__exact=processing"] == 1
    assert listed[f"{chunks}status__exact=failed"] == 1
    assert listed[f"{chunks}state=open&tier=system"] == 6
    assert any(url.startswith("/admin/jobs/job/?state=ready") for url in listed)
    assert any(
        url.startswith("/admin/jobs/workattempt/?kind=chunk&outcome=failed") for url in listed
    )


@pytest.mark.parametrize(("by", "start"), [("hour", 48), ("day", 30), ("week", 26)])
def test_trends_are_drawn_by_the_hour_the_day_and_the_week(admin_client, job, by, start):
    for hours_ago in (0, 1, 24 * 8):
        WorkRollup.objects.create(
            kind="chunk",
            hour=timezone.now().replace(minute=0, second=0, microsecond=0)
            - timedelta(hours=hours_ago),
            counted_until=timezone.now(),
            completed=3,
            failed=1,
            retries=2,
            lost=0,
            given_back=0,
            seconds=40,
            seconds_max=20,
            times=[0] * 10 + [4] + [0] * 7,
        )
    for _ in range(8):
        make_chunk(job, ready_at=timezone.now())

    html = admin_client.get(PAGE, {"by": by}).content.decode()

    assert f'?by={by}" data-live-seconds' in html
    chunks = html[html.index("Chunks of crawl jobs") :]
    chunks = chunks[: chunks.index("</section>")]
    finished = chunks[chunks.index(f"Finished by the {by}") :].split("</svg>")[0]
    assert finished.count("<title>") == start
    assert "completed" in finished
    assert "25.0 %" in chunks
    assert "retries, 0 lost" in chunks
    assert "half up to" in chunks
    assert f"in 12 {by}s: 0 left" in chunks
    assert "empty in" in chunks


@pytest.mark.django_db(transaction=True)
def test_a_sweeping_worker_is_noticed():
    assert not status.worker_runs()
    assert registry.say_alive(is_new=True)
    assert status.worker_runs()
    registry.leave()
    assert not status.worker_runs()


def test_charts_take_any_numbers_and_escape_any_words():
    attack = '"><script>'
    drawn = columns([Column([("good", 0)], title=attack, label=attack)] * 3, label=attack)
    drawn += bars([Row(attack, 1e30, attack, note=attack, url="javascript:x")])
    drawn += columns([], label="") + bars([])

    assert "<script>" not in drawn
    assert [nice_ceiling(value) for value in (0, 1, 3, 5, 11, 2e6)] == [2, 2, 4, 10, 20, 2e6]
    assert nice_ceiling(float("inf")) == 2


def sent_statements(action):
    """Return how many statements went to the server: libpq itself writes down what it sends."""
    with tempfile.TemporaryFile("w+") as trace:
        pgconn = connection.connection.pgconn
        pgconn.trace(trace.fileno())
        action()
        pgconn.untrace()
        trace.seek(0)
        sent = [line.split("\t") for line in trace if "\tF\t" in line]
    return sum(line[3] in ("Query", "Execute") for line in sent)


def test_one_viewer_computes_the_figures_with_few_statements_for_all_others(admin_client, job):
    make_chunk(job, **finished(1, 2.0))
    admin_client.get(reverse("admin:password_change"))  # what is read once in a process

    def look():
        assert admin_client.get(FIGURES).status_code == 200

    people = 2  # the session, and its user
    assert sent_statements(look) <= 12 + people
    assert sent_statements(look) <= 2 + people


def test_figures_of_many_items_take_one_statement_more(monkeypatch, admin_client, job):
    monkeypatch.setattr("jobs.queue.ops.status.EXACT_UP_TO", 1)
    for _ in range(3):
        make_chunk(job, **finished(1, 2.0))
        make_chunk(job, status="processing", ready_at=timezone.now())
    admin_client.get(reverse("admin:password_change"))

    assert sent_statements(lambda: admin_client.get(FIGURES)) <= 14


def test_links_to_what_one_may_not_open_are_words(client, job):
    make_chunk(job, ready_at=timezone.now())
    sam = User.objects.create_user("sam", is_staff=True)
    allowed = ["system_work", "others_work", "view_jobchunk"]
    sam.user_permissions.set(Permission.objects.filter(codename__in=allowed))
    client.force_login(sam)

    html = client.get(FIGURES).json()["html"]

    links = {href.split("?")[0] for href in hrefs(html) if href.startswith("/admin/")}
    assert links == {"/admin/crawler/jobchunk/"}
    assert "finished per minute" in html, "without a link to the attempts"
