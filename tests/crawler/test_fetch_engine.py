"""The engine against a real web server, a real decoder and real storage."""

import asyncio
import errno
import hashlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from crawler.fetch.engine import Engine
from crawler.fetch.rules import Rules
from crawler.fetch.tasks import EngineFailed, NotSent, Picture, Refused, StorageFull, Task
from crawler.models import Outcome
from pixsim.core import blobs
from tests.crawler.pictures import corrupted, encode, jpeg, photograph, truncated

Answer = tuple[int, dict[str, str], bytes] | Callable[[web.Request], Awaitable[web.StreamResponse]]
NOBODY = "127.0.0.9"  # No server listens there.


class Site:
    """A web server on several loopback addresses, so that one port is several hosts.

    What is not in `pages` is 404. `requests` are (host, path) in order, `busiest` the most
    requests that one host had at once.
    """

    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.requests: list[tuple[str, str]] = []
        self.started: list[float] = []
        self.busiest: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._thread.start()
        assert self._ready.wait(10)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def asked(self, path: str) -> int:
        return sum(asked == path for _, asked in self.requests)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        for host in self.hosts:
            await web.TCPSite(runner, host, self.port).start()
        self._ready.set()
        await self._end.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        host = request.url.host or ""
        self.requests.append((host, request.path))
        self.started.append(time.monotonic())
        self._busy[host] += 1
        self.busiest[host] = max(self.busiest[host], self._busy[host])
        try:
            answer = self.pages.get(request.path, (404, {}, b"not here"))
            if callable(answer):
                return await answer(request)
            status, headers, body = answer
            return web.Response(status=status, headers=headers, body=body)
        finally:
            self._busy[host] -= 1


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def _settings(settings, tmp_path) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    settings.CRAWL_FOLDER_ROOTS = [str(tmp_path / "pictures")]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_CONNECT_TIMEOUT = 2.0
    settings.CRAWL_READ_TIMEOUT = 1.0
    settings.CRAWL_TOTAL_TIMEOUT = 3.0
    settings.CRAWL_RETRY_SECONDS = 5.0
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {
            "BACKEND": "pixsim.core.blobs.local.BlobStorage",
            "OPTIONS": {"location": str(tmp_path / "blobs")},
        },
    }


@contextmanager
def running_engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(_settings) -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


def task(id: int, url: str, *, host: str = "127.0.0.1", tries: int = 0, **provenance: str) -> Task:
    return Task(id, url, host, "cats", provenance or None, tries)


def fetch(
    engine: Engine, tasks: list[Task], *, seconds: float = 20, **options: object
) -> dict[int, Picture | Refused]:
    """All results by task id."""
    session = engine.session(Rules.from_options(options))
    session.submit(tasks)
    results: dict[int, Picture | Refused] = {}
    deadline = time.monotonic() + seconds
    while session.in_flight:
        assert time.monotonic() < deadline, f"no result for {session.cancel()}"
        for result in session.collect(timeout=0.5):
            assert result.task.id not in results
            results[result.task.id] = result
    return results


def fetch_one(engine: Engine, url: str, **options: object) -> Picture | Refused:
    return fetch(engine, [task(1, url)], **options)[1]


def assert_idle(engine: Engine) -> None:
    """Every slot and every byte comes back."""
    deadline = time.monotonic() + 5
    while engine._held or any(host.active or host.held_bytes for host in engine._hosts.values()):
        assert time.monotonic() < deadline, f"{engine._held} bytes are still held"
        time.sleep(0.001)


def ok(body: bytes, **headers: str) -> Answer:
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body


def test_a_picture_is_stored_under_its_hash_before_its_result_comes(engine, site):
    data = jpeg(640, 480)
    site.pages["/cat.jpg"] = ok(data, Content_Type="text/plain")
    site.pages["/old"] = 301, {"Location": "/cat.jpg"}, b""
    found = fetch_one(engine, site.url("/old"))
    assert isinstance(found, Picture)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.width, found.height, found.format) == (640, 480, "jpeg")
    assert (found.file_size, found.url) == (len(data), site.url("/cat.jpg"))
    assert blobs.open_blob(found.key).read() == data
    assert -(2**63) <= found.phash < 2**63


