"""Rows that people insert or change in SQL: taken in, counted, and no harm to others."""

import pytest
from django.db import connection

from crawler import chunk_worker
from crawler.models import Candidate, CrawlJob, CrawlSource, Project
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import api
from jobs.queue.errors import Unrecoverable
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def make_job(tmp_path):
    def make(owner=None):
        return accepting.create_crawl_job(
            owner=owner,
            name="test",
            max_images=50,
            source_specs=[SourceSpec("folder", str(tmp_path))],
        )

    return make


@pytest.fixture
def insert_job(tmp_path):
    """A job and its source as plain rows."""

    def insert(**values):
        project = Project.objects.create(name="By hand")
        job = CrawlJob.objects.create(
            project=project, name="by hand", **{"max_images": 100, **values}
        )
        CrawlSource.objects.create(job=job, kind="folder", location=str(tmp_path))
        return job

    return insert


def sql(query):
    with edits_by_hand(), connection.cursor() as cursor:
        cursor.execute(query)


def sweep():
    Sweeper(FallbackWorkers(0)).sweep()


def claim(kind):
    [work] = api.claim(kind, limit=1, task_id="t")
    return work


def test_a_chunk_ended_by_hand_lets_go_of_its_candidates(make_job):
    job = make_job()
    work = claim(ChunkKind())
    Candidate.objects.create(
        job=job, chunk_id=work.id, url="http://a.example/", url_key=b"1", host="a.example"
    )
    sql("UPDATE job_chunks SET status = 'completed'")

    sweep()

    assert Candidate.objects.get().chunk_id is None


@pytest.mark.parametrize(("max_images", "chunk_size"), [(0, 50), (-5, 50), (2_000_000_000, 1)])
def test_a_job_that_cannot_be_planned_fails_and_stops_nobody_else(
    insert_job, max_images, chunk_size
):
    impossible = insert_job(max_images=max_images, chunk_size=chunk_size)
    possible = insert_job()

    sweep()

    impossible.refresh_from_db()
    possible.refresh_from_db()
    assert (impossible.status, possible.total_chunks) == ("failed", 2)
    assert "max_images: must be from 1" in impossible.error_message
    assert impossible.completed_at is not None


@pytest.mark.parametrize("state", ["held", "processing", "failed"])
def test_planning_a_job_leaves_a_source_that_is_at_work_already(insert_job, state):
    job = insert_job()
    kind = DiscoveryKind()
    api.register(kind)
    work = claim(kind)
    if state == "held":
        api.wait(work, seconds=60, reason="The site asks us to wait.")
    if state == "failed":
        api.fail(work, error="no such folder", permanent=True)
    before = CrawlSource.objects.values("status", "held", "ready_at", "lease_id").get()

    sweep()

    job.refresh_from_db()
    assert job.total_chunks == 2
    assert CrawlSource.objects.values("status", "held", "ready_at", "lease_id").get() == before


@pytest.mark.parametrize("is_owned", [True, False])
def test_a_chunk_revived_by_hand_is_counted_and_its_job_opened_again(
    make_job, django_user_model, is_owned
):
    owner = django_user_model.objects.create_user("ada").profile if is_owned else None
    job = make_job(owner)
    kind = ChunkKind()
    api.fail(claim(kind), error="broken", permanent=True)
    sql("UPDATE job_chunks SET status = 'pending' WHERE status = 'failed'")
    if owner:
        assert api.admit(kind, owner.pk) == 0  # not before it is counted

    sweep()

    job.refresh_from_db()
    assert (job.status, job.active_chunks, job.failed_chunks) == ("running", 1, 0)
    api.complete([claim(kind)])
    job.refresh_from_db()
    assert (job.status, job.completed_chunks, job.active_chunks) == ("completed", 1, 0)


@pytest.mark.parametrize(
    "image_range",
    ["{}", "[]", "7", '{"start": "a", "end": 9}', '{"start": -3, "end": 2}', '{"start": 5, "end": 5}',
     '{"start": 0, "end": 2000000000}', '{"start": 0.5, "end": 2}', '{"start": 0, "end": null}'],
)  # fmt: skip
def test_a_chunk_whose_range_is_none_fails_at_once_and_says_so(make_job, image_range):
    make_job()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE job_chunks SET image_range = %s::jsonb", [image_range])

    with pytest.raises(Unrecoverable, match="image_range"):
        chunk_worker.fill_chunk(claim(ChunkKind()))
