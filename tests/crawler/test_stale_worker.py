"""A worker that freezes, as a paused machine or a lost network does, and wakes up too late."""

import signal
import threading

import pytest
from django.db import connection

from tests.crawler.pictures import jpeg
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.long,
    pytest.mark.workers,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

EVERYTHING_OF_A_JOB = """
SELECT (SELECT jsonb_agg(to_jsonb(image) ORDER BY id) FROM images image WHERE crawl_job_id = %s),
    (SELECT jsonb_agg(to_jsonb(candidate) ORDER BY id) FROM candidates candidate WHERE job_id = %s),
    (SELECT jsonb_agg(to_jsonb(chunk) ORDER BY id) FROM job_chunks chunk WHERE job_id = %s),
    (SELECT to_jsonb(job) FROM crawl_jobs job WHERE id = %s)
"""


@pytest.fixture
def url_list(tmp_path):
    def write(site, first, last):
        path = tmp_path / f"{first}.txt"
        path.write_text("\n".join(f"{site.url}/{number}.jpg" for number in range(first, last)))
        tmp_path.chmod(0o755)
        return str(path)

    return write


def test_a_worker_that_wakes_up_after_its_lease_was_taken_writes_nothing(url_list):
    gate = threading.Event()

    def answer(path, times):
        if path == "/robots.txt":
            return 404, "text/plain", b""
        number = int(path.strip("/").partition(".")[0])
        assert number < 5 or gate.wait(120)
        return 200, "image/jpeg", jpeg(96, 72, seed=number)

    with Site(answer) as site, World() as world:
        stale = world.start_worker(concurrency=1)
        job = world.crawl("--source", "urls", "--from", url_list(site, 0, 20), "--max-images", "20")

        def holder():
            return world.sql("SELECT task_id FROM job_chunks WHERE job_id = %s", job)[0][0]

        world.wait_until(
            lambda: world.sql("SELECT valid_images FROM crawl_jobs WHERE id = %s", job) == [(5,)],
            seconds=60,
            what="what the site gives at once",
        )
        first_holder = holder()
        frozen = world.family(stale)
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        fresh = world.start_worker(concurrency=1)
        world.wait_until(
            lambda: holder() != first_holder, seconds=60, what="another worker with the chunk"
        )
        gate.set()
        world.wait_until(
            lambda: (
                world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job) == [("completed",)]
            ),
            seconds=60,
            what="the end of the job",
        )
        before = world.sql(EVERYTHING_OF_A_JOB, job, job, job, job)
        fresh.send_signal(signal.SIGTERM)
        fresh.wait(timeout=30)

        for process in frozen:
            process.send_signal(signal.SIGCONT)
        later = world.crawl(
            "--source", "urls", "--from", url_list(site, 30, 40), "--max-images", "10"
        )
        world.wait_until(
            lambda: (
                world.sql("SELECT status FROM crawl_jobs WHERE id = %s", later) == [("completed",)]
            ),
            seconds=60,
            what="work by the worker that has woken up",
        )

        assert world.sql(EVERYTHING_OF_A_JOB, job, job, job, job) == before
        done = world.manage("queue", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
def test_what_a_frozen_process_has_locked_is_let_go():
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("2min",)
