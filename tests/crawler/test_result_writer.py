"""Chunks of one job that record at the same time, on two connections."""

import threading
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from django.db import connection

from crawler import result_writer
from crawler.fetch.tasks import Picture, Task
from crawler.models import Candidate, CrawlJob, Image, JobChunk, Outcome
from crawler.services.accepting import SourceSpec, create_crawl_job
from crawler.work import ChunkKind
from jobs.queue import api

pytestmark = pytest.mark.django_db(transaction=True)

SIZE, BATCH = 60, 10
RESEMBLING = 3  # so many pictures after one another resemble each other


def test_overlapping_batches_store_each_picture_once(tmp_path):
    job = create_crawl_job(
        owner=None,
        name="t",
        max_images=2 * SIZE,
        chunk_size=SIZE,
        source_specs=[SourceSpec("folder", str(tmp_path))],
    )
    works = api.claim(ChunkKind(), limit=2, task_id="t")
    start, failures = threading.Barrier(2), []

    def record(work, order):
        try:
            chunk = JobChunk.objects.get(pk=work.id)
            tasks = [Task(one.pk, one.url, one.host, "", None, 0) for one in chunk.candidates.all()]
            tasks.sort(key=lambda task: order * task.id)
            free = list(range(chunk.start, chunk.end))
            start.wait(30)
            for first in range(0, SIZE, BATCH):
                pictures = [picture(task) for task in tasks[first : first + BATCH]]
                used = result_writer.write_results(work, chunk=chunk, results=pictures, free=free)
                free = [index for index in free if index not in used]
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    # Both chunks hold addresses of the same pictures.
    Candidate.objects.bulk_create(
        Candidate(
            job=job,
            chunk_id=work.id,
            url=f"http://{work.id}.example/{number}",
            url_key=sha256(f"{work.id} {number}".encode()).digest(),
            host=f"{work.id}.example",
        )
        for work in works
        for number in range(SIZE)
    )
    threads = [
        threading.Thread(target=record, args=(work, order))
        for work, order in zip(works, (1, -1), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    job = CrawlJob.objects.get(pk=job.pk)
    images = Image.objects.filter(crawl_job=job)
    kept = images.filter(image_index__isnull=False)
    assert images.count() == images.values("sha256").distinct().count() == SIZE
    assert kept.count() == kept.values("image_index").distinct().count() == SIZE // RESEMBLING
    assert not images.exclude(is_upright=True).exists()
    assert job.valid_images == job.outcomes[Outcome.STORED] == SIZE // RESEMBLING
    assert sum(job.outcomes.values()) == 2 * SIZE
    assert not Candidate.objects.filter(outcome=None).exists()


def picture(task):
    number = int(task.url.rpartition("/")[2])
    digest = sha256(str(number).encode()).hexdigest()
    group = sha256(str(number // RESEMBLING).encode()).digest()
    return Picture(
        task=task,
        url=task.url,
        sha256=digest,
        phash=int.from_bytes(group[:8], "big", signed=True) ^ (number % RESEMBLING),
        width=9,
        height=9,
        format="jpeg",
        file_size=9,
        key=f"{digest[:2]}/{digest}.jpg",
        retrieved_at=datetime.now(UTC),
    )
