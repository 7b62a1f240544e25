"""Pages name the pictures they show, unless they say no."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.sources import build
from crawler.sources.base import Source
from crawler.sources.page.choices import srcset
from crawler.sources.page.html import MAX_LINKS, MAX_PICTURES, MAX_TAGS, HtmlPage
from tests.crawler.local_site import Answer, Site
from tests.crawler.reading import read_all

HTML = {"Content-Type": "text/html; charset=utf-8"}


def html(body: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(body, headers={**HTML, **named})


def pictures(body: str | bytes, content_type: str = "text/html") -> dict[str, str]:
    raw = body.encode() if isinstance(body, str) else body
    return HtmlPage(raw, content_type, "https://e.com/dir/page.html").pictures()[0]


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    settings.CRAWL_HOST_RATE = 1000.0
    with Site() as site:
        yield site


def at(site: Site, path: str = "/", **options: object) -> Source:
    return build("page", site.url + path, options, "site")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<img src="a.jpg" alt="  An\n apple ">', {"https://e.com/dir/a.jpg": "An apple"}),
        ("<IMG SRC=/a.jpg title=T>", {"https://e.com/a.jpg": "T"}),
        ('<img src="s.jpg" srcset="m.jpg 640w, l.jpg 1280w">', {"https://e.com/dir/l.jpg": ""}),
        ('<img src="1.jpg" srcset="2.jpg 2x, 3.jpg 1.5x">', {"https://e.com/dir/2.jpg": ""}),
        ('<img src="1.jpg" srcset="other.jpg">', {"https://e.com/dir/1.jpg": ""}),
        ('<img src="blank.gif" data-src="real.jpg">', {"https://e.com/dir/real.jpg": ""}),
        ('<img data-srcset="a.jpg 9w" src="data:x">', {"https://e.com/dir/a.jpg": ""}),
        (
            '<picture><source srcset="a.avif 900w, b.avif 1800w"><source srcset="c.webp 600w">'
            '<img src="d.jpg" alt="P"></picture>',
            {"https://e.com/dir/b.avif": "P"},
        ),
        ('<base href="/x/"><img src=a.jpg>', {"https://e.com/x/a.jpg": ""}),
        ('<base href="http://"><img src=a.jpg>', {"https://e.com/dir/a.jpg": ""}),
        (
            '<title>Page</title><meta property="og:image" content="/og.jpg">'
            '<link rel="image_src" href="/src.jpg">',
            {"https://e.com/og.jpg": "Page", "https://e.com/src.jpg": "Page"},
        ),
        (
            '<a href="full.JPG?x#y"><img src="thumb.jpg" alt="A"></a><a href=b.png>Bee</a>',
            {
                "https://e.com/dir/thumb.jpg": "A",
                "https://e.com/dir/full.JPG?x": "A",
                "https://e.com/dir/b.png": "Bee",
            },
        ),
        ('<a rel="x nofollow" href="no.jpg">n</a><a href="page.html">p</a>', {}),
        ('<img src=""><img><img src="data:image/png;base64,AA"><img src="blob:x">', {}),
        ("<img src=a.jpg><img src=./a.jpg alt=Late>", {"https://e.com/dir/a.jpg": "Late"}),
        ("not html at all", {}),
        ("", {}),
    ],
)
def test_the_pictures_of_a_page_are_found_once_each_in_their_largest_size(
    body: str, found: dict[str, str]
) -> None:
    assert pictures(body) == found


REAL = "https://e.com/dir/real.jpg"
BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.mark.parametrize(
    "element",
    [
        # `src` is the fallback for what is no address.
        f'<img src=real.jpg srcset="{BLANK} 1w">',
        f'<img src=real.jpg srcset="{BLANK} 1x, about:blank 2x, # 3x">',
        *(
            f'<img src=real.jpg {name}="{value}">'
            for name in ("data-src", "data-lazy", "data-original", "data-srcset")
            for value in (
                "true", "false", "lazy", "1", "0.5", "", " ", "#", "about:blank", BLANK, "blob:http://x/1",
                "javascript:load('a.jpg')", "{{ image.url }}", "{{url}}", "${url}.jpg", "<%= url %>",
                "{url}", "/images/{width}/a.jpg", "[[src]]/a.jpg", "{% static 'a.jpg' %}", "null",
                "undefined",
            )
            if not (name == "data-srcset" and value in ("1", "0.5"))
        ),
        '<img src=real.jpg data-src="a description, with 1/2 words">',
        '<img src=real.jpg data-lazy=\'{"delay": 3, "name": "x"}\'>',
        '<img src=real.jpg data-lazy="[1, 2">',
        '<img src=real.jpg loading=lazy data-sizes=auto sizes="(max-width: 9px) 1px, 2px">',
        '<img src=real.jpg srcset=" , ">',
        # Each attribute of lazy loading, before the placeholders that stand beside it.
        *(
            f'<img src="{blank}" srcset="tiny.jpg 20w" {name}="real.jpg">'
            for blank in (BLANK, "blank.gif", "")
            for name in (
                "data-src", "data-original", "data-lazy-src", "data-lazy", "data-flickity-lazyload",
                "data-lazyload", "nitro-lazy-src", "data-cfsrc", "data-ezsrc", "data-echo",
                "data-srcset", "data-lazy-srcset", "nitro-lazy-srcset",
            )
        ),
        '<img data-lazy=true data-src=real.jpg src=blank.gif>',
        '<img data-src="{{x}}" data-original=real.jpg>',
        '<img data-srcset="{{x}} 9w" data-lazy-srcset="real.jpg 9w">',
        '<img data-src=\'{"small": 1, "large": {"src": "real.jpg"}}\' src=blank.gif>',
        '<img data-src="[&quot;real.jpg&quot;]" src=blank.gif>',
        '<IMG SRC=blank.gif DATA-SRC=real.jpg>',
        '<amp-img src=real.jpg></amp-img>',
        f'<img src="{BLANK}" data-src="real.jpg"><noscript><img src="real.jpg"></noscript>',
        # What cannot be fetched, or is no picture that we read, beside what is.
        '<img src=real.jpg data-src="https://">', '<img src=real.jpg data-src="http://[x/a.jpg">',
        '<img src=real.jpg srcset="ftp://e.com/a.jpg 9w, mailto:a@b 8w, file:///a.jpg 7w">',
        '<img src=real.jpg data-src="/">', '<img src=real.jpg srcset="%7B%7Burl%7D%7D 2w">',
        '<img src=real.jpg srcset="/placeholder.svg 9w">', '<img src=real.jpg data-src="/a.svg?1">',
        # Renderings.
        '<img src=a.jpg srcset="a.jpg 300w, real.jpg 600w, c.jpg 2x">',
        '<img src=a.jpg srcset="a.jpg 300w,real.jpg 600w">',
        '<img src=a.jpg srcset="a.jpg, real.jpg 1.5x">',
        f'<img src=a.jpg srcset="{BLANK} 900w, a.jpg 300w, real.jpg 600w">',
        '<img srcset="real.jpg">',
        '<img src=" real.jpg\n">',
        # <picture>.
        '<picture><source type="image/svg+xml" srcset="a.svg 9w"><source type="image/jxl" srcset="a.jxl 9w">'
        '<source type="image/heic" srcset="a.heic 9w"><img src=real.jpg></picture>',
        '<picture><source type="image/webp; q=1" srcset="real.jpg 9w"><img src=a.jpg></picture>',
        '<picture><source type="IMAGE/JPG" data-srcset="real.jpg 9w"><img src=blank.gif></picture>',
        f'<picture><source srcset="{BLANK}"><img src="{BLANK}" data-src=real.jpg></picture>',
        '<picture><source srcset="{{x}} 900w"><img src=real.jpg></picture>',
        # Elsewhere.
        '<meta property="og:image" content="real.jpg"><meta property="og:image" content="{{x}}">',
        '<meta name="twitter:image" content="real.jpg"><meta name="og:image" content="">',
        '<link rel=preload as=image href=a.jpg imagesrcset="a.jpg 1x, real.jpg 2x">',
        '<link rel="PRELOAD" as=image href=real.jpg><link rel=preload as=font href=a.woff>',
        '<div data-bg="real.jpg">', '<div data-bg="url(\'real.jpg\')">',
        '<section data-bg=\'{"desktop": "real.jpg"}\'>', '<p data-background-image="real.jpg">',
        '<div data-bgset="a.jpg 200w | real.jpg 900w">', '<div data-flickity-bg-lazyload=real.jpg>',
        '<img src=real.jpg><div data-bg="true"><div data-bg=\'{"a": 1}\'><div data-bg="{{x}}">',
        '<a href="javascript:show(\'a.jpg\')"><img src=real.jpg></a><a href="#a.jpg">a</a>',
    ],
)  # fmt: skip
def test_the_real_picture_is_taken_where_attributes_hold_something_else(element: str) -> None:
    found, rejected = HtmlPage(element.encode(), "", "https://e.com/dir/page.html").pictures()
    assert [*found] == [REAL]
    assert rejected == []


@pytest.mark.parametrize(
    ("element", "found"),
    [
        ('<img srcset="my real photo.jpg 300w, my other photo.jpg 200w">', ["dir/my%20real%20photo.jpg"]),
        ('<img srcset="/w_300,h_2/a.jpg 300w,/w_600,h_4/a.jpg 600w">', ["w_600,h_4/a.jpg"]),
        ('<img data-src="/media/1234">', ["media/1234"]),
        ('<img data-src="media/image?id=3">', ["dir/media/image?id=3"]),
        ('<img data-src="//cdn.e.org/1">', None),
        ('<img src="/i?id={6F9619FF-8B86-D011-B42D-00CF4FC964FF}">',
         ["i?id={6F9619FF-8B86-D011-B42D-00CF4FC964FF}"]),
        ('<a href=big.jpg><img src=small.jpg></a>', ["dir/big.jpg", "dir/small.jpg"]),
        ('<base href="https://e.com/x/"><img data-src=a.jpg><div data-bg=b.jpg>', ["x/a.jpg", "x/b.jpg"]),
        ('<base target=_blank><base href=/x/><img src=a.jpg srcset="b.jpg 2x">', ["x/b.jpg"]),
        ('<img src="{{x}}"><img src="#"><img src=" "><img src=null><img src="about:blank">', []),
    ],
)  # fmt: skip
def test_the_best_address_of_an_element_is_taken(element: str, found: list[str] | None) -> None:
    expected = ["https://cdn.e.org/1"] if found is None else [f"https://e.com/{f}" for f in found]
    assert [*pictures(element)] == expected


def test_a_page_declared_in_a_wrong_encoding_is_read() -> None:
    assert pictures("<meta charset=gb2312><img src=a.jpg alt=镕>".encode("gb18030")) == {
        "https://e.com/dir/a.jpg": "镕"
    }
    assert pictures("<meta charset=utf-16><img src=a.jpg alt=ä>") == {
        "https://e.com/dir/a.jpg": "ä"
    }


def test_a_srcset_is_read_as_browsers_read_it() -> None:
    assert srcset(" a.jpg, b.jpg 2x ,c,d.jpg 3x,") == [
        ("a.jpg", 0.0, 1.0), ("b.jpg", 0.0, 2.0), ("c,d.jpg", 0.0, 3.0),
    ]  # fmt: skip
    assert srcset("/w_300,h_200/a.jpg 300w, /w_600,h_400/a.jpg 600w") == [
        ("/w_300,h_200/a.jpg", 300.0, 1.0), ("/w_600,h_400/a.jpg", 600.0, 1.0),
    ]  # fmt: skip
    assert srcset("") == srcset(" , ,") == []


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        ("<img src=a.jpg alt=ä>".encode("latin-1"), "text/html; charset=ISO-8859-1"),
        ("<meta charset='latin-1'><img src=a.jpg alt=ä>".encode("latin-1"), "text/html"),
        ("<img src=a.jpg alt=ä>".encode("utf-16"), "text/html"),
        ("<img src=a.jpg alt=ä>".encode("utf-8-sig"), "text/html; charset=latin-1"),
        ("<img src=a.jpg alt=ä>".encode(), "text/html; charset=klingon"),
        ("<img src=a.jpg alt=ä>".encode(), "text/html; charset=base64"),
    ],
)
def test_pages_are_read_in_their_encoding(raw: bytes, content_type: str) -> None:
    assert pictures(raw, content_type) == {"https://e.com/dir/a.jpg": "ä"}


@given(st.binary(max_size=300), st.text(max_size=100))
def test_no_page_breaks_the_reader(raw: bytes, text: str) -> None:
    page = HtmlPage(raw + f'<img srcset="{text}"><a href="{text}">'.encode("utf-8", "replace"),
                    text, "https://e.com/")  # fmt: skip
    for url in page.pictures()[0]:
        assert url.startswith("http")
    list(page.links())
    page.opted_out("pixsim")
    srcset(text)


def test_a_page_yields_its_pictures_with_where_they_stood(site: Site) -> None:
    site.routes["/old"] = Answer(status=301, headers={"Location": "/new/"})
    site.routes["/new/"] = html('<img src=a.jpg alt=A><img src="http://">')
    found, rejected = read_all(at(site, "/old"))
    assert [(f.url, f.label) for f in found] == [(f"{site.url}/new/a.jpg", "site")]
    assert found[0].provenance == {
        "source": "page", "landing_page": f"{site.url}/new/", "title": "A",
    }  # fmt: skip
    assert rejected == [("http://", "the address names no host")]


def test_an_address_that_is_a_picture_is_its_own_candidate(site: Site) -> None:
    site.routes["/i"] = Answer(b"\xff\xd8", headers={"Content-Type": "image/jpeg"})
    assert [f.url for f in read_all(at(site, "/i"))[0]] == [f"{site.url}/i"]


def gallery(site: Site, pages: int) -> None:
    """Each page has one picture and links to the next two, itself, elsewhere and a file."""
    for n in range(1, pages + 1):
        site.routes[f"/{n}"] = html(
            f'<img src="{n}.jpg"><a href="/{2 * n}">a</a><a href="/{2 * n + 1}#x">b</a>'
            f'<a href="/{n}">self</a><a href="https://other.example/">o</a><a href="/z.zip">z</a>'
            f'<a href="/secret" rel=nofollow>no</a><a href="/1.jpg">file</a>'
        )


def test_links_of_the_site_are_followed_breadth_first_and_resumed_anywhere(site: Site) -> None:
    gallery(site, 10)
    site.routes["/z.zip"] = Answer(b"PK", headers={"Content-Type": "application/zip"})
    whole = read_all(at(site, "/1", follow_links=True))
    shown = [f.url for f in whole[0] if f.provenance["landing_page"] == f.url[: -len(".jpg")]]
    assert shown == [f"{site.url}/{n}.jpg" for n in range(1, 11)]
    reasons = {entry.removeprefix(site.url): why for entry, why in whole[1]}
    assert reasons.pop("/z.zip") == "it is application/zip, not an HTML page"
    assert set(reasons.values()) == {"http_4xx: HTTP 404 Not Found"}
    assert "/secret" not in site.asked
    assert max(map(site.asked.count, site.asked)) == 1
    assert read_all(lambda: at(site, "/1", follow_links=True), limit=1) == whole


def test_without_being_asked_no_link_is_followed(site: Site) -> None:
    gallery(site, 3)
    found, _ = read_all(at(site, "/1"))
    assert [f.url for f in found] == [f"{site.url}/1.jpg"]
    assert site.asked == ["/robots.txt", "/1"]


def test_at_most_max_pages_are_read_and_kept_in_the_cursor(site: Site) -> None:
    links = "".join(f'<a href="/p{n}">p</a>' for n in range(500))
    site.routes["/"] = html(links)
    site.routes |= {f"/p{n}": html(f"<img src={n}.jpg>" + links) for n in range(500)}
    source = at(site, follow_links=True, max_pages=7)
    cursor, pages = None, 0
    while (page := source.read(cursor, limit=1)).cursor is not None:
        cursor = page.cursor
        pages += len(page.found)
        assert len(cursor["pages"]) <= 14
    assert pages == 6
    assert len(site.asked) == 8


def test_robots_txt_closes_pages_and_a_closed_start_is_refused(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /closed\n"
    site.routes["/"] = html("<a href=/closed/1>c</a><a href=/way>w</a><a href=/open>o</a>")
    site.routes["/way"] = Answer(status=302, headers={"Location": "/closed/2"})
    site.routes["/closed/2"] = html("<img src=no.jpg>")
    site.routes["/open"] = html("<img src=yes.jpg>")
    found, rejected = read_all(at(site, follow_links=True))
    assert [f.url for f in found] == [f"{site.url}/yes.jpg"]
    assert [why for _, why in rejected] == ["robots.txt disallows pixsim"] * 2
    assert "/closed/1" not in site.asked
    with pytest.raises(SourceRefused, match=r"robots\.txt disallows pixsim"):
        at(site, "/closed/1").read(None)


def test_a_robots_txt_that_does_not_answer_is_waited_for(site: Site) -> None:
    site.routes["/robots.txt"] = Answer(status=500)
    site.routes["/"] = html("<img src=a.jpg>")
    with pytest.raises(SourceUnavailable, match=r"robots\.txt does not answer") as unavailable:
        at(site).read(None)
    assert unavailable.value.retry_after == pytest.approx(300, abs=5)
    assert site.asked == ["/robots.txt"]


@pytest.mark.parametrize(
    ("page", "signal"),
    [
        (html("<img src=a.jpg>", X_Robots_Tag="noai"), "X-Robots-Tag: noai"),
        (html("<img src=a.jpg>", TDM_Reservation="1"), "TDM-Reservation: 1"),
        (html("<meta name=robots content='noindex, follow'><img src=a.jpg>"), "robots: noindex"),
        (html("<meta name=PixSim content=noimageai><img src=a.jpg>"), "robots: noimageai"),
        (html("<meta name=tdm-reservation content=1><img src=a.jpg>"), "tdm-reservation: 1"),
    ],
)
def test_a_page_that_opts_out_gives_nothing_and_its_signal_is_named(
    site: Site, settings, page: Answer, signal: str
) -> None:
    site.routes["/"] = html("<a href=/p>p</a><img src=b.jpg>")
    site.routes["/p"] = page
    found, rejected = read_all(at(site, follow_links=True))
    assert [f.url for f in found] == [f"{site.url}/b.jpg"]
    assert [why.startswith("it opts out: ") and signal in why for _, why in rejected] == [True]
    with pytest.raises(SourceRefused, match=signal):
        at(site, "/p").read(None)
    settings.CRAWL_HONOUR_ROBOTS = False
    assert len(read_all(at(site, "/p"))[0]) == 1


@pytest.mark.parametrize(
    "page",
    [
        html("<img src=a.jpg><a href=/next>n</a>", X_Robots_Tag="nofollow"),
        html("<meta name=robots content=nofollow><img src=a.jpg><a href=/next>n</a>"),
        html("<meta name=otherbot content=noai><img src=a.jpg><a rel=nofollow href=/next>n</a>"),
    ],
)
def test_nofollow_keeps_the_pictures_and_leaves_the_links(site: Site, page: Answer) -> None:
    site.routes["/"] = page
    found, rejected = read_all(at(site, follow_links=True))
    assert [f.url for f in found] == [f"{site.url}/a.jpg"]
    assert rejected == []
    assert site.asked == ["/robots.txt", "/"]


def test_a_page_that_leads_to_another_site_is_left_there(site: Site) -> None:
    with Site() as other:
        elsewhere = other.url.replace("127.0.0.1", "localhost")
        other.routes["/"] = html("<img src=a.jpg>")
        site.routes["/"] = html("<a href=/away>a</a>")
        site.routes["/away"] = Answer(status=302, headers={"Location": f"{elsewhere}/"})
        found, rejected = read_all(at(site, follow_links=True))
    assert found == []
    assert rejected == [(f"{site.url}/away", "it leads to another site: localhost")]


def test_a_crawl_delay_is_kept_and_handed_to_the_reader(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nCrawl-delay: 30\n"
    site.routes["/"] = html("<img src=a.jpg><a href=/b>b</a>")
    site.routes["/b"] = html("<img src=b.jpg>")
    source = at(site, follow_links=True)
    page = source.read(None)
    assert [f.url for f in page.found] == [f"{site.url}/a.jpg"]
    with pytest.raises(SourceUnavailable, match="30 s between requests") as wait:
        source.read(page.cursor)
    assert wait.value.retry_after == pytest.approx(30, abs=5)
    assert "/b" not in site.asked


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (Answer(status=404), SourceRefused, "HTTP 404"),
        (Answer(status=500), SourceUnavailable, "HTTP 500"),
        (Answer(b"%PDF", headers={"Content-Type": "application/pdf"}), SourceRefused, "pdf"),
        (Answer(status=302, headers={"Location": "/"}), SourceRefused, "redirects"),
        (html("x" * (10 * 1024**2 + 1)), SourceRefused, "10485760 bytes"),
    ],
)
def test_a_first_page_that_cannot_be_read_says_why(
    site: Site, answer: Answer, error: type[Exception], why: str
) -> None:
    site.routes["/"] = answer
    with pytest.raises(error, match=why):
        at(site).read(None)


@pytest.mark.parametrize(
    ("location", "options", "field"),
    [
        ("example.com", {}, "location"),
        ("file:///etc/passwd", {}, "location"),
        ("https://e.com/", {"max_pages": 0}, "options.max_pages"),
        ("https://e.com/", {"max_pages": 100_000}, "options.max_pages"),
    ],
)
def test_wrong_places_and_numbers_are_refused_before_the_job(
    location: str, options: dict, field: str
) -> None:
    with pytest.raises(SourceRefused) as refused:
        build("page", location, options, "").check()
    assert refused.value.field == field


DIV = 200_000


@pytest.mark.parametrize(
    "part",
    [
        "<div>", "<a ", '<a b="', "<a b='\">", "<!--", "<script>", "<", "</", "<img src=a.jpg>",
        "<a href=/x>a", "<picture><source srcset='a 1w'><img>", "<img alt='&#1'>",
        "<img srcset='1, 2'>", "<title>", "<img srcset='a b.jpg 1w,'>", "<p data-bg='[[", "<p data-bg='{1'>",
    ],
)  # fmt: skip
def test_a_page_takes_time_in_proportion_to_its_length(part: str) -> None:
    """200,000 nested elements, and tags that never end, took minutes."""
    whole = (part * DIV)[: 4 * DIV].encode()

    def seconds(body: bytes) -> float:
        began = time.thread_time()
        page = HtmlPage(body, "text/html", "https://e.com/")
        page.pictures()
        list(page.links())
        return time.thread_time() - began

    ratios = (seconds(whole) / seconds(whole[: len(whole) // 2]) for _ in range(10))
    assert any(ratio <= 2.5 for ratio in ratios)


def test_a_page_is_read_up_to_its_limits_and_says_so() -> None:
    many = b"".join(b"<img src=%d.jpg>" % n for n in range(2 * MAX_PICTURES))
    found, rejected = HtmlPage(many, "", "https://e.com/").pictures()
    assert len(found) == MAX_PICTURES
    assert rejected == [("https://e.com/", "only its first 10,000 pictures are read")]
    page = HtmlPage(b"<br>" * MAX_TAGS + b"<img src=a.jpg>", "", "https://e.com/")
    assert page.pictures() == ({}, [("https://e.com/", "only its first 100,000 tags are read")])
    links = HtmlPage(b"<a href=/a>" * 2 * MAX_LINKS, "", "https://e.com/").links()
    assert len(list(links)) == MAX_LINKS


def test_long_values_are_left_out_and_the_rest_of_the_page_is_read() -> None:
    long = "x" * 20_000
    assert pictures(f'<img src="a.jpg" srcset="{long} 9w">') == {"https://e.com/dir/a.jpg": ""}
    assert pictures(f"<img src=data:{long * 9}><img src=b.jpg>") == {"https://e.com/dir/b.jpg": ""}
    digits = "1" * 16_000
    assert srcset(f"a.jpg {digits}w") == [("a.jpg", 0.0, 1.0)]
    assert HtmlPage(f"<img src={long}>".encode(), "", "https://e.com/").pictures()[1][0][1] == (
        "the address is 20000 characters long; at most 8000 are allowed"
    )


@pytest.mark.parametrize(
    ("charset", "sent"),
    [
        ("utf-8", "%E5%86%99%82%D0%B9"),
        ("utf-16", "%E5%86%99%82%D0%B9"),
        ("shift_jis", "%8E%CA%82%84z"),
        ("gb2312", "%D0%B4%82%A7%DB"),
        ("windows-1251", "%26%2320889%3B%82%E9"),
    ],
)
def test_queries_are_sent_in_the_encoding_of_the_page(charset: str, sent: str) -> None:
    body = "<img src='&#20889;%c3?&#20889;%82&#1081;'>".encode(charset)
    found = pictures(body, f"text/html; charset={charset}")
    assert found == {f"https://e.com/dir/%E5%86%99%c3?{sent}": ""}


@pytest.mark.parametrize("name", ["punycode", "idna", "unicode_escape", "zlib", "utf-7", "rot13"])
def test_other_encodings_than_those_of_texts_are_not_used(name: str) -> None:
    body = f"<meta charset={name}><img src=a.jpg alt=ä>".encode()
    assert pictures(body) == {"https://e.com/dir/a.jpg": "ä"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<script>'<img src=a.jpg>'</script><img src=b.jpg>", ["b.jpg"]),
        ("<SCRIPT><img src=a.jpg></scripts></Script ><img src=b.jpg>", ["b.jpg"]),
        ("<!-- <img src=a.jpg> --><!--><img src=b.jpg>", ["b.jpg"]),
        ("<textarea><img src=a.jpg></textarea><noscript><img src=b.jpg></noscript>", ["b.jpg"]),
        ("<img alt='>' src=a.jpg><3 <img alt=\"<img src=b.jpg>\" src='c.jpg'>", ["a.jpg", "c.jpg"]),
        ("<img/src=a.jpg/><img src = b.jpg ><IMG\nSRC=c.jpg>", ["a.jpg/", "b.jpg", "c.jpg"]),
        ("<img src=a.jpg?x=1&amp;copy=2&copy=3>", ["a.jpg?x=1&copy=2&copy=3"]),
        ("<img src=a.jpg src=b.jpg>", ["a.jpg"]),
        ("<img src=a.jpg><img src=b.jpg", ["a.jpg"]),
    ],
)
def test_tags_are_read_as_browsers_read_them(body: str, found: list[str]) -> None:
    assert list(pictures(body)) == [f"https://e.com/dir/{name}" for name in found]
