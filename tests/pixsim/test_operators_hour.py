"""An hour of who looks after the workers: what goes wrong, and what each place says of it.

docs/operations.md tells the same in words (*An hour with the workers*).
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.crawler.pictures import jpeg
from tests.pixsim.serving import answers, ask, production_server
from tests.pixsim.support import free_port
from tests.site import Site
from tests.world import PROJECT, World, has_redis

pytestmark = [
    pytest.mark.long,
    pytest.mark.workers,
    pytest.mark.skipif(not has_redis(), reason="needs a Redis server"),
]

TOKEN = "a-token-for-scrapes"
ITEMS = 'pixsim_items{{kind="chunk",state="{}"}}'
OLDEST = 'pixsim_oldest_item_age_seconds{{kind="chunk",state="{}"}}'
PEOPLE = """
from django.contrib.auth.models import User
User.objects.create_user("ada", "ada@x.org")
User.objects.create_superuser("boss", "boss@x.org")
"""
WORKERS_PAGE = """
from django.contrib.auth.models import User
from django.test import Client
browser = Client(headers={"host": "localhost"})
browser.force_login(User.objects.get(username="boss"))
print(browser.get("/admin/jobs/worker/").content.decode())
"""


class Hour:
    """The places where an operator looks."""

    def __init__(self, world: World, site: Site, *, web: int, gate: threading.Event) -> None:
        self.world = world
        self.site = site
        self.gate = gate
        """Pictures are served while it is set."""
        self._web = web
        self._worker_port = 0

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        self._worker_port = free_port()
        words = ("-n", name, "-E", "--loglevel", "INFO", "--metrics-port", str(self._worker_port))
        return self.world.start_worker(*words, concurrency=2)

    def crawl(self, pictures: range, *words: str, chunk_size: int = 2) -> int:
        listed = self.world.home / f"list-{pictures.start}.txt"
        listed.write_text("\n".join(f"{self.site.url}/{n}.jpg" for n in pictures))
        return self.world.crawl(
            "--source", "urls", "--from", str(listed), "--max-images", str(len(pictures)),
            "--chunk-size", str(chunk_size), *words,
        )  # fmt: skip

    def chunks(self, job: int, status: str) -> list[int]:
        query = "SELECT id FROM job_chunks WHERE job_id = %s AND status = %s ORDER BY id"
        return [row[0] for row in self.world.sql(query, job, status)]

    def why(self, item: int, kind: str = "chunk") -> str:
        return self.world.manage("queue", "why", str(item), "--kind", kind).stdout.strip()

    def workers_page(self) -> str:
        """The text of the admin's page of workers."""
        html = self.world.manage("shell", "--verbosity=0", "-c", WORKERS_PAGE).stdout
        return " ".join(re.sub(r"<[^>]+>", " ", html).split())

    def active(self) -> list[list[Any]]:
        """The arguments of the tasks `queue.chunk` in `inspect active`, which Flower shows too."""
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "pixsim", "inspect", "active", "--json",
             "--timeout", "3"],
            cwd=PROJECT, env=self.world.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        nodes = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        tasks = [task for each in nodes.values() for task in each]
        return [task["args"] for task in tasks if task["name"] == "queue.chunk"]

    def metric(self, line: str, *, of_worker: bool = False) -> float | None:
        """A figure of the site, or of the worker that was started last."""
        port = self._worker_port if of_worker else self._web
        body = ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")[1]
        found = [each for each in body.splitlines() if each.startswith(f"{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else None

    def until(self, what: str, condition: Any, *, seconds: float = 60) -> None:
        self.world.wait_until(condition, seconds=seconds, what=what)


@pytest.fixture
def hour() -> Iterator[Hour]:
    gate = threading.Event()

    def answer(path: str, times: int) -> tuple[int, str, bytes]:
        name = path.strip("/").removesuffix(".jpg")
        if not name.isdigit():
            return (500 if name.startswith("sitemap") else 404), "text/plain", b""
        gate.wait(60)
        return 200, "image/jpeg", jpeg(80, 60, seed=int(name))

    # Pauses between attempts that one can see.
    world = World(
        METRICS_TOKEN=TOKEN,
        CRAWL_READ_TIMEOUT="60",
        QUEUE_LEASE_SECONDS="3",
        QUEUE_BACKOFF_SECONDS="2",
    )
    with Site(answer) as site, world, production_server(world, workers=1) as web:
        world.wait_until(lambda: answers(web), seconds=60, what="the site")
        world.manage("shell", "--verbosity=0", "-c", PEOPLE)
        yield Hour(world, site, web=web, gate=gate)
        gate.set()


def test_what_each_place_says_when_things_go_wrong(hour: Hour) -> None:
    one = hour.start_worker("one@here")
    job = hour.crawl(range(6), "--owner", "ada@x.org")
    hour.until("two chunks in hand", lambda: len(hour.chunks(job, "processing")) == 2)
    held = hour.chunks(job, "processing")
    [waiting] = hour.chunks(job, "pending")

    a_slow_host(hour, held)
    a_full_window(hour, waiting)
    a_paused_owner(hour, job, held, waiting)
    a_killed_worker(hour, one)
    a_failing_source(hour)
    # Once, and with its item: no error is told twice.
    ends = re.findall(r"jobs.attempts: (\w+ \d+ of job \d+ attempt \d+) ", hour.world.log())
    assert len(ends) == len(set(ends))


# A claim that finds no candidate yet takes a number too: an attempt may not be the first of its chunk.


def a_slow_host(hour: Hour, held: list[int]) -> None:
    for chunk in held:
        assert re.match(
            rf"chunk {chunk}: It runs: attempt \d, begun .* ago, by one@here:\d+\.$",
            hour.why(chunk),
        )
        assert f"chunk {chunk} attempt " in hour.workers_page()
    assert "one@here" in hour.workers_page()
    hour.until("the figure", lambda: hour.metric(ITEMS.format("processing")) == 2)
    assert (hour.metric(OLDEST.format("processing")) or 0) > 0
    assert hour.metric('pixsim_worker_busy_processes{worker="one@here"}', of_worker=True) == 2
    assert sorted(hour.active()) == [[chunk] for chunk in held]
    # A line is written when an attempt ends.
    assert "jobs.attempts: chunk" not in hour.world.log()


def a_full_window(hour: Hour, waiting: int) -> None:
    assert hour.why(waiting) == (
        f"chunk {waiting}: ada@x.org's window is full: 2 of 2 (FREE) are ready or running, and 0 of "
        "theirs are before it."
    )
    assert f"chunk {waiting} " not in hour.workers_page()
    assert hour.metric(ITEMS.format("waiting")) == 1
    assert hour.metric(ITEMS.format("ready")) == 0
    assert [waiting] not in hour.active()


def a_paused_owner(hour: Hour, job: int, held: list[int], waiting: int) -> None:
    hour.world.manage("queue", "pause", "--owner", "ada@x.org", "--reason", "a complaint")
    in_effect = "SELECT 1 FROM queue_pauses WHERE created_at < now() - interval '2 s'"
    hour.until("the workers to read it", lambda: hour.world.sql(in_effect))
    hour.gate.set()
    hour.until("what is in hand to end", lambda: hour.chunks(job, "completed") == held)
    for chunk in held:
        line = rf"INFO +jobs.attempts: chunk {chunk} of job {job} attempt \d completed after .* \(stored 2,"
        assert re.search(line, hour.world.log())
    paused = f"chunk {waiting}: ada@x.org's work is paused. Resume: queue resume --owner ada@x.org"
    assert hour.why(waiting) == paused
    assert "a complaint" in hour.world.manage("queue", "pauses").stdout
    assert "2 idle nothing" in hour.workers_page()
    hour.until("the figure", lambda: hour.metric(ITEMS.format("completed")) == 2)
    assert hour.metric(ITEMS.format("waiting")) == 1
    assert hour.active() == []
    assert hour.why(waiting) == paused  # all this time
    hour.world.manage("queue", "resume", "--owner", "ada@x.org")
    hour.until("the job to end", lambda: len(hour.chunks(job, "completed")) == 3)


def a_killed_worker(hour: Hour, one: subprocess.Popen[bytes]) -> None:
    hour.gate.clear()
    job = hour.crawl(range(10, 14))
    hour.until("two chunks in hand", lambda: len(hour.chunks(job, "processing")) == 2)
    held = hour.chunks(job, "processing")
    hour.world.kill(one)
    hour.until(
        "the worker to be gone", lambda: "No worker is alive: start one" in hour.why(held[0])
    )
    assert "which has died or stalled: its lease ended" in hour.why(held[0])
    assert "one@here" not in hour.workers_page()
    hour.until("the figure", lambda: hour.metric('pixsim_workers{state="working"}') == 0)
    assert hour.metric('pixsim_stuck_leases{kind="chunk"}') == 2
    assert hour.metric("pixsim_sweeper_active") == 0
    assert hour.active() == []

    hour.gate.set()
    hour.start_worker("two@here")
    hour.until("the job to end", lambda: hour.chunks(job, "completed") == held)
    for chunk in held:
        told = rf"jobs.attempts: chunk {chunk} of job {job} attempt"
        assert re.search(
            rf"WARNING {told} \d lost after .* by one@here:\d+: .* its lease ended",
            hour.world.log(),
        )
        assert re.search(rf"INFO +{told} \d completed after .* by two@here", hour.world.log())
    lost = 'pixsim_worker_attempts_total{kind="chunk",outcome="lost",worker="two@here"}'
    hour.until("the figure", lambda: hour.metric(lost, of_worker=True) == 2)


def a_failing_source(hour: Hour) -> None:
    address = f"{hour.site.url}/sitemap.xml"
    job = hour.world.crawl("--source", "sitemap", "--from", address, "--max-images", "4")
    [(source,)] = hour.world.sql("SELECT id FROM crawl_sources WHERE job_id = %s", job)
    reason = f"{address} cannot be read now: HTTP 500 Internal Server Error"
    again = re.compile(
        rf"discovery {source}: It is tried again at .* UTC \(in .*\) after attempt \d: {reason}"
    )
    hour.until("a pause", lambda: again.match(hour.why(source, "discovery")))
    assert "2 idle nothing" in hour.workers_page()
    assert hour.active() == []
    hour.until("the end", lambda: "It is failed since" in hour.why(source, "discovery"))
    assert reason in hour.why(source, "discovery")
    assert hour.why(source, "discovery").endswith("It runs again when it is retried.")
    told = rf"jobs.attempts: discovery {source} of job {job} attempt"
    assert len(re.findall(rf"WARNING {told} \d retry after .*: {reason}", hour.world.log())) == 3
    assert re.search(rf"ERROR +{told} \d failed after .*: {reason}", hour.world.log())
    for outcome, number in (("retry", 3), ("failed", 1)):
        figure = f'pixsim_worker_attempts_total{{kind="discovery",outcome="{outcome}",worker="two@here"}}'
        assert hour.metric(figure, of_worker=True) == number
    assert re.search(r"discovery +SourceUnavailable", hour.world.manage("queue", "failures").stdout)
