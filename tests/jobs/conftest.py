"""A kind of work for tests of the queue: chunks whose work is a function of the test."""

from collections import defaultdict

import pytest
from django.contrib.auth.models import User

from accounts.models import Profile
from crawler.models import CrawlJob, JobChunk, Project
from crawler.work import JOB_IS_OPEN, ChunkKind
from jobs.queue import kinds
from jobs.queue.kinds import Completed


class TestedChunks(ChunkKind):
    """Real chunks with real counters; only the fetching is the test's, so they need no source."""

    runnable_sql = JOB_IS_OPEN

    def __init__(self):
        self.performed = []
        self.action = lambda work: Completed()

    def perform(self, work):
        self.performed.append(work.id)
        return self.action(work)


@pytest.fixture
def kind(monkeypatch):
    kind = TestedChunks()
    monkeypatch.setattr("jobs.queue.worker.loop.all_kinds", lambda: (kind,))
    monkeypatch.setattr("jobs.queue.worker.sweeper.all_kinds", lambda: (kind,))
    yield kind
    kinds._render.cache_clear()


@pytest.fixture
def make_owner():
    def make(tier="FREE", name="ada"):
        user = User.objects.create_user(name, f"{name}@example.org")
        Profile.objects.filter(user=user).update(user_tier=tier)
        return Profile.objects.get(user=user)

    return make


@pytest.fixture
def make_job():
    def make(owner=None, **values):
        project = Project.objects.create(name="Test", owner=owner)
        return CrawlJob.objects.create(
            project=project, name="test", max_images=values.pop("max_images", 1000), **values
        )

    return make


@pytest.fixture
def make_chunks():
    """Chunks of a job as plain rows: nothing but the documented columns, unless given."""
    next_index = defaultdict(int)

    def make(job, count, **values):
        first = next_index[job.pk]
        next_index[job.pk] += count
        chunks = JobChunk.objects.bulk_create(
            JobChunk(
                job=job, chunk_index=i, image_range={"start": i * 10, "end": i * 10 + 10}, **values
            )
            for i in range(first, first + count)
        )
        CrawlJob.objects.filter(pk=job.pk).update(
            total_chunks=first + count, active_chunks=first + count
        )
        return [chunk.pk for chunk in chunks]

    return make
