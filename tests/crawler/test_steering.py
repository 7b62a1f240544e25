"""Pausing, resuming and retrying while workers and the sweeper are in the middle of something."""

import pytest

from crawler import services
from crawler.models import JobChunk
from crawler.services import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import transitions
from jobs.queue.standby import Standby
from jobs.queue.sweeper import Sweeper

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
