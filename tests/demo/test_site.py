import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crawler import sources
from crawler.fetch.examine import GOOD, Verdict, examine
from crawler.fetch.rules import Checks
from crawler.sources.base import Found
from demo import catalogue
from tests.crawler.pictures import distance
from tests.pixsim.support import free_port
from tests.world import PROJECT

pytestmark = pytest.mark.long

CHECKS = Checks(max_pixels=50_000_000, min_side=32, max_aspect=20.0)
SEEN_IN_THE_FILE = {"truncated", "corrupt", "not_an_image", "bad_format", "too_many_pixels"}
SEEN_IN_THE_FILE |= {"too_small", "aspect"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def files(cache: Path) -> catalogue.Files:
    return catalogue.drawn_pictures(cache)


@pytest.fixture
def process(cache: Path, files: catalogue.Files) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "demo.site", str(cache), "--port", str(free_port())]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.terminate()


@pytest.fixture
def site(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def test_its_pages_are_at_the_port_that_was_asked_for(
    process: subprocess.Popen[str], site: dict[str, Any]
) -> None:
    assert isinstance(process.args, list)
    assert site["url"] == f"http://127.0.0.1:{process.args[-1]}"


@pytest.fixture
def found(site: dict[str, Any], settings: Any) -> list[Found]:
    """What the crawler's own sources find on the site."""
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    found = []
    for spec in site["sources"]:
        source = sources.build(
            spec["kind"], spec["location"], spec.get("options"), spec.get("label", "")
        )
        cursor = None
        while True:
            page = source.read(cursor)
            assert page.rejected == []
            found += page.found
            cursor = page.cursor
            if cursor is None:
                break
    return found


def get(url: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}")
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def urls_with(found: Sequence[Found], words: str) -> list[str]:
    return [one.url for one in found if words in one.url]


def test_the_sources_find_every_address_once_with_its_label(
    site: dict[str, Any], found: list[Found]
) -> None:
    assert len(found) == len({one.url for one in found}) == sum(site["outcomes"].values())
    assert {one.label for one in found} == set(site["labels"])
    assert {(one.provenance or {})["source"] for one in found} == {"sitemap", "page", "urls"}


def test_what_the_site_serves_is_judged_as_it_announces(
    site: dict[str, Any], found: list[Found]
) -> None:
    base = site["url"]
    verdicts: Counter[str] = Counter()
    for one in found:
        if one.url.startswith((f"{base}/odd/", f"{base}/broken/")):
            _status, body, _headers = get(one.url)
            verdicts[examine(body, CHECKS).outcome] += 1
    seen = {name: site["outcomes"][name] for name in SEEN_IN_THE_FILE}
    # What is too large is not looked into any more; the redirect has no body.
    assert {name: verdicts[name] for name in SEEN_IN_THE_FILE} == seen | {
        "not_an_image": seen["not_an_image"] + 2
    }
    (heavy,) = urls_with(found, "heavy")
    assert len(get(heavy)[1]) > site["max_bytes"]


def test_pictures_differ_much_and_their_copies_little(files: catalogue.Files) -> None:
    verdicts: dict[bytes, Verdict] = {body: examine(body, CHECKS) for body in files.values()}
    assert {verdict.outcome for verdict in verdicts.values()} == {GOOD}
    hashes = [verdict.phash for verdict in verdicts.values()]
    assert None not in hashes
    nearest = min(distance(a, b) for place, a in enumerate(hashes) for b in hashes[:place])
    assert nearest > 6

    for (_style, number), body in files.items():
        copies = []
        if number in range(5, 9):
            copies.append(catalogue._compressed_anew(body, scale=1.0, quality=55))
        elif number in range(9, 11):
            copies.append(catalogue._compressed_anew(body, scale=2 / 3, quality=80))
        for copy in copies:
            assert copy != body
            assert distance(verdicts[body].phash, examine(copy, CHECKS).phash) <= 3


def test_some_pages_are_forbidden_and_some_pictures_reserved(
    site: dict[str, Any], found: list[Found]
) -> None:
    status, robots, _headers = get(f"{site['url']}/robots.txt")
    assert status == 200
    assert b"Disallow: /private/" in robots
    assert f"Sitemap: {site['url']}/sitemap.xml".encode() in robots
    assert len(urls_with(found, "/private/")) == site["outcomes"]["robots"]
    reserved = urls_with(found, "/reserved/")
    assert len(reserved) == site["outcomes"]["opted_out"]
    assert "noai" in get(reserved[0])[2]["X-Robots-Tag"]


def test_servers_fail_as_they_should(site: dict[str, Any], found: list[Found]) -> None:
    hosts = {urlsplit(one.url).netloc for one in found if urlsplit(one.url).hostname == "127.0.0.1"}
    assert len(hosts) == len(catalogue.HOSTS)

    (hopeless, *_others) = urls_with(found, "/three.jpg")
    assert [get(hopeless)[0] for _ in range(2)] == [500, 500]
    failing = urlsplit(hopeless).netloc
    flaky = next(url for url in urls_with(found, failing) if "/pictures/" in url)
    assert [get(flaky)[0] for _ in range(2)] == [500, 200]

    broken = next(url for url in urls_with(found, "/one.jpg") if failing not in url)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(broken)

    (stalled,) = urls_with(found, "/stalled.jpg")
    slow = urlsplit(stalled).netloc
    late = next(url for url in urls_with(found, slow) if "/pictures/" in url)
    began = time.monotonic()
    assert get(late)[0] == 200
    assert time.monotonic() - began >= 0.4

    (busy,) = hosts - {urlsplit(url).netloc for url in (site["url"], hopeless, broken, stalled)}
    status, _body, headers = get(urls_with(found, busy)[0])
    assert (status, headers["Retry-After"]) == (429, "2")


def test_the_site_ends_when_it_is_told_to(
    process: subprocess.Popen[str], site: dict[str, Any]
) -> None:
    process.terminate()
    assert process.wait(timeout=10) == 0
    with pytest.raises(ConnectionRefusedError):
        get(site["url"])
