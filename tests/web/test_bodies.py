"""Bodies are refused before they are kept: by their declared length, and by the bytes that arrive."""

import asyncio
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client

from jobs.services import MAX_UPLOAD_BYTES
from pixsim.web import bodies
from pixsim.web.bodies import LimitedBodies, limited_bodies

UPLOAD = "/admin/jobs/job/add/"
LIMIT = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
MIB = 1024**2


class Site:
    """An ASGI application that reads every body to its end, as Django does."""

    def __init__(self) -> None:
        self.kept = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.kept += len(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(
    chunks: list[bytes], path: str = "/", pause: float = 0, **headers: Any
) -> tuple[int, dict[bytes, bytes], int]:
    """Return the status, the headers and how many bytes the site kept."""
    site, sent, waiting = Site(), [], list(chunks)

    async def receive() -> Any:
        await asyncio.sleep(pause)
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    names = [
        (name.replace("_", "-").encode(), str(value).encode()) for name, value in headers.items()
    ]
    scope = {"type": "http", "method": "POST", "path": path, "headers": names}
    asyncio.run(LimitedBodies(site)(scope, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], dict(sent[0]["headers"]), site.kept


def ask_wsgi(length: str | None, path: str = "/", cookie: str = "") -> int:
    statuses = []

    def site(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return []

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "HTTP_COOKIE": cookie}
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    limited_bodies(site)(environ, lambda status, headers: statuses.append(int(status[:3])))
    return statuses[0]


@pytest.mark.parametrize("path", ["/", "/nothing/here", "/admin/login/", "/webhooks/replicate/x"])
def test_a_declared_length_over_the_limit_is_refused_before_a_byte_is_read(path: str) -> None:
    status, headers, kept = ask([b"x"], path, content_length=400_000_000)
    assert (status, headers[b"connection"], kept) == (413, b"close", 0)
    assert ask_wsgi("400000000", path) == 413


def test_a_body_that_declares_no_length_or_a_wrong_one_is_counted() -> None:
    chunks = [b"x" * MIB] * 400
    for headers in ({}, {"content_length": 10}, {"transfer_encoding": "chunked"}):
        status, _, kept = ask(chunks, **headers)
        assert status == 413
        assert kept <= LIMIT


def test_what_fits_is_taken_whole() -> None:
    assert ask([b"x" * MIB, b"y" * MIB])[::2] == (200, 2 * MIB)
    assert ask([b""])[::2] == (200, 0)
    assert ask_wsgi(None) == ask_wsgi("") == ask_wsgi("100") == 200


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "²", "+5", " 5", "0x10"])
def test_a_length_that_is_no_number_is_a_bad_request(length: str) -> None:
    assert ask([b"x"], content_length=length)[0] == 400
    assert ask_wsgi(length) == 400


def test_a_length_of_any_number_of_digits_is_too_long() -> None:
    assert ask([b"x"], content_length="9" * 5000)[0] == ask_wsgi("9" * 5000) == 413


def test_a_body_that_trickles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.2)
    status, headers, kept = ask([b"x"] * 1000, pause=0.05)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert kept < 10


def test_a_body_that_keeps_coming_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "FIRST_SECONDS", 0.2)
    assert ask([b"x" * 64 * 1024] * 20, pause=0.05)[0] == 200


@pytest.mark.django_db(transaction=True)
def test_only_who_may_add_jobs_may_send_files() -> None:
    large = {"content_length": MAX_UPLOAD_BYTES}
    user = User.objects.create_user("ann", password="p", is_staff=True)
    client = Client()
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    assert ask([b"x"], UPLOAD, **large)[0] == 413
    assert ask([b"x"], UPLOAD, **large, cookie=cookie)[0] == 413
    user.user_permissions.add(Permission.objects.get(codename="add_job"))
    assert ask([b"x"], UPLOAD, **large, cookie=cookie)[0] == 200
    assert ask([b"x"], "/admin/login/", **large, cookie=cookie)[0] == 413
    assert ask([b"x"], UPLOAD, content_length=2 * MAX_UPLOAD_BYTES, cookie=cookie)[0] == 413
    assert ask_wsgi(str(MAX_UPLOAD_BYTES), UPLOAD, cookie) == 200
    assert ask_wsgi(str(MAX_UPLOAD_BYTES), UPLOAD, 'sessionid="aaaaaaaaaaaaa\\000"') == 413
    assert ask_wsgi(str(MAX_UPLOAD_BYTES), UPLOAD, "sessionid=aaaaaaaaaaaaaaaaaaaa") == 413
