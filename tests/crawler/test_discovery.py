"""Discovery: sources of one job that find the same addresses at the same time."""

import threading

import pytest
from django.db import connection

from crawler import discovery
from crawler.models import Candidate, CrawlJob, CrawlSource
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from crawler.sources.base import Found, Page
from crawler.work import DiscoveryKind
from jobs.queue import api

pytestmark = pytest.mark.django_db(transaction=True)

PAGES, SIZE = 10, 500


def test_sources_that_find_the_same_in_another_order_do_not_stop_each_other(tmp_path):
    specs = [SourceSpec("folder", str(tmp_path)), SourceSpec("folder", str(tmp_path))]
    job = accepting.create_crawl_job(owner=None, name="t", max_images=10, source_specs=specs)
    works = api.claim(DiscoveryKind(), limit=2, task_id="t")
    start, failures = threading.Barrier(2), []

    def record(work, step):
        try:
            source = CrawlSource.objects.get(pk=work.id)
            start.wait()
            for page in range(PAGES):
                urls = [f"http://a.example/{page}/{place}" for place in range(SIZE)][::step]
                page = Page({"page": page}, [Found(url) for url in urls])
                discovery._write(work, source, page)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=record, args=(work, step))
        for work, step in zip(works, (1, -1), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert Candidate.objects.count() == PAGES * SIZE
    assert CrawlJob.objects.get(pk=job.pk).outcomes == {"duplicate_url": PAGES * SIZE}
