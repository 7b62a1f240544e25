"""Sitemaps name the pictures of a site."""

import gzip
from collections.abc import Iterator

import pytest

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.sources import build
from crawler.sources.base import Source
from crawler.sources.sitemap import source as sitemap
from crawler.sources.sitemap import xml
from tests.crawler.local_site import Answer, Site
from tests.crawler.reading import read_all

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" '
    'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1">'
)


def urlset(*entries: str) -> str:
    return HEAD + "".join(f"<url>{entry}</url>" for entry in entries) + "</urlset>"


def index(*addresses: str) -> str:
    children = "".join(f"<sitemap><loc>{address}</loc></sitemap>" for address in addresses)
    return f"<sitemapindex>{children}</sitemapindex>"


def picture(address: str, more: str = "") -> str:
    return f"<image:image><image:loc>{address}</image:loc>{more}</image:image>"


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_HOST_RATE = 1000.0
    with Site() as site:
        yield site


def at(site: Site, path: str = "/sitemap.xml", **options: object) -> Source:
    return build("sitemap", site.url + path, options, "site")


def test_listed_images_come_with_what_is_said_about_them(site: Site) -> None:
    site.routes["/sitemap.xml"] = urlset(
        "<loc>https://e.com/p</loc>"
        + picture(
            " https://e.com/1.jpg?a&amp;b ",
            "<image:title>One &lt;1&gt;</image:title><image:license>https://cc/0</image:license>",
        )
        + picture("/2", "<image:caption><![CDATA[Two & a half]]></image:caption>"),
        "<loc>https://e.com/3.PNG</loc><lastmod>2024-01-01</lastmod>",
        "<loc>https://e.com/page-without-images</loc>",
    )
    found, rejected = read_all(at(site))
    assert [f.url for f in found] == [
        "https://e.com/1.jpg?a&b", "https://e.com/2", "https://e.com/3.PNG",
    ]  # fmt: skip
    assert [f.provenance for f in found] == [
        {"source": "sitemap", "landing_page": "https://e.com/p", "title": "One <1>",
         "licence_url": "https://cc/0"},
        {"source": "sitemap", "landing_page": "https://e.com/p", "title": "Two & a half"},
        {"source": "sitemap"},
    ]  # fmt: skip
    assert {f.label for f in found} == {"site"}
    assert rejected == []


def test_index_files_are_followed_packed_or_not_and_resumed_anywhere(site: Site) -> None:
    site.routes["/sitemap.xml"] = index("/a.xml", "/deeper.xml", "/b.xml.gz")
    site.routes["/deeper.xml"] = index("/c.xml")
    for name, packed in (("a.xml", False), ("c.xml", False), ("b.xml.gz", True)):
        body = urlset(*(f"<loc>https://e.com/{name}/{n}.jpg</loc>" for n in range(4))).encode()
        site.routes[f"/{name}"] = gzip.compress(body) if packed else body
    expected = [
        f"https://e.com/{n}/{i}.jpg" for n in ("a.xml", "c.xml", "b.xml.gz") for i in range(4)
    ]
    for limit in (3, 100):
        found, rejected = read_all(lambda: at(site), limit=limit)
        assert [f.url for f in found] == expected
        assert rejected == []
    site.asked.clear()
    read_all(at(site), limit=1)
    assert len(site.asked) == 5


def test_a_child_that_fails_is_named_and_the_others_are_read(site: Site) -> None:
    site.routes["/sitemap.xml"] = index("/gone.xml", "/down.xml", "/html.xml", "ftp://x/", "/a.xml")
    site.routes["/down.xml"] = Answer(status=500)
    site.routes["/html.xml"] = "<html><body>Not found</body></html>"
    site.routes["/a.xml"] = urlset("<loc>https://e.com/1.jpg</loc>") + "<broken"
    found, rejected = read_all(lambda: at(site), limit=1)
    assert [f.url for f in found] == ["https://e.com/1.jpg"]
    assert [(entry.removeprefix(site.url), why.partition(":")[0]) for entry, why in rejected] == [
        ("/gone.xml", "http_4xx"),
        ("/down.xml", "http_5xx"),
        ("/html.xml", "it is no sitemap"),
        ("ftp://x/", "only http and https are fetched, not 'ftp'"),
        ("/a.xml", "its XML breaks off"),
    ]


