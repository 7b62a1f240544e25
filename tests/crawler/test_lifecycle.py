"""Pausing, resuming and retrying while workers and the sweeper are in the middle of something."""

import threading

import pytest
from django.db import connection, transaction

from accounts.errors import FeatureRefused, LimitExceeded
from accounts.models import Profile
from crawler.errors import JobRefused, WrongState
from crawler.models import Candidate, CrawlJob, Image, JobChunk
from crawler.services import accepting, chunks, ending, lifecycle, limits
from crawler.services.accepting import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import api
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from tests.crawler.in_process import wait_until
from tests.queue_guard import edits_by_hand

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


# Taking up a cancelled job


def test_a_cancelled_job_goes_on_with_what_it_had_not_finished(job):
    api.complete([claim(ChunkKind())])
    Candidate.objects.create(job=job, url="http://a.example/", url_key=b"1", host="a.example")
    CrawlJob.objects.update(total_images=1)
    lifecycle.cancel_job(job_id=job.pk)
    sweep()
    assert Candidate.objects.get().outcome == "surplus"
    api.fail(claim_held_source(job), error="broken", permanent=True)

    assert lifecycle.retry_job(job_id=job.pk) == 2, "one is short, one was pending"

    job.refresh_from_db()
    assert (job.status, job.completed_at, job.active_chunks) == ("running", None, 2)
    assert Candidate.objects.get().outcome is None
    assert set(JobChunk.objects.values_list("status", "held")) == {("pending", False)}
    source = job.sources.get()
    assert (source.status, source.held, source.retry_count) == ("pending", False, 0)
    assert not [finding for finding in check([kind_named("chunk")]) if finding.rows]


def claim_held_source(job):
    """The source as a worker has it that does not know yet that the job was cancelled."""
    api.resume(DiscoveryKind(), parent=job.pk)
    return claim(DiscoveryKind())


def test_what_a_worker_still_has_of_a_cancelled_job_goes_on_after_it_was_taken_up(job):
    works = [claim(ChunkKind()), claim(DiscoveryKind())]
    lifecycle.cancel_job(job_id=job.pk)
    lifecycle.retry_job(job_id=job.pk)

    for work in works:
        api.wait(work, seconds=None, reason="The job is cancelled.")
    sweep()

    items = [work.kind.model.objects.get(pk=work.id) for work in works]
    assert [(item.held, item.ready_at is not None) for item in items] == [(False, True)] * 2


def test_a_cancelled_job_that_had_filled_every_chunk_is_completed(job):
    for number in range(100):
        Image.objects.create(
            crawl_job=job, chunk=job.chunks.get(chunk_index=number // 50), image_index=number,
            original_url=f"http://a.example/{number}", filename=str(number), sha256=f"{number:064}",
        )  # fmt: skip
    CrawlJob.objects.update(valid_images=100)
    works = [claim(ChunkKind()) for _ in range(2)]
    lifecycle.cancel_job(job_id=job.pk)
    for work in works:
        api.complete([work])
    job.refresh_from_db()
    assert (job.status, job.active_chunks) == ("cancelled", 0)

    assert lifecycle.retry_job(job_id=job.pk) == 0

    job.refresh_from_db()
    assert job.status == "completed"


def test_a_job_that_was_cancelled_before_it_was_planned_is_planned(job):
    with edits_by_hand():
        JobChunk.objects.all().delete()
    CrawlJob.objects.update(total_chunks=0, active_chunks=0)
    lifecycle.cancel_job(job_id=job.pk)

    lifecycle.retry_job(job_id=job.pk)
    sweep()

    job.refresh_from_db()
    assert (job.status, job.total_chunks) == ("pending", 2)


def test_of_two_who_take_up_a_cancelled_job_one_wins(job, monkeypatch):
    lifecycle.cancel_job(job_id=job.pk)
    seen = lifecycle.get_job(job.pk)
    lifecycle.retry_job(job_id=job.pk)

    monkeypatch.setattr(lifecycle, "get_job", lambda job_id: seen)
    with pytest.raises(WrongState, match="is running meanwhile"):
        lifecycle.retry_job(job_id=job.pk)


def test_a_cancelled_job_is_taken_up_within_its_owners_limits(failed_job, settings):
    CrawlJob.objects.update(status="cancelled")
    settings.TIERS = {"PRO": {"concurrent_jobs": 0}}
    with pytest.raises(LimitExceeded, match="concurrent_jobs: tier PRO allows 0"):
        lifecycle.retry_job(job_id=failed_job.pk)
    settings.TIERS = {"PRO": {"features": []}}
    for act in (lifecycle.retry_job, lifecycle.repeat_job):
        with pytest.raises(FeatureRefused, match="crawl: tier PRO does not have"):
            act(job_id=failed_job.pk)
    assert CrawlJob.objects.get().status == "cancelled"
