"""Limits of request bodies, before anything of them is kept.

Django writes a body to disk before it looks at the address. So bodies are limited around it: by the
length that the request declares, and by the bytes that arrive, since a request may declare none
(chunked) or a wrong one. And a body must arrive in time, which servers do not ask for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.db import close_old_connections
from django.http import HttpRequest, parse_cookie
from django.urls import reverse
from django.utils.module_loading import import_string

from jobs.services import MAX_UPLOAD_BYTES

FORM_BYTES = 1024 * 1024
"""What an upload's form may have beside its files."""
FIRST_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""A body has FIRST_SECONDS, and a second more for so many bytes that have arrived."""

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class BadLength(ValueError):
    """The declared length is no number."""


def declared_length(text: str | None) -> int | None:
    """Return the length that a request declares, None without one. Raise BadLength."""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        raise BadLength("The Content-Length is no number.")
    return int(text[:20])


def takes_files(method: str, path: str) -> bool:
    return method == "POST" and path == reverse("admin:jobs_job_add")


def upload_limit(cookies: str) -> int:
    """Return how many bytes a body may have where files are taken: much, from who may add jobs."""
    return MAX_UPLOAD_BYTES + FORM_BYTES if _may_upload(cookies) else form_limit()


def form_limit() -> int:
    """Return how many bytes any other body may have: what Django keeps in memory."""
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0


def _may_upload(cookies: str) -> bool:
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")
    if not key.isalnum():
        return False
    request = HttpRequest()
    request.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key)
    close_old_connections()
    try:
        return bool(get_user(request).has_perm("jobs.add_job"))
    finally:
        close_old_connections()


class LimitedBodies:
    """An ASGI application whose requests have bodies within the limits."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            declared = declared_length(headers.get(b"content-length"))
        except BadLength:
            await _answer(send, HTTPStatus.BAD_REQUEST)
            return
        limit = form_limit()
        if takes_files(scope["method"], scope["path"]):
            ask = sync_to_async(upload_limit, thread_sensitive=False)
            limit = await ask(headers.get(b"cookie", ""))
        if (declared or 0) > limit:
            await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = _Body(receive, send, limit)
        await self._application(scope, body.receive, body.send)


class _Body:
    """The body of one request, while it arrives. Refused, it looks like a client that went away."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self._began = time.monotonic()
        self._bytes = 0
        self._is_whole = self._is_refused = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        allowed = FIRST_SECONDS + self._bytes / SLOWEST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(self._began + allowed - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        self._bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._bytes > self._limit:
            return await self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    async def send(self, message: Message) -> None:
        if not self._is_refused:
            await self._send(message)

    async def _refuse(self, status: HTTPStatus) -> Message:
        await _answer(self._send, status)
        self._is_refused = self._is_whole = True
        return {"type": "http.disconnect"}


async def _answer(send: Send, status: HTTPStatus) -> None:
    """Answer without the application, and end the connection: the rest of the body is not read."""
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": f"{status.phrase}\n".encode()})


def limited_bodies(application: WsgiApplication) -> WsgiApplication:
    """The same for WSGI, where Django never reads more than the declared length."""

    def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            declared = declared_length(environ.get("CONTENT_LENGTH")) or 0
        except BadLength:
            return refused(HTTPStatus.BAD_REQUEST, start_response)
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        limit = form_limit()
        if takes_files(environ["REQUEST_METHOD"], path):
            limit = upload_limit(environ.get("HTTP_COOKIE", ""))
        if declared > limit:
            return refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, start_response)
        return application(environ, start_response)

    def refused(status: HTTPStatus, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = [("Content-Type", "text/plain"), ("Connection", "close")]
        start_response(f"{status.value} {status.phrase}", headers)
        return [f"{status.phrase}\n".encode()]

    return limited
