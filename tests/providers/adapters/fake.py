"""What the fake providers share: an HTTP server on loopback that behaves as it is told and remembers.

A fake is written from the provider's published description, in a module `<name>_fake.py` with a
subclass of Fake and a CASE for the conformance suite. Run it beside a test

    with ReplicateFake() as fake:
        fake.script("submit", DROPPED_AFTER)
        ...
        assert fake.accepted_by_reference[reference] == 1

or as a process of its own: `python -m tests.providers.adapters.replicate_fake PORT`; then
GET /_fake tells what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import json
import random
import signal
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import aiohttp
from aiohttp import web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Behaviour:
    """How one request is treated; each field is one step, in this order."""

    work: bool = True
    """Whether the request is handled at all; if not, nothing is accepted."""
    delay: float = 0.0
    """Seconds between the work and the answer."""
    drop: bool = False
    """Close the connection instead of answering."""
    change: Callable[[Json], Json] | None = None
    """What to make of the JSON that the handler answered with."""
    answer: tuple[int, str | Json, Mapping[str, str]] | None = None
    """Status, text or JSON, and headers to send instead of the handler's."""


DROPPED_BEFORE = Behaviour(work=False, drop=True)
DROPPED_AFTER = Behaviour(drop=True)
BROKEN_AFTER = Behaviour(answer=(500, "Internal Server Error", {}))
HTML = Behaviour(answer=(200, "<html><body>Please log in</body></html>", {}))
DOWN = Behaviour(work=False, answer=(503, "upstream unavailable", {}))


def slow(seconds: float) -> Behaviour:
    """Does the work, and answers late."""
    return Behaviour(delay=seconds)


