"""A crawl under fire: workers killed with -9, Redis in every bad state, PostgreSQL restarted.

Nothing may be lost, stored twice or left in processing, and every counter must be true.
"""

import contextlib
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from subprocess import Popen

import psutil
import pytest

from pixsim.embedded.postgres import Postgres
from pixsim.embedded.redis import Redis
from tests import broker_faults
from tests.crawler.pictures import jpeg
from tests.pooler import before, needs_pgbouncer
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.long,
    pytest.mark.workers,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

IMAGES, CHUNK_SIZE, DISTINCT = 2000, 50, 2150


def picture_of(path: str) -> int:
    """Which picture an address shows: every twentieth address repeats the one before."""
    number = int(path.rpartition("/")[2].partition(".")[0])
    return number - (number % 20 == 19)


def answer(path: str, times: int):
    if path == "/robots.txt":
        return 404, "text/plain", b""
    number = int(path.rpartition("/")[2].partition(".")[0])
    if number % 50 == 7:
        return 404, "text/plain", b"gone"
    if number % 50 == 9 and times == 1:
        return 500, "text/plain", b"try again"
    return 200, "image/jpeg", jpeg(96, 72, seed=picture_of(path))


@pytest.fixture
def url_list(tmp_path):
    def write(site, count):
        path = tmp_path / "list.txt"
        path.write_text("\n".join(f"{site.url}/{number}.jpg" for number in range(count)))
        tmp_path.chmod(0o755)
        return str(path)

    return write


def assert_all_is_accounted_for(world: World, job: int) -> None:
    [(status, valid, total_chunks, completed, failed, active)] = world.sql(
        "SELECT status, valid_images, total_chunks, completed_chunks, failed_chunks, active_chunks"
        " FROM crawl_jobs WHERE id = %s",
        job,
    )
    [(images, indexes, hashes)] = world.sql(
        "SELECT count(*) FILTER (WHERE image_index IS NOT NULL), count(DISTINCT image_index),"
        " count(DISTINCT sha256) FILTER (WHERE image_index IS NOT NULL)"
        " FROM images WHERE crawl_job_id = %s",
        job,
    )
    assert valid == images == indexes == hashes
    assert completed + failed == total_chunks
    assert active == 0
    assert world.sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]
    missing = world.sql(
        """SELECT chunk.id, chunk.status FROM job_chunks chunk WHERE chunk.job_id = %s
             AND chunk.status <> 'failed' AND (
                SELECT count(*) FROM images WHERE chunk_id = chunk.id AND image_index IS NOT NULL
             ) < (image_range ->> 'end')::int - (image_range ->> 'start')::int""",
        job,
    )
    assert missing == [], "a completed chunk lacks images although there were enough candidates"
    assert status == "completed"
    if failed == 0:
        assert valid == IMAGES
    done = world.manage("queue", "check", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


KILLS = 60

# What happens, beside the kills, after so many of them.
EVENTS: dict[int, Callable[[World], None]] = {
    4: World.flush_redis,
    6: lambda world: broker_faults.replica(broker_faults.connect(world)),
    14: lambda world: broker_faults.heal(broker_faults.connect(world)),
    18: lambda world: broker_faults.full(broker_faults.connect(world)),
    26: lambda world: broker_faults.heal(broker_faults.connect(world)),
    30: lambda world: restart(world.redis),
    36: lambda world: restart(world.postgres),
    42: lambda world: broker_faults.replica(broker_faults.connect(world)),
    46: World.flush_redis,
    50: lambda world: restart(world.redis),
}


def restart(server: Postgres | Redis) -> None:
    server.stop()
    server.start()


@pytest.mark.parametrize(
    "reached",
    [nullcontext, pytest.param(before, marks=needs_pgbouncer)],
    ids=["directly", "through a pooler"],
)
def test_nothing_is_lost_or_done_twice_whatever_is_killed(url_list, reached):
    """The broker fails over, is full, restarts and forgets meanwhile; PostgreSQL restarts."""
    dice = random.Random(7)
    with Site(answer) as site, World() as world, reached(world):
        listed = url_list(site, 2400)
        job = world.crawl(
            "--source", "urls", "--from", listed, "--max-images", str(IMAGES),
            "--chunk-size", str(CHUNK_SIZE), "--label", "things",
        )  # fmt: skip
        worker = world.start_worker(concurrency=2)

        def value(column):
            return world.sql(f"SELECT {column} FROM crawl_jobs WHERE id = %s", job)[0][0]

        world.wait_until(lambda: value("valid_images") > 50, seconds=60, what="the first images")
        for number in range(KILLS):
            time.sleep(dice.uniform(0.2, 0.7))
            worker = kill_one(world, worker, dice)
            if event := EVENTS.get(number):
                event(world)
        assert value("status") == "running", "the kills came too late"

        def ended():
            nonlocal worker
            worker = supervise(world, worker)
            return value("status") in ("completed", "failed")

        world.wait_until(ended, seconds=150, what="the end of the job")
        assert_all_is_accounted_for(world, job)


def kill_one(world: World, worker: Popen[bytes], dice: random.Random) -> Popen[bytes]:
    """Kill a process of the worker, or all of it; return the worker that runs afterwards."""
    worker = supervise(world, worker)
    children = world.family(worker)[1:]
    if not children or dice.random() < 0.25:
        world.kill(worker)
        return world.start_worker(concurrency=2)
    with contextlib.suppress(psutil.NoSuchProcess):
        dice.choice(children).kill()
    return worker


def supervise(world: World, worker: Popen[bytes]) -> Popen[bytes]:
    """Celery gives up when a child dies while it starts; a supervisor starts it again."""
    return worker if worker.poll() is None else world.start_worker(concurrency=2)


def test_with_the_broker_gone_for_good_the_work_still_ends(url_list):
    with Site(answer) as site, World() as world:
        world.redis.stop()
        begun = time.monotonic()
        job = world.crawl(
            "--source", "urls", "--from", url_list(site, 150), "--max-images", "100",
            "--chunk-size", "25",
        )  # fmt: skip
        assert time.monotonic() - begun < 15  # accepted although nobody can be rung for
        world.start_worker(concurrency=2)

        world.wait_until(
            lambda: (
                world.sql("SELECT status, valid_images FROM crawl_jobs WHERE id = %s", job)
                == [("completed", 100)]
            ),
            seconds=90,
            what="the end of the job without a broker",
        )
