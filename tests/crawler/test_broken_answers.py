"""An answer, however broken, is that address's trouble; only a host that does not answer rests."""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
from django.core.management import call_command

from crawler import result_writer
from crawler.fetch import hosts
from crawler.fetch.engine import Engine
from crawler.fetch.rules import Rules
from crawler.fetch.tasks import NotSent, Picture, Refused, Task
from crawler.models import Candidate, CrawlJob
from crawler.services import accepting, lifecycle
from crawler.services.accepting import SourceSpec
from jobs.queue.kinds import all_kinds
from jobs.queue.ops.check import check
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg

PICTURE = jpeg(96, 72)
LENGTH = b"Content-Length: %d\r\n" % len(PICTURE)
OK = b"HTTP/1.1 200 OK\r\n"
OVER = threading.Event()

Page = bytes | Callable[[socket.socket], None]


def hang_up(peer: socket.socket) -> None:
    """Close without a byte."""


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hangs_after(data: bytes) -> Page:
    def page(peer: socket.socket) -> None:
        peer.sendall(data)
        OVER.wait(3)

    return page


KINDS: dict[str, tuple[Page, str]] = {
    "two lengths": (OK + LENGTH + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "length and chunks": (
        OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "bad_answer",
    ),
    "negative length": (OK + b"Content-Length: -1\r\n\r\n" + PICTURE, "bad_answer"),
    "length that is no number": (OK + b"Content-Length: many\r\n\r\n" + PICTURE, "bad_answer"),
    "status line": (b"HTTP/1.1 OK\r\n" + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "bad_answer"),
    "HTTP/0.9": (PICTURE, "bad_answer"),
    "another protocol": (b"220 mail.example ESMTP\r\n", "bad_answer"),
    "chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", "bad_answer"),
    "chunks end early": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "bad_answer"),
    "chunked is not last": (
        OK + b"Transfer-Encoding: chunked, gzip, chunked\r\n\r\n0\r\n\r\n",
        "not_an_image",
    ),
    "body breaks off": (OK + LENGTH + b"\r\n" + PICTURE[:100], "bad_answer"),
    "headers break off": (OK + b"Content-Le", "bad_answer"),
    "one byte": (b"H", "bad_answer"),
    "too many headers": (OK + b"X-Filler: %s\r\n" % (b"x" * 400_000) + b"\r\n", "bad_answer"),
    "300 KiB of headers": (
        OK + b"X: %s\r\n" % (b"x" * 10_000) * 31 + LENGTH + b"\r\n" + PICTURE,
        "bad_answer",
    ),
    "20,000 headers": (OK + b"X: y\r\n" * 20_000 + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "endless trailers": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: %s\r\n" % (b"x" * 9000) * 90,
        "bad_answer",
    ),
    "damaged gzip": (
        OK + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n\x1f\x8b" + PICTURE[2:],
        "bad_answer",
    ),
    "br": (OK + b"Content-Encoding: br\r\n" + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "header without a name": (OK + b": value\r\n" + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "NUL in a header": (OK + b"X: a\0b\r\n" + LENGTH + b"\r\n" + PICTURE, "bad_answer"),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\n\r\n" + PICTURE, "bad_answer"),
    "no content, with a body": (
        b"HTTP/1.1 204 No Content\r\n" + LENGTH + b"\r\n" + PICTURE,
        "bad_answer",
    ),
    "redirect to nowhere": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "bad_answer"),
    "silent after some bytes": (hangs_after(OK + b"Content-Le"), "timeout"),
    "silent in the body": (hangs_after(OK + LENGTH + b"\r\n" + PICTURE[:100]), "timeout"),
    "hangs up": (hang_up, "connect"),
    "resets": (reset, "connect"),
}
SOUND = OK + LENGTH + b"\r\n" + PICTURE
ABSENT = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Site:
    """Answers each path with its page, one request a connection; what is not there is absent."""

    def __init__(self, pages: dict[str, Page], port: int = 0) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            request = b""
            while b"\r\n\r\n" not in request and (part := peer.recv(4096)):
                request += part
            if not request:
                return
            path = request.split()[1].decode()
            self.asked.append(path)
            page = self.pages.get(path, ABSENT)
            if isinstance(page, bytes):
                peer.sendall(page)
            else:
                page(peer)


def sound(number: int) -> bytes:
    data = jpeg(96, 72, seed=number)
    return OK + b"Content-Length: %d\r\n\r\n" % len(data) + data


