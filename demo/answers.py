"""How the demo's servers answer: properly, late, broken, or not at all."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

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


def file(
    body: bytes | str, suffix: str, *, seconds: float = 0.0, headers: Mapping[str, str] = {}
) -> Answer:
    """The body with the type of files that end in `suffix`, after `seconds`."""
    data = body.encode() if isinstance(body, str) else body

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(body=data, headers={"Content-Type": TYPES[suffix], **headers})

    return answer


def status(code: int, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=code, headers=headers)

    return answer


def in_turn(*answers: Answer) -> Answer:
    """Each of the answers once, then the last one for ever."""
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


class BusyServer:
    """A server that is too busy for some seconds after it is first asked, and says so."""

    def __init__(self, *, busy_seconds: float, retry_after: int) -> None:
        self._busy_seconds = busy_seconds
        self._refuse = status(429, **{"Retry-After": str(retry_after)})
        self._first_asked_at: float | None = None

    def file(self, body: bytes, suffix: str) -> Answer:
        give = file(body, suffix)

        async def answer(request: web.Request) -> web.StreamResponse:
            now = time.monotonic()
            self._first_asked_at = self._first_asked_at or now
            is_busy = now - self._first_asked_at < self._busy_seconds
            return await (self._refuse if is_busy else give)(request)

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
