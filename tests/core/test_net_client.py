"""The guarded connector against real, mostly hostile, servers on loopback."""

import asyncio
import contextlib
import datetime
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pixsim.core.net import AddressPolicy, Client, FetchError, Limits, Reason, Response
from pixsim.core.net.client import LONGEST_RETRY_AFTER, parse_retry_after, parse_url

# A busy machine answers late: only what is to time out has little time.
PATIENT = Limits(
    max_bytes=100_000,
    connect_timeout=10.0,
    read_timeout=10.0,
    total_timeout=30.0,
    min_bytes_per_second=1000,
    max_redirects=3,
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """A server that answers each path with raw bytes or a behaviour, and notes the requests."""

    pages: dict[str, bytes | Behaviour]
    port: int = 0
    requests: list[str] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.requests.append(request)
                page = self.pages.get(request.split(" ")[1], OK)
                if isinstance(page, bytes):
                    writer.write(page)
                    await writer.drain()
                else:
                    await page(writer)
        writer.close()


@contextlib.asynccontextmanager
async def serving(
    pages: dict[str, bytes | Behaviour] | None = None,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Site]:
    site = Site(pages or {})
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        await site.serve(reader, writer)

    server = await asyncio.start_server(accept, host, 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def client_for(*sites: Site, limits: Limits = PATIENT, **options) -> Client:
    policy = AddressPolicy.parse(ports=(), allow=[f"127.0.0.1:{site.port}" for site in sites])
    return Client(policy=policy, user_agent="PixSim-test", limits=limits, **options)


async def failure(client: Client, url: str, **options) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await client.fetch(url, **options)
    return caught.value


def redirect(location: str, status: int = 302) -> bytes:
    return (
        f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    )


async def for_ever(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(5000):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def stall(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 40000)
    await for_ever(writer)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def endless_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def endless_header(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def break_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
    writer.close()


async def cut_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    writer.close()


async def stall_in_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await for_ever(writer)


async def drip_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


HOSTILE: dict[str, tuple[bytes | Behaviour, Reason]] = {
    "never answers": (for_ever, Reason.TIMEOUT),
    "stalls in the body": (stall, Reason.TIMEOUT),
    "drips": (drip, Reason.TOO_SLOW),
    "endless body": (endless, Reason.TOO_LARGE),
    "endless chunks": (endless_chunks, Reason.TOO_LARGE),
    "announces too much": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\nx",
        Reason.TOO_LARGE,
    ),
    "sends less than announced": (break_off, Reason.BAD_ANSWER),
    "hangs up": (hang_up, Reason.CONNECT),
    "breaks off in its headers": (cut_headers, Reason.BAD_ANSWER),
    "stalls in its headers": (stall_in_headers, Reason.TIMEOUT),
    "drips headers": (drip_headers, Reason.TIMEOUT),
    "endless header": (endless_header, Reason.BAD_ANSWER),
    "huge headers": (
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 600_000 + b"\r\n\r\n",
        Reason.BAD_ANSWER,
    ),
    "many headers": (
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(20000)) + b"\r\n",
        Reason.BAD_ANSWER,
    ),
    "no HTTP": (b"220 mail.example ESMTP\r\n\r\n", Reason.BAD_ANSWER),
    "nonsense length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", Reason.BAD_ANSWER),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        Reason.BAD_ANSWER,
    ),
    "redirect loop": (redirect("/redirect%20loop"), Reason.TOO_MANY_REDIRECTS),
    "redirect nowhere": (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Reason.BAD_ANSWER),
    "redirect to a file": (redirect("file:///etc/passwd"), Reason.BAD_URL),
    "redirect to nonsense": (redirect("http://[::1"), Reason.BAD_URL),
    "redirect to metadata": (redirect("http://169.254.169.254/latest/"), Reason.BLOCKED_ADDRESS),
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Reason.HTTP_4XX),
    "broken": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Reason.HTTP_5XX),
}


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable:
    return request.param


