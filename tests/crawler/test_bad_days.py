"""Crawls on bad days, with a real worker: what cannot be done is said, what was stored is kept."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import time

import pytest

from tests.crawler.pictures import encode, jpeg, photograph
from tests.site import Site
from tests.world import World, has_redis

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine"),
]

IMAGES = 60


class SteadySite(Site):
    """Answers one picture after the other, so that a crawl takes a while."""

    def __init__(self):
        super().__init__(self._answer)
        self.pause = 0.05
        self._turn = threading.Lock()

    def _answer(self, path, times):
        name, _, kind = path.rpartition("/")[2].partition(".")
        if path == "/robots.txt":
            return 404, "text/plain", b""
        if kind == "html":
            return 200, "image/jpeg", b"<!doctype html><html><body>no picture</body></html>"
        if kind == "gone":
            return 404, "text/html", b"gone"
        if kind == "png":
            return 200, "image/png", encode(photograph(16, 16, seed=int(name)), "PNG")
        with self._turn:
            time.sleep(self.pause)
        return 200, "image/jpeg", jpeg(96, 72, seed=int(name))


@pytest.fixture(scope="module")
def world():
    with World(QUEUE_LEASE_SECONDS="10", QUEUE_BACKOFF_SECONDS="0.5") as world:
        world.blobs = world.home / "blobs"
        world.worker = world.start_worker(concurrency=2)
        yield world
        done = world.manage("queue", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def site():
    with SteadySite() as site:
        yield site


@pytest.fixture
def crawl(world, site, tmp_path):
    """Start a crawl of these addresses; its id."""

    def start(addresses, images=IMAGES, chunk_size=20):
        tmp_path.chmod(0o755)
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(addresses))
        return world.crawl(
            "--source", "urls", "--from", str(listed), "--max-images", str(images),
            "--chunk-size", str(chunk_size),
        )  # fmt: skip

    return start


def pictures_of(site, count=IMAGES):
    return [f"{site.url}/{number}.jpg" for number in range(count)]


def act(world, job, action):
    """The answer of `manage.py crawl_job` as an object."""
    return json.loads(world.manage("crawl_job", str(job), action, "--json").stdout)


def field(world, job, name):
    return world.sql(f"SELECT {name} FROM crawl_jobs WHERE id = %s", job)[0][0]


def wait_for_status(world, job, *wanted, seconds=60):
    world.wait_until(
        lambda: field(world, job, "status") in wanted, seconds=seconds, what=f"a job {wanted}"
    )


def wait_until_stored(world, job, count):
    world.wait_until(
        lambda: field(world, job, "valid_images") >= count, seconds=40, what=f"{count} images"
    )


def assert_complete(world, job):
    """Every index is filled once, and the bytes of every picture are there."""
    rows = world.sql(
        "SELECT image_index, storage_url, file_size FROM images"
        " WHERE crawl_job_id = %s AND image_index IS NOT NULL ORDER BY image_index",
        job,
    )
    assert [row[0] for row in rows] == list(range(IMAGES))
    assert [(world.blobs / row[1]).stat().st_size for row in rows] == [row[2] for row in rows]


@pytest.mark.long
def test_a_database_that_goes_away_is_outlasted(world, site, crawl):
    job = crawl(pictures_of(site))
    wait_until_stored(world, job, 5)
    said = len(world.log())
    world.postgres.stop()
    # Long enough for every thread that uses the database to find out.
    away_until = time.monotonic() + 3
    while time.monotonic() < away_until:
        assert world.worker.poll() is None
        time.sleep(0.1)
    world.postgres.start()
    wait_for_status(world, job, "completed")
    assert_complete(world, job)

    log = world.log()[said:]
    assert "Database connection lost" in log
    assert "Traceback" not in log, log
    lines = [line for line in log.splitlines() if line.strip()]
    assert all(re.match(r"\d{4}-\d\d-\d\d .* (WARNING|INFO) ", line) for line in lines), log
    retries = "SELECT DISTINCT retry_count FROM job_chunks WHERE job_id = %s"
    assert world.sql(retries, job) == [(0,)], "that is not the chunks' fault"


@contextlib.contextmanager
def full_disk(world):
    """A disk with room for some twenty pictures; the block gets what gives it more."""
    world.blobs.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k,mode=755", "tmpfs", str(world.blobs)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        more = ["mount", "-o", "remount,size=64m", str(world.blobs)]
        yield lambda: subprocess.run(more, check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(world.blobs)], check=True)


@contextlib.contextmanager
def unusable_folder(world):
    """A file in place of the folder for blobs, which stops even root."""
    aside = world.blobs.with_name("aside")
    world.blobs.mkdir(exist_ok=True)
    world.blobs.rename(aside)
    world.blobs.write_text("not a folder")

    def mend():
        if aside.exists():
            world.blobs.unlink()
            aside.rename(world.blobs)

    try:
        yield mend
    finally:
        mend()


@pytest.mark.long
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (full_disk, "No space left for blobs in "),
        pytest.param(unusable_folder, "Cannot store ", marks=pytest.mark.long),
    ],
    ids=["full", "unusable"],
)
def test_without_room_for_pictures_nothing_is_lost_and_a_retry_completes(
    world, site, crawl, trouble, said
):
    site.pause = 0.01
    logged = len(world.log())
    with trouble(world) as mend:
        job = crawl(pictures_of(site))
        retried = (
            "SELECT error_message FROM job_chunks WHERE job_id = %s AND retry_count BETWEEN 1 AND 2"
        )
        world.wait_until(lambda: world.sql(retried, job), seconds=30, what="a retry")
        assert world.sql(retried, job)[0][0].startswith(said)

        wait_for_status(world, job, "completed", "failed")
        stored = field(world, job, "valid_images")
        assert stored < IMAGES
        text = world.manage("crawl_job", str(job), "status").stdout
        assert said in text
        assert str(world.blobs) in text
        assert f"crawl_job {job} retry" in text
        kept = world.sql("SELECT storage_url FROM images WHERE crawl_job_id = %s", job)
        assert all((world.blobs / key).stat().st_size for (key,) in kept)
        assert len(kept) == stored

        mend()
        act(world, job, "retry")
        wait_for_status(world, job, "completed")
        assert_complete(world, job)
    assert "Traceback" not in world.log()[logged:]


def test_a_source_that_does_not_answer_fails_the_job_and_is_named(world):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/gallery"
        asked = ["crawl", "--source", "page", "--from", url, "--max-images", "5", "--wait"]
        done = world.manage(*asked, check=False)
    assert done.returncode == 3
    assert " is failed: 0 of 5 images" in done.stdout
    assert url.removesuffix("/gallery") + ": robots.txt does not answer" in done.stdout
    assert "1 of 1 chunks failed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_broken_addresses_in_a_list_are_counted_and_shown_and_the_rest_is_crawled(
    world, site, crawl
):
    broken = ["http://", "ftp://example.org/1.jpg", "not an address", "http://[::1/2.jpg"]
    job = crawl([*broken, *pictures_of(site), f"{site.url}/1.jpg"])
    wait_for_status(world, job, "completed")
    assert_complete(world, job)
    assert world.sql("SELECT found, rejected FROM crawl_sources WHERE job_id = %s", job) == [
        (IMAGES, len(broken))
    ]
    assert field(world, job, "outcomes") == {"stored": IMAGES, "duplicate_url": 1}
    shown = world.manage("crawl_job", str(job), "status").stdout
    assert "ftp://example.org/1.jpg" in shown


def test_a_job_whose_pictures_are_all_refused_ends_short_with_an_exact_histogram(
    world, site, crawl
):
    addresses = [f"{site.url}/{n}.gone" for n in range(30)]
    addresses += [f"{site.url}/{n}.html" for n in range(20)]
    addresses += [f"{site.url}/{n}.png" for n in range(10)]
    job = crawl(addresses)
    wait_for_status(world, job, "completed")
    assert field(world, job, "valid_images") == 0
    assert field(world, job, "outcomes") == {"http_4xx": 30, "not_an_image": 20, "too_small": 10}
    shown = world.manage("crawl_job", str(job), "status").stdout
    assert f"Crawl job {job} is completed short: 0 of {IMAGES} images" in shown
    assert re.search(r"30\s+http_4xx", shown)


def test_a_running_crawl_is_paused_resumed_and_cancelled(world, site, crawl):
    site.pause, wanted = 0.15, 400
    job = crawl(pictures_of(site, 500), images=wanted)
    wait_until_stored(world, job, 5)

    assert act(world, job, "pause")["status"] == "paused"
    in_hand = "SELECT count(*) FROM job_chunks WHERE job_id = %s AND status = 'processing'"
    world.wait_until(lambda: world.sql(in_hand, job) == [(0,)], seconds=5, what="the pause")
    stored = field(world, job, "valid_images")
    assert 5 <= stored < wanted
    time.sleep(1)  # a worker looks at its job twice a second: then it drops what is under way
    asked = site.asked.total()
    pause_ends = time.monotonic() + 1.5
    while time.monotonic() < pause_ends:
        assert world.sql(in_hand, job) == [(0,)]
    assert (field(world, job, "valid_images"), site.asked.total()) == (stored, asked)

    site.pause = 0.5  # a command takes seconds on a busy machine
    assert act(world, job, "resume")["status"] == "running"
    wait_until_stored(world, job, stored + 5)

    cancelled = act(world, job, "cancel")
    assert cancelled["status"] == "cancelled"
    world.wait_until(lambda: world.sql(in_hand, job) == [(0,)], seconds=5, what="the end")
    kept = field(world, job, "valid_images")
    assert stored + 5 <= kept < wanted
    rows = world.sql("SELECT storage_url FROM images WHERE crawl_job_id = %s", job)
    assert len(rows) == kept
    assert all((world.blobs / key).is_file() for (key,) in rows)

    again = world.manage("crawl_job", str(job), "cancel", check=False)
    assert again.returncode == 1
    assert f"Crawl job {job} is cancelled: it cannot become cancelled." in again.stderr
