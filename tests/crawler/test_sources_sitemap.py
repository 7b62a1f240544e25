"""Sitemaps name the pictures of a site."""

import gzip
import time
import zlib
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


def test_addresses_of_pages_and_licences_are_kept_whole(site: Site) -> None:
    signed = "https://e.com/p%2f?sig=" + "a%2f" * 1000
    licence = f"<image:license>{signed}</image:license>"
    site.routes["/sitemap.xml"] = urlset(f"<loc>{signed}</loc>" + picture("/1.jpg", licence))
    found, _ = read_all(at(site))
    assert found[0].provenance == {
        "source": "sitemap", "landing_page": signed, "licence_url": signed
    }  # fmt: skip


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
        {"source": "sitemap", "landing_page": "https://e.com/p", "title": "Two & a half",
         "caption": "Two & a half"},
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
    site.routes["/a.xml"] = urlset("<loc>https://e.com/1.jpg</loc>").removesuffix("</urlset>")
    found, rejected = read_all(lambda: at(site), limit=1)
    assert [f.url for f in found] == ["https://e.com/1.jpg"]
    assert [(entry.removeprefix(site.url), why.partition(":")[0]) for entry, why in rejected] == [
        ("/gone.xml", "http_4xx"),
        ("/down.xml", "http_5xx"),
        ("/html.xml", "it is no sitemap but an HTML page"),
        ("ftp://x/", "only http and https are fetched, not 'ftp'"),
        ("/a.xml", "it is cut short"),
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
        ("<!DOCTYPE html><html><a href=/x>x</a></html>", "it is no sitemap but an HTML page"),
        (f"<p>Error</p><html><img src='data:{'A' * 10**6}'></html>", "but an HTML page"),
        (
            "<rss><channel><image><url>http://e.com/</url></image></channel></rss>",
            "but an RSS feed",
        ),
        ('<feed xmlns="http://www.w3.org/2005/Atom"><entry/></feed>', "but an Atom feed"),
        ("<error>No</error>", "it is no sitemap: it begins with <error>"),
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("nothing", "it is no sitemap: it has neither tags nor addresses"),
        (gzip.compress(b"<urlset/>", mtime=0)[:-12], "gzip data breaks off"),
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


def parsed(body: bytes) -> tuple[list[str], str]:
    """Return the addresses of a document's entries, and where it breaks."""
    found: list[str] = []
    try:
        for entry in xml.entries(body):
            found += [entry.sitemap or entry.page, *(one["image"] for one in entry.images)]
    except xml.BrokenXml as error:
        return found, str(error)
    return found, ""


ONE = "<url><loc>https://e.com/ä/中.jpg</loc></url>"
WHOLE = f"<urlset>{ONE}</urlset>"


def declared(name: str, codec: str, text: str = WHOLE) -> bytes:
    return f"<?xml version='1.0' encoding='{name}'?>{text}".encode(codec)


@pytest.mark.parametrize(
    "body",
    [
        f"\n\n<?xml version='1.0' encoding='UTF-8'?>\n{WHOLE}".encode(),
        f" \t\ufeff<?xml version='1.0'?>{WHOLE}".encode(),
        WHOLE.encode("utf-8-sig"),
        f"\n\n{WHOLE}".encode("utf-8-sig"),
        f"<!-- generated by x -- y > --><?xml version='1.0'?>{WHOLE}".encode(),
        f"<br />\n<b>Warning</b>: <i>x</i> in a.php on line 3<br>\n<?xml version='1.0'?>{WHOLE}".encode(),
        f"<?php echo 1 ?>{WHOLE}<!-- 0.1 s --><html>".encode(),
        f"<?xml version='1.0'>{WHOLE}".encode(),
        f'<!DOCTYPE urlset SYSTEM "http://127.0.0.1:1/x.dtd">{WHOLE}'.encode(),
        WHOLE.encode("utf-16"), WHOLE.encode("utf-16-le"), WHOLE.encode("utf-16-be"),
        WHOLE.encode("utf-32"), f"\n{WHOLE}".encode("utf-16-be"),
        declared("utf8", "utf-8"), declared(" UTF 8 ", "utf-8"), declared("klingon", "utf-8"),
        declared("punycode", "utf-8"), declared("utf-16", "utf-8"), declared("utf-16", "utf-16"),
        declared("gb2312", "utf-8"), declared("iso-8859-1", "utf-8"),
        declared("gb2312", "gb18030"), declared("GBK", "gb18030"), declared("gb18030", "gb18030"),
        WHOLE.replace("urlset", "x:urlset xmlns:x='http://wrong'").encode(),
        WHOLE.replace("url", "URL").replace("loc", "Loc").encode(),
        f"<urls>{ONE}</urls>".encode(),
        WHOLE.replace("</loc>", "").encode(), WHOLE.replace("</url>", "").encode(),
        WHOLE.replace("<loc>", "<loc><![CDATA[").replace("</loc>", "]]></loc>").encode(),
        WHOLE.replace("<loc>", "<loc>\n  <a href='x'> ").replace("</loc>", "</a>\n</loc>").encode(),
        WHOLE.replace("e.com/", "e.com/\n    ").encode(),
        WHOLE.replace("</url>", "<lastmod>&nbsp;\x00\x0b a < b & c</lastmod></url>").encode(),
        gzip.compress(WHOLE[:30].encode()) + gzip.compress(WHOLE[30:].encode()) + b"\0" * 9,
        "# pictures\r\nhttps://e.com/ä/中.jpg\r\n".encode(),
    ],
)  # fmt: skip
def test_careless_documents_are_read_whole(body: bytes) -> None:
    assert parsed(body) == (["https://e.com/ä/中.jpg"], "")


@pytest.mark.parametrize(
    ("name", "codec", "letters"),
    [
        ("big5", "big5", "中文"), ("shift_jis", "cp932", "絵①"), ("x-sjis", "shift_jis", "絵"),
        ("euc-jp", "euc_jp", "絵"), ("iso-2022-jp", "iso2022_jp", "絵<"), ("euc-kr", "cp949", "그림"),
        ("windows-1251", "cp1251", "Я"), ("windows-874", "cp874", "ไทย"),
        ("koi8-r", "koi8_r", "Я"), ("iso-8859-1", "cp1252", "é“"),
        ("UTF-8", "cp1252", "é“"), ("us-ascii", "cp1252", "é"), ("windows-1252", "cp1252", "é"),
        ("johab", "johab", "그림"),
    ],
)  # fmt: skip
def test_addresses_are_read_in_the_encoding_that_is_declared_or_there(
    name: str, codec: str, letters: str
) -> None:
    written = letters.replace("<", "&lt;")
    body = declared(name, codec, f"<urlset><url><loc>https://e.com/{written}</loc></url></urlset>")
    assert parsed(body) == ([f"https://e.com/{letters}"], "")


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        ("<url><loc>/a?b=1&c=2&amp;d=3&copy=4</loc></url>", ["/a?b=1&c=2&d=3&copy=4"]),
        ("<url><loc><![CDATA[/a?b=1&c=2]]></loc></url>", ["/a?b=1&c=2"]),
        ("<url><loc>/a</loc><url><loc>/b</loc>", ["/a", "/b"]),
        ("<loc>/a</loc><loc>/b</loc>", ["/a", "/b"]),
        ("<url><loc>/a</loc><image:image><image:loc>/1<image:loc>/2</url>", ["/a", "/1", "/2"]),
        ("<url><loc>/a</loc><image:image><image:loc>/1</image:loc></url>"
         "<url><loc>/b</loc></url>", ["/a", "/1", "/b"]),
        ("<url><loc>/a</loc><video:video><video:title>T</video:title><video:thumbnail_loc>/1"
         "</video:thumbnail_loc><video:player_loc>/p</video:player_loc></video:video></url>",
         ["/a", "/1"]),
        ("<sitemap><loc>/s.xml</loc></sitemap><url><loc>/a</loc></url>", ["/s.xml", "/a"]),
        ("<url><loc>/&undeclared;</loc></url>", ["/&undeclared;"]),
    ],
)  # fmt: skip
def test_entries_are_told_apart_by_their_tags(inside: str, found: list[str]) -> None:
    assert parsed(f"<urlset>{inside}</urlset>".encode()) == (found, "")
    # However the blocks in which it is read cut it.
    reader = xml._Reader("utf_8")
    read = [e for at in f"<urlset>{inside}</urlset>".encode() for e in reader.feed(bytes([at]))]
    assert [e.sitemap or e.page for e in read] == [a for a in found if a not in ("/1", "/2")]


