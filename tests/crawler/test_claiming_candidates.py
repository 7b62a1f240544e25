"""Which candidates a chunk takes: in turns over hosts, and never too many of one host."""

import pytest

from crawler import chunk_worker
from crawler.models import Candidate, CrawlJob, CrawlSource, JobChunk, Project
from crawler.urls import url_key
from jobs.queue import api
from jobs.queue.kinds import kind_named

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chunks(settings):
    """Two claimed chunks of a job whose candidates are mostly of one host."""
    settings.CRAWL_HOST_CONCURRENCY = 4
    settings.CRAWL_HOST_LIMITS = {"gentle.example": {"concurrency": 2}}
    chunk_worker._known_hosts.clear()
    chunk_worker._caps.clear()
    job = CrawlJob.objects.create(
        project=Project.objects.create(name="p"), name="j", max_images=100, status="running"
    )
    CrawlSource.objects.create(job=job, kind="folder", location="/", status="completed")
    urls = [f"http://big.example/{i}.jpg" for i in range(30)]
    urls += [f"http://gentle.example/{i}.jpg" for i in range(10)]
    urls += [f"http://127.0.0.1:8000/{i}.jpg" for i in range(10)]
    Candidate.objects.bulk_create(
        Candidate(job=job, url=url, url_key=url_key(url), host=url.split("/")[2]) for url in urls
    )
    JobChunk.objects.bulk_create(
        JobChunk(job=job, chunk_index=i, image_range={"start": i * 50, "end": i * 50 + 50})
        for i in range(2)
    )
    kind = kind_named("chunk")
    api.register(kind)
    return api.claim(kind, limit=2, task_id="t")


def take(work, limit=50):
    return [task.host for task in chunk_worker._claim_candidates(work, work.item, limit=limit)]


def held(host):
    return Candidate.objects.filter(host=host, chunk__isnull=False, outcome=None).count()


def test_all_workers_together_hold_no_more_of_a_host_than_it_allows(chunks, settings):
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    first, second = chunks

    for _ in range(3):
        take(first)
        take(second)

    assert held("big.example") == 4
    assert held("gentle.example") in (2, 4)  # its own limit is known from the second claim on
    assert held("127.0.0.1:8000") == 10  # the operator's own machine
    Candidate.objects.filter(host="gentle.example").update(chunk=None)
    take(first)
    assert held("gentle.example") == 2


def test_a_busy_host_does_not_hide_the_others(chunks):
    first, second = chunks
    take(first, limit=4)
    Candidate.objects.filter(chunk__isnull=False).update(chunk=None)
    Candidate.objects.filter(host="big.example")[:4]
    ids = Candidate.objects.filter(host="big.example").values_list("pk", flat=True)[:4]
    Candidate.objects.filter(pk__in=list(ids)).update(chunk_id=first.id)

    hosts = take(second, limit=3)

    assert len(hosts) == 3
    assert "big.example" not in hosts


def test_hosts_take_turns(chunks):
    assert len(set(take(chunks[0], limit=3))) >= 1
    assert len(set(take(chunks[1], limit=8))) >= 2
