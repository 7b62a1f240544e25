"""`manage.py crawl_job`: look at a job, control it, export it."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from crawler.management import listings
from crawler.models import Candidate, CrawlJob, CrawlSource, JobChunk, Project
from crawler.services import accepting
from jobs.queue.worker.loop import run_worker_loop
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def blob_folder(settings, tmp_path) -> Path:
    folder = tmp_path / "blobs"
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(folder)},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    return folder


@pytest.fixture
def job(tmp_path) -> CrawlJob:
    """Four pictures asked for, in two chunks, of a folder that has four."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(jpeg(160, 120, seed=number))
    return accepting.create_crawl_job(
        owner=None,
        name="Birds",
        max_images=4,
        chunk_size=2,
        source_specs=[accepting.SourceSpec("folder", str(folder), "birds")],
    )


def crawl_job(job: CrawlJob | int, *words: object) -> tuple[int, str]:
    """Exit code and what was said."""
    out = io.StringIO()
    number = job if isinstance(job, int) else job.pk
    try:
        call_command("crawl_job", str(number), *map(str, words), stdout=out)
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_status_tells_people_and_programs_how_a_job_stands(job):
    CrawlJob.objects.filter(pk=job.pk).update(
        status="failed", outcomes={"http_4xx": 1200, "stored": 1}, valid_images=1, failed_chunks=1,
        error_message="location: nobody answers.",
    )  # fmt: skip
    with edits_by_hand():
        CrawlSource.objects.update(found=1201, rejected=3, status="completed")
    code, told = crawl_job(job, "status")
    assert code == 0
    assert f"Crawl job {job.pk} is failed: 1 of 4 images" in told
    assert "location: nobody answers." in told
    assert f"try them again with: manage.py crawl_job {job.pk} retry" in told
    assert "0 of 2 chunks are completed, 1 failed" in told
    assert "completed, 3 entries rejected" in told
    assert told.index("1,200  http_4xx") < told.index("1  stored")

    code, told = crawl_job(job, "status", "--json")
    values = json.loads(told)
    assert values.pop("seconds") >= 0
    assert values == {
        "job": job.pk,
        "status": "failed",
        "requested": 4,
        "stored": 1,
        "outcomes": {"http_4xx": 1200, "stored": 1},
        "reason": "location: nobody answers.",
        "export": None,
    }


def test_pausing_holds_a_job_and_resuming_lets_it_go_on(job):
    assert crawl_job(job, "pause")[0] == 0
    assert run_worker_loop(task_id="test", slice_seconds=5) == 0
    assert set(JobChunk.objects.values_list("held", flat=True)) == {True}
    code, told = crawl_job(job, "pause")
    assert (code, f"Crawl job {job.pk} is paused" in told) == (1, True)
    assert crawl_job(job, "resume")[0] == 0
    assert set(JobChunk.objects.values_list("held", flat=True)) == {False}


@pytest.mark.parametrize("action", ["resume", "retry"])
def test_a_running_job_is_not_started_a_second_time(job, action):
    CrawlJob.objects.update(status="running")
    before = list(JobChunk.objects.order_by("id").values())
    code, told = crawl_job(job, action)
    assert code == 1
    assert f"Crawl job {job.pk} is running" in told
    assert list(JobChunk.objects.order_by("id").values()) == before


def test_a_cancelled_job_has_ended_and_can_neither_be_paused_nor_resumed(job):
    code, told = crawl_job(job, "cancel", "--json")
    assert (code, json.loads(told)["status"]) == (0, "cancelled")
    for action in ("cancel", "pause", "resume"):
        code, told = crawl_job(job, action)
        assert (code, "is cancelled" in told) == (1, True), action


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_job_is_taken_up_again_and_completes(job):
    crawl_job(job, "cancel")
    code, told = crawl_job(job, "retry", "--json")
    assert (code, json.loads(told)["status"]) == (0, "running")
    code, told = crawl_job(job, "retry")
    assert (code, "has nothing to try again" in told) == (1, True)
    with working():
        wait_until(lambda: CrawlJob.objects.get().status == "completed")
    assert CrawlJob.objects.get().valid_images == 4


