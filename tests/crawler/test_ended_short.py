"""A job that ends with fewer images than it was asked for says why, in one sentence."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from crawler.admin.overview import overview
from crawler.models import LAST_REJECTION, CrawlJob, CrawlSource, JobChunk, Outcome
from crawler.services import accepting, lifecycle
from crawler.services.accepting import SourceSpec
from crawler.services.why_short import WORDS, why_short
from tests.crawler.in_process import wait_until, working
from tests.crawler.local_site import Answer, Site
from tests.crawler.pictures import jpeg
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db

BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


@pytest.fixture(autouse=True)
def blob_folder(settings, tmp_path: Path) -> None:
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    settings.PIXSIM_HOME = tmp_path / "home"
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path)]


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_HOST_RATE = 1000.0
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    with Site() as site:
        yield site


def asked(kind: str, *locations: str, **values: Any) -> CrawlJob:
    specs = [SourceSpec(kind, location) for location in locations]
    return accepting.create_crawl_job(
        owner=None, name="t", max_images=5, source_specs=specs, **values
    )


def told(job: CrawlJob) -> str:
    out = io.StringIO()
    call_command("crawl_job", str(job.pk), stdout=out)
    return out.getvalue()


def urlset(*places: str) -> str:
    return "<urlset>" + "".join(f"<url><loc>{place}</loc></url>" for place in places)


@pytest.mark.django_db(transaction=True)
def test_each_way_to_end_short_is_told_with_its_counts(site: Site, tmp_path: Path) -> None:
    for number in range(8):
        site.routes[f"/{number}.jpg"] = jpeg(96, 72, seed=number)
        site.routes[f"/closed/{number}.jpg"] = jpeg(96, 72, seed=number)
    site.routes["/中.jpg".encode().decode("latin-1")] = jpeg(96, 72, seed=9)
    site.routes["/%E4%B8%AD.jpg"] = jpeg(96, 72, seed=9)
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /closed"
    html = {"Content-Type": "text/html"}
    site.routes["/page"] = Answer(
        f'<img src=1.jpg srcset="{BLANK} 1w"><img src=2.jpg data-lazy=true>'
        '<img src="{{x}}" data-src=3.jpg><img src=4.jpg data-src="{{x}}">',
        headers=html,
    )
    site.routes["/dry"] = Answer("<p>nothing", headers=html)
    site.routes["/careless.xml"] = (
        f"\n\n<?xml version='1.0' encoding='gb2312'?>{urlset('/中.jpg', '/1.jpg')}<url><loc>/2.jp"
    ).encode("gb18030")
    site.routes["/closed.xml"] = urlset("/closed/1.jpg", "/closed/2.jpg", "/1.jpg") + "</urlset>"
    site.routes["/gone.xml"] = urlset("/x.jpg", "/y.jpg", "/1.jpg?2", "/1.jpg") + "</urlset>"
    site.routes["/1.jpg?2"] = site.routes["/1.jpg"]
    site.routes["/rss.xml"] = "<rss></rss>"
    (tmp_path / "list.jsonl").write_text(
        f'{{"url": "{site.url}/1.jpg"}}\n{{"url": "{site.url}/2.jpg"}}\n{{"url": "{site.url}/3'
    )
    at = site.url
    jobs: Mapping[str, CrawlJob] = {
        "4 stored": asked("page", f"{at}/page"),
        "named no picture": asked("page", f"{at}/dry"),
        "is cut short: it ends without </url>, after 2 entries": asked("sitemap", f"{at}/careless.xml"),
        "only 3 addresses: 2 closed by robots.txt (robots), 1 stored": asked("sitemap", f"{at}/closed.xml"),
        "2 missing or refused at their server (http_4xx), 1 equal to another picture (duplicate), 1 stored":
            asked("sitemap", f"{at}/gone.xml"),
        "4 too small (too_small)": asked("page", f"{at}/page", options={"min_side": 500}),
        "4 of a format that is not allowed (bad_format)":
            asked("page", f"{at}/page", options={"formats": ["png"]}),
        "4 without an allowed licence (licence)":
            asked("page", f"{at}/page", options={"licences": ["cc0"]}),
        "its source could not be read (location: ": asked("sitemap", f"{at}/rss.xml"),
        "1 of its 2 sources could not be read (location: ":
            asked("sitemap", f"{at}/none.xml", f"{at}/closed.xml"),
        "1 entry of its sources could not be read (row 3: ": asked("urls", f"{tmp_path}/list.jsonl"),
    }  # fmt: skip
    with working():
        wait_until(lambda: not CrawlJob.objects.open().exists(), seconds=60)
    reasons = {why: CrawlJob.objects.get(pk=job.pk) for why, job in jobs.items()}
    for why, job in reasons.items():
        assert job.error_message
        assert why in job.error_message
        assert job.error_message.startswith("It ended short because ")
        assert job.error_message.count(". ") == 0
        assert job.error_message in told(job)
        assert overview(job, may_act=True, may_add=True)["problem"] == job.error_message
    assert {job.valid_images for job in reasons.values()} == {0, 1, 2, 4}
    assert reasons["its source could not be read (location: "].status == "failed"


def of_outcomes(job: CrawlJob, **values: Any) -> str | None:
    """Return the reason of a completed job with these counts."""
    CrawlJob.objects.filter(pk=job.pk).update(**{"status": "completed", **values})
    return why_short(CrawlJob.objects.get(pk=job.pk))


def test_what_failed_and_what_was_not_tried_is_counted(tmp_path: Path) -> None:
    job = asked("folder", str(tmp_path), chunk_size=1)
    with edits_by_hand():
        JobChunk.objects.filter(chunk_index__lt=2).update(
            status="failed", retry_count=3, error_message="The disk is full.\nTraceback"
        )
    counts = {"stored": 3, "duplicate_url": 9, "surplus": 2, "http_4xx": 1000}
    assert of_outcomes(
        job, failed_chunks=2, valid_images=3, total_images=1100, outcomes=counts
    ) == (
        "It ended short because 2 of 5 chunks failed (The disk is full), and its source named 1,100 "
        "addresses: 1,000 missing or refused at their server (http_4xx), 3 stored, 97 not tried (surplus)."
    )
    with edits_by_hand():
        CrawlSource.objects.update(status="failed", error_message="location: no.")
    assert of_outcomes(job, valid_images=5, failed_chunks=0) == (
        "It is complete, but its source could not be read (location: no)."
    )
    with edits_by_hand():
        CrawlSource.objects.update(
            status="completed",
            error_message=None,
            rejected=2,
            rejection=f"a: b{LAST_REJECTION}x.xml: it is cut",
        )
    assert of_outcomes(job) is None
    assert of_outcomes(job, valid_images=0, total_images=1, outcomes={"dns": 1}) == (
        "It ended short because 2 entries of its sources could not be read (x.xml: it is cut), and "
        "its source named only 1 address: 1 at an unknown host (dns)."
    )
    assert of_outcomes(job, total_images=6, outcomes={"corrupt": 6}) == (
        "It ended short because 2 entries of its sources could not be read (x.xml: it is cut), and "
        "of the 6 addresses that its source named too few became images: 6 damaged (corrupt)."
    )
    with edits_by_hand():
        CrawlSource.objects.update(status="failed", error_message="no", rejected=0, found=6)
    assert of_outcomes(job, outcomes={"stored": 1, "corrupt": 5}) == (
        "It ended short because its source could not be read to the end (no), and of the 6 addresses "
        "that its source named too few became images: 5 damaged (corrupt), 1 stored."
    )
    assert of_outcomes(job, total_images=0, outcomes={}) == (
        "It ended short because its source could not be read to the end (no)."
    )
    CrawlSource.objects.all().delete()
    assert of_outcomes(job) == "It ended short because it has no source."


def test_a_cancelled_job_says_how_far_it_came(tmp_path: Path) -> None:
    job = asked("folder", str(tmp_path), chunk_size=2)
    lifecycle.cancel_job(job_id=job.pk)
    why = "It was cancelled when 0 of 5 images were stored and 0 of 3 chunks had ended."
    assert CrawlJob.objects.get().error_message == why
    assert why in told(job)
    lifecycle.retry_job(job_id=job.pk)
    assert CrawlJob.objects.get().error_message is None


def test_every_outcome_has_words() -> None:
    assert set(WORDS) == set(Outcome)


@pytest.mark.django_db(transaction=True)
def test_the_last_rejected_entry_is_kept_beside_the_first_ones(site: Site) -> None:
    """A document that breaks off says so last, and it must not be lost behind other entries."""
    bad = [f"<url><loc>http://{n}:x/</loc></url>" for n in range(1500)]
    site.routes["/s.xml"] = f"<urlset>{''.join(bad)}<url>"
    asked("sitemap", f"{site.url}/s.xml")
    with working():
        wait_until(lambda: not CrawlJob.objects.open().exists())
    source, job = CrawlSource.objects.get(), CrawlJob.objects.get()
    assert source.rejected == 1501
    assert source.rejection.startswith("http://0:x/: ")
    assert source.rejection.count(LAST_REJECTION) == 1
    assert "it is cut short" in source.last_rejection
    assert "1,501 entries of its sources could not be read" in job.error_message
    assert "it is cut short: it ends without </url>, after 1,500 entries" in job.error_message
