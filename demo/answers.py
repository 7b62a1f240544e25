"""How the demo's servers answer: properly, late, broken, or not at all."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "svg": "image/svg+xml",
    "html": "text/html",
    "xml": "application/xml",
    "csv": "text/csv",
    "txt": "text/plain",
}
DRIBBLE_SECONDS = 0.2


def file(body: bytes | str, suffix: str, **headers: str) -> Answer:
    """The body with the type of files that end in `suffix`."""

    async def answer(request: web.Request) -> web.Response:
        return _response(body, suffix, headers)

    return answer


def late_file(body: bytes, suffix: str, *, seconds: float) -> Answer:
    """The body after a while."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return _response(body, suffix)

    return answer


def second_time_file(body: bytes, suffix: str) -> Answer:
    """An error at first, the body from the second request on."""
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return _response(body, suffix) if asked > 1 else web.Response(status=500)

    return answer


class Patience:
    """A server that is too busy for some seconds after it is first asked, and says so."""

    def __init__(self, *, busy_seconds: float, retry_after: int) -> None:
        self._busy_seconds = busy_seconds
        self._retry_after = retry_after
        self._first_asked_at: float | None = None

    def file(self, body: bytes, suffix: str) -> Answer:
        async def answer(request: web.Request) -> web.Response:
            now = time.monotonic()
            self._first_asked_at = self._first_asked_at or now
            if now - self._first_asked_at < self._busy_seconds:
                return web.Response(status=429, headers={"Retry-After": str(self._retry_after)})
            return _response(body, suffix)

        return answer


def moved(location: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    return answer


def status(code: int) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=code)

    return answer


def dropped() -> Answer:
    """The connection is closed without a word."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    return answer


def dribbled(body: bytes, suffix: str) -> Answer:
    """A byte now and then, for ever."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": TYPES[suffix]})
        await response.prepare(request)
        for place in range(len(body)):
            await response.write(body[place : place + 1])
            await asyncio.sleep(DRIBBLE_SECONDS)
        return response

    return answer


def _response(
    body: bytes | str, suffix: str, headers: dict[str, str] | None = None
) -> web.Response:
    data = body.encode() if isinstance(body, str) else body
    return web.Response(body=data, headers={"Content-Type": TYPES[suffix], **(headers or {})})