def test_every_refusal_has_its_own_outcome(engine, site):
    async def stalls(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(jpeg()[:1000])
        await asyncio.sleep(30)
        return response

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100000"})
        await response.prepare(request)
        await response.write(jpeg()[:1000])
        request.transport.abort()
        return response

    expected: dict[str, tuple[Answer, Outcome]] = {
        "/missing": ((404, {"X-Robots-Tag": "noindex"}, b""), Outcome.HTTP_4XX),
        "/broken": ((500, {}, b""), Outcome.HTTP_5XX),
        "/page.jpg": (ok(b"<html><body>Hello</body></html>"), Outcome.NOT_AN_IMAGE),
        "/empty.jpg": (ok(b""), Outcome.NOT_AN_IMAGE),
        "/drawing.svg": (ok(b"<svg></svg>"), Outcome.BAD_FORMAT),
        "/cut.jpg": (ok(truncated(jpeg())), Outcome.TRUNCATED),
        "/corrupt.jpg": (ok(corrupted(jpeg())), Outcome.CORRUPT),
        "/pixel.gif": (ok(encode(Image.new("P", (1, 1)), "GIF")), Outcome.TOO_SMALL),
        "/banner.png": (ok(encode(Image.new("L", (2000, 40)), "PNG")), Outcome.ASPECT),
        "/huge.jpg": (ok(jpeg(1001, 1000)), Outcome.TOO_MANY_PIXELS),
        "/heavy.jpg": (ok(bytes(600_000)), Outcome.TOO_LARGE),
        "/mine.jpg": (ok(jpeg(), X_Robots_Tag="noai"), Outcome.OPTED_OUT),
        "/private/a.jpg": (ok(jpeg()), Outcome.ROBOTS),
        "/round": ((302, {"Location": "/round"}, b""), Outcome.TOO_MANY_REDIRECTS),
        "/inward": ((302, {"Location": "http://169.254.169.254/"}, b""), Outcome.BLOCKED_ADDRESS),
        "/local": ((302, {"Location": "file:///etc/passwd"}, b""), Outcome.BAD_URL),
        "/nowhere": ((302, {"Location": "http://a b/"}, b""), Outcome.BAD_URL),
        "/around": ((302, {"Location": "/private/a.jpg"}, b""), Outcome.ROBOTS),
        "/stalls.jpg": (stalls, Outcome.TIMEOUT),
        "/breaks.jpg": (breaks_off, Outcome.BAD_ANSWER),
        "/good.jpg": (ok(jpeg()), Outcome.STORED),
    }
    site.pages = {path: answer for path, (answer, _) in expected.items()}
    site.pages["/robots.txt"] = ok(b"User-agent: *\nDisallow: /private/\n")
    tasks = [task(id, site.url(path)) for id, path in enumerate(expected)]
    tasks += [
        task(100, f"http://{NOBODY}:{site.port}/a.jpg", host=NOBODY),
        task(101, "http://no-such-host.invalid/a.jpg", host="no-such-host.invalid"),
        task(102, "http://10.0.0.1/a.jpg", host="10.0.0.1"),
    ]
    results = fetch(engine, tasks, max_bytes=500_000, max_pixels=1_000_000)
    outcomes = {path: getattr(results[id], "outcome", "stored") for id, path in enumerate(expected)}
    assert outcomes == {path: outcome.value for path, (_, outcome) in expected.items()}
    assert [results[id].outcome for id in (100, 101, 102)] == ["connect", "dns", "blocked_address"]
    assert site.asked("/private/a.jpg") == 0
    again = {results[id].outcome for id in results if getattr(results[id], "retry_after", None)}
    passing = {"http_5xx", "timeout", "connect", "bad_answer"}
    assert passing <= again <= {*passing, "dns"}
    assert all(isinstance(r, Picture) or r.detail for r in results.values())


def test_waiting_grows_with_the_tries(engine, site):
    site.pages["/broken"] = 500, {}, b""
    tasks = [task(tries, site.url("/broken"), tries=tries) for tries in range(3)]
    waits = [refused.retry_after for _, refused in sorted(fetch(engine, tasks).items())]
    assert all(5 * 3**n <= wait <= 6 * 3**n for n, wait in enumerate(waits))


def test_licences_are_checked_before_anything_is_asked_for(engine, site):
    site.pages["/a.jpg"] = ok(jpeg())
    results = fetch(
        engine,
        [
            task(1, site.url("/a.jpg"), licence="CC0 1.0"),
            task(2, site.url("/b.jpg"), licence="All rights reserved"),
            task(3, site.url("/c.jpg")),
        ],
        licences=["cc0*", "cc-by*"],
    )
    assert isinstance(results[1], Picture)
    assert [results[2].outcome, results[3].outcome] == ["licence", "licence"]
    assert site.asked("/b.jpg") == site.asked("/c.jpg") == 0


def test_with_robots_switched_off_nothing_of_it_is_asked(settings, site):
    settings.CRAWL_HONOUR_ROBOTS = False
    site.pages["/a.jpg"] = ok(jpeg(), X_Robots_Tag="noai")
    site.pages["/old"] = 302, {"Location": "/a.jpg"}, b""
    with running_engine() as engine:
        assert isinstance(fetch_one(engine, site.url("/old")), Picture)
    assert site.asked("/robots.txt") == 0


def test_429_rests_the_host_and_its_other_tasks_come_back_untried(settings, site):
    settings.CRAWL_HOST_LIMITS = {"127.0.0.1": {"concurrency": 2}}
    site.pages["/robots.txt"] = ok(b"")
    site.pages["/a.jpg"] = 429, {"Retry-After": "120"}, b""
    site.pages["/b.jpg"] = ok(jpeg())
    with running_engine() as engine:
        tasks = [task(id, site.url("/a.jpg")) for id in range(20)]
        tasks.append(task(99, site.url("/b.jpg", "127.0.0.2"), host="127.0.0.2"))
        results = fetch(engine, tasks)
        assert isinstance(results.pop(99), Picture)
        later = fetch(engine, [task(50, site.url("/a.jpg"))])[50]
    assert site.asked("/a.jpg") <= 2
    sent = [result for result in results.values() if isinstance(result, Refused)]
    assert len(sent) == site.asked("/a.jpg")
    assert {result.outcome for result in sent} == {"throttled"}
    assert all(115 < result.retry_after < 145 for result in sent)
    waiting = [result for result in results.values() if isinstance(result, NotSent)]
    assert len(waiting) == 20 - len(sent)
    for result in (*waiting, later):
        assert result.trouble.outcome == "throttled"
        assert 115 < result.seconds < 120.1


def test_a_dead_host_rests_and_its_waiting_tasks_come_back_unsent(engine, site):
    tasks = [task(id, f"http://{NOBODY}:{site.port}/{id}", host=NOBODY) for id in range(200)]
    results = fetch(engine, tasks)
    sent = [result for result in results.values() if isinstance(result, Refused)]
    assert {(result.outcome, result.host_is_silent) for result in sent} == {("connect", True)}
    assert 3 <= len(sent) < 150
    waiting = [result for result in results.values() if isinstance(result, NotSent)]
    assert len(waiting) == 200 - len(sent)
    assert {(r.trouble.outcome, r.trouble.may_pass) for r in waiting} == {("host_down", True)}
    assert "ECONNREFUSED" in waiting[0].trouble.detail


def test_redirects_to_a_host_in_trouble_are_not_charged_to_the_host_that_sends_them(engine, site):
    def redirect(host: str, path: str) -> Answer:
        return 302, {"Location": site.url(path, host)}, b""

    site.pages["/dead"] = redirect(NOBODY, "/a.jpg")
    site.pages["/busy"] = redirect("127.0.0.2", "/wait.jpg")
    site.pages["/wait.jpg"] = 429, {"Retry-After": "60"}, b""
    site.pages["/a.jpg"] = ok(jpeg())
    paths = ["/dead"] * 4 + ["/busy"] * 4 + ["/a.jpg"]
    for id, path in enumerate(paths):  # one after the other, so that failures come in a row
        result = fetch_one(engine, site.url(path))
        expected = {"/dead": "connect", "/busy": "throttled"}.get(path)
        assert getattr(result, "outcome", None) == expected, id
        assert not getattr(result, "host_is_silent", False)
    assert site.asked("/wait.jpg") == 1


def test_a_host_never_has_more_requests_than_its_limit(settings, site):
    async def slowly(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return web.Response(body=jpeg())

    settings.CRAWL_HOST_LIMITS = {"127.0.0.1": {"concurrency": 3}}
    site.pages["/a.jpg"] = slowly
    with running_engine() as engine:
        results = fetch(engine, [task(id, site.url("/a.jpg")) for id in range(40)])
    assert all(isinstance(result, Picture) for result in results.values())
    assert site.busiest["127.0.0.1"] == 3


def test_a_rate_and_a_crawl_delay_are_kept(settings, site):
    settings.CRAWL_HOST_LIMITS = {"127.0.0.1": {"rate": 50}}
    site.pages["/a.jpg"] = ok(jpeg())
    site.pages["/robots.txt"] = ok(b"")
    with running_engine() as engine:
        fetch(engine, [task(id, site.url("/a.jpg")) for id in range(11)])
        assert site.started[-1] - site.started[1] >= 0.18
        site.pages["/robots.txt"] = ok(b"User-agent: *\nCrawl-delay: 20\n")
        spaced = [task(id, site.url("/a.jpg", "127.0.0.2"), host="127.0.0.2") for id in range(4)]
        session = engine.session(Rules.from_options({}))
        session.submit(spaced)
        results = []
        deadline = time.monotonic() + 10
        while len(results) < 3:
            assert time.monotonic() < deadline
            results += session.collect()
        unfinished = session.cancel()
    assert len(unfinished) == 1
    turns = sorted(result.seconds for result in results if isinstance(result, NotSent))
    assert [round(turn, -1) for turn in turns] == [40, 60]
    assert not any(result.trouble for result in results if isinstance(result, NotSent))


def test_a_slow_host_does_not_hold_up_the_others(settings, site):
    async def never(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "900000"})
        await response.prepare(request)
        while True:
            await response.write(bytes(500))
            await asyncio.sleep(0.1)

    settings.CRAWL_IN_FLIGHT_BYTES = 2_000_000
    site.pages["/slow.jpg"] = never
    site.pages["/fast.jpg"] = ok(jpeg())
    with running_engine() as engine:
        session = engine.session(Rules.from_options({"max_bytes": 1_000_000}))
        session.submit(task(id, site.url("/slow.jpg")) for id in range(50))
        session.submit(
            task(100 + id, site.url("/fast.jpg", "127.0.0.2"), host="127.0.0.2") for id in range(50)
        )
        began = time.monotonic()
        stored = 0
        while stored < 50:
            assert time.monotonic() - began < 2
            stored += sum(isinstance(result, Picture) for result in session.collect())
        assert len(session.cancel()) == 50


def test_large_pictures_wait_for_room_and_all_come(settings, site):
    async def without_length(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(large)
        return response

    large = encode(photograph(1200, 900), "BMP")
    settings.CRAWL_IN_FLIGHT_BYTES = 2 * len(large)
    site.pages["/large.bmp"] = ok(large)
    site.pages["/chunked.bmp"] = without_length
    with running_engine() as engine:
        tasks = [task(id, site.url("/large.bmp")) for id in range(12)]
        tasks += [
            task(100 + id, site.url("/chunked.bmp", "127.0.0.2"), host="127.0.0.2")
            for id in range(12)
        ]
        results = fetch(engine, tasks, max_bytes=4_000_000)
        assert_idle(engine)
    assert all(isinstance(result, Picture) for result in results.values())


def test_cancel_returns_what_is_unfinished_at_once_and_frees_the_hosts(engine, site):
    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    site.pages["/never.jpg"] = never
    site.pages["/good.jpg"] = ok(jpeg())
    session = engine.session(Rules.from_options({}))
    tasks = [task(id, site.url("/never.jpg")) for id in range(300)]
    session.submit(tasks)
    assert session.collect(timeout=0.3) == []
    began = time.monotonic()
    assert session.cancel() == tasks
    assert time.monotonic() - began < 0.1
    assert session.in_flight == 0
    results = fetch(engine, [task(id, site.url("/good.jpg")) for id in range(100)])
    assert all(isinstance(result, Picture) for result in results.values())
    # Cancelled again in the very moment in which its fetches are made.
    session = engine.session(Rules.from_options({}))
    session.submit(tasks)
    session.cancel()
    assert isinstance(fetch_one(engine, site.url("/good.jpg")), Picture)
    assert_idle(engine)


def test_results_that_came_before_a_cancel_can_still_be_collected(engine, site):
    site.pages["/good.jpg"] = ok(jpeg())
    session = engine.session(Rules.from_options({}))
    session.submit([task(1, site.url("/good.jpg"))])
    deadline = time.monotonic() + 10
    while not session._results:  # Collecting would take them.
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert session.cancel() == []
    assert [result.task.id for result in session.collect()] == [1]
    assert session.in_flight == 0


def test_a_decoder_killed_in_the_middle_loses_nothing(engine, site):
    for id in range(200):
        site.pages[f"/{id}.jpg"] = ok(jpeg(seed=id % 8) + str(id).encode())
    session = engine.session(Rules.from_options({}))
    session.submit(task(id, site.url(f"/{id}.jpg")) for id in range(200))
    stored, kills = [], 0
    deadline = time.monotonic() + 30
    while session.in_flight:
        assert time.monotonic() < deadline
        stored += session.collect()
        if kills < 2 and len(stored) > 60 * kills and engine.decoder_pid:
            os.kill(engine.decoder_pid, signal.SIGKILL)
            kills += 1
    assert kills == 2
    assert sorted(result.task.id for result in stored) == list(range(200))
    assert all(isinstance(result, Picture) for result in stored)


def test_a_full_disk_ends_the_session_and_every_task_is_accounted_for(engine, site, monkeypatch):
    create, created = os.open, []

    def create_until_full(path: str, flags: int, **options: int) -> int:
        if threading.current_thread().name == "pixsim-checker":
            created.append(path)
            if len(created) > 5:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path, flags, **options)

    monkeypatch.setattr(os, "open", create_until_full)
    for id in range(30):
        site.pages[f"/{id}.jpg"] = ok(jpeg(seed=id % 8) + str(id).encode())
    session = engine.session(Rules.from_options({}))
    session.submit(task(id, site.url(f"/{id}.jpg")) for id in range(30))
    stored = []

    def collect_all() -> None:
        while session.in_flight:
            stored.extend(session.collect())

    with pytest.raises(StorageFull, match="No space left"):
        collect_all()
    unfinished = session.cancel()
    stored.extend(session.collect(timeout=0))
    assert len(stored) == 5
    assert all(blobs.exists(picture.key) for picture in stored)
    assert sorted(t.id for t in [*unfinished, *(r.task for r in stored)]) == list(range(30))
    monkeypatch.undo()


def test_a_decoder_that_does_not_start_ends_the_session(engine, site, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    site.pages["/a.jpg"] = ok(jpeg())
    with pytest.raises(EngineFailed, match="does not start"):
        fetch_one(engine, site.url("/a.jpg"))


def test_files_are_read_only_inside_the_folders_allowed(engine, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(jpeg())
    (folder / "a cat.jpg").write_bytes(jpeg())
    (folder / "heavy.bmp").write_bytes(bytes(600_000))
    (folder / "link.jpg").symlink_to(outside)
    (folder / "empty.jpg").touch()
    os.mkfifo(folder / "pipe.jpg")
    beside = tmp_path / "pictures-of-others"
    beside.mkdir()
    (beside / "b.jpg").write_bytes(jpeg())
    urls = {
        (folder / "a cat.jpg").as_uri(): "stored",
        (folder / "heavy.bmp").as_uri(): "too_large",
        (folder / "link.jpg").as_uri(): "blocked_address",
        f"{folder.as_uri()}/../secret.jpg": "blocked_address",
        f"{folder.as_uri()}/%2e%2e/secret.jpg": "blocked_address",
        (beside / "b.jpg").as_uri(): "blocked_address",
        f"file://other-machine{folder}/a%20cat.jpg": "blocked_address",
        Path("/etc/passwd").as_uri(): "blocked_address",
        (folder / "gone.jpg").as_uri(): "unreadable_file",
        (folder / "empty.jpg").as_uri(): "not_an_image",
        (folder / "pipe.jpg").as_uri(): "not_an_image",
        folder.as_uri(): "not_an_image",
        f"{folder.as_uri()}/a%00b.jpg": "unreadable_file",
    }
    results = fetch(
        engine, [task(id, url, host="") for id, url in enumerate(urls)], max_bytes=500_000
    )
    outcomes = {url: getattr(results[id], "outcome", "stored") for id, url in enumerate(urls)}
    assert outcomes == urls


def test_sessions_one_after_another_reuse_connections_and_robots(engine, site):
    peers = set()

    async def who(request: web.Request) -> web.StreamResponse:
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=jpeg())

    site.pages["/a.jpg"] = who
    for _ in range(5):
        assert isinstance(fetch_one(engine, site.url("/a.jpg")), Picture)
    assert len(peers) == 1
    assert site.asked("/robots.txt") == 1


def test_the_shared_engine_belongs_to_its_process(site):
    """A forked child, as Celery makes them, gets an engine of its own that works."""
    site.pages["/a.jpg"] = ok(jpeg())
    engine = Engine.shared()
    try:
        assert Engine.shared() is engine
        child = os.fork()
        if child == 0:
            try:
                mine = Engine.shared()
                ok_here = mine is not engine and isinstance(
                    fetch_one(mine, site.url("/a.jpg")), Picture
                )
                os._exit(0 if ok_here else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert isinstance(fetch_one(engine, site.url("/a.jpg")), Picture)
    finally:
        engine.close()
    assert Engine.shared() is not engine
    Engine.shared().close()
