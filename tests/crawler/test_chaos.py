"""A crawl under fire: workers killed with -9, Redis flushed and restarted, PostgreSQL restarted.

Nothing may be lost, stored twice or left in processing, and every counter must be true.
"""

import contextlib
import random
import time

import psutil
import pytest

from tests.crawler.pictures import jpeg
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


def test_nothing_is_lost_or_done_twice_whatever_is_killed(url_list):
    dice = random.Random(7)
    with Site(answer) as site, World() as world:
        listed = url_list(site, 2400)
        job = world.crawl(
            "--source", "urls", "--from", listed, "--max-images", str(IMAGES),
            "--chunk-size", str(CHUNK_SIZE), "--label", "things",
        )  # fmt: skip
        workers = [world.start_worker(concurrency=2)]
        kills = 0
        deadline = time.monotonic() + 60

        def supervise():
            """Celery gives up when a child dies while it starts; a supervisor starts it again."""
            if workers[0].poll() is not None:
                workers[0] = world.start_worker(concurrency=2)

        def filled():
            return world.sql("SELECT valid_images FROM crawl_jobs WHERE id = %s", job)[0][0]

        world.wait_until(lambda: filled() > 50, seconds=60, what="the first images")
        while time.monotonic() < deadline and kills < 14:
            time.sleep(dice.uniform(0.2, 0.7))
            supervise()
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                if kills % 4 == 3:
                    world.kill(workers[0])
                    workers[0] = world.start_worker(concurrency=2)
                else:
                    dice.choice(world.family(workers[0])[1:]).kill()
            kills += 1
            if kills == 4:
                world.flush_redis()
            if kills == 6:
                world.redis.stop()
                world.redis.start()
            if kills == 9:
                world.postgres.stop()
                world.postgres.start()
        assert kills >= 8

        world.wait_until(
            lambda: (
                supervise()
                or world.sql("SELECT status FROM crawl_jobs WHERE id = %s", job)[0][0]
                in ("completed", "failed")
            ),
            seconds=150,
            what="the end of the job",
        )
        assert_all_is_accounted_for(world, job)


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
