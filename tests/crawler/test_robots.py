"""Sites are asked before they are read, and their no is heard."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from protego import Protego

from crawler.directives import product_token
from crawler.robots import KEPT_SECONDS, MAX_BYTES, Robots, Rules, opted_out
from crawler.robots_file import (
    LONGEST_PATTERN,
    MAX_DELAY_SECONDS,
    MAX_RULES,
    PathRules,
    matches,
    parse,
)
from pixsim.core.net import Client
from pixsim.core.urls import sendable
from tests.crawler.local_site import Answer, Site

AGENT = "PixSim/0.1 (+https://pixsim.example; crawler@pixsim.example)"


@pytest.fixture
def site(settings) -> Iterator[Site]:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    settings.CRAWL_HONOUR_ROBOTS = True
    with Site() as site:
        yield site


def ask(robots: Robots, *urls: str) -> list[tuple[bool, str]]:
    async def together() -> list[tuple[bool, str]]:
        async with Client() as client:
            return await asyncio.gather(*(robots.allowed(client.fetch, url) for url in urls))

    return asyncio.run(together())


def test_rules_for_us_are_followed_and_the_longest_match_decides(site: Site) -> None:
    site.routes["/robots.txt"] = (
        "User-agent: *\nDisallow: /\n\n"
        "User-agent: PixSim\nDisallow: /private/\nAllow: /private/open/\nDisallow: /*.gif$\n"
    )
    verdicts = ask(
        Robots(user_agent=AGENT),
        f"{site.url}/a.jpg",
        f"{site.url}/private/a.jpg",
        f"{site.url}/private/open/a.jpg",
        f"{site.url}/a.gif",
        f"{site.url}/a.gif?b",
    )
    assert [allowed for allowed, _ in verdicts] == [True, False, True, False, True]
    assert verdicts[1][1] == "robots.txt disallows pixsim"


def test_one_origin_is_asked_once_however_many_wait_and_again_after_a_day(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nCrawl-delay: 2\nRequest-rate: 1/5\n"
    now = [0.0]
    robots = Robots(user_agent=AGENT, clock=lambda: now[0])
    ask(robots, *(f"{site.url}/{n}.jpg" for n in range(50)))
    assert site.asked == ["/robots.txt"]
    assert robots.delay(f"{site.url}/1.jpg") == 5.0
    now[0] = KEPT_SECONDS + 1
    ask(robots, f"{site.url}/1.jpg")
    assert site.asked == ["/robots.txt"] * 2


def test_a_cancelled_reader_does_not_take_the_answer_from_the_others(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /\n"
    robots = Robots(user_agent=AGENT)

    async def cancel_the_first() -> tuple[bool, str]:
        async with Client() as client:
            first = asyncio.create_task(robots.allowed(client.fetch, f"{site.url}/1.jpg"))
            second = asyncio.create_task(robots.allowed(client.fetch, f"{site.url}/2.jpg"))
            await asyncio.sleep(0)
            first.cancel()
            return await second

    assert asyncio.run(cancel_the_first()) == (False, "robots.txt disallows pixsim")
    assert site.asked == ["/robots.txt"]


def test_no_robots_txt_allows_all(site: Site) -> None:
    for status in (404, 403, 410):
        site.routes["/robots.txt"] = Answer(status=status)
        assert ask(Robots(user_agent=AGENT), f"{site.url}/a.jpg") == [(True, "")]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_robots_txt_that_does_not_answer_disallows_for_now(site: Site, status: int) -> None:
    site.routes["/robots.txt"] = Answer(status=status, headers={"Retry-After": "900"})
    now = [0.0]
    robots = Robots(user_agent=AGENT, clock=lambda: now[0])
    url = f"{site.url}/a.jpg"
    [(allowed, why)] = ask(robots, url)
    assert not allowed
    assert why.startswith("robots.txt does not answer:")
    assert str(status) in why
    assert robots.retry_in(url) == (900.0 if status in (429, 503) else 300.0)

    site.routes["/robots.txt"] = ""
    now[0] = 901.0
    assert ask(robots, url) == [(True, "")]
    assert robots.retry_in(url) is None


def test_an_unreachable_site_is_disallowed_for_now(settings) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.1"]
    with Site() as gone:
        pass
    [(allowed, why)] = ask(Robots(user_agent=AGENT), f"{gone.url}/a.jpg")
    assert not allowed
    assert "connect" in why


def test_a_forbidden_address_is_left_to_the_fetch_which_names_it(settings) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = []
    assert ask(Robots(user_agent=AGENT), "http://127.0.0.1:1/a.jpg") == [(True, "")]


@pytest.mark.parametrize("location", ["ftp://e.com/", "http://[::1", "http://10.0.0.1/robots.txt"])
def test_a_robots_txt_that_is_redirected_to_nowhere_disallows_for_now(site: Site, location) -> None:
    site.routes["/robots.txt"] = Answer(status=301, headers={"Location": location})
    [(allowed, why)] = ask(Robots(user_agent=AGENT), f"{site.url}/a.jpg")
    assert not allowed
    assert why.startswith("robots.txt does not answer: b")


def test_only_the_first_500_kib_count_and_an_endless_file_disallows(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\n" + "# x\n" * 200_000 + "Disallow: /\n"
    assert ask(Robots(user_agent=AGENT), f"{site.url}/a") == [(True, "")]
    site.routes["/robots.txt"] = b"#" * (MAX_BYTES + 1)
    assert not ask(Robots(user_agent=AGENT), f"{site.url}/a")[0][0]


def test_with_robots_off_nothing_is_asked(site: Site, settings) -> None:
    settings.CRAWL_HONOUR_ROBOTS = False
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /\nCrawl-delay: 9\n"
    robots = Robots(user_agent=AGENT)
    assert ask(robots, f"{site.url}/a") == [(True, "")]
    assert robots.delay(f"{site.url}/a") == 0.0
    assert site.asked == []


@pytest.mark.parametrize(
    ("text", "path", "signal"),
    [
        ("User-agent: *\nContent-Signal: search=yes,ai-train=no\nAllow: /", "/a", "ai-train=no"),
        (
            "User-Agent: *\nContent-Usage: train-ai=n\nContent-Signal: search=yes",
            "/a",
            "train-ai=n",
        ),
        ("User-agent: *\nContent-Usage: /art train-ai=n\n", "/art/1", "train-ai=n"),
        ("User-agent: *\nContent-Usage: /art train-ai=n\n", "/photos", None),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /ok train-ai=y", "/ok/1", None),
        ("User-agent: other\nContent-Signal: ai-train=no\n", "/a", None),
        ("User-agent: other\nDisallow: /\nUser-agent: *\nContent-Signal: ai-train=no", "/a", "no"),
        ("User-agent: pixsim\nDisallow:\n\nUser-agent: *\nContent-Signal: ai-train=no", "/a", None),
        ("User-agent: *\nContent-Signal: search=no, ai-input=no\n", "/a", None),
    ],
)
def test_usage_signals_in_robots_txt_exclude_by_group_and_path(
    text: str, path: str, signal: str | None
) -> None:
    rules = Rules.of(parse(text.encode(), "pixsim"), expires=0)
    allowed, why = rules.check(f"https://example.com{path}", "pixsim")
    assert allowed == (signal is None)
    if signal:
        assert signal in why
        assert not why.startswith("robots.txt")


@pytest.mark.parametrize(
    ("headers", "signal"),
    [
        ({}, None),
        ({"X-Robots-Tag": "noai, noimageai"}, "X-Robots-Tag: noai"),
        ({"x-robots-tag": "NOINDEX"}, "X-Robots-Tag: noindex"),
        ({"X-Robots-Tag": "nofollow, noimageindex"}, "X-Robots-Tag: noimageindex"),
        ({"X-Robots-Tag": "none"}, "X-Robots-Tag: none"),
        ({"X-Robots-Tag": "googlebot: noai, noindex"}, None),
        ({"X-Robots-Tag": "PixSim: noai"}, "X-Robots-Tag: noai"),
        ({"X-Robots-Tag": "googlebot: nofollow, pixsim: noimageai"}, "X-Robots-Tag: noimageai"),
        ({"X-Robots-Tag": "max-image-preview: none, all"}, None),
        ({"X-Robots-Tag": "unavailable_after: Sat, 25 Jun 2010 15:00:00 GMT, noai"}, "noai"),
        ({"TDM-Reservation": "1"}, "TDM-Reservation: 1"),
        ({"tdm-reservation": "0"}, None),
        ({"Content-Usage": "train-ai=n"}, "Content-Usage: train-ai=n"),
        ({"Content-Usage": "search=n, train-ai=y"}, None),
        ({"Content-Signal": "search=yes, ai-train=no"}, "Content-Signal: ai-train=no"),
    ],
)
def test_opt_out_headers_are_heard_when_they_are_meant_for_us(
    headers: dict[str, str], signal: str | None
) -> None:
    found = opted_out(headers, AGENT)
    assert found is None if signal is None else signal in (found or "")


def test_a_header_that_is_sent_twice_is_read_twice() -> None:
    headers = CIMultiDict([("X-Robots-Tag", "googlebot: nofollow"), ("X-Robots-Tag", "noai")])
    assert opted_out(headers, "pixsim") == "X-Robots-Tag: noai"


@given(st.binary(max_size=300), st.text(max_size=60))
def test_no_answer_of_a_site_breaks_the_reader(body: bytes, header: str) -> None:
    rules = Rules.of(parse(b"User-agent: *\nContent-Usage: " + body, "pixsim"), expires=0)
    rules.check("https://example.com/a", "pixsim")
    assert rules.delay >= 0
    names = ("X-Robots-Tag", "TDM-Reservation", "Content-Usage", "Content-Signal")
    opted_out(dict.fromkeys(names, header), "pixsim")


def test_sites_address_us_by_the_product_in_our_user_agent() -> None:
    assert product_token(AGENT) == "pixsim"
    assert product_token("Picture-Bot") == "picture-bot"


def allows(text: str | bytes, path: str) -> bool:
    body = text.encode() if isinstance(text, str) else text
    return PathRules(parse(body, "pixsim").rules).allow(f"https://example.com{path}")


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ("Disallow: /", "/", False),
        ("Disallow:", "/a", True),
        ("Disallow: /a", "/ab", False),
        ("Disallow: /a\nAllow: /ab", "/abc", True),
        ("Disallow: /a\nAllow: /a", "/a", True),
        ("Allow: /p*\nDisallow: /p", "/page", True),
        ("Disallow: /*.gif$", "/a/b.gif", False),
        ("Disallow: /*.gif$", "/a/b.gif?c", True),
        ("Disallow: /a*b*c", "/a-b-b-c-d", False),
        ("Disallow: /a*b*c$", "/a-b-c-d", True),
        ("Disallow: /a$", "/a", False),
        ("Disallow: /a$b", "/a$b", False),
        ("Disallow: /*?page=", "/x?page=2", False),
        ("Disallow: /foo/bar/%E3%83%84", "/foo/bar/ツ", False),
        ("Disallow: /foo/bar/ツ", "/foo/bar/%e3%83%84", False),
        ("Disallow: /foo/bar/%62%61%7A", "/foo/bar/baz", False),
        ("Disallow: /a%2Ab", "/a*b", False),
        ("Disallow: /a%2Ab", "/a-b", True),
        ("Disallow: /a%2Fb", "/a%2fb", False),
        ("Disallow: /a%2fb", "/a%2Fb", False),
        ("Disallow: /a%2Fb", "/a/b", True),
        ("Disallow: /~x", "/%7ex", False),
        ("Disallow: /%7ex", "/~x", False),
        ("Disallow: /b", "/a/%2e%2E/b", False),
        ("Disallow: /*?utm_", "/a?utm_source=b", False),
        ("Disallow: private", "/private", True),
        ("Disallow: *.php", "/a/b.php", False),
        ("disallow /a", "/a", False),
        (" DISALLOW :  /a  # why", "/a", False),
        ("Dissallow: /a", "/a", False),
        ("Sitemap: x\nDisallow: /a", "/a", False),
    ],
)
def test_paths_are_matched_as_rfc_9309_says(rules: str, path: str, allowed: bool) -> None:
    url = sendable(f"https://example.com{path}")
    for end in ("\n", "\r\n", "\r"):
        body = f"\ufeffUser-agent: *\n{rules}".replace("\n", end)
        assert PathRules(parse(body.encode(), "pixsim").rules).allow(url) == allowed


def test_paths_in_another_encoding_than_utf_8_are_matched_by_their_bytes() -> None:
    text = "User-agent: *\nDisallow: /caf\xe9/\nDisallow: /\u4f60/\n"
    assert not allows(text.encode("latin-1", "ignore"), "/caf%e9/a.jpg")
    assert not allows(text.replace("\xe9", "").encode("gb18030"), "/%C4%E3/a.jpg")
    assert allows(text.encode("latin-1", "ignore"), "/caf%EF%BF%BD/a.jpg")
    assert not allows(text, "/caf%c3%a9/a.jpg")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("User-agent: *\nDisallow: /", False),
        ("User-agent: *\nDisallow: /\nUser-agent: PixSim/2.0\nDisallow: /b", True),
        ("User-agent: pix\nDisallow: /", True),
        ("User-agent: otherbot\nUser-agent: pixsim\nDisallow: /", False),
        ("User-agent: pixsim\nSitemap: x\nUser-agent: otherbot\nDisallow: /", False),
        ("User-agent: pixsim\nCrawl-delay: 1\nUser-agent: otherbot\nDisallow: /", True),
        ("User-agent: pixsim\nDisallow: /b\n\nUser-agent: PIXSIM\nDisallow: /a", False),
        ("Disallow: /", True),
        ("User-agent: pixsim*\nDisallow: /", False),
    ],
)
def test_the_groups_of_our_name_count_else_those_of_all(text: str, allowed: bool) -> None:
    assert allows(text, "/a") == allowed


LINES = st.sampled_from(
    ["User-agent: *", "User-agent: PixSim", "User-agent: otherbot", "", "# no", "Sitemap: /x",
     "Crawl-delay: 2", "Crawl-delay: x", "Request-rate: 1/5", "Request-rate: 3/1m", "Host: x"]
)  # fmt: skip
PATHS = st.text("ab/*", max_size=5).map("/{}".format)


@given(
    st.lists(
        LINES
        | st.builds("{}: {}{}".format, st.sampled_from(["Allow", "Disallow"]), PATHS,
                    st.sampled_from(["", "$"])),
        max_size=12,
    ),
    st.text("ab/", max_size=8),
)  # fmt: skip
def test_ordinary_files_are_read_as_protego_reads_them(lines: list[str], path: str) -> None:
    text = "\n".join(lines)
    theirs, url = Protego.parse(text), f"https://example.com/{path}"
    assert allows(text, f"/{path}") == theirs.can_fetch(url, "pixsim"), text
    rate = theirs.request_rate("pixsim")
    between = rate.seconds / rate.requests if rate else 0.0
    assert parse(text.encode(), "pixsim").delay == max(theirs.crawl_delay("pixsim") or 0, between)


@pytest.mark.parametrize(
    ("line", "delay"),
    [
        ("Crawl-delay: 2.5", 2.5),
        ("Crawl-delay: -1", 0),
        ("Crawl-delay: nan", 0),
        ("Crawl-delay: inf", 0),
        ("Crawl-delay: " + "9" * 400, MAX_DELAY_SECONDS),
        ("Request-rate: 1/" + "9" * 400, MAX_DELAY_SECONDS),
        ("Request-rate: 0/5", 0),
        ("Request-rate: 10/1m 0800-1200", 6),
    ],
)
def test_a_delay_is_a_sound_number(line: str, delay: float) -> None:
    assert parse(f"User-agent: *\n{line}".encode(), "pixsim").delay == delay


HARD = [
    "User-agent: *\n" + " " * 100_000,
    "User-agent: *\n" + "a" * 400_000,
    "User-agent: *\n" + "Disallow: /" + "*a" * 200_000,
    "User-agent: *\n" + "Disallow: /*a\n" * 30_000,
    "User-agent: *\n" + ": " * 200_000,
    "User-agent: *\n" + "\n \n" * 150_000,
    "User-agent: pixsim\n" * 20_000 + "Disallow: /",
    "User-agent: *\nContent-Usage: " + "a=n," * 100_000,
    "User-agent: *\n" + "Disallow: /%" + "%4" * 150_000,
]


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[14:30])
def test_a_file_takes_time_in_proportion_to_its_length(text: str) -> None:
    """100,000 spaces took minutes, in which no lease was renewed and no stop was heard."""

    def seconds(body: bytes) -> float:
        began = time.thread_time()
        PathRules(parse(body, "pixsim").rules).allow("https://example.com/" + "a" * 4000)
        return time.thread_time() - began

    whole = text.encode()
    ratios = (seconds(whole) / seconds(whole[: len(whole) // 2]) for _ in range(20))
    assert any(ratio <= 2.5 for ratio in ratios)


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12), st.booleans())
def test_patterns_match_as_expressions_would(text: str, path: str, is_whole: bool) -> None:
    regex = ".*".join(text.split("*")) + ("$" if is_whole else "")
    assert matches(text + "$" * is_whole, path) == bool(re.match(regex, path))


def test_what_is_cut_makes_the_rules_stricter_never_laxer() -> None:
    many = "".join(f"Disallow: /d/{n}/private\nAllow: /d/{n}/private/a\n" for n in range(5000))
    rules = parse(f"User-agent: *\n{many}".encode(), "pixsim").rules
    assert len(rules) <= MAX_RULES
    for n in (0, 4999):
        assert not PathRules(rules).allow(f"https://example.com/d/{n}/private/a")
    assert PathRules(rules).allow("https://example.com/e")
    long = "/" + "a" * LONGEST_PATTERN
    text = f"User-agent: *\nDisallow: {long}b$\nAllow: {long}c"
    assert not allows(text, f"{long}c")


def test_a_file_is_parsed_without_django() -> None:
    program = (
        "import sys; from crawler.robots_file import parse; "
        "print(list(parse(b'User-agent: *\\nDisallow: /', 'pixsim'))); "
        "assert not any(name.startswith(('django', 'aiohttp')) for name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[[(False, '/')], 0.0, [], '']\n", done.stderr
