"""What a site allows crawlers: robots.txt (RFC 9309) and the opt-out signals in answers.

People read the reason for a refusal in the outcome of a candidate. A reason that begins with
"robots.txt" means that the file excludes crawlers; any other reason names the signal by which the
site reserves its pictures (`Content-Signal: ai-train=no`, `X-Robots-Tag: noai` …).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from django.conf import settings

from crawler.directives import (
    EXCLUDING,
    ROBOTS_UNANSWERED,
    ROBOTS_UNREADABLE,
    product_token,
    robots_directives,
)
from crawler.errors import SourceUnavailable
from crawler.parsing.documents import Documents
from crawler.parsing.parser import Unreadable
from crawler.robots_file import Parsed, PathRules, denied_use
from crawler.urls import origin_of

if TYPE_CHECKING:
    from pixsim.core.net import Response

Fetch = Callable[..., Awaitable["Response"]]
"""`Client.fetch` of `pixsim.core.net`."""

KEPT_SECONDS = 24 * 3600.0
UNREACHABLE_KEPT_SECONDS = 300.0
# A file of more bytes is not read; `parse` looks at its first 500 KiB.
MAX_BYTES = 5 * 1024**2
MAX_ORIGINS = 10_000
# Then the picture's own fetch must fail too, with a clearer reason than this one.
FAILS_THE_FETCH_TOO = frozenset({"blocked_address", "dns", "tls", "bad_url"})
UNREADABLE = frozenset({"bad_answer", "too_large"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What one robots.txt, or its absence, allows until `expires` (monotonic seconds)."""

    expires: float
    rules: PathRules | None = None
    delay: float = 0.0
    signals: PathRules | None = None
    signal: str = ""
    unreachable: str = ""
    unreadable: str = ""

    @classmethod
    def of(cls, parsed: Parsed, *, expires: float) -> Self:
        return cls(
            expires=expires,
            rules=PathRules(parsed.rules),
            delay=parsed.delay,
            signals=PathRules(parsed.signals),
            signal=parsed.signal,
        )

    def check(self, url: str, token: str) -> tuple[bool, str]:
        """Return whether a sendable URL may be fetched, and the reason if not."""
        if self.unreachable:
            return False, f"{ROBOTS_UNANSWERED}: {self.unreachable}"
        if self.unreadable:
            return False, f"{ROBOTS_UNREADABLE}: {self.unreadable}"
        if self.rules is not None and not self.rules.allow(url):
            return False, f"robots.txt disallows {token}"
        if self.signals is not None and not self.signals.allow(url):
            return False, f"{self.signal} (robots.txt)"
        return True, ""


