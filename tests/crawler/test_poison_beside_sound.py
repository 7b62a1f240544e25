"""A sound job beside hostile ones on one worker: they cost it what their files were allowed to compute.

SOUND=640 makes the sound job one of a minute, runs it alone first, and compares the times: for a
quiet machine.
"""

import gzip
import os
import time
from functools import cache

import psutil
import pytest
from PIL import Image

from benchmarks.bench import usage_of
from tests.crawler.pictures import encode, jpeg, progressive_bomb
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.long,
    pytest.mark.workers,
    pytest.mark.timeout(480),
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

HOSTS, FILES, SOUND = 20, 10, int(os.environ.get("SOUND", "160"))
IS_COMPARED = SOUND >= 640
SECONDS_OF_A_PICTURE = 0.4


def many_frames() -> bytes:
    frames = [Image.new("P", (2000, 2000), number) for number in range(20)]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)


@cache
def poison() -> list[bytes]:
    return [
        progressive_bomb(7000, 20),
        b"<?xml version='1.0'?>" + b"<!---->" * 200_000,
        encode(Image.new("L", (7000, 7000)), "PNG"),
        encode(Image.new("RGBA", (7000, 7000)), "WEBP", method=0),
        many_frames(),
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 500_000,
        b"II*\0\x08\0\0\0" + b"\xff\xff" + b"\x01" * 500_000,
        gzip.compress(bytes(50_000_000)),
        jpeg()[:300] + b"\xff\xda" * 100_000,
        b"GIF89a" + b"\xff" * 300_000,
    ]


ROBOTS = [
    b"User-agent: *\n" + b" " * 100_000,
    b"User-agent: *\nDisallow: /" + b"*a" * 20_000 + b"$",
    b"User-agent: *\n" + b"Disallow: /x\n" * 40_000,
    b"\xff\xfe" + bytes(300_000),
]
PAGES = {
    "/page": ("text/html", b"<img srcset='" + b"1" * 2_000_000 + b"'>" + b"<div>" * 200_000),
    "/sitemap.xml": (
        "text/xml",
        b"<urlset><url><loc>http://127.0.1.1/</loc>"
        + b"<image:image><image:loc>http://127.0.1.1/x</image:loc></image:image>" * 300_000
        + b"</url></urlset>",
    ),
}


def answer(path: str, times: int):
    name = path.rpartition("/")[2]
    if path == "/robots.txt":
        return 200, "text/plain", ROBOTS[times % len(ROBOTS)]
    if path in PAGES:
        return 200, *PAGES[path]
    number = int(name.partition(".")[0])
    if path.startswith("/bad"):
        return 200, "image/jpeg", poison()[number % len(poison())] + bytes([number])
    time.sleep(SECONDS_OF_A_PICTURE)
    return 200, "image/jpeg", jpeg(96, 72, seed=number)


def written(tmp_path, name: str, lines) -> str:
    path = tmp_path / name
    path.write_text("\n".join(lines))
    tmp_path.chmod(0o755)
    return str(path)


def crawl(world: World, kind: str, place: str) -> int:
    return world.crawl("--source", kind, "--from", place, "--max-images", str(SOUND))


def wait_for_end(world: World, job: int) -> float:
    """Return the seconds from its first chunk's beginning to its end."""
    status = "SELECT status FROM crawl_jobs WHERE id = %s"
    world.wait_until(
        lambda: world.sql(status, job)[0][0] in ("completed", "failed"), seconds=240, what="the end"
    )
    times = (
        "SELECT extract(epoch FROM completed_at - created_at)::float8 FROM crawl_jobs WHERE id = %s"
    )
    return world.sql(times, job)[0][0]


def test_a_sound_job_loses_no_more_than_what_the_poison_computed(tmp_path):
    limits = '{"127.0.0.1": {"concurrency": 4}}'
    with (
        Site(answer, host="0.0.0.0") as site,
        World(CRAWL_HOST_LIMITS=limits, CRAWL_HONOUR_ROBOTS="true") as world,
    ):
        port = site.url.rpartition(":")[2]
        sound = [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(SOUND)]
        again = [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(SOUND, 2 * SOUND)]
        bad = [
            f"http://127.0.1.{host + 1}:{port}/bad{host}/{number}.jpg"
            for host in range(HOSTS)
            for number in range(FILES)
        ]
        poison()
        worker = world.start_worker(concurrency=2)
        alone, usual = 0.0, 0.0
        if IS_COMPARED:
            with usage_of(worker.pid) as used:
                alone = wait_for_end(world, crawl(world, "urls", written(tmp_path, "a.txt", sound)))
            assert alone >= 60
            usual = used.cpu_seconds

        with usage_of(worker.pid) as used:
            hostile = [crawl(world, "urls", written(tmp_path, "b.txt", bad))]
            hostile += [crawl(world, "page", f"http://127.0.1.1:{port}/page")]
            hostile += [crawl(world, "sitemap", f"http://127.0.1.2:{port}/sitemap.xml")]
            beside = wait_for_end(world, crawl(world, "urls", written(tmp_path, "c.txt", again)))

        admitted = used.cpu_seconds - usual
        print(
            f"alone {alone:.1f} s, beside {beside:.1f} s, the poison used {admitted:.1f} s of CPU"
        )
        assert not IS_COMPARED or beside <= 1.1 * alone + admitted / 2
        for job in hostile:
            wait_for_end(world, job)
        lost = "SELECT count(*) FROM work_attempts WHERE outcome = 'lost'"
        assert world.sql(lost) == [(0,)]
        assert "died or stalled" not in world.log()
        open_ones = "SELECT count(*) FROM candidates WHERE outcome IS NULL"
        assert world.sql(open_ones) == [(0,)]
        assert world.manage("queue", "check").returncode == 0

        retried = crawl(world, "urls", written(tmp_path, "d.txt", [url + "?2" for url in bad]))
        status = "SELECT started_at IS NOT NULL FROM job_chunks WHERE job_id = %s"
        world.wait_until(lambda: (True,) in world.sql(status, retried), seconds=30, what="a start")
        time.sleep(2)
        family = world.family(worker)
        worker.terminate()
        _gone, alive = psutil.wait_procs(family, timeout=10)
        assert not alive