@pytest.fixture(autouse=True)
def _limits(settings, tmp_path, monkeypatch) -> Iterator[None]:
    """Those of a public host, but quick; short rests; an engine of its own."""
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    settings.CRAWL_HOST_LIMITS = {"127.0.0.1": {"concurrency": 4, "rate": 200}}
    settings.CRAWL_READ_TIMEOUT = 2.0  # sound answers take long on a busy machine
    settings.CRAWL_RETRY_SECONDS = 0.2
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {
            "BACKEND": "pixsim.core.blobs.local.BlobStorage",
            "OPTIONS": {"location": str(tmp_path / "blobs")},
        },
    }
    monkeypatch.setattr(hosts, "FIRST_COOLDOWN", 0.2)
    monkeypatch.setattr(hosts, "COOLDOWN_WAITED_FOR", 0.0)
    monkeypatch.setattr(Engine, "_shared", None)
    OVER.clear()
    yield
    OVER.set()
    if Engine._shared is not None:
        Engine._shared.close()


def test_a_broken_answer_is_its_addresss_own_trouble() -> None:
    """Each kind on a host of its own, six addresses in a row before twelve sound ones."""
    paths = [f"/broken/{number}" for number in range(6)]
    paths += [f"/sound/{number}" for number in range(12)]
    tasks: dict[int, str] = {}
    ended: dict[str, list[object]] = {}
    with ExitStack() as stack:
        session = stack.enter_context(closing(Engine())).session(Rules.from_options({}))
        for kind, (page, _) in KINDS.items():
            pages = {path: page if "broken" in path else SOUND for path in paths}
            site = stack.enter_context(closing(Site(pages)))
            ids = range(len(tasks), len(tasks) + len(paths))
            tasks |= dict.fromkeys(ids, kind)
            session.submit(
                Task(id, site.url(path), f"127.0.0.1:{site.port}", "", None, 0)
                for id, path in zip(ids, paths, strict=True)
            )
        deadline = time.monotonic() + 60
        while session.in_flight:
            assert time.monotonic() < deadline
            for result in session.collect():
                has_picture = isinstance(result, Picture)
                assert has_picture or isinstance(result, Refused), result
                outcome = "stored" if has_picture else (result.outcome, result.host_is_silent)
                ended.setdefault(tasks[result.task.id], []).append(outcome)
    counted = {kind: Counter(outcomes) for kind, outcomes in ended.items()}
    assert counted == {
        kind: {"stored": 12, (outcome, False): 6} for kind, (_, outcome) in KINDS.items()
    }


def test_a_robots_txt_that_is_remembered_does_not_prove_that_its_host_is_up() -> None:
    robots = b"User-agent: *\nDisallow: /private\n"
    answer = OK + b"Content-Length: %d\r\n\r\n%s" % (len(robots), robots)
    site = Site({"/robots.txt": answer, "/a.jpg": SOUND})
    with closing(Engine()) as engine:

        def fetch(path: str) -> Picture | Refused | NotSent:
            session = engine.session(Rules.from_options({}))
            session.submit([Task(1, site.url(path), f"127.0.0.1:{site.port}", "", None, 0)])
            while not (results := session.collect(timeout=10)):
                pass
            return results[0]

        assert isinstance(fetch("/a.jpg"), Picture)
        site.close()
        outcomes = [fetch("/a.jpg").outcome for _ in range(3)]
        assert outcomes == ["connect"] * 3
        time.sleep(0.3)  # the rest of 0.2 s
        assert fetch("/private/a.jpg").outcome == "robots"
        assert fetch("/a.jpg").outcome == "connect"
        assert isinstance(fetch("/a.jpg"), NotSent)


def crawl(tmp_path, urls: list[str]) -> CrawlJob:
    listed = tmp_path / f"{len(urls)}.txt"
    listed.write_text("\n".join(urls))
    return accepting.create_crawl_job(
        owner=None, name="t", max_images=100, source_specs=[SourceSpec("urls", str(listed))]
    )


def has_ended(job: CrawlJob) -> bool:
    job.refresh_from_db()
    return not job.is_open


def assert_counts_hold() -> None:
    assert not [finding for finding in check(all_kinds()) if finding.rows]


@pytest.mark.django_db(transaction=True)
def test_all_sound_addresses_of_a_host_with_broken_ones_are_stored_in_every_job(tmp_path) -> None:
    broken = KINDS["two lengths"][0]
    pages: dict[str, Page] = {f"/broken/{number}": broken for number in range(6)}
    pages |= {f"/{number}.jpg": sound(number) for number in range(40)}
    with closing(Site(pages)) as site:
        for count in (40, 8):
            job = crawl(tmp_path, [site.url(path) for path in pages][: 6 + count])
            with working():
                wait_until(lambda job=job: has_ended(job), seconds=30)
            assert job.outcomes == {"stored": count, "bad_answer": 6}
            ended = job.candidates.filter(outcome="bad_answer")
            assert {(one.tries, "sound HTTP" in one.detail) for one in ended} == {(3, True)}
            assert set(job.candidates.values_list("host", flat=True)) == {f"127.0.0.1:{site.port}"}
    assert_counts_hold()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def numbered(port: int, count: int) -> list[str]:
    return [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(count)]


