"""The closed list of outcomes: each says what happened, and older releases can read what is theirs."""

from importlib import import_module

import pytest
from django.db import connection

from crawler.models import Candidate, CrawlJob, Outcome
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from pixsim.core.net import Reason
from tests.crawler.in_process import wait_until, working
from tests.crawler.local_site import Answer, Site
from tests.crawler.pictures import jpeg
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


def test_whatever_ends_a_fetch_is_an_outcome_of_the_same_name() -> None:
    assert set(Reason) <= set(Outcome.values)


def test_each_address_ends_with_the_outcome_of_what_happened_to_it(settings, tmp_path) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]
    settings.CRAWL_RETRY_SECONDS = 0.05
    outside = {"Location": "http://10.0.0.1/"}
    with Site() as site:
        site.routes = {
            "/latin": Answer(status=302, headers={"Location": "/caf\xe9.jpg"}),
            "/caf%E9.jpg": jpeg(96, 72),
            "/ftp": Answer(status=302, headers={"Location": "ftp://e.com/a.jpg"}),
            "/bracket": Answer(status=302, headers={"Location": "http://[::1"}),
            "/inward": Answer(status=302, headers=outside),
            "/nowhere": Answer(status=302),
            "/same": Answer(status=304),
        }
        expected = {
            f"{site.url}/latin": "stored",
            f"{site.url}/ftp": "bad_url",
            f"{site.url}/bracket": "bad_url",
            f"{site.url}/inward": "blocked_address",
            f"{site.url}/nowhere": "bad_answer",
            f"{site.url}/same": "bad_answer",
            f"{site.url}/gone": "http_4xx",
            (tmp_path / "gone.jpg").as_uri(): "unreadable_file",
        }
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(expected))
        spec = SourceSpec("urls", str(listed))
        accepting.create_crawl_job(owner=None, name="t", max_images=9, source_specs=[spec])
        with working():
            wait_until(lambda: not CrawlJob.objects.open().exists(), seconds=60)

    assert dict(Candidate.objects.values_list("url", "outcome")) == expected


def test_the_way_back_calls_outcomes_as_before() -> None:
    migration = import_module("crawler.migrations.0012_outcomes_by_name")
    spec = SourceSpec("urls", "http://e.com/l.txt")
    job = accepting.create_crawl_job(owner=None, name="t", max_images=9, source_specs=[spec])
    named = ["bad_url", "blocked_address", "unreadable_file", "internal_error", "stored"]
    for number, outcome in enumerate(named):
        Candidate.objects.create(
            job=job, url="http://e.com/", url_key=b"%032d" % number, host="e.com", outcome=outcome
        )
    with edits_by_hand():
        CrawlJob.objects.filter(pk=job.pk).update(outcomes=dict.fromkeys(named, 1))

    with connection.cursor() as cursor:
        cursor.execute(migration.RENAME)

    before = ["blocked_address", "blocked_address", "http_4xx", "corrupt", "stored"]
    assert list(Candidate.objects.order_by("id").values_list("outcome", flat=True)) == before
    job.refresh_from_db()
    assert job.outcomes == {"blocked_address": 2, "http_4xx": 1, "corrupt": 1, "stored": 1}
