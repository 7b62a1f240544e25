"""Sites are asked before they are read, and their no is heard."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from crawler.robots import KEPT_SECONDS, MAX_BYTES, Robots, Rules, opted_out, product_token
from pixsim.core.net import Client
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
        Robots(AGENT),
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
    robots = Robots(AGENT, clock=lambda: now[0])
    ask(robots, *(f"{site.url}/{n}.jpg" for n in range(50)))
    assert site.asked == ["/robots.txt"]
    assert robots.delay(f"{site.url}/1.jpg") == 5.0
    now[0] = KEPT_SECONDS + 1
    ask(robots, f"{site.url}/1.jpg")
    assert site.asked == ["/robots.txt"] * 2


def test_a_cancelled_reader_does_not_take_the_answer_from_the_others(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /\n"
    robots = Robots(AGENT)

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
        assert ask(Robots(AGENT), f"{site.url}/a.jpg") == [(True, "")]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_robots_txt_that_does_not_answer_disallows_for_now(site: Site, status: int) -> None:
    site.routes["/robots.txt"] = Answer(status=status, headers={"Retry-After": "900"})
    now = [0.0]
    robots = Robots(AGENT, clock=lambda: now[0])
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
    [(allowed, why)] = ask(Robots(AGENT), f"{gone.url}/a.jpg")
    assert not allowed
    assert "connect" in why


def test_a_forbidden_address_is_left_to_the_fetch_which_names_it(settings) -> None:
    settings.CRAWL_ALLOWED_PRIVATE = []
    assert ask(Robots(AGENT), "http://127.0.0.1:1/a.jpg") == [(True, "")]


def test_only_the_first_500_kib_count_and_an_endless_file_disallows(site: Site) -> None:
    site.routes["/robots.txt"] = "User-agent: *\n" + "# x\n" * 200_000 + "Disallow: /\n"
    assert ask(Robots(AGENT), f"{site.url}/a") == [(True, "")]
    site.routes["/robots.txt"] = b"#" * (MAX_BYTES + 1)
    assert not ask(Robots(AGENT), f"{site.url}/a")[0][0]


def test_with_robots_off_nothing_is_asked(site: Site, settings) -> None:
    settings.CRAWL_HONOUR_ROBOTS = False
    site.routes["/robots.txt"] = "User-agent: *\nDisallow: /\nCrawl-delay: 9\n"
    robots = Robots(AGENT)
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
    rules = Rules.parse(text.encode(), expires=0)
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
    rules = Rules.parse(b"User-agent: *\nContent-Usage: " + body, expires=0)
    rules.check("https://example.com/a", "pixsim")
    assert rules.delay("pixsim") >= 0
    names = ("X-Robots-Tag", "TDM-Reservation", "Content-Usage", "Content-Signal")
    opted_out(dict.fromkeys(names, header), "pixsim")


def test_sites_address_us_by_the_product_in_our_user_agent() -> None:
    assert product_token(AGENT) == "pixsim"
    assert product_token("Picture-Bot") == "picture-bot"