@pytest.mark.django_db(transaction=True)
def test_what_was_never_sent_to_a_host_that_is_down_is_untouched_and_comes_with_the_host(
    tmp_path, settings
) -> None:
    settings.CRAWL_RETRY_SECONDS = 2.0
    port = free_port()
    job = crawl(tmp_path, numbered(port, 30))
    with working():
        wait_until(lambda: job.candidates.filter(waiting_since__isnull=False).count() >= 26)
        unsent = job.candidates.filter(tries=0)
        assert unsent.count() >= 20
        assert set(unsent.values_list("outcome", "detail")) == {(None, None)}
        # Another job of the same worker is not charged for it, either.
        other = crawl(tmp_path, numbered(port, 31)[-1:])
        wait_until(lambda: other.candidates.filter(waiting_since__isnull=False).exists())
        with closing(Site({f"/{number}.jpg": sound(number) for number in range(31)}, port)):
            wait_until(lambda: has_ended(job) and has_ended(other), seconds=30)
    assert job.outcomes == {"stored": 30}
    assert other.outcomes == {"stored": 1}
    assert not Candidate.objects.filter(waiting_since__isnull=False, outcome=None).exists()
    assert_counts_hold()


@pytest.mark.django_db(transaction=True)
def test_addresses_that_are_never_answered_keep_no_other_of_their_host_from_being_asked(
    tmp_path, settings, monkeypatch
) -> None:
    settings.CRAWL_READ_TIMEOUT = 0.5
    monkeypatch.setattr(result_writer, "PATIENCE_SECONDS", 10.0)
    pages: dict[str, Page] = {f"/silent/{number}": hangs_after(b"") for number in range(6)}
    pages |= {f"/{number}.jpg": sound(number) for number in range(12)}
    with closing(Site(pages)) as site:
        job = crawl(tmp_path, [site.url(path) for path in pages])
        with working():
            wait_until(lambda: job.candidates.filter(outcome="stored").count() == 12, seconds=40)
    assert not job.candidates.filter(outcome="host_down").exists()


@pytest.mark.django_db(transaction=True)
def test_a_host_that_stays_down_is_given_up_and_a_retry_asks_it_again(
    tmp_path, monkeypatch
) -> None:
    port = free_port()
    job = crawl(tmp_path, numbered(port, 20))
    with monkeypatch.context() as context, working():
        context.setattr(result_writer, "PATIENCE_SECONDS", 1.0)
        wait_until(lambda: has_ended(job), seconds=30)
    assert set(job.outcomes) <= {"connect", "host_down"}
    given_up = job.candidates.filter(outcome="host_down")
    assert f"{given_up.count()} not sent, since their host did not answer" in job.error_message
    assert given_up.filter(tries=0).count() >= 10
    assert all("not asked, since its host did not answer: " in one.detail for one in given_up)
    assert_counts_hold()

    with closing(Site({f"/{number}.jpg": sound(number) for number in range(20)}, port)), working():
        lifecycle.retry_job(job_id=job.pk)
        wait_until(lambda: has_ended(job), seconds=30)
    assert job.outcomes == {"stored": 20}
    assert_counts_hold()


@pytest.mark.django_db(transaction=True)
def test_two_ports_are_two_hosts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hosts, "FIRST_COOLDOWN", 30.0)
    dead = free_port()
    pages: dict[str, Page] = {f"/{number}.jpg": sound(number) for number in range(20)}
    with closing(Site(pages)) as site, working():
        job = crawl(tmp_path, numbered(dead, 20) + [site.url(path) for path in pages])
        wait_until(lambda: job.candidates.filter(outcome="stored").count() == 20)
        assert set(site.asked) == {*pages, "/robots.txt"}
        waiting = job.candidates.filter(waiting_since__isnull=False)
        assert set(waiting.values_list("host", flat=True)) == {f"127.0.0.1:{dead}"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by_port", [False, True])
def test_a_pause_of_a_name_holds_all_its_ports_and_one_with_a_port_only_that(
    tmp_path, by_port
) -> None:
    pages: dict[str, Page] = {f"/{number}.jpg": sound(number) for number in range(3)}
    others: dict[str, Page] = {f"/{number}.jpg": sound(number) for number in range(10, 13)}
    with closing(Site(pages)) as site, closing(Site(others)) as other:
        paused = f"127.0.0.1:{site.port}" if by_port else "127.0.0.1"
        call_command("queue", "pause", "--host", paused)
        job = crawl(tmp_path, [site.url(path) for path in pages] + [other.url(p) for p in others])
        with working():
            if by_port:
                wait_until(lambda: job.candidates.filter(outcome="stored").count() == 3)
            else:
                wait_until(lambda: job.candidates.count() == 6)
                wait_until(lambda: job.chunks.filter(status="pending", held=True).exists())
            assert not site.asked
            assert bool(other.asked) == by_port
            call_command("queue", "resume", "--host", paused)
            wait_until(lambda: has_ended(job), seconds=30)
    assert job.outcomes == {"stored": 6}
