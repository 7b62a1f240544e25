"""Looking at pictures: one after the other by keyboard, by label; and the newest export of a job."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.models import ActivityLog
from crawler.models import Candidate, CrawlJob, CrawlSource, Image, Project
from pixsim.core.formats import format_size
from tests.web import browser

RIGHT, LEFT = "\ue014", "\ue012"


@pytest.fixture
def job(db: None) -> CrawlJob:
    project = Project.objects.create(name="p")
    job = CrawlJob.objects.create(project=project, name="c", max_images=5, status="completed")
    CrawlSource.objects.create(job=job, kind="urls", location="http://x/list.txt", label="owls")
    return job


@pytest.fixture
def images(job: CrawlJob) -> list[Image]:
    made = []
    for number, label in enumerate(["owls", "cats", "owls"]):
        other = CrawlJob.objects.create(project=job.project, name="other", max_images=5)
        for each in (job, other):
            image = Image.objects.create(
                crawl_job=each, original_url=f"http://x/{number}", filename="f", label=label
            )
            made += [image] if each == job else []
    return made


def page_of(image: Image) -> str:
    return reverse("admin:crawler_image_change", args=[image.pk])


def test_a_picture_leads_to_its_neighbours_of_the_same_job_and_to_its_original(
    admin_client: Client, images: list[Image]
) -> None:
    old, middle, new = images
    for image, before, after in ((old, middle, None), (middle, new, old), (new, None, middle)):
        html = admin_client.get(page_of(image)).content.decode()
        for rel, other in (("prev", before), ("next", after)):
            link = f'href="{page_of(other)}" rel="{rel}"' if other else f'rel="{rel}"'
            assert (link in html) == bool(other), (image, rel)
        assert f'<a href="{image.original_url}" target="_blank" rel="noopener noreferrer">' in html


def test_an_address_that_is_no_web_page_is_no_link(
    admin_client: Client, images: list[Image]
) -> None:
    Image.objects.update(original_url="javascript:alert(1)")
    assert 'href="javascript:' not in admin_client.get(page_of(images[0])).content.decode()


@pytest.mark.skipif(not browser.is_there(), reason="needs chromium and chromedriver")
@pytest.mark.django_db(transaction=True)
def test_the_arrow_keys_lead_from_picture_to_picture(
    admin_client: Client, live_server: Any, images: list[Image]
) -> None:
    old, middle, new = images
    with browser.Browser() as chromium:
        chromium.open(f"{live_server.url}/admin/login/")
        chromium.set_cookie("sessionid", admin_client.cookies["sessionid"].value)
        chromium.open(live_server.url + page_of(middle))
        for key, image in ((RIGHT, old), (LEFT, middle), (LEFT, new)):
            chromium.press(key)
            while not chromium.run(f"return location.pathname === {page_of(image)!r}"):
                pass
            assert chromium.run("return document.readyState")


def test_lists_are_filtered_by_the_labels_of_a_job(
    admin_client: Client, job: CrawlJob, images: list[Image]
) -> None:
    Candidate.objects.create(job=job, url="http://x/", url_key=b"k", host="x", label="owls")
    for model, count in (("image", 2), ("candidate", 1)):
        url = reverse(f"admin:crawler_{model}_changelist")
        assert (
            f"?label=owls&amp;q={job.pk}" in admin_client.get(f"{url}?q={job.pk}").content.decode()
        )
        shown = admin_client.get(f"{url}?q={job.pk}&label=owls")
        assert shown.context["cl"].result_count == count
        assert admin_client.get(f"{url}?q=99999999999&label=owls").status_code == 200


def test_the_page_of_a_job_has_its_newest_export(
    admin_client: Client, job: CrawlJob, tmp_path: Path, client: Client
) -> None:
    live = reverse("admin:crawler_crawljob_live", args=[job.pk])
    url = reverse("admin:crawler_crawljob_export", args=[job.pk])
    assert "Newest export" not in admin_client.get(live).json()["html"]
    assert admin_client.get(url).status_code == 404
    for name, data in (("old.zip", b"old"), ("new.zip", b"newer" * 400)):
        (tmp_path / name).write_bytes(data)
        ActivityLog.objects.create(
            action="crawl_job.exported",
            resource_type="crawl_job",
            resource_id=str(job.pk),
            metadata={"path": str(tmp_path / name), "size": len(data), "images": 1},
        )
    html = admin_client.get(live).json()["html"]
    assert f'Newest export: <a href="{url}">new.zip</a>, {format_size(2000)}, ' in html
    answer = admin_client.get(url)
    assert b"".join(answer.streaming_content) == b"newer" * 400
    assert answer["Content-Disposition"] == 'attachment; filename="new.zip"'
    client.force_login(User.objects.create_user("few", is_staff=True))
    assert client.get(url).status_code == 403
    (tmp_path / "new.zip").unlink()
    html = admin_client.get(live).json()["html"]
    assert ("on the machine that made it" in html, url in html) == (True, False)
    assert str(tmp_path) not in html