def test_a_repeated_job_asks_for_the_same(job):
    crawl_job(job, "cancel")
    code, told = crawl_job(job, "repeat")

    new = CrawlJob.objects.latest("id")
    assert (code, told.startswith(f"Crawl job {new.pk} is accepted: up to 4 images")) == (0, True)
    asked = ("project_id", "name", "keywords", "max_images", "priority", "options", "chunk_size")
    assert [getattr(new, name) for name in asked] == [getattr(job, name) for name in asked]
    wishes = ("kind", "location", "label", "options", "priority", "owner_id")
    assert list(new.sources.values(*wishes)) == list(job.sources.values(*wishes))
    assert (new.status, new.total_chunks) == ("pending", job.total_chunks)
    job.refresh_from_db()
    assert job.status == "cancelled"


@pytest.mark.django_db(transaction=True)  # the chunks follow the commit
def test_a_new_priority_reaches_the_waiting_chunks(job):
    assert crawl_job(job, "priority", 9)[0] == 0
    assert set(JobChunk.objects.values_list("priority", flat=True)) == {9}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["priority"], "priority: give the new one"),
        (["priority", "11"], "priority: must be from 0 to 10, not 11"),
        (["pause", "3"], "priority: give the new one"),
    ],
)
def test_wrong_usage_says_what_to_write(job, words, message):
    code, told = crawl_job(job, *words)
    assert (code, message in told) == (2, True), told


def test_a_job_that_is_not_there_is_wrong_usage():
    for action in ("status", "pause", "export"):
        assert crawl_job(4711, action) == (2, "id: there is no crawl job 4711.")


@pytest.mark.django_db(transaction=True)
def test_a_finished_job_is_exported_where_one_asks(job, tmp_path, blob_folder):
    code, told = crawl_job(job, "export", "--to", tmp_path / "out")
    assert (code, "no images to export" in told) == (3, True)
    with working():
        wait_until(lambda: CrawlJob.objects.get().status == "completed")
    code, told = crawl_job(job, "export", "--to", tmp_path / "out", "--json")
    path = tmp_path / "out" / f"birds-{job.pk}.zip"
    assert (code, json.loads(told)["export"]) == (0, str(path))
    with zipfile.ZipFile(path) as archive:
        assert sum(name.startswith("birds/") for name in archive.namelist()) == 4
    next(blob_folder.rglob("*.jpg")).unlink()
    code, told = crawl_job(job, "export", "--to", tmp_path / "other")
    assert (code, "Left out, 1 of its images: " in told) == (0, True)
    with zipfile.ZipFile(tmp_path / "other" / path.name) as archive:
        assert sum(name.startswith("birds/") for name in archive.namelist()) == 3


def listed(*words: object) -> tuple[int, str]:
    """Exit code and what was said."""
    out = io.StringIO()
    try:
        call_command("crawl_job", *map(str, words), stdout=out)
    except CommandError as error:
        return error.returncode, str(error)
    return 0, out.getvalue()


def test_jobs_are_listed_the_newest_first_by_status_and_owner(job, django_user_model):
    assert "Birds" in listed("list")[1]
    ada = django_user_model.objects.create_user("ada", "ada@example.org").profile
    hers = Project.objects.create(owner=ada, name="Zoo")
    values = {"project": hers, "name": "Cats", "max_images": 3}
    short = CrawlJob.objects.create(**values, status="completed", valid_images=1, priority=7)
    failed = CrawlJob.objects.create(**values, status="failed")

    def numbers(*words: object) -> list[int]:
        code, out = listed("list", "--json", *words)
        assert code == 0
        return [one["job"] for one in json.loads(out)["jobs"]]

    assert numbers() == [failed.pk, short.pk, job.pk]
    assert numbers("--limit", 2) == [failed.pk, short.pk]
    assert numbers("--status", "open") == [job.pk]
    assert numbers("--status", "open", "--status", "failed") == [failed.pk, job.pk]
    assert numbers("--owner", "ada@example.org", "--status", "completed") == [short.pk]
    assert numbers("--owner", "system") == [job.pk]
    [described] = json.loads(listed("list", "--json", "--status", "completed")[1])["jobs"]
    assert {**described, "seconds": 0, "created_at": ""} == {
        "job": short.pk,
        "status": "completed",
        "requested": 3,
        "stored": 1,
        "outcomes": {},
        "seconds": 0,
        "export": None,
        "name": "Cats",
        "owner": "ada@example.org",
        "project": "Zoo",
        "priority": 7,
        "created_at": "",
    }
    shown = listed("list", "--limit", 2)[1]
    line = next(line.split() for line in shown.splitlines() if "short" in line)
    assert line[:8] == [
        str(short.pk),
        "Cats",
        "completed",
        "short",
        "ada@example.org",
        "7",
        "1",
        "3",
    ]
    assert "1 older ones: see them with --limit 3" in shown
    assert "none" in listed("list", "--status", "cancelled")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "pause"], "list: takes no action"),
        (["list", "--owner", "no@example.org"], "owner: nobody has the e-mail"),
        (["list", "--limit", "0"], "must be a whole number from 1"),
        (["list", "--status", "done"], "invalid choice: 'done'"),
        (["lists"], "must be a job's number or the word list, not 'lists'"),
        (["-1"], "ID"),
        (["987654", "refused"], "id: there is no crawl job 987654."),
    ],
)
def test_what_cannot_be_listed_is_wrong_usage(words, said):
    code, told = listed(*words)
    assert (said in told, code in (1, 2)) == (True, True), told


