"""How sources fetch documents of other people's sites: robots.txt first, at the site's pace."""

import asyncio
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings

from crawler.errors import CrawlError, SourceRefused, SourceUnavailable
from crawler.parsing.documents import Documents
from crawler.robots import Robots
from crawler.urls import origin_of, server_of
from pixsim.core.urls import BadUrl, sendable

if TYPE_CHECKING:
    from pixsim.core.net import Client, FetchError, Response

# A longer wait would hold up a worker that is asked to stop.
MAX_SLEEP_SECONDS = 1.0


class NotAllowed(CrawlError):
    """A document that its site does not let us read, or that cannot be had. The message says why."""


class Web:
    """Fetches documents for one source, one after the other.

    Two requests to a host are at least its Crawl-delay, or what CRAWL_HOST_RATE says, apart.
    A wait that is too long to sleep raises SourceUnavailable with that `retry_after`.
    Not for use inside a running event loop. Close it: `documents` is a process.
    """

    def __init__(self) -> None:
        self.documents = Documents()
        self._robots = Robots(self.documents)
        self._asked_at: dict[str, float] = {}

    @property
    def token(self) -> str:
        """The name by which sites address us."""
        return self._robots.token

    def close(self) -> None:
        """End the process that parses."""
        self.documents.close()

    def get(
        self, url: str, *, max_bytes: int, ask_robots: bool, optional: bool = False
    ) -> "Response":
        """Return a document at a sendable URL. Raise NotAllowed if its site does not let us read it.

        Raise SourceRefused or, if it may succeed later, SourceUnavailable. An `optional` document
        that cannot be had raises NotAllowed too, unless the host asks us to wait.
        """
        from pixsim.core.net import FetchError, Reason

        try:
            return self._get(url, max_bytes, ask_robots)
        except FetchError as error:
            if optional and error.reason != Reason.THROTTLED:
                raise NotAllowed(str(error)) from error
            raise source_error(error, url) from error

    def _get(self, url: str, max_bytes: int, ask_robots: bool) -> "Response":
        host = server_of(url)
        rate = settings.CRAWL_HOST_RATE
        between = max(self._robots.delay(url), 1.0 / rate if rate else 0.0)
        wait = self._asked_at.get(host, -math.inf) + between - time.monotonic()
        if wait > MAX_SLEEP_SECONDS:
            raise SourceUnavailable(
                f"{host} asks for {between:g} s between requests", retry_after=wait, is_pause=True
            )
        time.sleep(max(0.0, wait))
        try:
            return asyncio.run(self._fetch(url, max_bytes, ask_robots))
        finally:
            self._asked_at[host] = time.monotonic()

    async def _fetch(self, url: str, max_bytes: int, ask_robots: bool) -> "Response":
        from pixsim.core.net import Client, Limits

        async with Client(limits=replace(Limits.from_settings(), max_bytes=max_bytes)) as client:
            if ask_robots:
                await self._ask_robots(client, url)
            response = await client.fetch(url)
            if ask_robots and response.url != url:
                await self._ask_robots(client, response.url)
            return response

    async def _ask_robots(self, client: "Client", url: str) -> None:
        allowed, why = await self._robots.allowed(client.fetch, url)
        wait = self._robots.retry_in(url)
        if not allowed and wait is not None:
            raise SourceUnavailable(f"{origin_of(url)}: {why}", retry_after=wait)
        if not allowed:
            raise NotAllowed(why)


def is_web(location: str) -> bool:
    """Return whether a location is an http(s) address."""
    return location[:8].lower().startswith(("http://", "https://"))


def web_location(location: str) -> str:
    """Return a source's location as it is sent.

    Raise SourceRefused if it is no address, or one that is never fetched.
    """
    from pixsim.core.net import address_refusal

    try:
        url = sendable(location)
    except BadUrl as error:
        raise SourceRefused("location", str(error)) from None
    if refusal := address_refusal(url):
        raise SourceRefused("location", refusal)
    return url


def source_error(error: "FetchError", url: str) -> SourceRefused | SourceUnavailable:
    """Return what a failed fetch of a source's own document means for the source."""
    if error.retryable:
        return SourceUnavailable(
            f"{url} cannot be read now: {error.detail}", retry_after=error.retry_after
        )
    return SourceRefused("location", f"{url} cannot be read: {error.detail}")