def test_a_picture_is_fetched_over_one_kept_connection(run) -> None:
    body = bytes(range(256)) * 200
    picture = (
        b"HTTP/1.1 200 OK\r\nX-Robots-TAG: noai\r\nSet-Cookie: id=1; Path=/\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    heard: list[tuple[str, int, str]] = []
    arrived: list[int] = []

    async def scenario() -> tuple[Site, Response]:
        async with serving({"/a.jpg": picture}) as site, client_for(site) as client:
            for _ in range(2):
                response = await client.fetch(
                    site.url("/a.jpg#fragment"),
                    on_headers=lambda url, status, headers: heard.append(
                        (url, status, headers["x-robots-tag"])
                    ),
                    on_bytes=arrived.append,
                )
        return site, response

    site, response = run(scenario())
    assert (response.status, response.body) == (200, body)
    assert response.url == site.url("/a.jpg")
    assert response.headers["content-length"] == str(len(body))
    assert heard == [(response.url, 200, "noai")] * 2
    assert sum(arrived) == 2 * len(body)
    assert site.connections == 1
    second = site.requests[1]
    assert "User-Agent: PixSim-test\r\n" in second
    assert "Accept-Encoding: identity\r\n" in second
    assert "Cookie" not in second


def test_hostile_answers_end_with_their_reason_and_free_their_connection(run) -> None:
    """All on clients with room for a single connection, so that one leak stops everything."""
    pages = {f"/{name.replace(' ', '%20')}": page for name, (page, _) in HOSTILE.items()}

    async def scenario() -> dict[str, Reason]:
        reasons = {}
        quick_limits = replace(PATIENT, read_timeout=1.0, total_timeout=4.0)
        async with (
            serving(pages) as site,
            client_for(site, connections=1) as patient,
            client_for(site, connections=1, limits=quick_limits) as quick,
        ):
            for name, (_, reason) in HOSTILE.items():
                client = quick if reason in (Reason.TIMEOUT, Reason.TOO_SLOW) else patient
                error = await failure(client, site.url(f"/{name}"))
                reasons[name] = error.reason
                assert error.answered == (name != "never answers"), name
                assert (await client.fetch(site.url("/ok"))).body == b"hello"
        return reasons

    assert run(scenario()) == {name: reason for name, (_, reason) in HOSTILE.items()}


def test_a_redirect_loop_is_asked_only_as_often_as_allowed(run) -> None:
    async def scenario() -> Site:
        async with serving({"/": redirect("/")}) as site, client_for(site) as client:
            await failure(client, site.url())
        return site

    assert run(scenario()).paths == ["/"] * (PATIENT.max_redirects + 1)


def test_the_total_time_counts_across_redirects(run) -> None:
    async def later(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(redirect("/"))

    async def scenario() -> FetchError:
        limits = replace(PATIENT, total_timeout=0.5, max_redirects=100)
        async with serving({"/": later}) as site, client_for(site, limits=limits) as client:
            return await failure(client, site.url())

    error = run(scenario())
    assert (error.reason, error.retryable) == (Reason.TIMEOUT, True)
    assert "0.5 s" in error.detail


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_to_the_final_address(run, status: int) -> None:
    seen: list[tuple[str, int]] = []

    async def scenario() -> tuple[Site, Response]:
        pages = {"/a/b": redirect("../c%2Fd?x=%7e#there", status)}
        async with serving(pages) as site, client_for(site) as client:
            return site, await client.fetch(
                site.url("/a/b"), on_headers=lambda url, code, _: seen.append((url, code))
            )

    site, response = run(scenario())
    assert response.url == site.url("/c%2Fd?x=%7e")
    assert site.paths == ["/a/b", "/c%2Fd?x=%7e"]
    assert seen == [(site.url("/a/b"), status), (response.url, 200)]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2130706433", "127.1"],
)
def test_a_redirect_to_a_private_address_is_never_connected_to(run, host: str) -> None:
    async def scenario() -> tuple[Site, FetchError]:
        async with serving() as private:
            pages = {"/": redirect(f"http://{host}:{private.port}/admin")}
            async with serving(pages) as site, client_for(site) as client:
                return private, await failure(client, site.url())

    private, error = run(scenario())
    assert error.reason in (Reason.BLOCKED_ADDRESS, Reason.BAD_URL)
    assert private.connections == 0


def test_the_callers_headers_stay_with_the_origin_they_were_meant_for(run) -> None:
    async def scenario() -> tuple[Site, Site]:
        async with serving() as other:
            pages = {"/": redirect("/here"), "/here": redirect(other.url("/there"))}
            async with serving(pages) as site, client_for(site, other) as client:
                await client.fetch(site.url(), headers={"Authorization": "Bearer secret"})
                return site, other

    site, other = run(scenario())
    assert ["secret" in request for request in site.requests] == [True, True]
    assert ["secret" in request for request in other.requests] == [False]


def test_user_and_password_of_an_address_are_not_sent(run) -> None:
    async def scenario() -> tuple[Site, Response]:
        async with serving() as site, client_for(site) as client:
            url = f"http://user:secret@127.0.0.1:{site.port}/x"
            return site, await client.fetch(url)

    site, response = run(scenario())
    assert "uthorization" not in site.requests[0]
    assert "secret" not in response.url


def test_bytes_sent_along_with_an_answer_beyond_its_length_are_not_the_next_one(run) -> None:
    smuggled = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    async def scenario() -> list[bytes]:
        async with (
            serving({"/first": smuggled}) as site,
            client_for(site, connections=1) as client,
        ):
            return [(await client.fetch(site.url(path))).body for path in ("/first", "/second")]

    assert run(scenario()) == [b"hello", b"hello"]


def headed(*headers: bytes, status: int = 200) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %d OK\r\nContent-Length: 5\r\n%s\r\nhello" % (status, lines)


def trailed(*trailers: bytes) -> bytes:
    lines = b"".join(trailer + b"\r\n" for trailer in trailers)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    return head + lines + b"\r\n"


def of_bytes(size: int) -> bytes:
    return b"Content-Security-Policy: " + b"x" * size


def numbered(count: int) -> list[bytes]:
    return [b"X-%d: y" % number for number in range(count)]


@pytest.mark.parametrize(
    "answer",
    [
        headed(of_bytes(9600)),
        headed(of_bytes(64 * 1024)),
        headed(of_bytes(255 * 1024)),
        headed(*[of_bytes(9600)] * 25),
        headed(*numbered(150)),
        headed(*numbered(500)),
        headed(*numbered(5000)),
        headed(b"Set-Cookie: a=b", b"set-cookie: " + b"c" * 9600),
        headed(of_bytes(9600)).replace(b"200 OK", b"200 " + b"fine " * 4000),
        trailed(of_bytes(64 * 1024)),
        trailed(*numbered(500)),
    ],
    ids=lambda answer: str(len(answer)),
)
@pytest.mark.parametrize("piece", [1 << 20, 1000])
def test_an_answer_may_have_the_headers_that_browsers_accept(run, answer, piece) -> None:
    async def in_pieces(writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(answer), piece):
            writer.write(answer[at : at + piece])
            await writer.drain()

    async def scenario() -> Site:
        async with serving({"/": in_pieces}) as site, client_for(site) as client:
            for _ in range(2):  # over one connection
                assert (await client.fetch(site.url())).body == b"hello"
            return site

    assert run(scenario()).connections == 1


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X: %s\r\n" % (b"x" * 20_000))
        await writer.drain()


async def endless_trailers(writer: asyncio.StreamWriter) -> None:
    writer.write(trailed()[:-2])
    while True:
        writer.write(b"X: %s\r\n" % (b"x" * 20_000))
        await writer.drain()


@pytest.mark.parametrize(
    "answer",
    [
        headed(of_bytes(257 * 1024)),
        headed(*[of_bytes(9600)] * 28),
        headed(*[of_bytes(9600)] * 28, status=404),
        headed(*numbered(20_000)),
        endless_header,
        endless_headers,
        endless_trailers,
    ],
)
def test_more_headers_than_browsers_accept_are_named(run, answer) -> None:
    async def scenario() -> FetchError:
        async with serving({"/": answer}) as site, client_for(site) as client:
            error = await failure(client, site.url())
            assert (await client.fetch(site.url("/ok"))).body == b"hello"
            return error

    error = run(scenario())
    assert "headers" in error.detail or "262144 bytes" in error.detail


@pytest.mark.parametrize(
    ("status", "header", "reason", "retry_after", "retryable"),
    [
        (429, "Retry-After: 7", Reason.THROTTLED, 7.0, True),
        (503, "Retry-After: -7", Reason.THROTTLED, None, True),
        (503, "X: y", Reason.THROTTLED, None, True),
        (500, "X: y", Reason.HTTP_5XX, None, True),
        (404, "Retry-After: 7", Reason.HTTP_4XX, None, False),
        (408, "X: y", Reason.HTTP_4XX, None, True),
        (304, "X: y", Reason.BAD_ANSWER, None, False),
    ],
)
def test_an_error_status_says_whether_and_when_to_come_back(
    run, status: int, header: str, reason: Reason, retry_after: float | None, retryable: bool
) -> None:
    answer = f"HTTP/1.1 {status} Sorry\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()

    async def scenario() -> FetchError:
        async with serving({"/": answer}) as site, client_for(site) as client:
            return await failure(client, site.url())

    error = run(scenario())
    assert (error.status, error.reason) == (status, reason)
    assert (error.retry_after, error.retryable) == (retry_after, retryable)


def test_of_a_long_reason_phrase_the_beginning_is_told() -> None:
    answer = b"HTTP/1.1 404 " + b"Sorry, " * 20_000 + b"\r\nContent-Length: 0\r\n\r\n"

    async def scenario() -> FetchError:
        async with serving({"/": answer}) as site, client_for(site) as client:
            return await failure(client, site.url())

    error = asyncio.run(scenario())
    assert error.detail.startswith("HTTP 404 Sorry, Sorry")
    assert len(error.detail) < 300


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)
    for value, seconds in {
        "120": 120.0,
        " 3 ": 3.0,
        "0": None,
        "-5": None,
        "Sun, 01 Mar 2026 12:01:30 GMT": 90.0,
        "Sun, 01 Mar 2026 11:00:00 GMT": None,
        "Sun, 01 Mar 2026 12:01:30": 90.0,
        "soon": None,
        "": None,
        "9" * 400: LONGEST_RETRY_AFTER,
        "9" * 5000: LONGEST_RETRY_AFTER,
        "Sun, 01 Mar 2099 12:01:30 GMT": LONGEST_RETRY_AFTER,
        "Sun, 99 Mar 99999 12:01:30 GMT": None,
        "Fri, 31 Dec 100000000000000000000 23:59:59 GMT": None,
        "Fri, 31 Dec 9999 23:59:59 -9999": None,
        "Sun, 01 Mar 2026 12:01:30 " + "9" * 400: None,
        "nan": None,
        "inf": None,
        "1e400": None,
        "\u0663": None,
        "\udcff": None,
        "," * 400: None,
    }.items():
        assert parse_retry_after(value, now=now) == seconds, value


