"""The plain path of the README, command by command: what anybody does on the first day."""

import http.cookiejar
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import psutil
import pytest

from tests.crawler.pictures import jpeg
from tests.pixsim.support import free_port
from tests.site import Answer, Site
from tests.world import PROJECT, World

pytestmark = pytest.mark.workers

PICTURES = 20
PASSWORD = "a good long password"


class Form(HTMLParser):
    """The fields of a page's forms with the values a browser would send."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = self._area = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        field = dict(attrs)
        name = field.get("name") or ""
        is_button = field.get("type") in ("submit", "button", "checkbox", "radio", "file")
        if tag == "input" and name and not is_button:
            self.values[name] = field.get("value") or ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in field:
            self.values[self._select] = field.get("value") or ""
        elif tag == "textarea":
            self._area = name
            self.values[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            # The line break behind <textarea> is none of the text.
            self.values[self._area] += data.strip()


class Browser:
    """A person at the admin: pages, forms and a session cookie."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> str:
        with self._opener.open(self._base + path, timeout=30) as answer:
            return answer.read().decode()

    def submit(self, path: str, **values: str) -> tuple[str, str]:
        """Fill in the form at `path` and send it; where that leads, and the page there."""
        filled = {**Form(self.get(path)).values, **values}
        request = urllib.request.Request(
            self._base + path,
            urllib.parse.urlencode(filled).encode(),
            {"Referer": self._base + path},
        )
        with self._opener.open(request, timeout=30) as answer:
            return answer.geturl().removeprefix(self._base), answer.read().decode()

    def is_served(self) -> bool:
        try:
            self.get("/admin/login/")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True


@contextmanager
def runserver(world: World) -> Iterator[int]:
    port = free_port()
    with (world.home / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"],
            cwd=PROJECT,
            env=world.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)


def answer(path: str, times: int) -> Answer:
    if path == "/":
        images = "".join(f'<img src="/{number}.jpg">' for number in range(PICTURES))
        return 200, "text/html", f"<html><body>{images}</body></html>".encode()
    if path.endswith(".jpg"):
        return 200, "image/jpeg", jpeg(96, 72, seed=int(path[1:-4]))
    return 404, "text/plain", b""


def test_a_crawl_job_added_in_the_admin_is_filled_by_one_plain_worker() -> None:
    with Site(answer) as site, World() as world, runserver(world) as port:
        world.environment |= {
            "DJANGO_SUPERUSER_USERNAME": "ann",
            "DJANGO_SUPERUSER_EMAIL": "ann@example.org",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        world.manage("createsuperuser", "--noinput")
        worker = world.start_worker()
        browser = Browser(port)
        world.wait_until(browser.is_served, seconds=60, what="the web site")

        at, page = browser.submit("/admin/login/?next=/admin/", username="ann", password=PASSWORD)
        assert at == "/admin/", page
        at, page = browser.submit(
            "/admin/crawler/crawljob/add/",
            **{
                "name": "First crawl",
                "max_images": "12",
                "chunk_size": "5",
                "sources-0-kind": "page",
                "sources-0-location": site.url,
                "sources-0-label": "glass",
            },
        )
        assert "was added successfully" in page, page

        ((job_id,),) = world.sql("SELECT id FROM crawl_jobs")
        is_completed = "SELECT 1 FROM crawl_jobs WHERE id = %s AND status = 'completed'"
        world.wait_until(lambda: world.sql(is_completed, job_id), seconds=60, what="the crawl job")
        chunks = "SELECT image_range->>'start', image_range->>'end', status FROM job_chunks"
        assert world.sql(f"{chunks} WHERE job_id = %s ORDER BY id", job_id) == [
            ("0", "5", "completed"),
            ("5", "10", "completed"),
            ("10", "12", "completed"),
        ]
        filled = "SELECT image_index, label FROM images WHERE crawl_job_id = %s ORDER BY 1"
        assert world.sql(filled, job_id) == [(index, "glass") for index in range(12)]
        shown = browser.get(f"/admin/crawler/crawljob/{job_id}/change/")
        assert "completed" in shown
        assert "12" in shown

        # As the older system's documentation adds one: nothing but the columns it knows.
        world.sql(
            "INSERT INTO job_chunks (job_id, chunk_index, status, priority, image_range,"
            " retry_count) VALUES (%s, 3, 'pending', 9, '{\"start\": 12, \"end\": 18}', 0)",
            job_id,
        )
        done = "SELECT 1 FROM job_chunks WHERE chunk_index = 3 AND status = 'completed'"
        world.wait_until(lambda: world.sql(done), seconds=30, what="the chunk added by SQL")
        assert world.sql(filled, job_id) == [(index, "glass") for index in range(18)]
        assert world.sql("SELECT status, valid_images FROM crawl_jobs") == [("completed", 18)]

        # The worker ends by itself when it is told to, and nothing of it stays.
        family = world.family(worker)
        worker.terminate()
        worker.wait(timeout=15)
        _gone, alive = psutil.wait_procs(family, timeout=5)
        assert not alive
