"""Hosts: how many requests at once and how often, and the cooldown of a host in trouble."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings

from crawler.fetch.sessions import Session
from crawler.fetch.tasks import Task, Trouble
from pixsim.core.net import AddressPolicy

# A host of the operator's own: CRAWL_ALLOWED_PRIVATE names its address.
OWN_CONCURRENCY = 64

RECOVERY = 0.05  # How much of a halved concurrency each success restores.
FIRST_COOLDOWN = 5.0  # Seconds without a Retry-After; each further cooldown is doubled.
LONGEST_COOLDOWN = 600.0
LONGEST_SILENCE = 60.0  # A host that does not answer is asked again so often: one request.
LONGEST_RETRY_AFTER = 3600.0
FAILURES_BEFORE_COOLDOWN = 3

# Candidates go back to the queue when their host would let them wait longer than this.
COOLDOWN_WAITED_FOR = 3.0
TURN_WAITED_FOR = 30.0

UNKNOWN_BYTES = 128 * 1024
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Item:
    """A task on its way through the engine."""

    session: Session
    task: Task
    url: str
    host: Host | None = None
    fetching: asyncio.Task[None] | None = None
    needed_bytes: int = 0
    held_bytes: int = 0
    body: bytes = b""
    retrieved_at: datetime = NEVER


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The operator's limits. The rate is per worker process; the concurrency also holds for all
    workers together, by `most_in_flight`.

    CRAWL_HOST_LIMITS by name comes first. An IP address that CRAWL_ALLOWED_PRIVATE opens (or
    `localhost`, if it opens loopback) is the operator's own machine: OWN_CONCURRENCY requests at
    once, no rate. Every other host has CRAWL_HOST_CONCURRENCY and CRAWL_HOST_RATE.
    """

    concurrency: int
    rate: float
    by_name: Mapping[str, Mapping[str, Any]]
    policy: AddressPolicy

    @classmethod
    def from_settings(cls) -> Self:
        return cls(
            concurrency=settings.CRAWL_HOST_CONCURRENCY,
            rate=settings.CRAWL_HOST_RATE,
            by_name=settings.CRAWL_HOST_LIMITS,
            policy=AddressPolicy.from_settings(),
        )

    def host(self, name: str) -> Host:
        bare = _without_port(name)
        own = self._is_own(bare)
        named = self.by_name.get(name) or self.by_name.get(bare) or {}
        rate = named.get("rate", 0 if own else self.rate)
        return Host(
            name,
            most=named.get("concurrency", OWN_CONCURRENCY if own else self.concurrency),
            gap=1 / rate if rate else 0.0,
        )

    def most_in_flight(self, name: str) -> int | None:
        """Return how many of the host's candidates all workers together may hold; None: any."""
        host = self.host(name)
        return None if host.most == OWN_CONCURRENCY and not host.gap else host.most

    def _is_own(self, name: str) -> bool:
        try:
            address = ip_address("127.0.0.1" if name == "localhost" else name)
        except ValueError:
            return False
        return any(address in allowance.network for allowance in self.policy.allowances)


def _without_port(name: str) -> str:
    """Return `example.org` for `example.org:8080`, `::1` for `[::1]:80` and for `::1`."""
    if name.count(":") > 1 and not name.startswith("["):
        return name
    try:
        return urlsplit(f"//{name}").hostname or name
    except ValueError:  # a row that was made by hand
        return name


@dataclass(slots=True, eq=False)
class Host:
    """The state of one server: scheme, host and port. Times are seconds of the event loop's clock."""

    name: str
    most: int
    gap: float
    allowed: float = 0.0
    is_known: bool = False  # Whether its robots.txt was asked; until then one request at a time.
    active: int = 0
    next_start: float = 0.0
    cooldown_until: float = 0.0
    failures: int = 0
    is_silent: bool = False  # Whether it rests, or rested last, because it did not answer.
    trouble: Trouble | None = None
    held_bytes: int = 0
    typical_bytes: float = UNKNOWN_BYTES
    waiting: deque[Item] = field(default_factory=deque)
    is_queued: bool = False
    has_timer: bool = False

    def __post_init__(self) -> None:
        self.allowed = float(self.most)

    # Mutators

    def start(self, now: float) -> None:
        """Count a request that starts now."""
        self.active += 1
        self.next_start = max(now, self.next_start) + self.gap

    def succeeded(self, size: int | None = None) -> None:
        """The host answered, however broken, with a file of `size` bytes if it is one."""
        self.failures = 0
        if self.is_silent:
            self.cooldown_until, self.is_silent = 0.0, False
        self.allowed = min(float(self.most), self.allowed + RECOVERY)
        if size is not None:
            self.typical_bytes += (size - self.typical_bytes) * 0.2

    def throttled(self, now: float, retry_after: float | None, detail: str) -> float:
        """Begin a cooldown after a 429 or 503 and return its seconds; halve the concurrency once."""
        self.is_silent = False
        if self.cooldown(now) <= 0:
            self.failures += 1
            self.allowed = max(1.0, self.allowed / 2)
        if retry_after is None:
            seconds = min(LONGEST_COOLDOWN, FIRST_COOLDOWN * 2 ** (self.failures - 1))
        else:
            seconds = min(LONGEST_RETRY_AFTER, retry_after)
        return self._cool_down(now, seconds, Trouble("throttled", detail))

    def failed(self, now: float, trouble: Trouble) -> None:
        """Count that the host did not answer; several times in a row begin a cooldown."""
        if self.cooldown(now) > 0:
            return
        self.failures += 1
        beyond = self.failures - FAILURES_BEFORE_COOLDOWN
        if beyond >= 0:
            self.is_silent = True
            self._cool_down(now, min(LONGEST_SILENCE, FIRST_COOLDOWN * 2**beyond), trouble)

    def _cool_down(self, now: float, seconds: float, trouble: Trouble) -> float:
        self.cooldown_until = max(self.cooldown_until, now + seconds)
        self.trouble = trouble
        return self.cooldown_until - now

    def slow_down(self, gap: float) -> None:
        """Keep the `gap` seconds between requests that the site's robots.txt asks for."""
        if gap > self.gap:
            self.next_start += gap - self.gap
            self.gap = gap

    # Queries

    def cooldown(self, now: float) -> float:
        """Return the seconds that are left of the cooldown."""
        return max(0.0, self.cooldown_until - now)

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may start, if there is a slot for it."""
        return max(0.0, self.next_start - now, self.cooldown_until - now)

    def is_idle(self, now: float) -> bool:
        """Whether forgetting the host would lose nothing but a halved concurrency."""
        busy = self.waiting or self.active or self.held_bytes or self.is_queued or self.has_timer
        return not busy and self.wait(now) == 0

    @property
    def has_slot(self) -> bool:
        return self.active < (int(self.allowed) if self.is_known and not self.is_silent else 1)

    def pop_late_items(self, now: float) -> Iterable[tuple[Item, float]]:
        """Remove and yield the items that would wait too long, with their seconds to wait."""
        if self.cooldown(now) > COOLDOWN_WAITED_FOR:
            kept = 0
        elif self.gap:
            kept = max(1, int((TURN_WAITED_FOR - self.wait(now)) / self.gap))
        else:
            return
        for position in range(len(self.waiting) - 1, kept - 1, -1):
            yield self.waiting.pop(), self.wait(now) + position * self.gap
