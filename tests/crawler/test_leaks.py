"""What was secret, or is a path of a machine, is neither shown nor exported."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.models import ActivityLog
from crawler.errors import SourceRefused
from crawler.export import export_job
from crawler.models import Candidate, CrawlJob, CrawlSource, JobChunk
from crawler.public import shown_address, shown_location
from crawler.services.accepting import SourceSpec, add_sources
from jobs.queue import api
from jobs.queue.kinds import kind_named
from pixsim.core.urls import has_user_info
from providers.adapters.errors import ErrorClass, ProviderError
from tests.admin_forms import sent
from tests.crawler.test_export import add_image, blob_folder, make_job  # noqa: F401

pytestmark = pytest.mark.django_db
SECRETS = ("hunter2", "deadbeef")
PLACE = "https://ada:hunter2@files.example/list.txt?size=9&X-Amz-Signature=deadbeef"


@pytest.fixture
def job() -> CrawlJob:
    """A job of a release that took such addresses."""
    job = make_job(outcomes={"stored": 1, "http_4xx": 1})
    about = {"job": job, "kind": "urls", "status": "completed", "location": PLACE}
    CrawlSource.objects.create(**about)
    Candidate.objects.create(
        job=job, url=PLACE, url_key=b"k" * 32, host="h", outcome="http_4xx", detail="HTTP 403",
        provenance={"landing_page": PLACE},
    )  # fmt: skip
    add_image(job, 0, original_url=PLACE, provenance={"landing_page": PLACE})
    return job


def leaked(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_credentials_in_addresses_are_shown_on_no_page(admin_client: Client, job: CrawlJob) -> None:
    image, candidate = job.images.get(), job.candidates.get()
    pages = [
        reverse(f"admin:crawler_{name}", args=args)
        for name, args in (
            ("crawljob_change", [job.pk]), ("crawljob_live", [job.pk]), ("image_changelist", []),
            ("image_change", [image.pk]), ("candidate_changelist", []),
            ("candidate_change", [candidate.pk]), ("crawljob_delete", [job.pk]),
        )
    ]  # fmt: skip
    CrawlJob.objects.update(status="running")  # its page has the form for more sources
    for page in pages:
        html = admin_client.get(page).content.decode()
        assert (page, leaked(html)) == (page, [])
    assert "files.example/list.txt" in admin_client.get(pages[0]).content.decode()


def test_credentials_in_addresses_are_in_no_file_and_on_no_terminal(
    job: CrawlJob, tmp_path: Path
) -> None:
    archive = zipfile.ZipFile(export_job(job_id=job.pk, folder=tmp_path).path)
    for name in ("manifest.json", "metadata.jsonl", "ATTRIBUTION.csv"):
        text = archive.read(name).decode()
        assert (name, leaked(text)) == (name, [])
        assert "files.example/list.txt" in text
    for options in (["status"], ["status", "--json"], ["refused"], ["refused", "--json"]):
        out = io.StringIO()
        call_command("crawl_job", str(job.pk), *options, stdout=out)
        assert (options, leaked(out.getvalue())) == (options, [])


def test_an_address_with_a_user_is_refused_with_its_reason(
    admin_client: Client, job: CrawlJob
) -> None:
    add = reverse("admin:crawler_crawljob_add")
    for place in (PLACE, "http://token@x.example/a.xml", " HTTP:\\\\u:p@x.example/a.xml"):
        assert has_user_info(place)
        source = {
            "sources-0-location": place, "sources-0-kind": "urls", "sources-0-label": "",
            "sources-0-options": "{}", "sources-TOTAL_FORMS": "1",
        }  # fmt: skip
        form = sent(admin_client.get(add), name="new") | {"max_images": "5", **source}
        answer = admin_client.post(add, form)
        [formset] = answer.context["inline_admin_formsets"]
        assert "leave them out" in str(formset.formset.forms[0].errors["location"])
        with pytest.raises(SourceRefused, match="leave them out"):
            add_sources(job_id=job.pk, source_specs=[SourceSpec("urls", place)])
    assert CrawlJob.objects.count() == 1
    assert not has_user_info("https://x.example/@ada/a@b.jpg?q=@")
    assert leaked(str([*ActivityLog.objects.values(), *LogEntry.objects.values()])) == []


def test_a_local_file_is_named_by_its_path_inside_its_folder(
    admin_client: Client, tmp_path: Path
) -> None:
    root = tmp_path / "secret place" / "pictures"
    job = make_job()
    CrawlSource.objects.create(job=job, kind="folder", location=str(root / "cats"))
    address = (root / "cats" / "tom é.jpg").as_uri()
    known = {"source": "folder", "source_id": "young/tom é.jpg"}
    add_image(job, 0, original_url=address, provenance=known)
    add_image(job, 1, storage_url="gone", original_url=address, provenance=known)
    archive = zipfile.ZipFile(export_job(job_id=job.pk, folder=tmp_path / "out").path)
    for name in ("manifest.json", "metadata.jsonl", "ATTRIBUTION.csv"):
        text = archive.read(name).decode()
        assert "secret" not in text
        assert "tom é.jpg" in text
    assert json.loads(archive.read("manifest.json"))["sources"][0]["location"] == "cats"
    image = reverse("admin:crawler_image_change", args=[job.images.first().pk])
    assert "secret" not in admin_client.get(image).content.decode()
    assert shown_location(str(root)) == "pictures"
    assert shown_location("/elsewhere/list.csv") == "list.csv"
    assert shown_address(address, known) == "young/tom é.jpg"
    assert shown_address(address) == "tom é.jpg"  # of a list of files
    assert shown_address("file://host") == "a local file"


def test_what_went_wrong_is_recorded_without_keys(job: CrawlJob) -> None:
    CrawlJob.objects.update(status="running")
    chunk = JobChunk.objects.create(job=job, chunk_index=0, image_range={"start": 0, "end": 9})
    api.register_and_notify(kind_named("chunk"))
    [work] = api.claim(kind_named("chunk"), limit=1, task_id="t")
    assert api.fail(work, error=f"GET {PLACE} Authorization: Bearer hunter2", permanent=True)
    chunk.refresh_from_db()
    assert chunk.error_message
    assert leaked(chunk.error_message) == []


@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided: sk-hunter2A",
        "GET https://x/?token=hunter2 failed",
        "Bearer hunter2",
    ],
)
def test_the_error_of_a_provider_has_no_key_in_it(message: str) -> None:
    error = ProviderError(ErrorClass.AUTH, f"It says: {message}")
    assert leaked(str(error)) == []
    assert str(error).startswith("It says: ")
