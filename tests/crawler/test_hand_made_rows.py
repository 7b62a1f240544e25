"""Rows that people insert or change in SQL: taken in, counted, and no harm to others."""

import pytest
from django.db import connection

from crawler import services
from crawler.models import Candidate, CrawlJob, CrawlSource, Project
from crawler.services import SourceSpec
from crawler.work import ChunkKind, DiscoveryKind
from jobs.queue import admission, transitions
from jobs.queue.standby import Standby
from jobs.queue.sweeper import Sweeper

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def make_job(tmp_path):
    def make(owner=None):
        return services.create_crawl_job(
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
    with connection.cursor() as cursor:
        cursor.execute(query)


def sweep():
    Sweeper(Standby(0)).sweep()


def claim(kind):
    [work] = transitions.claim(kind, limit=1, task_id="t")
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
