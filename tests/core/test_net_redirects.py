"""Redirects lead where browsers go: the requests of Chromium, as its network log has them."""

import asyncio

import pytest

from pixsim.core.net import FetchError, Reason
from tests.core.test_net_client import client_for, serving

# Location, and what is asked for next by who was at /r/dir/from.
FOLLOWED: list[tuple[bytes, str]] = [
    (b"/caf\xe9.jpg", "/caf%E9.jpg"),
    (b"/caf\xc3\xa9.jpg", "/caf%C3%A9.jpg"),
    (b"/\xff\xfe", "/%FF%FE"),
    (b"/\x85x", "/%85x"),
    (b"/\xf0\x9f\x98\x80.jpg", "/%F0%9F%98%80.jpg"),
    (b"/a?x=[1]&y=caf\xe9", "/a?x=[1]&y=caf%E9"),
    (b"/a b.jpg", "/a%20b.jpg"),
    (b"/a\tb.jpg", "/ab.jpg"),
    (b"  /pad.jpg \t", "/pad.jpg"),
    (b"\\a\\b.jpg", "/a/b.jpg"),
    (b"/a\\b?c\\d", "/a/b?c\\d"),
    (b"a.jpg", "/r/dir/a.jpg"),
    (b"../a.jpg", "/r/a.jpg"),
    (b"./../../x/./y/../a.jpg", "/x/a.jpg"),
    (b"/%2e%2e/%2E/a", "/a"),
    (b"/a/%2e%2e", "/"),
    (b"/a//b///c", "/a//b///c"),
    (b"?q=1", "/r/dir/from?q=1"),
    (b"/a?", "/a?"),
    (b"?", "/r/dir/from?"),
    (b"/a?&&utm_x=1&=", "/a?&&utm_x=1&="),
    (b"/a#b?c", "/a"),
    (b"//HOST/p.jpg", "/p.jpg"),
    (b"\\\\HOST\\p.jpg", "/p.jpg"),
    (b"HTTP://HOST/up.jpg", "/up.jpg"),
    (b"h\tttp://HOST/tab.jpg", "/tab.jpg"),
    (b"http:/one.jpg", "/one.jpg"),
    (b"http:none.jpg", "/r/dir/none.jpg"),
    (b"http://HOST", "/"),
    (b"http://HOST?x", "/?x"),
    (b"http://user:secret@HOST/u.jpg", "/u.jpg"),
    (b"http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1:PORT/wide.jpg", "/wide.jpg"),
    (b"/a?b|c^d`e{f}\"<>'", "/a?b|c^d`e{f}%22%3C%3E%27"),
    (b"/a`{}\"<>'.jpg", "/a%60%7B%7D%22%3C%3E'.jpg"),
    (b"/a|b.jpg", "/a|b.jpg"),  # by the standard; Chromium escapes it
    (b"/a^b.jpg", "/a%5Eb.jpg"),
    (b"/[x]", "/[x]"),
    (b"/100%.jpg", "/100%.jpg"),
    (b"/%zz%4", "/%zz%4"),
    (b"/a%2fb%2Fc?s=%2f%2F+", "/a%2fb%2Fc?s=%2f%2F+"),
    (b"/a;b=c,d@e:f!$&()*+~", "/a;b=c,d@e:f!$&()*+~"),
]
NOWHERE: list[tuple[bytes, Reason]] = [
    (b"", Reason.BAD_ANSWER),
    (b"   ", Reason.BAD_ANSWER),
    (b"file:///etc/passwd", Reason.BAD_URL),
    (b"data:image/png;base64,AAAA", Reason.BAD_URL),
    (b"http://", Reason.BAD_URL),
    (b"http://[::1", Reason.BAD_URL),
    (b"http://HOST:x/", Reason.BAD_URL),
    (b"http://b\xfccher.example/", Reason.BAD_URL),
    (b"/" + b"a" * 9000, Reason.BAD_URL),
    (b"http://10.0.0.1/", Reason.BLOCKED_ADDRESS),
]


def moved(location: bytes, port: int) -> bytes:
    location = location.replace(b"HOST", b"127.0.0.1:%d" % port).replace(b"PORT", b"%d" % port)
    return b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location


async def asked(location: bytes) -> str:
    """Return what is asked for after a redirect to `location`."""
    async with serving() as site, client_for(site) as client:
        site.pages["/r/dir/from"] = moved(location, site.port)
        response = await client.fetch(site.url("/r/dir/from"))
        assert response.body == b"hello"
        assert response.url == site.url(site.paths[1])
        return site.paths[1]


@pytest.mark.parametrize(("location", "path"), FOLLOWED)
def test_a_redirect_leads_where_browsers_go(location: bytes, path: str) -> None:
    assert asyncio.run(asked(location)) == path


def test_a_redirect_to_an_international_name_asks_for_its_idna_name() -> None:
    for host in ("b\u00fccher.example", "xn--bcher-kva.example", "B%C3%BCCHER.example"):
        error = asyncio.run(refused(f"http://{host}/".encode()))
        assert error.reason == Reason.DNS
        assert "xn--bcher-kva.example" in error.detail


async def refused(location: bytes) -> FetchError:
    async with serving() as site, client_for(site) as client:
        site.pages["/"] = moved(location, site.port)
        with pytest.raises(FetchError) as caught:
            await client.fetch(site.url())
        return caught.value


@pytest.mark.parametrize(("location", "reason"), NOWHERE)
def test_a_redirect_that_cannot_be_followed_says_why(location: bytes, reason: Reason) -> None:
    error = asyncio.run(refused(location))
    assert (error.reason, error.retryable) == (reason, False)


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_an_answer_that_is_neither_a_redirect_nor_a_body_is_no_refusal_of_the_server(
    status: int,
) -> None:
    answer = b"HTTP/1.1 %d Odd\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n" % status

    async def scenario() -> FetchError:
        async with serving({"/": answer}) as site, client_for(site) as client:
            with pytest.raises(FetchError) as caught:
                await client.fetch(site.url())
            return caught.value

    error = asyncio.run(scenario())
    assert (error.reason, error.status, error.retryable) == (Reason.BAD_ANSWER, status, False)
