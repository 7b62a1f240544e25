"""Stopping a worker in the middle of a crawl, gently and otherwise.

Whatever it is: all its processes end, what was done is kept, and the rest is done later.
"""

import contextlib
import itertools
import signal
import socket
import threading

import psutil
import pytest

from tests.crawler.pictures import jpeg
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

IMAGES, CHUNK_SIZE, ANSWERED = 120, 60, 40
STOP_SECONDS = 10


class HalfASite(Site):
    """Answers ANSWERED requests and then no more, until it is told to go on."""

    def __init__(self):
        super().__init__(self._answer)
        self.go_on = threading.Event()
        self._answered = itertools.count()

    def _answer(self, path, times):
        if path == "/robots.txt":
            return 404, "text/plain", b""
        if next(self._answered) >= ANSWERED:
            self.go_on.wait(60)
        return 200, "image/jpeg", jpeg(96, 72, seed=int(path[1:-4]))


class Silence:
    """Takes connections on loopback and never says a word."""

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._taken = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        return self

    def __exit__(self, *exc_info):
        for each in (self._socket, *self._taken):
            each.close()

    @property
    def was_asked(self):
        with contextlib.suppress(BlockingIOError):
            self._taken.append(self._socket.accept()[0])
        return bool(self._taken)


@pytest.fixture
def site():
    with HalfASite() as site:
        yield site
        site.go_on.set()


@pytest.fixture(scope="module")
def world():
    with World(QUEUE_LEASE_SECONDS="4", CRAWL_READ_TIMEOUT="60") as world:
        yield world
        done = world.manage("queue", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def job(world, site, tmp_path):
    """A crawl of two chunks; what is left of it is cancelled in the end."""
    tmp_path.chmod(0o755)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"{site.url}/{number}.jpg" for number in range(4 * IMAGES)))
    job = world.crawl(
        "--source", "urls", "--from", str(listed), "--max-images", str(IMAGES),
        "--chunk-size", str(CHUNK_SIZE),
    )  # fmt: skip
    yield job
    world.manage("crawl_job", str(job), "cancel", check=False)


@pytest.fixture
def worker(world, job):
    """A worker whose processes both are in the middle of a chunk."""
    worker = world.start_worker(concurrency=2)
    wait_until_under_way(world, job)
    yield worker
    world.kill(worker)


def wait_until_under_way(world, job):
    world.wait_until(
        lambda: stored(world, job) == ANSWERED and len(chunks(world, job, "processing")) == 2,
        seconds=40,
        what="two chunks that are begun",
    )


def wait_until_all_done(world, job):
    world.wait_until(
        lambda: world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job) == [("completed",)],
        seconds=30,
        what="the end of the crawl",
    )
    assert stored(world, job) == IMAGES


def stored(world, job):
    return world.sql("SELECT valid_images FROM crawl_jobs WHERE id = %s", job)[0][0]


def chunks(world, job, status):
    """id, retry_count, ready_at, lease_id, started_at"""
    return world.sql(
        "SELECT id, retry_count, ready_at, lease_id, started_at FROM job_chunks"
        " WHERE job_id = %s AND status = %s ORDER BY id",
        job,
        status,
    )


def candidates_in_hand(world, job):
    return world.sql(
        "SELECT count(*) FROM candidates WHERE job_id = %s AND chunk_id IS NOT NULL"
        " AND outcome IS NULL",
        job,
    )[0][0]


def ended(processes):
    _gone, alive = psutil.wait_procs(processes, timeout=STOP_SECONDS)
    return not alive or [" ".join(process.cmdline()) for process in alive]


def assert_all_was_given_back(world, job, places):
    assert chunks(world, job, "processing") == []
    pending = chunks(world, job, "pending")
    assert {chunk: ready_at for chunk, _, ready_at, _, _ in pending} == {
        chunk: places[chunk] for chunk, *_ in pending
    }, "everyone keeps their place in the queue"
    assert {row[1] for row in pending} == {0}, "being stopped is not a failed attempt"
    assert {row[3:] for row in pending} == {(None, None)}
    assert candidates_in_hand(world, job) == 0
    rows = "SELECT count(*) FROM images WHERE crawl_job_id = %s AND image_index IS NOT NULL"
    assert stored(world, job) == world.sql(rows, job)[0][0] == ANSWERED


def places_of(world, job):
    return dict(world.sql("SELECT id, ready_at FROM job_chunks WHERE job_id = %s", job))


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["SIGTERM", "Ctrl-C twice"],
)
def test_a_worker_that_is_told_to_stop_gives_back_and_ends_in_time(world, job, worker, signals):
    family, places = world.family(worker), places_of(world, job)
    assert any("crawler.fetch.decoder" in one.cmdline() for one in family)
    for each in signals:
        worker.send_signal(each)
    assert ended(family) is True
    assert_all_was_given_back(world, job, places)


def test_one_child_that_is_told_to_stop_gives_back_and_is_replaced(world, site, job, worker):
    child = next(one for one in world.family(worker) if one.ppid() == worker.pid)
    decoders = child.children()
    child.terminate()
    assert ended([child, *decoders]) is True
    site.go_on.set()
    wait_until_all_done(world, job)
    retries = "SELECT DISTINCT retry_count FROM job_chunks WHERE job_id = %s"
    assert world.sql(retries, job) == [(0,)]
    assert len([one for one in world.family(worker) if one.ppid() == worker.pid]) == 2


def test_when_the_parent_is_killed_nothing_of_it_stays_and_another_worker_takes_over(
    world, site, job, worker
):
    family = world.family(worker)
    worker.kill()
    assert ended(family) is True
    assert len(chunks(world, job, "processing")) == 2, "nobody gave them back"

    heir = world.start_worker(concurrency=2)
    site.go_on.set()
    try:
        wait_until_all_done(world, job)
        retries = "SELECT retry_count FROM job_chunks WHERE job_id = %s"
        assert world.sql(retries, job) == [(1,), (1,)]
    finally:
        world.kill(heir)


def test_a_source_that_does_not_answer_does_not_delay_the_stop(world):
    with Silence() as silence:
        job = world.crawl("--source", "page", "--from", silence.url, "--max-images", "10")
        worker = world.start_worker(concurrency=1)
        world.wait_until(lambda: silence.was_asked, seconds=30, what="a request to the source")
        family = world.family(worker)
        worker.terminate()
        assert ended(family) is True
    source = "SELECT status, retry_count, lease_id FROM crawl_sources WHERE job_id = %s"
    assert world.sql(source, job) == [("pending", 0, None)]
    world.manage("crawl_job", str(job), "cancel")


def test_fallback_workers_end_with_the_worker_that_started_them(world, job):
    world.redis.stop()
    try:
        worker = world.start_worker(concurrency=2)
        wait_until_under_way(world, job)
        family, places = world.family(worker), places_of(world, job)
        assert len(world.fallback_workers(worker)) == 2
        worker.kill()
        assert ended(family) is True
        assert_all_was_given_back(world, job, places)
    finally:
        world.redis.start()