TEN = "<urlset>" + "".join(f"<url><loc>/{n}.jpg</loc></url>" for n in range(10))
_packing = zlib.compressobj(wbits=31)
DAMAGED = _packing.compress(TEN.encode() * 999) + _packing.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 99


@pytest.mark.parametrize(
    ("body", "count", "why"),
    [
        (TEN.encode(), 10, "it is cut short: it ends without </urlset>, after 10 entries (near byte"),
        (TEN[:-10].encode(), 9, "it is cut short: it ends without </url>, after 9 entries"),
        (f"{TEN}<url><loc>/a</loc><image:image><image:loc>/b".encode(), 11, "without </url>"),
        (TEN[:-6].encode(), 10, "it is cut short: it ends without </url>, after 10 entries"),
        ((TEN + "<!-- ").encode() + b"x" * 10**6, 10, "it ends without </urlset>"),
        ((TEN + "<url a='").encode() + b"x" * 10**6, 10, "longer than 64 KiB, after 10 entries"),
        ((TEN + "<?p ").encode() + b"x" * 10**6, 10, "longer than 64 KiB, after 10 entries"),
        (gzip.compress(TEN.encode(), mtime=0)[:-9], 10, "its gzip data breaks off, after 10 entries"),
        (gzip.compress(f"{TEN}</urlset>".encode(), mtime=0)[:-8] + bytes(8), 10, "gzip data is damaged"),
        (DAMAGED, 9_990, "gzip data is damaged"),
        (("http://e.com/1\n" * 9).encode() + b"http://e.com/2", 10, ""),
    ],
)  # fmt: skip
def test_what_breaks_off_is_kept_up_to_there_and_says_where(
    body: bytes, count: int, why: str
) -> None:
    found, broken = parsed(body)
    assert len(found) == count
    assert why in broken


