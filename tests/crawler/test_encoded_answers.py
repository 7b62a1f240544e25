"""Servers that encode although we ask for identity: everything is read as a browser reads it."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from crawler.fetch.engine import Engine
from crawler.fetch.rules import Rules
from crawler.fetch.tasks import Picture, Refused, Task
from crawler.robots_file import PARSED_BYTES, parse
from crawler.sources import build
from crawler.sources.urls import list_files
from pixsim.core import blobs
from tests.crawler.local_site import Answer, Site
from tests.crawler.pictures import jpeg
from tests.crawler.reading import read_all
from tests.crawler.test_sources_urls import in_parts

packed = partial(gzip.compress, mtime=0)
Encode = Callable[[bytes], bytes]
ENCODED: dict[str, tuple[str, Encode]] = {
    "gzip": ("gzip", packed),
    "x-gzip": ("x-gzip", packed),
    "zlib": ("deflate", zlib.compress),
    "deflate": ("deflate", lambda data: zlib.compress(data, wbits=-15)),
    "twice": ("deflate, gzip", lambda data: packed(zlib.compress(data))),
    "only said": ("gzip", lambda data: data),
}
DISALLOW = b"User-agent: *\nDisallow: /\n"


@pytest.fixture
def site(settings, tmp_path) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_HOST_RATE = 1000.0
    settings.PIXSIM_HOME = str(tmp_path)
    settings.STORAGES = {
        **settings.STORAGES,
        "blobs": {
            "BACKEND": "pixsim.core.blobs.local.BlobStorage",
            "OPTIONS": {"location": str(tmp_path / "blobs")},
        },
    }
    with Site() as site:
        yield site


@pytest.fixture(params=ENCODED)
def encoded(request: pytest.FixtureRequest) -> Callable[[bytes], Answer]:
    name, encode = ENCODED[request.param]
    return lambda body: Answer(encode(body), headers={"Content-Encoding": name})


def fetched(site: Site, *paths: str, **options: object) -> list[Picture | Refused]:
    engine = Engine()
    try:
        session = engine.session(Rules.from_options(options))
        host = site.authority
        session.submit(
            [Task(n, site.url + path, host, "", None, 0) for n, path in enumerate(paths)]
        )
        found: list[Picture | Refused] = []
        while session.in_flight:
            found += session.collect(timeout=10)
        return sorted(found, key=lambda result: result.task.id)
    finally:
        engine.close()


def test_an_encoded_robots_file_is_obeyed(site: Site, encoded) -> None:
    site.routes = {"/robots.txt": encoded(DISALLOW), "/a.jpg": jpeg()}
    [refused] = fetched(site, "/a.jpg")
    assert (refused.outcome, refused.detail) == ("robots", "robots.txt disallows pixsim")
    assert site.asked == ["/robots.txt"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(packed(DISALLOW * 9)[:-9], headers={"Content-Encoding": "gzip"}),
        Answer(packed(DISALLOW)[:-8] + bytes(8), headers={"Content-Encoding": "gzip"}),
        Answer(packed(bytes(9_000_000)), headers={"Content-Encoding": "gzip"}),
        Answer(DISALLOW, headers={"Content-Encoding": "br"}),
    ],
)
def test_a_robots_file_that_cannot_be_decoded_closes_its_site(site: Site, answer) -> None:
    site.routes = {"/robots.txt": answer, "/a.jpg": jpeg()}
    [refused] = fetched(site, "/a.jpg")
    assert (refused.outcome, refused.retry_after) == ("robots", None)
    assert refused.detail.startswith("robots.txt cannot be read: ")
    assert site.asked == ["/robots.txt"]


@pytest.mark.parametrize(
    "body",
    [
        packed(DISALLOW),
        packed(DISALLOW)[:-8],
        packed(DISALLOW + bytes(50_000_000))[:PARSED_BYTES],
        b"\x1f\x8b damaged",
        DISALLOW.decode().encode("utf-16"),
        b"\xfe\xff" + DISALLOW.decode().encode("utf-16-be"),
    ],
)
def test_a_robots_file_is_obeyed_whose_bytes_alone_say_what_they_are(body: bytes) -> None:
    assert parse(body, "pixsim").rules == [(False, "/")]


def test_an_encoded_picture_is_stored_as_it_is_decoded(site: Site, encoded) -> None:
    data = jpeg(320, 240)
    answer = encoded(data)
    site.routes = {
        "/a.jpg": answer._replace(headers={**answer.headers, "Content-Type": "image/jpeg"})
    }
    [picture] = fetched(site, "/a.jpg")
    assert isinstance(picture, Picture), picture
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert picture.file_size == len(data)
    assert blobs.open_blob(picture.key).read() == data


def test_a_picture_that_cannot_be_decoded_ends_with_its_own_outcome(site: Site) -> None:
    data = jpeg(320, 240)
    said = {"Content-Encoding": "gzip"}
    site.routes = {
        "/bomb.jpg": Answer(packed(data + bytes(9_000_000)), headers=said),
        "/cut.jpg": Answer(packed(data)[:-900], headers=said),
        "/br.jpg": Answer(data, headers={"Content-Encoding": "br"}),
        "/packed.jpg": packed(data),
        "/empty.jpg": Answer(b"", headers=said),
        "/a.svgz": Answer(packed(b"<svg></svg>"), headers=said),
        "/good.jpg": Answer(packed(data), headers=said),
    }
    results = fetched(site, *site.routes, max_bytes=1_000_000)
    outcomes = [getattr(result, "outcome", "stored") for result in results]
    assert outcomes == [
        "too_large", "bad_answer", "bad_answer", "not_an_image", "not_an_image", "bad_format", "stored",
    ]  # fmt: skip
    assert "cut off" in results[1].detail
    assert "encoded as br" in results[2].detail


def test_encoded_pages_and_sitemaps_are_read(site: Site, encoded) -> None:
    listed = f"<urlset><url><loc>{site.url}/1.jpg</loc></url></urlset>".encode()
    site.routes = {
        "/page": encoded(b'<meta charset="utf-8"><img src="/\xc3\xa9.jpg">'),
        "/sitemap.xml": encoded(listed),
        "/sitemap.xml.gz": encoded(packed(listed)),
    }
    found, _ = read_all(build("page", f"{site.url}/page", {}, ""))
    assert [one.url for one in found] == [f"{site.url}/%C3%A9.jpg"]
    for name in ("/sitemap.xml", "/sitemap.xml.gz"):
        found, _ = read_all(build("sitemap", site.url + name, {}, ""))
        assert [one.url for one in found] == [f"{site.url}/1.jpg"]


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("divided", [False, True])
def test_encoded_lists_are_read_whole(site: Site, encoded, monkeypatch, is_packed, divided) -> None:
    monkeypatch.setattr(list_files, "PART_BYTES", 1000)
    rows = [f"https://example.com/{hashlib.sha256(b'%d' % n).hexdigest()}.jpg" for n in range(99)]
    body = "\n".join(rows).encode()
    answer = encoded(packed(body) if is_packed else body)
    parts = in_parts(answer.body, lambda: '"same"')

    def divide(headers: object) -> Answer:
        part = parts(headers)
        return part._replace(headers={**part.headers, **answer.headers})

    site.routes = {"/l.txt": divide if divided else answer}
    found, rejected = read_all(build("urls", f"{site.url}/l.txt", {}, ""))
    assert ([one.url for one in found], rejected) == (rows, [])
