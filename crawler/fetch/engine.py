"""The engine: one per worker process, kept for its life.

    caller's thread     Session.submit -> ... -> Session.collect, commits to the database
    loop thread         schedules by host, fetches (this module)
    checker thread      feeds the decoder, hashes, stores (checker.py)
    decoder process     decodes (decoder.py)

Threads notify each other once per batch where they can: that makes it fast.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from django.conf import settings

from crawler.fetch.checker import Checker
from crawler.fetch.hosts import UNKNOWN_BYTES, Host, HostLimits, Item
from crawler.fetch.rules import Rules
from crawler.fetch.sessions import Session
from crawler.fetch.tasks import EngineFailed, NotSent, Refused, Task, Trouble, refused_by
from crawler.robots import Robots, opted_out
from crawler.urls import server_of
from pixsim.core.net import Client, FetchError, Reason, Response
from pixsim.core.net.client import parse_url, redirected

MAX_FETCHES = 128
MAX_HOSTS = 10_000
SHARES = 4  # A host may hold one of so many parts of CRAWL_IN_FLIGHT_BYTES.
START_SECONDS = 30.0
RETRY_SECONDS = 5.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# These mean that the host did not answer, whatever was asked for, unless the error says it did.
HOST_FAILURES = frozenset({Reason.DNS, Reason.CONNECT, Reason.TLS, Reason.TIMEOUT})
# Then robots.txt is not to blame: the host fails, and is asked for its robots.txt again.
OUT_OF_REACH = HOST_FAILURES | {Reason.THROTTLED, Reason.BLOCKED_ADDRESS}


class Engine:
    """Fetches, checks and stores pictures, in threads of its own.

    Use `shared()`: later sessions reuse its connections, robots.txt files and state of hosts.
    The CRAWL_ settings are read when the engine is made.
    """

    _shared: ClassVar[Engine | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    # Factories

    @classmethod
    def shared(cls) -> Engine:
        """Return this process's engine, made when first needed. A forked child makes its own."""
        with cls._shared_lock:
            if cls._shared is None or not cls._shared.is_usable:
                cls._shared = cls()
            return cls._shared

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._limits = HostLimits.from_settings()
        self._budget = settings.CRAWL_IN_FLIGHT_BYTES
        self._hosts: dict[tuple[str, str], Host] = {}
        self._queued: deque[Host] = deque()
        self._running: set[Item] = set()
        self._held = 0
        self._retry_seconds = getattr(settings, "CRAWL_RETRY_SECONDS", RETRY_SECONDS)
        self._stop = asyncio.Event()
        self._started: threading.Event = threading.Event()
        self._failure: BaseException | None = None
        self._slow_checker = Checker(self._done_from_checker)
        self._checker = Checker(self._done_from_checker, later=self._slow_checker.put)
        self._thread = threading.Thread(target=self._run, name="pixsim-fetch", daemon=True)
        self._thread.start()
        if not self._started.wait(START_SECONDS) or self._failure is not None:
            raise EngineFailed(f"The fetch engine does not start: {self._failure!r}")
        self._checker.start()
        self._slow_checker.start()

    # From the caller's thread

    @property
    def is_usable(self) -> bool:
        """Whether the engine runs, in this process."""
        return self._pid == os.getpid() and self._thread.is_alive()

    @property
    def decoder_pid(self) -> int | None:
        """The decoder's process id, or None before it was needed."""
        return self._checker.decoder.pid

    def session(self, rules: Rules) -> Session:
        return Session(rules, take=self._take, drop=self._drop)

    def close(self) -> None:
        """End the threads and the decoder. Unfinished sessions get no further results."""
        if self.is_usable:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._checker.close()
            self._slow_checker.close()
            self._loop.close()

    # From a session

    def _take(self, session: Session, remote: list[Task], local: list[Task]) -> None:
        for task in local:
            self._checker.put(Item(session, task, task.url))
        if remote:
            items = [Item(session, task, task.url) for task in remote]
            self._loop.call_soon_threadsafe(self._enqueue, items)

    def _drop(self, session: Session) -> None:
        self._loop.call_soon_threadsafe(self._abandon, session)

    # The loop thread

    def _run(self) -> None:
        try:
            self._loop = _new_event_loop()
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with Client(connections=2 * MAX_FETCHES) as client:
            self._client = client
            self._robots = Robots(raises=OUT_OF_REACH)
            self._started.set()
            await self._stop.wait()
            fetches = [item.fetching for item in self._running if item.fetching is not None]
            for fetch in fetches:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)
            self._robots.close()

    def _enqueue(self, items: list[Item]) -> None:
        hosts = set()
        for item in items:
            host = self._host(item.task.url, item.task.host)
            item.host = host
            host.waiting.append(item)
            hosts.add(host)
        self._schedule(*hosts)

    def _abandon(self, session: Session) -> None:
        for host in self._hosts.values():
            if host.waiting:
                host.waiting = deque(item for item in host.waiting if item.session is not session)
        for item in self._running:
            if item.session is session and item.fetching is not None:
                item.fetching.cancel()

    def _host(self, url: str, name: str) -> Host:
        """Return the host of that name for the scheme of `url`: 80 and 443 are two ports."""
        key = url.partition(":")[0].lower(), name
        host = self._hosts.get(key)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                now = self._loop.time()
                busy = {key: host for key, host in self._hosts.items() if not host.is_idle(now)}
                self._hosts = busy
            host = self._hosts[key] = self._limits.host(name)
        return host

    def _schedule(self, *hosts: Host) -> None:
        for host in hosts:
            self._offer(host)
        self._start_fetches()

    def _offer(self, host: Host) -> None:
        """Queue the host if it may start a request; otherwise look again when it may."""
        now = self._loop.time()
        for item, seconds in host.pop_late_items(now):
            self._give_back(item, host, seconds)
        if not host.waiting or host.is_queued or not host.has_slot:
            return
        if wait := host.wait(now):
            if not host.has_timer:
                host.has_timer = True
                self._loop.call_later(wait, self._wake, host)
        else:
            host.is_queued = True
            self._queued.append(host)

    def _wake(self, host: Host) -> None:
        host.has_timer = False
        self._schedule(host)

    def _give_back(self, item: Item, host: Host, seconds: float) -> None:
        trouble = host.trouble if host.cooldown(self._loop.time()) else None
        item.session.deliver([NotSent(item.task, seconds, trouble)])

    def _start_fetches(self) -> None:
        while self._queued and len(self._running) < MAX_FETCHES and not self._stop.is_set():
            host = self._queued[0]
            needed = self._estimate(host)
            if not self._has_room(needed):
                return
            self._queued.popleft()
            host.is_queued = False
            if host.waiting and self._has_share(host, needed):
                self._start(host.waiting.popleft(), host, needed)
                self._offer(host)

    def _start(self, item: Item, host: Host, needed: int) -> None:
        host.start(self._loop.time())
        self._running.add(item)
        self._hold(item, host, needed)
        # The item keeps the task alive, from the task's first step on.
        self._loop.create_task(self._process(item, host))

    def _estimate(self, host: Host) -> int:
        if not host.waiting:
            return 0
        item = host.waiting[0]
        expected = item.needed_bytes or int(max(UNKNOWN_BYTES, 1.5 * host.typical_bytes))
        return min(expected, item.session.limits.max_bytes)

    # Bytes in flight: reserved before a fetch, corrected by what the answer announces, freed when
    # the picture is stored. No answer is kept open to wait: one that does not fit is ended and
    # requested again when there is room.

    def _has_room(self, more: int, mine: int = 0) -> bool:
        return self._held + more <= self._budget or self._held == mine

    def _has_share(self, host: Host, more: int, mine: int = 0) -> bool:
        """Whether the host keeps within its part: a slow one must not hold everybody's memory."""
        return host.held_bytes + more <= self._budget // SHARES or host.held_bytes == mine

    def _hold(self, item: Item, host: Host, size: int) -> None:
        self._held += size - item.held_bytes
        host.held_bytes += size - item.held_bytes
        item.held_bytes = size

    def _grow(self, item: Item, host: Host, size: int, ask_for: int) -> None:
        """Hold `size` bytes for the item. Raise _NoRoom, to try again with `ask_for`, if there are none."""
        more = size - item.held_bytes
        if more <= 0:
            return
        if not (
            self._has_room(more, item.held_bytes) and self._has_share(host, more, item.held_bytes)
        ):
            raise _NoRoom(ask_for)
        self._hold(item, host, size)

    def _done_from_checker(self, items: list[Item]) -> None:
        remote = [item for item in items if item.host is not None]
        if remote:
            self._loop.call_soon_threadsafe(self._free, remote)

    def _free(self, items: list[Item]) -> None:
        hosts = set()
        for item in items:
            assert item.host is not None  # noqa: S101 - for the type checker
            hosts.add(item.host)
            self._hold(item, item.host, 0)
            item.body = b""
        self._schedule(*hosts)

    # One item

    async def _process(self, item: Item, host: Host) -> None:
        """Fetch the item and pass it on, or deliver why not. Raise nothing."""
        item.fetching = asyncio.current_task()
        refused: Refused | None = None
        try:
            refused = await self._read(item, host)
        except asyncio.CancelledError:
            pass  # The session was cancelled and has its task back.
        except Exception as error:
            item.body = b""
            refused = refused_by(error, item.task)
        host.active -= 1
        self._running.discard(item)
        if item.body:
            self._hold(item, host, len(item.body))
            self._checker.put(item)
        else:
            self._hold(item, host, 0)
        if refused is not None:
            item.session.deliver([refused])
        self._schedule(host)

    async def _read(self, item: Item, host: Host) -> Refused | None:
        """Fetch the item's body, or return why there is none; None, too, if it waits for room."""
        try:
            if item.session.cancelled or self._stop.is_set():
                raise asyncio.CancelledError
            if refusal := item.session.refusal_of_host(item.task):
                return refusal
            response = await self._fetch(item, host)
        except _Excluded as excluded:
            return Refused(item.task, *excluded.args)
        except _Failed as failed:
            return self._refusal(item.task, host, failed)
        except _NoRoom as no_room:
            item.needed_bytes = no_room.args[0]
            if not item.session.cancelled:
                host.waiting.appendleft(item)
            return None
        item.url, item.body = response.url, response.body
        item.retrieved_at = datetime.now(UTC)
        host.succeeded(len(response.body))
        return None if response.body else Refused(item.task, "not_an_image", "an empty answer")

    async def _fetch(self, item: Item, host: Host) -> Response:
        """Return the answer; ask robots.txt before each address that a redirect leads to.

        Raise _Failed with the host that is to blame, which a redirect may have led to.
        """
        session, url = item.session, item.task.url
        honour, limits = session.rules.honour_robots, session.limits
        received = 0
        is_announced = False

        def on_headers(at: str, status: int, headers: Mapping[str, str]) -> None:
            nonlocal is_announced
            if status in REDIRECTS and headers.get("Location"):
                raise _Moved(str(redirected(at, headers["Location"])))
            if not 200 <= status < 300:
                return
            if honour and (signal := opted_out(headers, self._robots.token)):
                raise _Excluded("opted_out", signal)
            # An encoded body has another length than it will have.
            length = "" if "Content-Encoding" in headers else headers.get("Content-Length", "")
            if length.isascii() and length.isdigit():
                size = int(min(float(length), limits.max_bytes))  # it may have any number of digits
                self._grow(item, host, size, size)
                is_announced = True

        def on_bytes(count: int) -> None:
            nonlocal received
            received += count
            if not is_announced and received > item.held_bytes:
                self._grow(item, host, 2 * received, limits.max_bytes)

        asked = host
        ends_at = self._loop.time() + limits.total_timeout
        try:
            url = str(parse_url(url))
            for _ in range(limits.max_redirects + 1):
                if honour:
                    await self._ask_robots(url, host)
                if not host.is_known:
                    host.is_known = True
                    self._schedule(host)
                try:
                    return await self._client.fetch(
                        url, limits=limits, on_headers=on_headers, on_bytes=on_bytes
                    )
                except _Moved as moved:
                    url = moved.args[0]
                    asked.succeeded()
                    asked = self._host(url, server_of(url))
                    self._wait_with(asked)
                    left = max(0.1, ends_at - self._loop.time())
                    limits = replace(limits, total_timeout=left)
            raise FetchError(
                Reason.TOO_MANY_REDIRECTS,
                f"more than {limits.max_redirects} redirects from {item.task.url}",
            )
        except FetchError as error:
            raise _Failed(asked, error) from error

    def _wait_with(self, host: Host) -> None:
        """Raise FetchError if the host asked for patience. One that was silent is asked again."""
        seconds = host.cooldown(self._loop.time())
        if seconds and host.trouble and not host.is_silent:
            raise FetchError(Reason.THROTTLED, host.trouble.detail, retry_after=seconds)

    async def _ask_robots(self, url: str, host: Host) -> None:
        """Raise _Excluded if the site excludes us, FetchError if it cannot be reached."""
        allowed, reason = await self._robots.allowed(self._client.fetch, url)
        if not allowed:
            outcome = "robots" if reason.startswith("robots.txt") else "opted_out"
            raise _Excluded(outcome, reason, self._robots.retry_in(url))
        host.slow_down(self._robots.delay(url))

    def _refusal(self, task: Task, host: Host, failed: _Failed) -> Refused:
        """Apply a failed fetch to the host that is to blame and return the result of its task."""
        asked, error = failed.args
        now = self._loop.time()
        if error.reason is Reason.THROTTLED:
            cooldown = asked.throttled(now, error.retry_after, error.detail)
            return Refused(task, error.reason.value, error.detail, _spread(cooldown))
        is_silent = error.reason in HOST_FAILURES and not error.answered
        if is_silent:
            asked.failed(now, Trouble("host_down", error.detail, error.retryable))
        elif error.answered:
            asked.succeeded()
        retry_after = None
        if error.retryable:
            retry_after = _spread(self._retry_seconds * 3**task.tries)
        outcome = error.reason.value
        return Refused(task, outcome, error.detail, retry_after, is_silent and asked is host)


class _Failed(Exception):
    """A fetch that brought nothing. Arguments: the host that is to blame, the FetchError."""


class _Moved(Exception):
    """A redirect, before it is followed. Argument: where it leads."""


class _Excluded(Exception):
    """The site excludes us from this address. Arguments: outcome, detail, retry_after."""


class _NoRoom(Exception):
    """The answer is larger than what may be held now. Argument: the bytes to ask for."""


def _spread(seconds: float) -> float:
    """Return up to a fifth more, so that tasks that wait for the same moment spread out."""
    return seconds * random.uniform(1, 1.2)  # noqa: S311 - no secret


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
