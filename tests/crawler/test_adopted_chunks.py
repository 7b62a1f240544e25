"""Chunks that an older system left: it knew only keywords. They wait for a source, then are filled."""

import json
import threading
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from crawler import missing_source
from crawler.missing_source import NO_SOURCE
from crawler.models import CrawlJob, CrawlSource, JobChunk
from crawler.services import accepting, lifecycle
from crawler.services import chunks as chunk_services
from crawler.services.accepting import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import api
from jobs.queue.ops.check import check
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.loop import run_worker_loop
from jobs.queue.worker.sweeper import Sweeper
from tests.admin_forms import sent
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)

SENTENCE = (
    "It waits for a source. It has only keywords (cat, Zoë). Add one to the job in the admin: its "
    "chunks go on then."
)


@pytest.fixture(autouse=True)
def _own_blobs(settings, tmp_path_factory):
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {
            "BACKEND": "pixsim.core.blobs.local.BlobStorage",
            "OPTIONS": {"location": str(tmp_path_factory.mktemp("blobs"))},
        },
    }


@pytest.fixture
def pictures(tmp_path):
    for seed in range(8):
        (tmp_path / f"{seed}.jpg").write_bytes(jpeg(96, 64, seed=seed))
    return tmp_path


@pytest.fixture(params=[True, False], ids=["owned", "nobody's"])
def job(request, django_user_model):
    """As adoption leaves a job: its counters as the older system had them, chunks without a place."""
    owner = django_user_model.objects.create_user("ada").profile if request.param else None
    return adopted_job(owner)


def adopted_job(owner=None, *, chunks=4, status="running", **values):
    project_id = sql(
        "INSERT INTO projects (name, user_id, status) VALUES ('old', %s, 'active') RETURNING id",
        owner and owner.pk,
    )[0][0]
    fields = {
        "max_images": 8,
        "total_chunks": 4,
        "active_chunks": 1,
        "completed_chunks": 0,
        "total_images": 30,
        "downloaded_images": 20,
        "valid_images": 3,
        "progress": 37,
        **values,
    }
    job_id = sql(
        "INSERT INTO crawl_jobs (project_id, name, keywords, status, failed_chunks, task_ids,"
        f" {', '.join(fields)}) VALUES (%s, 'old', '[\"cat\", \"Zoë\"]', %s, 0, '[\"t\"]',"
        f" {', '.join(['%s'] * len(fields))}) RETURNING id",
        *[project_id, status, *fields.values()],
    )[0][0]
    sql(
        "INSERT INTO job_chunks (job_id, chunk_index, image_range, task_id, created_at, updated_at)"
        " SELECT %s, n, jsonb_build_object('start', n * 2, 'end', n * 2 + 2), 'task-' || n,"
        " now() - interval '1 year', now() - interval '1 year' FROM generate_series(0, %s) AS n",
        *[job_id, chunks - 1],
    )
    return CrawlJob.objects.get(pk=job_id)


def sql(query, *params):
    with edits_by_hand(), connection.cursor() as cursor:
        cursor.execute(query, params)
        return cursor.fetchall() if cursor.description else []


def sweep():
    Sweeper(FallbackWorkers(0)).sweep()