def test_a_number_alone_shows_the_jobs_status(job):
    CrawlJob.objects.update(completed_at=job.created_at)  # its seconds do not go on
    assert listed(job.pk) == crawl_job(job, "status")


@pytest.fixture
def refused(job) -> CrawlJob:
    """The job with a candidate of each of some outcomes."""
    said = {
        "http_4xx": "404 Not Found",
        "robots": "Disallow: /café",
        "not_an_image": "=cmd|' /C calc'!A0\x1b[2J",
        "surplus": None,
        "stored": None,
        None: None,
    }
    for number, (outcome, detail) in enumerate(said.items()):
        Candidate.objects.create(
            job=job,
            url=f"https://example.org/{number}.jpg",
            url_key=bytes([number]),
            host="example.org",
            label="birds",
            outcome=outcome,
            detail=detail,
            provenance={"source": "page", "landing_page": "https://example.org/"},
        )
    return job


def test_the_addresses_that_were_refused_are_listed_with_the_reason(refused):
    code, told = crawl_job(refused, "refused")
    assert (code, [line.split() for line in told.splitlines()]) == (
        0,
        [
            ["http_4xx", "https://example.org/0.jpg", "(404", "Not", "Found)"],
            ["not_an_image", "https://example.org/2.jpg", *["(=cmd|'", "/C", "calc'!A0", "[2J)"]],
            ["robots", "https://example.org/1.jpg", "(Disallow:", "/café)"],
        ],
    )
    assert crawl_job(refused, "refused", "--outcome", "surplus", "--outcome", "stored")[
        1
    ].splitlines() == [
        "stored              https://example.org/4.jpg",
        "surplus             https://example.org/3.jpg",
    ]
    assert len(crawl_job(refused, "refused", "--limit", 2)[1].splitlines()) == 2
    assert crawl_job(refused, "refused", "--outcome", "timeout") == (0, "")
    told = json.loads(crawl_job(refused, "refused", "--json", "--outcome", "robots")[1])
    assert told == {
        "job": refused.pk,
        "refused": [
            {
                "outcome": "robots",
                "detail": "Disallow: /café",
                "url": "https://example.org/1.jpg",
                "label": "birds",
                "source": "page",
                "source_id": None,
                "landing_page": "https://example.org/",
            }
        ],
    }
    assert crawl_job(refused, "refused", "--outcome", "no_such")[0] != 0


def test_they_are_a_file_for_spreadsheets_too(refused):
    told = crawl_job(refused, "refused", "--csv")[1]
    assert told.startswith("\ufeffoutcome,detail,url,")
    rows = list(csv.DictReader(io.StringIO(told.removeprefix("\ufeff"))))
    assert [row["outcome"] for row in rows] == ["http_4xx", "not_an_image", "robots"]
    assert rows[1]["detail"].startswith("'=cmd|"), "no formula"
    assert rows[2] == {
        "outcome": "robots",
        "detail": "Disallow: /café",
        "url": "https://example.org/1.jpg",
        "label": "birds",
        "source": "page",
        "source_id": "",
        "landing_page": "https://example.org/",
    }


def test_more_of_them_than_a_page_are_listed_each_once(refused, monkeypatch):
    whole = crawl_job(refused, "refused")[1]
    monkeypatch.setattr(listings, "PAGE_SIZE", 2)
    assert crawl_job(refused, "refused")[1] == whole