@pytest.mark.parametrize(
    "url",
    [
        "",
        "   ",
        "pictures.example/a.jpg",
        "//pictures.example/a.jpg",
        "http://",
        "http:///a.jpg",
        "http://:80/",
        "http://@/",
        "http://u:p@/",
        "http://.../",
        "http://a..b/",
        "http://pictures.example:port/",
        "http://pictures.example:70000/",
        "http://[::1/",
        "http://[zz::1]/",
        "http://[1:2]/",
        "http://pictures .example/",
        "http://pictures.example/\x00a",
        "http://pictures.example/\ud800",
        "http://" + "a" * 64 + ".example/",
        "http://" + "ab." * 100 + "example/",
        "http://pictures.example/" + "a" * 8000,
        "file:///etc/passwd",
        "ftp://pictures.example/a.jpg",
        "gopher://127.0.0.1:70/",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
    ],
)
def test_an_unsound_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(FetchError) as caught:
        parse_url(url)
    assert caught.value.reason == Reason.BAD_URL
    assert not caught.value.retryable
    assert len(caught.value.detail) < 1000


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h.example/a?sig=%2bA%2f%7e&x=a+b", "http://h.example/a?sig=%2bA%2f%7e&x=a+b"),
        (" http://h.example/a b.jpg\n", "http://h.example/a%20b.jpg"),
        ("http://b\u00fccher.example/\u00fc.jpg", "http://xn--bcher-kva.example/%C3%BC.jpg"),
        ("HTTP://h.example:80/#top", "http://h.example/"),
        ("https://h.example/100%", "https://h.example/100%"),
        ("http://\uff11\uff12\uff17.0.0.1/", "http://127.0.0.1/"),
        ("http://under_score.example./", "http://under_score.example./"),
        ("http://h.example/a?", "http://h.example/a?"),
        ("http://h.example\\@127.0.0.1/", "http://h.example/@127.0.0.1/"),
        ("http://h.exa\nmple/\r\nX-Injected: 1", "http://h.example/X-Injected:%201"),
        ("http://[2001:DB8::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_a_sound_address_is_sent_as_it_was_given_or_escaped_once(url: str, sent: str) -> None:
    assert str(parse_url(url)) == sent


class NoNames(aiohttp.abc.AbstractResolver):
    """Knows no name, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list:
        self.asked.append(host)
        raise OSError(None, "no such name")

    async def close(self) -> None:
        pass


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=60).map("http://".__add__),
        st.text(alphabet="a1.:/@[]%?#\\ \u00e9\u3002xn-0f", max_size=40).map("https://".__add__),
    )
)
@example("https://[]@")  # yarl raises IndexError
def test_no_text_makes_the_client_fail_otherwise_than_with_a_fetch_error(url: str) -> None:
    async def scenario() -> None:
        async with Client(
            policy=AddressPolicy.parse(ports=()), limits=PATIENT, resolver=NoNames()
        ) as client:
            error = await failure(client, url)
            assert error.reason in (Reason.BAD_URL, Reason.DNS, Reason.BLOCKED_ADDRESS)

    asyncio.run(scenario())


def test_literal_addresses_are_not_looked_up(run) -> None:
    resolver = NoNames()

    async def scenario() -> None:
        async with serving() as site, client_for(site, resolver=resolver) as client:
            await client.fetch(site.url())
            error = await failure(client, site.url(host="pictures.example"))
            assert error.reason == Reason.DNS

    run(scenario())
    assert resolver.asked == ["pictures.example"]


@contextlib.contextmanager
def name_server(zone: dict[str, list[str] | int]) -> Iterator[int]:
    """A DNS server on a UDP port of loopback: IPv4 addresses, or a response code, by name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            while (packet := server.recvfrom(1500))[0] != b"stop":
                query, client = packet
                labels, at = [], 12
                while length := query[at]:
                    labels.append(query[at + 1 : at + 1 + length].decode())
                    at += 1 + length
                question, kind = query[12 : at + 5], query[at + 2]
                found = zone.get(".".join(labels).lower(), 3)
                code, addresses = (0, found) if isinstance(found, list) else (found, [])
                records = [
                    b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
                    for address in addresses
                    if kind == 1
                ]
                head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
                server.sendto(head + question + b"".join(records), client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.sendto(b"stop", server.getsockname())
            thread.join()


def resolver_at(port: int) -> aiohttp.AsyncResolver:
    return aiohttp.AsyncResolver(nameservers=[f"127.0.0.1:{port}"], timeout=1, tries=1)


def test_a_public_name_with_a_private_address_is_refused(run) -> None:
    zone = {"innocent.example": ["127.0.0.1"], "cloud.example": ["169.254.169.254", "10.0.0.1"]}

    async def scenario(port: int) -> list[FetchError]:
        async with serving() as private, serving() as site:
            async with client_for(site, resolver=resolver_at(port)) as client:
                errors = [
                    await failure(client, private.url(host=host))
                    for host in ("innocent.example", "cloud.example")
                ]
            assert private.connections == 0
            return errors

    with name_server(zone) as port:
        errors = run(scenario(port))
    assert [error.reason for error in errors] == [Reason.BLOCKED_ADDRESS] * 2
    assert "innocent.example" in errors[0].detail
    assert "CRAWL_ALLOWED_PRIVATE=127.0.0.1:" in errors[0].detail


def test_of_several_addresses_only_the_allowed_ones_are_connected_to(run) -> None:
    async def scenario(port: int) -> None:
        async with serving(host="127.0.0.2") as refused, serving() as site:
            policy = AddressPolicy.parse(ports=(), allow=["127.0.0.1"])
            async with Client(policy=policy, limits=PATIENT, resolver=resolver_at(port)) as client:
                assert (await client.fetch(site.url(host="both.example"))).body == b"hello"
                await failure(client, refused.url(host="both.example"))
            assert refused.connections == 0

    with name_server({"both.example": ["127.0.0.2", "127.0.0.1"]}) as port:
        run(scenario(port))


def test_an_unknown_name_is_final_and_a_failing_name_server_is_not(run) -> None:
    async def scenario(port: int) -> list[FetchError]:
        async with Client(
            policy=AddressPolicy.parse(), limits=PATIENT, resolver=resolver_at(port)
        ) as client:
            hosts = ("unknown.example", "empty.example", "failing.example")
            return [await failure(client, f"http://{host}/") for host in hosts]

    with name_server({"unknown.example": 3, "empty.example": [], "failing.example": 2}) as port:
        errors = run(scenario(port))
    assert [error.reason for error in errors] == [Reason.DNS] * 3
    assert [error.retryable for error in errors] == [False, False, True]


def test_a_silent_tls_server_counts_as_no_connection(run) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def scenario() -> FetchError:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        site = Site({}, port=server.sockets[0].getsockname()[1])
        limits = replace(PATIENT, connect_timeout=0.5)
        async with server, client_for(site, limits=limits) as client:
            return await failure(client, f"https://127.0.0.1:{site.port}/")

    error = run(scenario())
    assert (error.reason, error.answered) == (Reason.TIMEOUT, False)
    assert "no connection" in error.detail


def test_a_closed_port_is_named(run) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        site = Site({}, port=closed.getsockname()[1])

        async def scenario() -> FetchError:
            async with client_for(site) as client:
                return await failure(client, site.url())

        error = run(scenario())
    assert (error.reason, error.retryable, error.answered) == (Reason.CONNECT, True, False)
    assert "ECONNREFUSED" in error.detail


def test_cancelling_passes_through_and_frees_the_connection(run) -> None:
    async def scenario() -> None:
        asked = asyncio.Event()

        async def silent(writer: asyncio.StreamWriter) -> None:
            asked.set()
            await for_ever(writer)

        async with serving({"/": silent}) as site, client_for(site, connections=1) as client:
            task = asyncio.create_task(client.fetch(site.url()))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.fetch(site.url("/ok"))).body == b"hello"

    run(scenario())


def test_an_error_of_the_callers_own_ends_the_fetch_before_the_body(run) -> None:
    class OptedOutError(Exception):
        pass

    def refuse(url: str, status: int, headers: object) -> None:
        raise OptedOutError

    async def scenario() -> None:
        async with serving({"/": endless}) as site, client_for(site, connections=1) as client:
            with pytest.raises(OptedOutError):
                await client.fetch(site.url(), on_headers=refuse)
            assert (await client.fetch(site.url("/ok"))).body == b"hello"

    run(scenario())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost` with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


def tls_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(run, certificate: Path) -> None:
    async def scenario() -> tuple[Site, FetchError]:
        async with serving(tls=tls_context(certificate)) as site, client_for(site) as client:
            return site, await failure(client, f"https://localhost:{site.port}/")

    site, error = run(scenario())
    assert (error.reason, error.retryable) == (Reason.TLS, False)
    assert site.requests == []


def test_a_trusted_certificate_is_accepted_for_its_own_name_only(certificate: Path) -> None:
    """In a process of its own that trusts the certificate from its start.

    The second server wants a certificate of ours, and in TLS 1.3 hangs up after the handshake only.
    """
    script = """
import asyncio
import sys
import django
django.setup()
from pixsim.core.net import AddressPolicy, Client, FetchError
async def main(port, strict):
    async with Client(policy=AddressPolicy.parse(allow=["127.0.0.1"])) as client:
        print((await client.fetch(f"https://localhost:{port}/")).body)
        for address in (f"127.0.0.1:{port}", f"localhost:{strict}"):
            try:
                await client.fetch(f"https://{address}/")
            except FetchError as error:
                print(error.reason, error.answered)
asyncio.run(main(*sys.argv[1:]))
"""

    async def scenario() -> str:
        strict = tls_context(certificate)
        strict.verify_mode = ssl.CERT_REQUIRED
        async with serving(tls=tls_context(certificate)) as site, serving(tls=strict) as other:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                script,
                str(site.port),
                str(other.port),
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "pixsim.settings",
                    "SSL_CERT_FILE": str(certificate),
                },
                stdout=subprocess.PIPE,
            )
            output, _ = await process.communicate()
            return output.decode()

    assert asyncio.run(scenario()).splitlines() == ["b'hello'", "tls False", "connect True"]


def test_the_limits_follow_the_settings(settings) -> None:
    settings.CRAWL_MAX_BYTES = 7
    settings.CRAWL_MAX_REDIRECTS = 0
    limits = Limits.from_settings()
    assert (limits.max_bytes, limits.max_redirects) == (7, 0)