def test_a_throttling_site_is_waited_for_with_what_was_found_kept(site: Site) -> None:
    site.routes["/sitemap.xml"] = index("/a.xml", "/b.xml")
    site.routes["/a.xml"] = urlset("<loc>https://e.com/1.jpg</loc>")
    site.routes["/b.xml"] = Answer(status=429, headers={"Retry-After": "9"})
    source = at(site)
    page = source.read(None)
    assert [f.url for f in page.found] == ["https://e.com/1.jpg"]
    with pytest.raises(SourceUnavailable) as throttled:
        source.read(page.cursor)
    assert throttled.value.retry_after == 9.0
    site.routes["/b.xml"] = urlset("<loc>https://e.com/2.jpg</loc>")
    rest = source.read(page.cursor)
    assert [f.url for f in rest.found] == ["https://e.com/2.jpg"]
    assert rest.cursor is None


def test_circles_depth_and_number_are_bounded(site: Site, monkeypatch) -> None:
    site.routes["/sitemap.xml"] = index("/sitemap.xml", "/1.xml")
    for depth in range(1, 9):
        site.routes[f"/{depth}.xml"] = index(f"/{depth + 1}.xml")
    _, rejected = read_all(at(site))
    assert [why for _, why in rejected] == [
        "the sitemap leads back to itself",
        "sitemaps are nested more than 4 deep",
    ]
    monkeypatch.setattr(sitemap, "MAX_SITEMAPS", 3)
    site.routes["/sitemap.xml"] = index("/a.xml", "/a.xml", "/a.xml")
    site.routes["/a.xml"] = urlset()
    _, rejected = read_all(lambda: at(site), limit=1)
    assert [why for _, why in rejected] == ["more than 3 sitemaps"]


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE urlset [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><urlset><url><loc>https://e.com/&i;.jpg</loc></url></urlset>"
)
OUTSIDE = (
    '<!DOCTYPE urlset [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<urlset><url><loc>https://e.com/&x;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BOMB, "declares XML entities"),
        (OUTSIDE, "declares XML entities"),
        ("<html></html>", "no sitemap: it begins with <html>"),
        ("", "breaks off"),
        ("https://e.com/1.jpg", "breaks off"),
        (gzip.compress(b"<urlset/>", mtime=0)[:-12], "gzip"),
        (gzip.compress(b"<urlset>" + b" " * 53_000_000, 1, mtime=0), "larger than 50 MiB unpacked"),
    ],
)
def test_what_is_no_sitemap_or_an_attack_is_refused(
    site: Site, body: str | bytes, why: str
) -> None:
    site.routes["/sitemap.xml"] = body
    with pytest.raises(SourceRefused) as refused:
        at(site).read(None)
    assert refused.value.field == "location"
    assert why in refused.value.message


def test_entries_without_a_usable_address_are_named(site: Site) -> None:
    site.routes["/sitemap.xml"] = urlset(
        "<lastmod>x</lastmod>",
        "<loc>http://</loc>",
        "<loc>https://e.com/p</loc>" + picture("") + picture("data:x") + picture("/1.jpg"),
        "<loc>https://e.com/" + "a" * 100_000 + ".jpg</loc>",
    )
    found, rejected = read_all(at(site))
    assert [f.url for f in found] == ["https://e.com/1.jpg"]
    assert [why for _, why in rejected][:4] == [
        "an entry without <loc>",
        "the address names no host",
        "an entry without <loc>",
        "only http and https are fetched, not 'data'",
    ]
    assert "characters long" in rejected[4][1]