def refuses(status: int, body: Json, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Does no work, and says so."""
    return Behaviour(work=False, answer=(status, body, headers or {}))


def answers(status: int, body: Json, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Does the work, and says something else."""
    return Behaviour(answer=(status, body, headers or {}))


@dataclass(frozen=True)
class Ending:
    """How a generation ends: `succeeded`, or a word and a code of the provider's own."""

    status: str = "succeeded"
    code: str = ""
    message: str = ""


SUCCEEDS = Ending()


@dataclass
class Generation:
    """One thing that was accepted. Times are seconds of time.monotonic()."""

    id: str
    account: str
    reference: str
    operation: str
    params: Json
    webhook_url: str | None
    ending: Ending
    accepted_at: float
    created: int
    ended_at: float | None = None
    status: str = "running"

    @property
    def is_live(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True)
class Rule:
    """What the published description says of one field. `source` is where it says so."""

    takes: Callable[[Any], bool]
    says: str
    source: str
    required: bool = False


def broken_rule(rules: Mapping[str, Rule], values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first field that breaks its rule, and how; None if `values` are as described."""
    for name in values:
        if name not in rules:
            return name, f"Unknown parameter: '{name}'."
    for name, rule in rules.items():
        if name not in values:
            if rule.required:
                return name, f"Missing required parameter: '{name}'."
        elif not rule.takes(values[name]):
            return name, f"Invalid value for '{name}': {rule.says}."
    return None


def text(*, longest: int = 10**9, shortest: int = 1) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and shortest <= len(value) <= longest


def one_of(*words: Any) -> Callable[[Any], bool]:
    return lambda value: type(value) in {type(word) for word in words} and value in words


def whole(lowest: int, highest: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and lowest <= value <= highest


def is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


class Fake:
    """A provider on loopback, in a thread with its own event loop.

    `latency`: seconds before any API answer; `duration`: seconds that a generation runs (None:
    until `finish`). Keys that start with "test-key" are good, unless in `expired`; accounts in
    `exhausted` have no credit.
    """

    name: ClassVar[str]
    base_path: ClassVar[str] = ""
    """Where in the server the API begins."""

    def __init__(
        self,
        *,
        port: int = 0,
        latency: float = 0.0,
        duration: float | None = 0.0,
        max_live: int | None = None,
    ) -> None:
        self.port = port
        self.latency = latency
        self.duration = duration
        self.max_live = max_live
        """Generations an account may have at once; None: any number, only recorded."""
        self.expired: set[str] = set()
        self.exhausted: set[str] = set()
        self.generations: dict[str, Generation] = {}
        """All that was accepted, in order, by the id it got."""
        self.requests: Counter[str] = Counter()
        """Requests by step, also those that were refused."""
        self.most_live: Counter[str] = Counter()
        """The most generations that an account had at once."""
        self.endings: deque[Ending] = deque()
        """How the next generations end; when empty, `default_ending`."""
        self.default_ending = SUCCEEDS
        self.chaos: Chaos | None = None
        self.output_url: str | None = None
        """What to give as the address of every file, instead of our own."""
        self.file: tuple[bytes, str] | None = None
        """Bytes and content type to serve as every file, instead of a sound one."""
        self.files: dict[str, tuple[bytes, str]] = {}
        """The same for the generations whose prompts are the keys."""
        self.webhook_secret = ""
        self.webhook_plan: Sequence[str] = ("ended",)
        """Webhooks to send of each generation, in this order: "running", "ended"."""
        self.webhook_statuses: list[int] = []
        """What the receiver answered to each webhook."""
        self._scripts: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._live: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._background: set[asyncio.Task[Any]] = set()

    # What a test says and asks

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What PROVIDER_BASE_URLS must say."""
        return f"{self.url}{self.base_path}"

    def script(self, step: str, *behaviours: Behaviour) -> None:
        """Treat the next requests of a step (submit, check, cancel, find, file, …) like this."""
        self._scripts[step].extend(behaviours)

    @property
    def accepted_by_reference(self) -> Counter[str]:
        return Counter(each.reference for each in list(self.generations.values()))

    @property
    def live(self) -> Counter[str]:
        """Generations that run now, by account."""
        return Counter({account: count for account, count in self._live.items() if count})

    def finish(self, generation_id: str, ending: Ending = SUCCEEDS) -> None:
        """End a generation now; from any thread."""
        generation = self.generations[generation_id]
        generation.ending = ending
        asyncio.run_coroutine_threadsafe(self._end(generation), self._loop).result(10)

    # What a provider's fake defines

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        """Method, path, step, handler."""
        raise NotImplementedError

    def webhook_of(self, generation: Generation, event: str) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of the webhook that tells of `event`."""
        raise NotImplementedError

    def new_id(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    # What its handlers use

    def accept(
        self,
        *,
        account: str,
        reference: str,
        operation: str,
        params: Json,
        webhook_url: str | None = None,
        at_once: bool = False,
    ) -> Generation:
        """Take on a generation. `at_once`: the handler itself lets it run and calls `end`."""
        ending = self.endings.popleft() if self.endings else self.default_ending
        generation = Generation(
            self.new_id(), account, reference, operation, params, webhook_url, ending,
            time.monotonic(), int(time.time()),
        )  # fmt: skip
        self.generations[generation.id] = generation
        self._live[account] += 1
        self.most_live[account] = max(self.most_live[account], self._live[account])
        if self.duration is not None and not at_once:
            self._start(self._run(generation, self.duration))
        return generation

    def has_room(self, account: str) -> bool:
        return self.max_live is None or self._live[account] < self.max_live

    def end(self, generation: Generation, status: str | None = None) -> None:
        """The generation is over, with its ending or as `status`; nothing if it already was."""
        if generation.is_live:
            generation.status = status or generation.ending.status
            generation.ended_at = time.monotonic()
            self._live[generation.account] -= 1

    def file_url(self, generation: Generation, suffix: str = ".png") -> str:
        return self.output_url or f"{self.url}/files/{generation.id}{suffix}"

    # The server

    def __enter__(self) -> Self:
        started: threading.Event = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(started.set),), daemon=True
        )
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError(f"{self.name}: the fake server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def serve_until_stopped(self) -> None:
        """Be the process: until SIGTERM or SIGINT."""

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self._stop.set)
            await self._serve(lambda: print(self.base_url, flush=True))

        asyncio.run(main())

    async def _serve(self, on_start: Callable[[], object]) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for method, path, step, handler in self.routes():
            app.router.add_route(method, self.base_path + path, self._told(step, handler))
        app.router.add_get("/files/{name:.*}", self._told("file", self._serve_file))
        app.router.add_get("/_fake", self._tell)
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session:
            self._session = session
            on_start()
            await self._stop.wait()
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
        await runner.cleanup()

    def _told(self, step: str, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests[step] += 1
            behaviour = self._next_behaviour(step)
            # Once it is sent, a request is worked on even if the one who sent it hangs up.
            work = self._start(self._behave(request, handler, behaviour))
            return await asyncio.shield(work)

        return handle

    def _next_behaviour(self, step: str) -> Behaviour:
        if waiting := self._scripts[step]:
            return waiting.popleft()
        if self.chaos is not None:
            return self.chaos.behaviour(step)
        return Behaviour()

    async def _behave(
        self, request: web.Request, handler: Handler, behaviour: Behaviour
    ) -> web.StreamResponse:
        if not request.content_type.startswith("multipart/"):  # those can be read only once
            await request.read()
        if self.latency:
            await asyncio.sleep(self.latency)
        response: web.StreamResponse = web.Response()
        if behaviour.work:
            try:
                response = await handler(request)
            except web.HTTPException as refusal:
                response = web.Response(
                    status=refusal.status, text=refusal.text, content_type=refusal.content_type
                )
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        if behaviour.drop:
            if request.transport is not None:
                request.transport.abort()
            return response
        if behaviour.change is not None and isinstance(response, web.Response):
            return web.json_response(behaviour.change(_json_of(response)), status=response.status)
        if behaviour.answer is not None:
            status, body, headers = behaviour.answer
            if isinstance(body, str):
                return web.Response(
                    status=status, text=body, headers=headers, content_type="text/html"
                )
            return web.json_response(body, status=status, headers=headers)
        return response

    async def _run(self, generation: Generation, seconds: float) -> None:
        if "running" in self.webhook_plan[:1]:
            await self._call_back(generation, "running")
        await asyncio.sleep(seconds)
        await self._end(generation)

    async def _end(self, generation: Generation) -> None:
        if not generation.is_live:
            return
        self.end(generation)
        already = 1 if "running" in self.webhook_plan[:1] else 0
        for event in self.webhook_plan[already:]:
            await self._call_back(generation, event)

    async def _call_back(self, generation: Generation, event: str) -> None:
        if generation.webhook_url is None:
            return
        body, headers = self.webhook_of(generation, event)
        try:
            async with self._session.post(
                generation.webhook_url, data=body, headers=headers
            ) as response:
                self.webhook_statuses.append(response.status)
        except (aiohttp.ClientError, TimeoutError):
            self.webhook_statuses.append(0)

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _serve_file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        made = self.generations.get(name.partition(".")[0])
        prompt = made.params.get("prompt", "") if made else ""
        body, kind = self.files.get(prompt) or self.file or (picture(name=name), "image/png")
        return web.Response(body=body, content_type=kind)

    async def _tell(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "generations": [
                    {
                        "id": each.id,
                        "account": each.account,
                        "reference": each.reference,
                        "status": each.status,
                        "accepted_at": each.accepted_at,
                        "ended_at": each.ended_at,
                    }
                    for each in self.generations.values()
                ],
                "live": self.live,
                "most_live": self.most_live,
                "requests": self.requests,
                "webhook_statuses": self.webhook_statuses,
            }
        )


class Chaos:
    """Misbehaves in a share of requests: `rate` of those of each step that has behaviours."""

    def __init__(
        self, rate: float, behaviours: Mapping[str, Sequence[Behaviour]], *, seed: int = 0
    ) -> None:
        self._rate = rate
        self._behaviours = behaviours
        self._random = random.Random(seed)

    def behaviour(self, step: str) -> Behaviour:
        some = self._behaviours.get(step)
        if some and self._random.random() < self._rate:
            return self._random.choice(some)
        return Behaviour()


@cache
def picture(side: int = 64, name: str = "") -> bytes:
    """A sound PNG; another name makes it another file."""
    buffer, about = io.BytesIO(), PngInfo()
    about.add_text("Title", name)
    image = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    image.save(buffer, "PNG", pnginfo=about)
    return buffer.getvalue()


@cache
def video() -> bytes:
    """The start of an MP4 file: enough for its type to be told."""
    return b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(64)


def main(fake: Callable[..., Fake], *flags: str) -> None:
    """Run a fake as a process: PORT [--latency S] [--duration S] [--max-live N] and its own flags."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int, help="0: any; the address is printed")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--duration", type=float, default=0.0, help="seconds of a generation")
    parser.add_argument(
        "--max-live", type=int, default=None, help="generations an account may have"
    )
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    fake(**vars(parser.parse_args())).serve_until_stopped()


def _json_of(response: web.Response) -> Json:
    return json.loads(response.text or "{}")


# What the conformance suite needs to know of a provider


@dataclass(frozen=True)
class Refusal:
    """Parameters that the schema must refuse, and the field that it must name."""

    operation: str
    params: Json
    field: str
    model: str | None = None


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong, and the class that it must be given.

    With `behaviour` the call that submits fails, with `ending` the generation does. `operation`:
    which one is asked for, else the first of the samples.
    """

    name: str
    error_class: ErrorClass
    behaviour: Behaviour | None = None
    ending: Ending | None = None
    retry_after: float | None = None
    operation: str | None = None


@dataclass(frozen=True)
class Case:
    """One provider in the conformance suite. `fake` is None for one that needs no network."""

    adapter: str
    fake: Callable[..., Fake] | None
    credentials: Credentials
    wrong_credentials: Credentials
    samples: Mapping[str, Json]
    """Valid parameters for each operation, for its default model. FILE in a text is replaced by
    the address of a picture."""
    refusals: Sequence[Refusal]
    troubles: Sequence[Trouble] = ()
    more_samples: Sequence[tuple[str, str, Json]] = ()
    """Operation, model, parameters: other models and cross-field rules."""
    webhook_secret: str = ""
    webhook_ttl: float = 300.0
    """A webhook older than this many seconds must be refused."""
