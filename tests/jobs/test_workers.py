"""The list of workers, draining one, and what Celery's own tools say of the items in hand."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from pixsim.core.version import VERSION
from tests.crawler.pictures import jpeg
from tests.site import Site
from tests.world import PROJECT, World, has_redis

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="needs a Redis server"),
]

LEASE_SECONDS = 3
PICTURES = 20


@pytest.fixture(scope="module")
def world():
    with World(QUEUE_LEASE_SECONDS=str(LEASE_SECONDS), CRAWL_READ_TIMEOUT="60") as world:
        yield world


@pytest.fixture(scope="module")
def gate():
    """Pictures are served while it is set."""
    return threading.Event()


@pytest.fixture(scope="module")
def site(gate):
    def answer(path, times):
        name = path.strip("/").removesuffix(".jpg")
        if not name.isdigit():
            return 404, "text/plain", b""
        gate.wait(60)
        return 200, "image/jpeg", jpeg(80, 60, seed=int(name))

    with Site(answer) as site:
        yield site
        gate.set()


@pytest.fixture
def job(world, site, gate, tmp_path):
    """A crawl of two chunks that wait for the gate; what is left of it is cancelled."""
    gate.clear()
    tmp_path.chmod(0o755)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"{site.url}/{n}.jpg" for n in range(PICTURES)))
    job = world.crawl("--source", "urls", "--from", str(listed), "--max-images", str(PICTURES),
                      "--chunk-size", str(PICTURES // 2))  # fmt: skip
    yield job
    gate.set()
    world.manage("crawl_job", str(job), "cancel", check=False)


def workers(world):
    return json.loads(world.manage("queue", "workers", "--json").stdout)["workers"]


def chunks_in_hand(world):
    return [item for one in workers(world) for item in one["in_hand"] if item["kind"] == "chunk"]


def wait_for_worker(world, *, chunks):
    """Return the worker as it is once it has so many chunks in hand."""
    found = []

    def is_there():
        found[:] = workers(world)
        return found and len([i for i in found[0]["in_hand"] if i["kind"] == "chunk"]) == chunks

    world.wait_until(is_there, seconds=40, what=f"{chunks} chunks in hand")
    [worker] = found
    return worker


def celery(world, *words):
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "pixsim", *words],
        cwd=PROJECT, env=world.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_worker_is_listed_with_what_it_does_and_gone_within_a_lease(world, job):
    process = world.start_worker("-n", "one@here", concurrency=2)
    one = wait_for_worker(world, chunks=2)
    assert (one["name"], one["pid"], one["processes"]) == ("one@here", process.pid, 2)
    assert (one["host"], one["version"]) == (socket.gethostname(), VERSION)
    children = {child.pid for child in world.family(process)}
    chunks = dict(world.sql("SELECT id, task_id FROM job_chunks WHERE job_id = %s", job))
    held = [item for item in one["in_hand"] if item["kind"] == "chunk"]
    for item in held:
        assert item["pid"] in children
        assert item["parent"] == job
        assert item["task_id"] == chunks[item["id"]]
    shown = world.manage("queue", "workers").stdout
    assert "one@here" in shown
    assert f"chunk {held[0]['id']}" in shown

    active = celery(world, "inspect", "active", "--json", "--timeout", "5")
    [(node, tasks)] = json.loads(active.stdout).items()
    named = {task["name"]: task for task in tasks}
    assert node == "one@here"
    assert {"jobs.work", "queue.chunk"} <= named.keys()
    assert named["queue.chunk"]["args"][0] in chunks
    assert named["queue.chunk"]["kwargs"] == {"job": job}

    world.kill(process)
    world.wait_until(lambda: not workers(world), seconds=LEASE_SECONDS + 5, what="an empty list")
    assert "celery -A pixsim worker" in world.manage("queue", "workers").stdout


def test_a_worker_that_stops_leaves_the_list_at_once(world):
    process = world.start_worker(concurrency=1)
    world.wait_until(lambda: workers(world), seconds=40, what="a worker")
    process.terminate()
    process.wait(timeout=30)
    assert workers(world) == []


@pytest.mark.long
def test_a_drained_worker_ends_what_it_has_and_takes_nothing_more(world, gate, job):
    process = world.start_worker("-n", "two@here", concurrency=1)
    [first] = [i for i in wait_for_worker(world, chunks=1)["in_hand"] if i["kind"] == "chunk"]
    assert "takes nothing more" in world.manage("queue", "drain", "two@here").stdout
    time.sleep(3)
    gate.set()
    world.wait_until(lambda: not chunks_in_hand(world), seconds=60, what="nothing in hand")
    states = dict(world.sql("SELECT id, status FROM job_chunks WHERE job_id = %s", job))
    assert states.pop(first["id"]) == "completed"
    assert list(states.values()) == ["pending"]
    time.sleep(3)
    assert chunks_in_hand(world) == []
    assert [one["is_draining"] for one in workers(world)] == [True]
    assert process.poll() is None

    world.manage("queue", "undrain", "two@here")
    world.wait_until(
        lambda: world.sql("SELECT 1 FROM crawl_jobs WHERE id = %s AND status = 'completed'", job),
        seconds=60, what="the end of the job",
    )  # fmt: skip
    actions = [
        row[0]
        for row in world.sql(
            "SELECT action FROM activity_logs WHERE resource_id = 'two@here' ORDER BY id"
        )
    ]
    assert actions == ["worker.drained", "worker.undrained"]
    world.kill(process)


def test_an_unknown_worker_is_named(world):
    done = world.manage("queue", "drain", "nobody@nowhere", check=False)
    assert done.returncode == 2
    assert "No worker named 'nobody@nowhere' is alive" in done.stderr


def test_flower_shows_the_chunks(world, site, gate, tmp_path):
    pytest.importorskip("flower", reason="Flower is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flower = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "pixsim", "flower", f"--port={port}",
         "--address=127.0.0.1", "--inspect_timeout=3000"],
        cwd=PROJECT, env={**world.env, "FLOWER_UNAUTHENTICATED_API": "true"},
        stdout=subprocess.DEVNULL, stderr=(tmp_path / "flower.log").open("wb"),
    )  # fmt: skip
    process = world.start_worker("-n", "three@here", "-E", concurrency=1)

    def ask(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return {}

    try:
        world.wait_until(
            lambda: (ask("/api/workers?status=1") or {}).get("three@here"),
            seconds=60,
            what="Flower",
        )
        gate.set()
        tmp_path.chmod(0o755)
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(f"{site.url}/{n}.jpg" for n in range(6)))
        job = world.crawl("--source", "urls", "--from", str(listed), "--max-images", "6")

        def states():
            found = ask("/api/tasks?limit=100")
            return {
                (task["name"], task["args"]): task["state"]
                for task in found.values()
                if task["name"]
            }

        world.wait_until(
            lambda: "SUCCESS" in {state for (name, _), state in states().items() if name == "queue.chunk"},
            seconds=60, what="a chunk in Flower",
        )  # fmt: skip
        [(chunk,)] = world.sql("SELECT id FROM job_chunks WHERE job_id = %s", job)
        assert states()["queue.chunk", f"({chunk},)"] == "SUCCESS"
    finally:
        flower.terminate()
        flower.wait(timeout=20)
        world.kill(process)
