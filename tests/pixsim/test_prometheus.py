"""Prometheus for real: it scrapes the site and a worker, loads the alerts, and answers the board."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixsim.core.net.bearer import has_token
from tests.crawler.pictures import jpeg
from tests.pixsim.serving import answers, ask, production_server
from tests.pixsim.support import free_port
from tests.world import PROJECT, World

MONITORING = PROJECT / "docs" / "monitoring"
TOKEN = "a-token-for-scrapes"
BINARIES = {name: shutil.which(name) for name in ("prometheus", "promtool")}

pytestmark = pytest.mark.skipif(
    None in BINARIES.values(),
    reason="Debian's package prometheus is not installed: no prometheus and promtool",
)


def promtool(*words: str, text: str | None = None) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=MONITORING, input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_and_the_example_are_valid() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    promtool("test", "rules", "alerts.test.yml")
    named = re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tested = (MONITORING / "alerts.test.yml").read_text()
    assert named
    for name in named:
        assert tested.count(f"alertname: {name}") >= 2, (
            f"{name}: when it fires, and when it does not"
        )


class Prometheus:
    """A server that scrapes the site and one worker every second."""

    def __init__(self, folder: Path, *, web: int, worker: int) -> None:
        self.port = free_port()
        folder.mkdir()
        shutil.copy(MONITORING / "alerts.yml", folder)
        (folder / "metrics_token").write_text(TOKEN)
        example = (MONITORING / "prometheus.yml").read_text()
        example = example.replace("pixsim.example:8000", f"127.0.0.1:{web}")
        example = example.replace(
            '"worker1.example:9101", "worker2.example:9101"', f'"127.0.0.1:{worker}"'
        )
        config = folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s, evaluation_interval: 1s}\n" + example)
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=(folder / "log").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def ask(self, path: str, **params: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(params)}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=20) as answer:
            told = json.loads(answer.read())
        assert told["status"] == "success", told
        return told["data"]

    def value(self, expression: str) -> float | None:
        """The only value of an expression; None while there is none."""
        try:
            found = self.ask("query", query=expression)["result"]
        except OSError:  # it is starting
            return None
        return float(found[0]["value"][1]) if len(found) == 1 else None


@pytest.fixture(scope="module")
def scene() -> Iterator[tuple[World, Prometheus, int, int]]:
    """A site of two web processes, a worker that has filled a chunk, and Prometheus."""
    port = free_port()
    with World(METRICS_TOKEN=TOKEN) as world, production_server(world, workers=2) as web:
        world.wait_until(lambda: answers(web), seconds=60, what="the site")
        world.start_worker("--metrics-port", str(port), concurrency=2)
        prometheus = Prometheus(world.home / "prometheus", web=web, worker=port)
        try:
            pictures = world.home / "pictures"
            pictures.mkdir()
            for seed in range(3):
                (pictures / f"{seed}.jpg").write_bytes(jpeg(96, 64, seed=seed))
            # Its message is lost, so the worker's sweeper sends one.
            world.environment["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{free_port()}/0"
            job = world.crawl("--source=folder", f"--from={pictures}", "--max-images=3")
            del world.environment["CELERY_BROKER_URL"]
            ended = "SELECT 1 FROM crawl_jobs WHERE id = %s AND status = 'completed'"
            world.wait_until(lambda: world.sql(ended, job), seconds=60, what="the crawl")
            world.manage("queue", "maintain")  # counts; the sweeper does within a minute
            yield world, prometheus, web, port
        finally:
            prometheus.stop()


@pytest.mark.long
@pytest.mark.workers
def test_prometheus_sees_what_the_site_and_the_worker_have_done(scene: Any) -> None:
    world, prometheus, web, port = scene

    def shows(expression: str, value: float) -> None:
        world.wait_until(lambda: prometheus.value(expression) == value, seconds=60, what=expression)

    for job in ("pixsim", "pixsim-workers"):
        shows(f'up{{job="{job}"}}', 1)
    shows('pixsim_attempts_total{kind="chunk",outcome="completed"}', 1)
    shows('pixsim_attempt_seconds_count{kind="chunk"}', 1)
    shows('pixsim_workers{state="working"}', 1)
    shows('pixsim_processes{state="working"}', 2)
    shows("pixsim_sweeper_active", 1)
    shows('pixsim_worker_attempts_total{kind="chunk",outcome="completed"}', 1)
    shows('pixsim_worker_attempt_seconds_count{kind="chunk"}', 1)
    shows("pixsim_worker_processes", 2)
    shows("pixsim_worker_draining", 0)
    sent = 'pixsim_worker_notifications_total{result="sent"}'
    world.wait_until(lambda: (prometheus.value(sent) or 0) > 0, seconds=60, what=sent)
    bodies = set()
    deadline = time.monotonic() + 20
    while len(bodies) < 2 and time.monotonic() < deadline:  # until both processes have answered
        status, body = ask(web, "/metrics", Authorization=f"Bearer {TOKEN}")
        assert status == 200
        counters = [line for line in body.splitlines() if line.startswith("pixsim_attempt")]
        bodies.add("\n".join(counters))
        time.sleep(0.2)
    assert len(bodies) == 1, "every web process answers the same"
    for text in (body, ask(port, "/metrics", Authorization=f"Bearer {TOKEN}")[1]):
        promtool("check", "metrics", text=text)


@pytest.mark.long
@pytest.mark.workers
def test_the_board_and_the_alerts_ask_for_what_is_there(scene: Any) -> None:
    _world, prometheus, *_ports = scene
    board = json.loads((MONITORING / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = prometheus.ask("rules")["groups"][0]["rules"]
    assert len(rules) == (MONITORING / "alerts.yml").read_text().count("alert: ")
    asked += [rule["query"] for rule in rules]
    known = set(prometheus.ask("label/__name__/values"))
    # No account of a provider is in this database.
    known |= {
        f"pixsim_provider_{name}"
        for name in ("accounts", "accounts_cooling", "slots", "slots_used")
    }
    for expression in asked:
        filled = expression.replace("$__rate_interval", "1m").replace("$kind", ".*")
        prometheus.ask("query", query=filled)
        assert set(re.findall(r"pixsim_\w+", expression)) <= known, expression
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert all(panel["title"] for panel in board["panels"])


@pytest.mark.long
@pytest.mark.workers
def test_a_worker_answers_only_who_has_the_token(scene: Any) -> None:
    _world, _prometheus, web, port = scene
    assert [ask(each, "/metrics")[0] for each in (web, port)] == [400, 401]
    assert ask(port, "/metrics", Authorization="Bearer wrong")[0] == 401
    assert ask(port, "/other", Authorization=f"Bearer {TOKEN}")[0] == 404


@pytest.mark.parametrize(
    ("given", "token", "may"),
    [("Bearer a", "a", True), ("Bearer ", "", False), ("", "", False), ("bearer a", "a", False)],
)
def test_no_token_is_never_the_right_one(given: str, token: str, may: bool) -> None:
    assert has_token(given, token) is may
