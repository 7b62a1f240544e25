"""Pausing, resuming and retrying while workers and the sweeper are in the middle of something."""

import threading

import pytest
from django.db import connection, transaction

from crawler import services
from crawler.errors import JobRefused
from crawler.models import Candidate, JobChunk
from crawler.services import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import transitions
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from jobs.queue.worker.fallback import Standby
from jobs.queue.worker.sweeper import Sweeper
from tests.crawler.in_process import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(tmp_path):
    return services.create_crawl_job(
        owner=None,
        name="test",
        max_images=100,
        source_specs=[SourceSpec("folder", str(tmp_path))],
    )


def sweep():
    Sweeper(Standby(0)).sweep()


def claim(kind):
    [work] = transitions.claim(kind, limit=1, task_id="t")
    return work


def somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", [ChunkKind(), DiscoveryKind()], ids=lambda kind: kind.name)
def test_what_stops_for_a_pause_that_is_over_already_is_not_held_for_ever(job, kind):
    work = claim(kind)
    services.pause_job(job_id=job.pk)
    services.resume_job(job_id=job.pk)

    transitions.wait(work, seconds=None, reason="The job is paused.")
    sweep()

    item = kind.model.objects.get(pk=work.id)
    assert (item.held, item.ready_at) == (False, item.created_at)


def test_what_stops_for_a_pause_is_looked_at_once_and_then_rests_until_the_job_is_resumed(job):
    work = claim(ChunkKind())
    services.pause_job(job_id=job.pk)
    transitions.wait(work, seconds=None, reason="The job is paused.")

    sweep()

    chunk = JobChunk.objects.get(pk=work.id)
    assert (chunk.held, chunk.available_at) == (True, None)
    services.resume_job(job_id=job.pk)
    assert JobChunk.objects.get(pk=work.id).ready_at is not None


def test_the_surplus_of_a_job_that_is_opened_again_meanwhile_stays_open(job):
    """The sweeper has seen that the job ended; before it closes the rest, somebody retries it."""
    for _ in range(2):
        transitions.fail(claim(ChunkKind()), error="broken", permanent=True)
    Candidate.objects.create(job=job, url="http://a.example/", url_key=b"1", host="a.example")

    def sweep_surplus():
        try:
            services.close_surplus()
        finally:
            connection.close()

    with transaction.atomic():
        services.retry_job(job_id=job.pk)
        sweeper = threading.Thread(target=sweep_surplus)
        sweeper.start()
        wait_until(somebody_waits_for_a_lock)
    sweeper.join()

    assert Candidate.objects.get().outcome is None


def test_a_chunk_beyond_the_job_makes_the_job_larger(job):
    services.add_chunk(job_id=job.pk, start=100, end=120)

    job.refresh_from_db()
    assert (job.max_images, job.total_chunks) == (120, 3)
    assert not [finding for finding in check([kind_named("chunk")]) if finding.rows]


def test_a_job_of_too_many_chunks_is_refused():
    with pytest.raises(JobRefused, match="chunk_size: must be at least 50"):
        services.check_job(max_images=10_000_000, priority=5, chunk_size=1, options={})
