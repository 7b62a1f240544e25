"""Connections that send a byte now and then end, and meanwhile nobody else waits for them."""

import http.client
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixsim.web import server
from tests.pixsim.support import PROJECT, environment, free_port, short_home, wait_until

CLIENTS = 200
HEADERS = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000
BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The site as it is served everywhere, but that headers and bodies have one second."""
    port = free_port()
    command = server.command("127.0.0.1", port)
    at = command.index("--http1-header-read-timeout") + 1
    assert int(command[at]) == server.HEADER_SECONDS * 1000
    command[at], command[-1] = "1000", "tests.web.quick_site:application"
    with short_home() as home:
        # No service is needed: what is asked for here needs no database.
        env = environment(
            home,
            DATABASE_URL="postgres://nobody@127.0.0.1:1/x",
            CELERY_BROKER_URL="redis://127.0.0.1:1/0",
        )
        with (Path(home) / "web.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=PROJECT, env=env, stdout=log, stderr=log)
        try:
            wait_until(lambda: status_of(port, "/health/live") == 200)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=20)


def status_of(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def all_end(port: int, first: bytes, then: bytes) -> bytes:
    """Open connections that send a byte each second until the server has ended all of them.

    Meanwhile the site answers. Return what the server said on one of them.
    """
    open_ones = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
    said = b""
    for one in open_ones:
        one.sendall(first)
        one.setblocking(False)
    deadline = time.monotonic() + 30
    for byte in range(len(then)):
        for one in list(open_ones):
            try:
                one.send(then[byte : byte + 1])
                answer = one.recv(1000)
                said = answer or said
                is_open = bool(answer)
            except BlockingIOError:
                is_open = True
            except OSError:
                is_open = False
            if not is_open:
                open_ones.remove(one)
                one.close()
        assert status_of(port, "/health/live") == 200
        if not open_ones:
            return said
        assert time.monotonic() < deadline, f"{len(open_ones)} are still open"
        time.sleep(1)
    raise AssertionError("The server read it all.")


def test_slow_headers_end(port: int) -> None:
    all_end(port, b"", HEADERS)


def test_slow_headers_of_a_second_request_end(port: int) -> None:
    all_end(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", HEADERS)


def test_slow_bodies_end(port: int) -> None:
    assert b" 408 " in all_end(port, BODY, b"a" * 1000)


def test_a_body_of_400_mb_is_refused_at_once(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000000\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert one.recv(1000) in (b"", b"Request Entity Too Large\n")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        sent = 0
        try:
            while sent < 400_000_000:
                one.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        assert sent < 100_000_000


def test_every_way_to_run_the_site_uses_this_server() -> None:
    assert (
        "server.command(host, port)" in (PROJECT / "pixsim/management/commands/up.py").read_text()
    )
    dockerfile = (PROJECT / "Dockerfile").read_text()
    assert re.search(r'CMD \["python", "manage.py", "serve", ', dockerfile)
    web = (
        (PROJECT / "compose.yaml").read_text().partition("\n  web:")[2].partition("\n  worker:")[0]
    )
    assert "command:" not in web
