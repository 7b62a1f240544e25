"""Enqueue chunks as PixSim does; prints the seconds: `single N` or `batch N`."""

import sys
import time

import django

django.setup()

from crawler.models import CrawlJob, CrawlSource  # noqa: E402
from crawler.services import chunks, planning  # noqa: E402 - after django.setup()
from jobs.queue.worker import notify  # noqa: E402


def single(job: CrawlJob, count: int) -> None:
    for number in range(count):
        chunks.add_chunk(job_id=job.pk, start=number, end=number + 1)


def batch(job: CrawlJob, count: int) -> None:
    CrawlJob.objects.filter(pk=job.pk).update(
        max_images=count, chunk_size=1, total_chunks=0, status="pending"
    )
    CrawlSource.objects.create(job=job, kind="urls", location="none")
    planning.plan_job(job_id=job.pk)


verb, count = sys.argv[1], int(sys.argv[2])
job = CrawlJob.objects.get()
notify.notify()
begun = time.perf_counter()
{"single": single, "batch": batch}[verb](job, count)
print(time.perf_counter() - begun)
