"""One odd answer of a server is that candidate's trouble: the job goes on."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from django.db import connection

from crawler import robots
from crawler.errors import SourceRefused
from crawler.fetch import checker, decoder, engine, hosts
from crawler.models import Candidate, CrawlJob, CrawlSource
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from crawler.sources.page import source as page_source
from crawler.sources.sitemap import source as sitemap_source
from crawler.sources.urls import source as urls_source
from pixsim.core.net import client
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import encode, jpeg, photograph

pytestmark = pytest.mark.django_db(transaction=True)

DIGITS = b"9" * 400
PICTURE = jpeg(96, 72, seed=1)
ODD = encode(photograph(96, 72, seed=2), "png")
GOOD = b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE)


def refusal(*headers: bytes, status: int = 503) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %d x\r\n%sContent-Length: 0\r\n\r\n" % (status, lines)


ANSWERS = {
    b"/robots.txt": refusal(status=404),
    b"/seconds.jpg": refusal(b"Retry-After: " + DIGITS),
    b"/more-seconds.jpg": refusal(b"Retry-After: " + DIGITS * 15),
    b"/year.jpg": refusal(b"Retry-After: Fri, 31 Dec 100000000000000000000 23:59:59 GMT"),
    b"/length.jpg": b"HTTP/1.1 200 x\r\nContent-Length: " + DIGITS * 12 + b"\r\n\r\nx",
    b"/arabic.jpg": "HTTP/1.1 200 x\r\nContent-Length: ٣\r\n\r\nabc".encode(),
    b"/both.jpg": b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
    b"/age.jpg": GOOD.replace(b"200 x", b"200 x\r\nAge: " + DIGITS + b"\r\nDate: x\r\nExpires: -1"),
}


class Site:
    """Answers each path with the bytes in `answers`, on an address of its own."""

    def __init__(self, answers: dict[bytes, bytes], address: str) -> None:
        self.answers = answers
        self._listener = socket.create_server((address, 0))
        self.url = f"http://{address}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                request = b""
                while b"\r\n\r\n" not in request and (part := peer.recv(4096)):
                    request += part
                if request:
                    answer = self.answers.get(request.split()[1], refusal(status=404))
                    peer.sendall(answer)


@pytest.fixture
def sites(settings, monkeypatch) -> Iterator[list[Site]]:
    """One site per answer, so that a host that rests keeps no other waiting."""
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    settings.CRAWL_RETRY_SECONDS = 0.05
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    monkeypatch.setattr(hosts, "FIRST_COOLDOWN", 0.05)
    made: list[Site] = []
    yield made
    for site in made:
        site.close()


def crawl(
    location: str, *, kind: str = "urls", options: Mapping[str, object] | None = None
) -> CrawlJob:
    specs = [SourceSpec(kind, location, options=dict(options or {}))]
    job = accepting.create_crawl_job(owner=None, name="t", max_images=9, source_specs=specs)
    with working():
        wait_until(lambda: not CrawlJob.objects.open().exists(), seconds=60)
    job.refresh_from_db()
    return job


def test_numbers_without_measure_in_headers_end_their_own_candidate(sites, tmp_path) -> None:
    delay = b"User-agent: *\nRequest-rate: 1/" + DIGITS + b"s\nAllow: /\n"
    rule = b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r\n%s" % (len(delay), delay)
    for number, (path, answer) in enumerate(ANSWERS.items(), 2):
        sites.append(Site({path: answer}, f"127.0.0.{number}"))
    sites.append(Site({b"/robots.txt": rule, b"/slow.jpg": GOOD}, "127.0.0.99"))
    good = Site({b"/good.jpg": GOOD}, "127.0.0.100")
    sites.append(good)
    listed = tmp_path / "list.txt"
    addresses = [site.url + next(reversed(site.answers)).decode() for site in sites]
    listed.write_text("\n".join(addresses))

    job = crawl(str(listed))

    assert (job.status, job.valid_images) == ("completed", 1)
    ended = dict(Candidate.objects.values_list("url", "outcome"))
    assert ended[f"{good.url}/good.jpg"] in ("stored", "duplicate")
    assert None not in ended.values()


@pytest.mark.parametrize("wait", [DIGITS, b"Fri, 31 Dec 100000000000000000000 23:59:59 GMT"])
def test_a_list_whose_server_asks_for_an_endless_pause_is_named_in_the_failure(
    sites, settings, wait
) -> None:
    sites.append(Site({b"/list.txt": refusal(b"Retry-After: " + wait)}, "127.0.0.2"))
    job = crawl(f"{sites[0].url}/list.txt")
    source = CrawlSource.objects.get()
    assert (job.status, source.status) == ("failed", "failed")
    assert "cannot be read now: HTTP 503" in source.error_message


@pytest.mark.parametrize("named", ["bytes 0-1/" + "9" * 400, "bytes 0-" + "9" * 5000 + "/9"])
def test_a_part_with_an_odd_name_is_the_sources_trouble(sites, named) -> None:
    part = f"HTTP/1.1 206 x\r\nContent-Range: {named}\r\nContent-Length: 2\r\n\r\nab"
    sites.append(Site({b"/list.txt": part.encode()}, "127.0.0.2"))
    job = crawl(f"{sites[0].url}/list.txt")
    assert job.status == "failed"
    assert "answered with a part it does not name" in CrawlSource.objects.get().error_message


class Odd(Exception):
    """What no code of ours expects."""


def fails_over(real, needle):
    """`real`, which raises Odd when one of its arguments names `needle`."""

    def call(*arguments, **options):
        if any(needle in repr(one)[:500] for one in (*arguments, *options.values())):
            raise Odd("nobody foresaw this")
        return real(*arguments, **options)

    return call


real_encode_checks = decoder.encode_checks


def encode_no_png(pictures):
    if any(data.startswith(b"\x89PNG") for data, _ in pictures):
        raise Odd("nobody foresaw this")
    return real_encode_checks(pictures)


@pytest.mark.parametrize("stage", ["robots", "fetch", "answer", "file", "decode", "row", "insert"])
def test_an_error_that_nobody_foresaw_refuses_the_one_candidate(
    sites, tmp_path, monkeypatch, stage
) -> None:
    match stage:
        case "robots":
            broken = fails_over(robots.Robots.allowed, "/odd.jpg")
            monkeypatch.setattr(robots.Robots, "allowed", broken)
        case "fetch":
            monkeypatch.setattr(client, "parse_url", fails_over(client.parse_url, "/odd.jpg"))
        case "answer":
            monkeypatch.setattr(engine, "opted_out", fails_over(engine.opted_out, "X-Odd"))
        case "file":
            broken = fails_over(checker.Checker._read, "/odd.jpg")
            monkeypatch.setattr(checker.Checker, "_read", broken)
        case "decode":
            monkeypatch.setattr(decoder, "encode_checks", encode_no_png)
    odd = GOOD if stage in ("robots", "fetch") else b"HTTP/1.1 200 x\r\nX-Odd: 1\r\n"
    if odd is not GOOD:
        odd += b"Content-Length: %d\r\n\r\n%s" % (len(ODD), ODD)
    good = b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE)
    sites.append(Site({b"/odd.jpg": odd, b"/good.jpg": good}, "127.0.0.2"))
    addresses = [f"{sites[0].url}/odd.jpg", f"{sites[0].url}/good.jpg"]
    if stage == "file":
        (tmp_path / "odd.jpg").write_bytes(ODD)
        addresses[0] = str(tmp_path / "odd.jpg")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(addresses))

    with refusing(stage):
        job = crawl(str(listed))

    assert (job.status, job.valid_images) == ("completed", 1)
    if stage == "insert":
        (source,) = CrawlSource.objects.all()
        assert (source.found, source.rejected) == (1, 1)
        assert "cannot be stored" in source.rejection
        return
    refused = Candidate.objects.get(url__endswith="/odd.jpg")
    assert refused.outcome == "internal_error"
    assert "unexpected" in refused.detail


@contextmanager
def refusing(stage: str) -> Iterator[None]:
    """The database refuses a row, as it refuses any value out of its bounds."""
    tables = {
        "row": ("images", "original_url NOT LIKE '%/odd.jpg'"),
        "insert": ("candidates", "url NOT LIKE '%/odd.jpg'"),
    }
    if stage not in tables:
        yield
        return
    table, rule = tables[stage]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT refuses CHECK ({rule}) NOT VALID")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT refuses")


@pytest.mark.parametrize("kind", ["urls", "sitemap", "page"])
def test_an_entry_that_nobody_foresaw_is_rejected_and_the_source_goes_on(
    sites, tmp_path, monkeypatch, kind
) -> None:
    def page(text: str) -> bytes:
        head = "HTTP/1.1 200 x\r\nContent-Type: text/html\r\n"
        return f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()

    site = Site({b"/good.jpg": GOOD}, "127.0.0.2")
    sites.append(site)
    places = [f"{site.url}/odd.jpg", f"{site.url}/good.jpg"]
    locs = "".join(f"<url><loc>{place}</loc></url>" for place in places)
    site.answers[b"/map.xml"] = page(f"<urlset>{locs}</urlset>")
    site.answers[b"/page"] = page("<a href=/odd.jpg.html>x</a><a href=/two>y</a>")
    site.answers[b"/odd.jpg.html"] = page("<img src=/odd.jpg>")
    site.answers[b"/two"] = page("<img src=/good.jpg>")
    (tmp_path / "list.txt").write_text("\n".join(places))
    location, options, module, name = {
        "urls": (str(tmp_path / "list.txt"), {}, urls_source, "sendable"),
        "sitemap": (f"{site.url}/map.xml", {}, sitemap_source, "has_picture_suffix"),
        "page": (f"{site.url}/page", {"follow_links": True}, page_source, "fetch_page"),
    }[kind]
    monkeypatch.setattr(module, name, fails_over(getattr(module, name), "odd.jpg"))

    job = crawl(location, kind=kind, options=options)

    source = CrawlSource.objects.get()
    assert (job.status, source.found, source.rejected) == ("completed", 1, 1)
    assert "unexpected Odd: nobody foresaw this" in source.rejection


@pytest.mark.parametrize("kind", ["urls", "sitemap", "page"])
def test_a_location_that_may_not_be_fetched_is_refused_at_once(kind, settings) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = []
    options = {"format": "txt"} if kind == "urls" else {}
    for location in ("http://169.254.169.254/", "http://127.0.0.1/", "http://[::1]/x"):
        spec = SourceSpec(kind, location, options=options)
        with pytest.raises(SourceRefused, match=r"location: .* is not a public address"):
            accepting.create_crawl_job(owner=None, name="t", max_images=9, source_specs=[spec])
    assert not CrawlJob.objects.exists()
