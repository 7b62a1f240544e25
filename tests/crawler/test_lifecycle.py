"""Pausing, resuming and retrying while workers and the sweeper are in the middle of something."""

import threading

import pytest
from django.db import connection, transaction

from accounts.errors import LimitExceeded
from accounts.models import Profile
from crawler.errors import JobRefused
from crawler.models import Candidate, CrawlJob, JobChunk
from crawler.services import accepting, chunks, ending, lifecycle, limits
from crawler.services.accepting import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import api
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from tests.crawler.in_process import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(tmp_path):
    return accepting.create_crawl_job(
        owner=None,
        name="test",
        max_images=100,
        source_specs=[SourceSpec("folder", str(tmp_path))],
    )


def sweep():
    Sweeper(FallbackWorkers(0)).sweep()


def claim(kind):
    [work] = api.claim(kind, limit=1, task_id="t")
    return work


def somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", [ChunkKind(), DiscoveryKind()], ids=lambda kind: kind.name)
def test_what_stops_for_a_pause_that_is_over_already_is_not_held_for_ever(job, kind):
    work = claim(kind)
    lifecycle.pause_job(job_id=job.pk)
    lifecycle.resume_job(job_id=job.pk)

    api.wait(work, seconds=None, reason="The job is paused.")
    sweep()

    item = kind.model.objects.get(pk=work.id)
    assert (item.held, item.ready_at) == (False, item.created_at)


def test_what_stops_for_a_pause_is_looked_at_once_and_then_rests_until_the_job_is_resumed(job):
    work = claim(ChunkKind())
    lifecycle.pause_job(job_id=job.pk)
    api.wait(work, seconds=None, reason="The job is paused.")

    sweep()

    chunk = JobChunk.objects.get(pk=work.id)
    assert (chunk.held, chunk.available_at) == (True, None)
    lifecycle.resume_job(job_id=job.pk)
    assert JobChunk.objects.get(pk=work.id).ready_at is not None


def test_the_surplus_of_a_job_that_is_opened_again_meanwhile_stays_open(job):
    """The sweeper has seen that the job ended; before it closes the rest, somebody retries it."""
    for _ in range(2):
        api.fail(claim(ChunkKind()), error="broken", permanent=True)
    Candidate.objects.create(job=job, url="http://a.example/", url_key=b"1", host="a.example")

    def sweep_surplus():
        try:
            ending.close_surplus()
        finally:
            connection.close()

    with transaction.atomic():
        lifecycle.retry_job(job_id=job.pk)
        sweeper = threading.Thread(target=sweep_surplus)
        sweeper.start()
        wait_until(somebody_waits_for_a_lock)
    sweeper.join()

    assert Candidate.objects.get().outcome is None


def test_a_chunk_beyond_the_job_makes_the_job_larger(job):
    chunks.add_chunk(job_id=job.pk, start=100, end=120)

    job.refresh_from_db()
    assert (job.max_images, job.total_chunks) == (120, 3)
    assert not [finding for finding in check([kind_named("chunk")]) if finding.rows]


def test_a_job_of_too_many_chunks_is_refused():
    with pytest.raises(JobRefused, match="chunk_size: must be at least 50"):
        limits.check_job(max_images=10_000_000, priority=5, chunk_size=1, options={})


# Retrying within the owner's limits


@pytest.fixture
def failed_job(django_user_model, tmp_path):
    """A job of somebody with tier PRO, of which every chunk has failed."""
    owner = django_user_model.objects.create_user("ada", "ada@example.org").profile
    Profile.objects.update(user_tier="PRO")
    owner.refresh_from_db()
    job = accepting.create_crawl_job(
        owner=owner,
        name="test",
        max_images=500,
        chunk_size=500,
        source_specs=[SourceSpec("folder", str(tmp_path))],
        priority=8,
    )
    api.fail(claim(ChunkKind()), error="broken", permanent=True)
    return job


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"images_per_job": 499}, "images_per_job: tier PRO allows 499"),
        ({"highest_priority": 7}, "highest_priority: tier PRO allows 7"),
        ({"concurrent_jobs": 0}, "concurrent_jobs: tier PRO allows 0"),
    ],
)
def test_a_job_that_the_tier_does_not_allow_any_more_is_not_opened_again(
    failed_job, settings, limits, message
):
    settings.TIERS = {"PRO": limits}

    with pytest.raises(LimitExceeded, match=message):
        lifecycle.retry_job(job_id=failed_job.pk)
    with pytest.raises(LimitExceeded, match=message):
        chunks.retry([failed_job.chunks.get().pk])
    with pytest.raises(LimitExceeded, match=message):
        chunks.change_chunk(
            chunk_id=failed_job.chunks.get().pk, changes={"status": "pending"}, shown={}
        )

    failed_job.refresh_from_db()
    assert (failed_job.status, failed_job.chunks.get().status) == ("failed", "failed")


def test_a_retry_counts_among_the_open_jobs_but_not_among_those_of_the_day(
    failed_job, settings, tmp_path
):
    settings.TIERS = {"PRO": {"concurrent_jobs": 1, "jobs_per_day": 1}}

    lifecycle.retry_job(job_id=failed_job.pk)

    failed_job.refresh_from_db()
    assert failed_job.status == "running"
    with pytest.raises(LimitExceeded, match="concurrent_jobs"):
        accepting.create_crawl_job(
            owner=failed_job.project.owner,
            name="second",
            max_images=1,
            source_specs=[SourceSpec("folder", str(tmp_path))],
        )


def test_a_failed_chunk_of_an_open_job_is_retried_whatever_the_tier_is_now(failed_job, settings):
    CrawlJob.objects.update(status="running")
    settings.TIERS = {"PRO": {"images_per_job": 1, "concurrent_jobs": 0}}

    assert lifecycle.retry_job(job_id=failed_job.pk) == 1
