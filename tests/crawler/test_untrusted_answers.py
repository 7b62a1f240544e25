"""What a server answers, whatever its text is, ends its own candidate and no other."""

import socket
import threading

import pytest

from crawler.models import Candidate, CrawlJob
from crawler.services import accepting
from crawler.services.accepting import SourceSpec
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg

pytestmark = pytest.mark.django_db(transaction=True)

PICTURE = jpeg(96, 72, seed=1)
NOTHING = b"Content-Length: 0\r\n\r\n"
ANSWERS = {
    b"/robots.txt": b"HTTP/1.1 404 x\r\n" + NOTHING,
    b"/good.jpg": b"HTTP/1.1 200 x\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE),
    b"/reason.jpg": b"HTTP/1.1 404 \xff\xfe\r\n" + NOTHING,
    b"/signal.jpg": b"HTTP/1.1 200 x\r\nX-Robots-Tag: noai, \xff\xed\xa0\x80\r\n" + NOTHING,
    b"/moved.jpg": b"HTTP/1.1 302 x\r\nLocation: /\xff\xfe.jpg\r\n" + NOTHING,
    b"/away.jpg": b"HTTP/1.1 302 x\r\nLocation: http://[\xff]:x/\r\n" + NOTHING,
    b"/encoding.jpg": b"HTTP/1.1 200 x\r\nContent-Encoding: \xff\r\nContent-Length: 1\r\n\r\nx",
    b"/garbage.jpg": b"\x00\xff\xfe garbage\x00\r\n\r\n",
}


@pytest.fixture
def site():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                request = b""
                while b"\r\n\r\n" not in request and (part := peer.recv(4096)):
                    request += part
                if request:
                    peer.sendall(ANSWERS.get(request.split()[1], ANSWERS[b"/robots.txt"]))

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_text_that_postgresql_cannot_hold_is_written_out(site, tmp_path, settings):
    settings.QUEUE_BACKOFF_SECONDS = 0.05
    settings.CRAWL_RETRY_SECONDS = 0.05
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(site + path.decode() for path in ANSWERS))
    job = accepting.create_crawl_job(
        owner=None, name="t", max_images=9, source_specs=[SourceSpec("urls", str(listed))]
    )

    with working():
        wait_until(lambda: not CrawlJob.objects.open().exists(), seconds=60)

    job.refresh_from_db()
    assert (job.status, job.valid_images) == ("completed", 1)
    assert not Candidate.objects.filter(outcome=None).exists()
    assert Candidate.objects.get(url__endswith="/reason.jpg").detail == r"HTTP 404 \udcff\udcfe"