def run(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def add_source(job, folder):
    """As plain a row as somebody would insert."""
    sql(
        "INSERT INTO crawl_sources (job_id, kind, location) VALUES (%s, 'folder', %s)",
        *[job.pk, str(folder)],
    )


def places():
    return set(JobChunk.objects.values_list("status", "held", "ready_at", "error_message"))


def has_ended(job):
    return CrawlJob.objects.filter(pk=job.pk, status__in=["completed", "failed"]).exists()


def broken():
    kinds = (ChunkKind(), DiscoveryKind())
    return [(one.name, one.rows) for one in check(kinds) if not one.holds]


def test_chunks_of_a_job_with_only_keywords_wait_unclaimed_and_everybody_is_told_why(
    job, admin_client
):
    for _ in range(2):
        sweep()
        assert run_worker_loop(task_id="t", slice_seconds=1) == 0

    assert places() == {("pending", True, None, NO_SOURCE)}
    assert not JobChunk.objects.exclude(lease_id=None).exists()
    assert SENTENCE in run("crawl_job", str(job.pk), "status")
    assert json.loads(run("crawl_job", str(job.pk), "status", "--json"))["waits"] == SENTENCE
    assert "1 crawl jobs with 4 unfinished chunks have no source" in run("queue", "status")
    assert NO_SOURCE[:40] in admin_client.get("/admin/crawler/jobchunk/").content.decode()
    page = admin_client.get(f"/admin/crawler/crawljob/{job.pk}/change/").content.decode()
    assert SENTENCE in page
    assert broken() == []


def test_once_the_job_has_a_source_one_worker_fills_its_chunks(job, pictures):
    sweep()
    add_source(job, pictures)

    with working():
        wait_until(lambda: has_ended(job))

    job.refresh_from_db()
    assert (job.status, job.valid_images, job.progress) == ("completed", 8, 100)
    assert (job.total_images, job.total_chunks, job.completed_chunks) == (8, 4, 4)
    assert set(job.images.values_list("image_index", flat=True)) == set(range(8))
    assert "waits" not in json.loads(run("crawl_job", str(job.pk), "status", "--json"))
    assert broken() == []


def test_a_source_added_in_the_admin_does_the_same(job, pictures, admin_client):
    sweep()
    url = f"/admin/crawler/crawljob/{job.pk}/change/"
    source = {
        "sources-TOTAL_FORMS": 1,
        "sources-0-kind": "folder",
        "sources-0-location": str(pictures),
        "sources-0-options": "{}",
    }
    answer = admin_client.post(url, sent(admin_client.get(url), **source))
    assert answer.status_code == 302, answer.content.decode()

    with working():
        wait_until(lambda: has_ended(job))

    job.refresh_from_db()
    assert (job.status, job.valid_images) == ("completed", 8)
    assert broken() == []


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_job_that_has_no_chunks_at_all_is_planned_when_it_gets_a_source(pictures, status):
    """The oldest revision has no table of chunks, though its jobs count some."""
    job = adopted_job(chunks=0, status=status)
    sweep()
    add_source(job, pictures)

    with working():
        wait_until(lambda: has_ended(job))

    job.refresh_from_db()
    assert (job.status, job.valid_images, job.total_chunks) == ("completed", 8, 1)
    assert broken() == []


def test_a_source_that_cannot_be_read_ends_the_job_with_that_reason(job, tmp_path):
    sweep()
    add_source(job, tmp_path / "nowhere")

    with working():
        wait_until(lambda: has_ended(job))

    job.refresh_from_db()
    assert (job.status, job.failed_chunks) == ("failed", 4)
    assert "nowhere" in job.error_message


def test_chunks_that_somebody_holds_or_whose_job_is_paused_stay_so(pictures):
    held_by_hand, paused = adopted_job(), adopted_job(status="paused")
    chunk = held_by_hand.chunks.order_by("id").first()
    chunk_services.hold([chunk.pk])
    sweep()
    add_source(held_by_hand, pictures)
    add_source(paused, pictures)

    with working():
        wait_until(lambda: held_by_hand.chunks.filter(status="completed").count() == 3)
        wait_until(lambda: not held_by_hand.sources.exclude(status="completed").exists())
        chunk.refresh_from_db()
        assert (chunk.status, chunk.held) == ("pending", True)
        assert set(paused.chunks.values_list("status", "held")) == {("pending", True)}
        chunk_services.requeue([chunk.pk])
        lifecycle.resume_job(job_id=paused.pk)
        wait_until(lambda: has_ended(paused) and has_ended(held_by_hand))

    assert set(CrawlJob.objects.values_list("status", "valid_images")) == {("completed", 8)}


def test_a_chunk_that_was_claimed_before_its_source_went_away_waits_without_a_retry(pictures):
    job = accepting.create_crawl_job(
        owner=None, name="t", max_images=8, source_specs=[SourceSpec("folder", str(pictures))]
    )
    CrawlSource.objects.all().delete()

    run_worker_loop(task_id="t", slice_seconds=1)
    sweep()

    assert places() == {("pending", True, None, NO_SOURCE)}
    assert run_worker_loop(task_id="t", slice_seconds=1) == 0
    add_source(job, pictures)
    with working():
        wait_until(lambda: has_ended(job))
    assert CrawlJob.objects.get().valid_images == 8


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_what_an_older_system_ended_stays_ended(status):
    job = adopted_job(status=status)
    sql("UPDATE job_chunks SET status = 'failed', retry_count = 1")
    if status == "completed":
        sql("UPDATE job_chunks SET status = 'completed' WHERE chunk_index > 0")

    sweep()

    assert run_worker_loop(task_id="t", slice_seconds=1) == 0
    job.refresh_from_db()
    assert (job.status, job.valid_images) == (status, 3)
    assert not JobChunk.objects.filter(status="pending").exists()


def test_ranges_that_are_none_fail_alone(job, pictures):
    invalid = (
        "[1, 2]",
        "{}",
        '{"start": 5, "end": 1}',
        '"x"',
        "null",
        '{"start": "a", "end": "b"}',
    )
    for place, text in enumerate(invalid):
        sql(
            "INSERT INTO job_chunks (job_id, chunk_index, image_range) VALUES (%s, %s, %s::jsonb)",
            *[job.pk, 100 + place, text],
        )
    sweep()
    assert places() == {("pending", True, None, NO_SOURCE)}
    add_source(job, pictures)

    with working():
        wait_until(lambda: has_ended(job))

    job.refresh_from_db()
    assert (job.status, job.valid_images) == ("completed", 8)
    assert (job.completed_chunks, job.failed_chunks) == (4, 6)
    failed = job.chunks.filter(status="failed").values_list("error_message", flat=True)
    assert all(message.startswith("image_range: ") for message in failed)


def test_a_source_that_begins_while_chunks_are_taken_in_is_not_missed(job, pictures):
    def add_and_begin():
        try:
            add_source(job, pictures)
            missing_source.resume_chunks(job.pk)
        finally:
            connection.close()

    with transaction.atomic():
        api.register(ChunkKind())  # has seen no source, but is not committed
        adding = threading.Thread(target=add_and_begin)
        adding.start()
        wait_until(somebody_waits_for_a_lock)
    adding.join()

    assert not JobChunk.objects.filter(held=True).exists()


def somebody_waits_for_a_lock():
    return sql("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")[0][0]