def test_depth_and_what_is_not_read_cost_nothing() -> None:
    assert parsed(b"<urlset>" + b"<a>" * 10**5 + b"<url><loc>/1</loc></url></urlset>") == (
        ["/1"],
        "",
    )


@pytest.mark.parametrize(
    "part",
    [b"<", b"<a", b"<a<", b"<a>", b"<!--", b"<![CDATA[", b"<url>", b"<loc>x", b"&amp;", b"\xff",
     b"<image><loc>x</loc>", b"</", b"x", b">", b"\n", gzip.compress(b"x", mtime=0)],
)  # fmt: skip
def test_a_sitemap_takes_time_in_proportion_to_its_length(part: bytes) -> None:
    whole = (part * 2**17)[: 2**17] if part[0] == 0x1F else b"<urlset>" + (part * 2**17)[: 2**17]

    def seconds(body: bytes) -> float:
        began = time.thread_time()
        parsed(body)
        return time.thread_time() - began

    ratios = (seconds(whole) / seconds(whole[: len(whole) // 2]) for _ in range(10))
    assert any(ratio <= 2.5 for ratio in ratios)


def test_pictures_of_an_entry_without_its_page_are_kept(site: Site) -> None:
    site.routes["/sitemap.xml"] = urlset(
        picture("/1.jpg"), f"<loc>http://</loc>{picture('/2.jpg')}"
    )
    found, rejected = read_all(at(site))
    assert [f.url for f in found] == [f"{site.url}/1.jpg", f"{site.url}/2.jpg"]
    assert [f.provenance for f in found] == [{"source": "sitemap"}] * 2
    assert [why for _, why in rejected] == ["an entry without <loc>", "the address names no host"]


def test_robots_txt_leads_to_the_sitemaps_that_it_names(site: Site) -> None:
    site.routes["/robots.txt"] = (
        f"User-agent: *\nAllow: /\nSitemap: {site.url}/a.txt\nsitemap:/b.xml"
    )
    site.routes["/a.txt"] = "https://e.com/1.jpg\n\nhttps://e.com/2.jpg"
    site.routes["/b.xml"] = urlset("<loc>https://e.com/3.jpg</loc>")
    for limit in (1, 100):
        found, rejected = read_all(lambda: at(site, "/robots.txt"), limit=limit)
        assert [f.url for f in found] == [f"https://e.com/{n}.jpg" for n in (1, 2, 3)]
        assert rejected == []


def test_the_first_sitemap_that_breaks_off_is_kept_and_named(site: Site) -> None:
    site.routes["/sitemap.xml"] = b"\n" + declared("gb2312", "gb18030", TEN)
    for limit in (1, 100):
        found, rejected = read_all(lambda: at(site), limit=limit)
        assert len(found) == 10
        assert [entry for entry, _ in rejected] == [f"{site.url}/sitemap.xml"]
        assert "it is cut short: it ends without </urlset>, after 10 entries" in rejected[0][1]


def test_a_text_of_many_pieces_is_cut_without_counting_it_anew_for_each() -> None:
    [entry] = xml.entries(b"<urlset><url><loc>" + b"x&x" * 500_000 + b"</loc></url></urlset>")
    assert xml.MAX_ELEMENT_BYTES <= len(entry.page) < 2 * xml.MAX_ELEMENT_BYTES