def test_pages_are_read_for_pictures_when_asked_and_allowed(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /closed\n"
    site.routes["/sitemap.xml"] = urlset(
        "<loc>/open</loc>", "<loc>/closed</loc>", "<loc>/gone</loc>", "<loc>/noai</loc>"
    )
    html = {"Content-Type": "text/html"}
    site.routes["/open"] = Answer("<img src=1.jpg alt=One>", headers=html)
    site.routes["/noai"] = Answer("<img src=2.jpg>", headers={**html, "X-Robots-Tag": "noai"})
    assert read_all(at(site)) == ([], [])
    found, rejected = read_all(lambda: at(site, follow_pages=True), limit=1)
    assert [f.url for f in found] == [f"{site.url}/1.jpg"]
    assert found[0].provenance == {
        "source": "sitemap", "landing_page": f"{site.url}/open", "title": "One",
    }  # fmt: skip
    assert [why for _, why in rejected] == [
        "robots.txt disallows pixsim",
        "http_4xx: HTTP 404 Not Found",
        "it opts out: X-Robots-Tag: noai",
    ]
    assert "/closed" not in site.asked


def test_a_sitemap_that_is_not_there_or_late_says_so(site: Site) -> None:
    with pytest.raises(SourceRefused, match="HTTP 404"):
        at(site).read(None)
    site.routes["/sitemap.xml"] = Answer(status=502)
    with pytest.raises(SourceUnavailable, match="HTTP 502"):
        at(site).read(None)
    with pytest.raises(SourceRefused, match="location: the address does not start"):
        build("sitemap", "/sitemap.xml", {}, "").check()


def test_an_entry_with_many_images_comes_in_steps_and_is_resumed_in_any(site: Site) -> None:
    count = 3 * xml.MAX_IMAGES + 7
    listed = "".join(picture(f"/{n}") for n in range(count))
    site.routes["/sitemap.xml"] = urlset(f"<loc>https://e.com/p</loc>{listed}", "<loc>/x.jpg</loc>")
    whole = read_all(lambda: at(site), limit=1)
    assert [f.url for f in whole[0][:count]] == [f"https://e.com/{n}" for n in range(count)]
    assert {f.provenance["landing_page"] for f in whole[0][:count]} == {"https://e.com/p"}
    assert whole == read_all(at(site), limit=100_000)
    assert max(len(step.found) for step in at(site).walk(None)) == xml.MAX_IMAGES


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        (b"<a>" * 1000, "nested more than 100 deep"),
        (b"<url a='" + b"x" * 10**6, "longer than 256 KiB"),
        (b"<!--" + b"x" * 10**6, "longer than 256 KiB"),
        (b"<?p " + b"x" * 10**6, "longer than 256 KiB"),
        (b"<url " + b"a='' " * 10**6, "longer than 256 KiB"),
    ],
)
def test_a_sitemap_beyond_its_limits_is_broken(inside: bytes, why: str) -> None:
    with pytest.raises(xml.BrokenXml, match=why):
        list(xml.entries(b"<urlset>" + inside))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"<?xml version='1.0' encoding='punycode'?>", "encoding 'punycode' is not known"),
        (b"<!DOCTYPE urlset [<!ATTLIST url a CDATA 'x'>]>", "declares XML entities or attributes"),
    ],
)
def test_encodings_and_declarations_of_the_document_are_refused(head: bytes, why: str) -> None:
    with pytest.raises(xml.BrokenXml, match=why):
        list(xml.entries(head + b"<urlset/>"))


def test_a_text_of_many_pieces_is_cut_without_counting_it_anew_for_each() -> None:
    [entry] = xml.entries(b"<urlset><url><loc>" + b"x\n" * 500_000 + b"</loc></url></urlset>")
    assert 0 <= len(entry.page) - xml.MAX_ELEMENT_CHARACTERS + 1 < xml.BLOCK_BYTES