class Robots:
    """The robots.txt of many sites, cached for at most a day.

    Belongs to one event loop, and parses in `documents`. With CRAWL_HONOUR_ROBOTS off everything is
    allowed and nothing is fetched. A fetch that fails for one of the reasons in `raises` is raised and
    not remembered, unless the file has begun to come.
    """

    def __init__(
        self,
        documents: Documents | None = None,
        *,
        user_agent: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        raises: Container[str] = (),
    ) -> None:
        self.token = product_token(user_agent or settings.CRAWL_USER_AGENT)
        self._documents = documents or Documents()
        self._parsing: asyncio.Task[None] | None = None
        self._unparsed: list[tuple[bytes, asyncio.Future[Parsed | Unreadable]]] = []
        self._clock = clock
        self._raises = raises
        self._kept: OrderedDict[str, Rules] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Rules]] = {}

    async def allowed(self, fetch: Fetch, url: str) -> tuple[bool, str]:
        """Return whether a sendable URL may be fetched, and the reason if not.

        An absent robots.txt (4xx) allows all. One that does not answer (5xx, 429, no connection)
        allows nothing until it is fetched again (`retry_in`).
        """
        if not settings.CRAWL_HONOUR_ROBOTS:
            return True, ""
        rules = await self._rules(fetch, origin_of(url))
        return rules.check(url, self.token)

    def close(self) -> None:
        """End the process that parses."""
        self._documents.close()

    def delay(self, url: str) -> float:
        """Return the seconds between requests that the site asks for, 0 if it asks for none.

        From Crawl-delay and Request-rate, at most MAX_DELAY_SECONDS. Call `allowed` first.
        """
        rules = self._kept.get(origin_of(url))
        return rules.delay if rules and settings.CRAWL_HONOUR_ROBOTS else 0.0

    def retry_in(self, url: str) -> float | None:
        """Return the seconds until a robots.txt that did not answer is fetched again, else None."""
        rules = self._kept.get(origin_of(url))
        if rules is None or not rules.unreachable:
            return None
        return max(0.0, rules.expires - self._clock())

    async def _rules(self, fetch: Fetch, origin: str) -> Rules:
        rules = self._kept.get(origin)
        if rules is not None and rules.expires > self._clock():
            self._kept.move_to_end(origin)
            return rules
        task = self._asked.get(origin)
        if task is None:
            task = asyncio.create_task(self._ask(fetch, origin))
            self._asked[origin] = task
            task.add_done_callback(lambda _: self._asked.pop(origin, None))
        # One caller may be cancelled while others wait for the same answer.
        return await asyncio.shield(task)

    async def _ask(self, fetch: Fetch, origin: str) -> Rules:
        rules = self._kept[origin] = await self._read(fetch, origin)
        while len(self._kept) > MAX_ORIGINS:
            self._kept.popitem(last=False)
        return rules

    async def _read(self, fetch: Fetch, origin: str) -> Rules:
        from pixsim.core.net import FetchError, Limits

        limits = replace(Limits.from_settings(), max_bytes=MAX_BYTES, max_redirects=5)
        try:
            response = await fetch(f"{origin}/robots.txt", limits=limits)
        except FetchError as error:
            if error.reason in self._raises and not (error.reason == "timeout" and error.answered):
                raise
            now = self._clock()
            # RFC 9309, 2.3.1: 4xx and too many redirects mean that there is none. But 429 does not.
            is_absent = 400 <= (error.status or 0) < 500 and error.status != 429
            if is_absent or error.reason == "too_many_redirects":
                return Rules(expires=now + KEPT_SECONDS)
            if error.reason in UNREADABLE and not error.retryable:
                return Rules(expires=now + UNREACHABLE_KEPT_SECONDS, unreadable=error.detail[:200])
            # Where it was redirected to is not where the picture is.
            if error.reason in FAILS_THE_FETCH_TOO and not (error.retryable or error.answered):
                return Rules(expires=now + UNREACHABLE_KEPT_SECONDS)
            kept = min(max(error.retry_after or 0.0, UNREACHABLE_KEPT_SECONDS), KEPT_SECONDS)
            return Rules(expires=now + kept, unreachable=str(error)[:200])
        try:
            parsed = await self._parse(response.body)
        except SourceUnavailable as error:
            now = self._clock()
            return Rules(expires=now + UNREACHABLE_KEPT_SECONDS, unreachable=str(error)[:200])
        kept_until = self._clock() + KEPT_SECONDS
        if isinstance(parsed, Unreadable):
            return Rules(expires=kept_until, unreadable=str(parsed))
        return Rules.of(parsed, expires=kept_until)

    async def _parse(self, body: bytes) -> Parsed | Unreadable:
        answer: asyncio.Future[Parsed | Unreadable] = asyncio.get_running_loop().create_future()
        self._unparsed.append((body, answer))
        if self._parsing is None or self._parsing.done():
            self._parsing = asyncio.create_task(self._parse_all())
        return await answer

    async def _parse_all(self) -> None:
        """Parse what has come meanwhile, in one thread at a time, so that the loop never waits."""
        while batch := self._unparsed:
            self._unparsed = []
            bodies = [body for body, _ in batch]
            try:
                found = await asyncio.to_thread(self._documents.robots, bodies, self.token)
            except Exception as error:
                for _, answer in batch:
                    _resolve(answer, error)
            else:
                for (_, answer), parsed in zip(batch, found, strict=True):
                    _resolve(answer, parsed)


def _resolve(
    answer: "asyncio.Future[Parsed | Unreadable]", outcome: Parsed | Unreadable | Exception
) -> None:
    if answer.done():  # who asked has given up
        return
    if isinstance(outcome, Exception) and not isinstance(outcome, Unreadable):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def opted_out(headers: Mapping[str, str], user_agent_token: str) -> str | None:
    """Return the signal in an answer's headers that keeps a picture out of datasets, else None.

    Honoured: X-Robots-Tag (noai, noimageai, noindex, noimageindex, none; without prefix or with
    ours), TDM-Reservation: 1, Content-Usage and Content-Signal that deny training.
    """
    excluded = EXCLUDING & robots_directives(
        header_values(headers, "x-robots-tag"), user_agent_token
    )
    if excluded:
        return f"X-Robots-Tag: {min(excluded)}"
    if any(value.strip() == "1" for value in header_values(headers, "tdm-reservation")):
        return "TDM-Reservation: 1"
    for name in ("Content-Usage", "Content-Signal"):
        for value in header_values(headers, name.lower()):
            if denied := denied_use(value):
                return f"{name}: {denied}"
    return None


def header_values(headers: Mapping[str, str], name: str) -> list[str]:
    """Return all values of a header; `name` is in lower case."""
    return [value for key, value in headers.items() if key.lower() == name]
