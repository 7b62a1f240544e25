"""One odd answer of a server is that candidate's trouble: the job goes on."""

import socket
import threading
from collections.abc import Iterator

import pytest

from crawler.fetch import hosts
from crawler.models import Candidate, CrawlJob, CrawlSource
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg

pytestmark = pytest.mark.django_db(transaction=True)

DIGITS = b"9" * 400
PICTURE = jpeg(96, 72, seed=1)
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


def crawl(listed: str, *, max_images: int = 9) -> CrawlJob:
    job = accepting.create_crawl_job(
        owner=None, name="t", max_images=max_images, source_specs=[SourceSpec("urls", listed)]
    )
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
    assert "does not answer: HTTP 503" in source.error_message


@pytest.mark.parametrize("named", ["bytes 0-1/" + "9" * 400, "bytes 0-" + "9" * 5000 + "/9"])
def test_a_part_with_an_odd_name_is_the_sources_trouble(sites, named) -> None:
    part = f"HTTP/1.1 206 x\r\nContent-Range: {named}\r\nContent-Length: 2\r\n\r\nab"
    sites.append(Site({b"/list.txt": part.encode()}, "127.0.0.2"))
    job = crawl(f"{sites[0].url}/list.txt")
    assert job.status == "failed"
    assert "answered with a part it does not name" in CrawlSource.objects.get().error_message
