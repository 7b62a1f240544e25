"""Words of pages: errors, zones of times, names of outcomes, why a job ended short."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from crawler.models import Candidate, CrawlJob, Outcome, Project
from jobs.models import Job
from pixsim.web.zones import COOKIE
from providers.models import ProviderAccount

BERLIN = {COOKIE: "Europe/Berlin"}


@pytest.mark.parametrize(
    ("address", "code", "words"),
    [
        ("/fail/400", 400, "cannot be understood"),
        ("/fail/403", 403, "You may not do or see this"),
        ("/nowhere", 404, "There is nothing here"),
        ("/fail/500", 500, "The server has an error"),
        ("/admin/\0/", 400, "cannot be understood"),
    ],
)
def test_errors_have_pages_that_need_no_database(
    settings: Any, client: Client, address: str, code: int, words: str
) -> None:
    settings.ROOT_URLCONF = "tests.web.failing_site"
    client.raise_request_exception = False
    answer = client.get(address)
    page = answer.content.decode()
    assert (answer.status_code, words in page, "pixsim/admin.css" in page) == (code, True, True)
    assert "| PixSim</title>" in page
    assert "secret detail" not in page


def test_a_form_without_its_token_is_refused_in_words(settings: Any) -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("admin:login"), {"username": "a"})
    assert (answer.status_code, "The form was refused" in answer.content.decode()) == (403, True)


@pytest.mark.parametrize("code", [400, 403, 404, 500])
def test_an_error_is_answered_even_without_static_files(
    settings: Any, client: Client, code: int
) -> None:
    settings.ROOT_URLCONF = "tests.web.failing_site"
    manifest = "whitenoise.storage.CompressedManifestStaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": manifest}}
    settings.STATIC_ROOT = "/nowhere"
    client.raise_request_exception = False
    answer = client.get("/nowhere" if code == 404 else f"/fail/{code}")
    assert (answer.status_code, "| PixSim</title>" in answer.content.decode()) == (code, True)


def test_the_root_leads_to_the_admin_and_nothing_leads_back(admin_client: Client) -> None:
    assert admin_client.get("/").url == reverse("admin:index")
    page = admin_client.get("/", follow=True).content.decode()
    assert "View site" not in page
    assert "pixsim/favicon.svg" in page
    assert admin_client.get("/favicon.ico").url.endswith("pixsim/favicon.svg")


def test_times_are_shown_and_read_in_the_zone_of_the_browser(admin_client: Client) -> None:
    account = ProviderAccount.objects.create(
        provider_id="local", email="a@x.org", cooldown_until=datetime(2027, 7, 1, 10, 0, tzinfo=UTC)
    )
    url = reverse("admin:providers_provideraccount_change", args=[account.pk])
    for cookies, hour, words in (
        ({}, "10:00:00", "Times are in UTC."),
        ({COOKIE: "No/Where"}, "10:00:00", "Times are in UTC."),
        (BERLIN, "12:00:00", "Times are in Europe/Berlin (UTC+0"),
    ):
        admin_client.cookies.pop(COOKIE, None)
        admin_client.cookies.load(cookies)
        page = admin_client.get(url)
        html = page.content.decode()
        assert f'value="{hour}"' in html
        assert words in html
    add = reverse("admin:jobs_job_add") + "?provider=local&operation=text_to_image"
    asked = {"params-prompt": "a hill", "owner": "", "priority": "5"}
    times = {"scheduled_at_0": "2027-07-01", "scheduled_at_1": "15:00:00"}
    assert admin_client.post(add, asked | times).status_code == 302
    assert Job.objects.get().scheduled_at == datetime(2027, 7, 1, 13, 0, tzinfo=UTC)
    assert timezone.get_current_timezone_name() == "UTC"


def test_events_of_a_generation_have_dates(admin_client: Client, admin_user: Any) -> None:
    job = Job.objects.create(user=admin_user, operation_type="text_to_image", provider_id="local")
    Job.objects.filter(pk=job.pk).update(created_at=datetime(2026, 6, 30, 23, 30, tzinfo=UTC))
    admin_client.cookies.load(BERLIN)
    live = admin_client.get(reverse("admin:jobs_job_live", args=[job.pk])).json()
    assert ">2026-07-01 01:30:00</time>" in live["html"]
    assert "CEST" in live["html"]


def test_outcomes_have_one_name_everywhere(admin_client: Client) -> None:
    job = CrawlJob.objects.create(
        project=Project.objects.create(name="p"),
        name="c",
        max_images=5,
        status="completed",
        outcomes={"http_4xx": 1},
    )
    row = Candidate.objects.create(
        job=job, url="http://x/", url_key=b"k", host="x", outcome="http_4xx"
    )
    filters = admin_client.get(reverse("admin:crawler_candidate_changelist")).content.decode()
    for outcome in Outcome.values:
        assert f'href="?outcome={outcome}"' in filters
        assert f">\n                {outcome}</a>" in filters or f">{outcome}</a>" in filters
    page = admin_client.get(reverse("admin:crawler_candidate_change", args=[row.pk]))
    assert "http_4xx" in page.content.decode()
    assert "Http 4Xx" not in page.content.decode() + filters
    live = admin_client.get(reverse("admin:crawler_crawljob_live", args=[job.pk])).json()["html"]
    link = f"{reverse('admin:crawler_candidate_changelist')}?q={job.pk}&amp;outcome=http_4xx"
    assert link in live
    listed = admin_client.get(link.replace("&amp;", "&"))
    assert listed.context["cl"].result_count == 1


def test_a_job_that_ended_short_says_so_and_why(admin_client: Client) -> None:
    job = CrawlJob.objects.create(
        project=Project.objects.create(name="p"), name="c", max_images=5, status="completed"
    )
    live = admin_client.get(reverse("admin:crawler_crawljob_live", args=[job.pk])).json()
    assert ">completed short</span>" in live["html"]
    assert "It ended short because it has no source." in live["html"]
    assert "completed short" in live["title"]
    listed = admin_client.get(reverse("admin:crawler_crawljob_changelist")).content.decode()
    assert ">completed short</span>" in listed
