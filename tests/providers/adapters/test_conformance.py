"""What every adapter promises, shown of each over real HTTP against its fake provider."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from providers.adapters import all_adapters
from providers.adapters.base import (
    Accepted,
    Adapter,
    Credentials,
    Deadlines,
    Failed,
    Operation,
    Output,
    Request,
    Running,
    State,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError, WebhookRefused
from providers.adapters.http import Http
from providers.adapters.params import ParamsRefused, validated
from tests.providers.adapters.fake import (
    BROKEN_AFTER,
    DOWN,
    DROPPED_AFTER,
    DROPPED_BEFORE,
    HTML,
    Behaviour,
    Case,
    Ending,
    Fake,
    Refusal,
    Trouble,
    slow,
)
from tests.providers.adapters.simple_adapter import SimpleAdapter

PATIENCE = 15.0

ADAPTERS: dict[str, Adapter] = {**all_adapters(), SimpleAdapter.name: SimpleAdapter()}
CASES: dict[str, Case] = {
    name: import_module(f"tests.providers.adapters.{name}_fake").CASE for name in ADAPTERS
}
REMOTE = [name for name in ADAPTERS if CASES[name].fake]
FINDING = [name for name in ADAPTERS if ADAPTERS[name].can_find]
CANCELLING = [name for name in ADAPTERS if ADAPTERS[name].can_cancel]
CALLED_BACK = [name for name in ADAPTERS if type(ADAPTERS[name]).webhook is not Adapter.webhook]
SAMPLES = [
    pytest.param(name, operation, None, params, id=f"{name}-{operation}")
    for name, case in CASES.items()
    for operation, params in case.samples.items()
] + [
    pytest.param(name, operation, model, params, id=f"{name}-{operation}-{model}-{number}")
    for name, case in CASES.items()
    for number, (operation, model, params) in enumerate(case.more_samples)
]


class Files(Fake):
    """Serves inputs for a provider that has no server."""

    name = "files"

    def routes(self) -> list[Any]:
        return []


class Bench:
    """One adapter, its fake and a session, in one event loop."""

    def __init__(self, adapter: Adapter, case: Case, fake: Fake, session: aiohttp.ClientSession):
        self.adapter = adapter
        self.case = case
        self.fake = fake
        self.session = session
        self.http = Http(session, fake.base_url)
        self.credentials = case.credentials

    def request(
        self,
        operation: str | None = None,
        *,
        model: str | None = None,
        params: dict[str, Any] | None = None,
        reference: str = "ref-1",
        webhook_url: str | None = None,
    ) -> Request:
        operation = operation or next(iter(self.case.samples))
        declared = self.adapter.operations[operation]
        model = model or declared.default_model
        values = self.case.samples[operation] if params is None else params
        values = json.loads(json.dumps(values).replace("FILE", f"{self.fake.url}/files/in.png"))
        checked = validated(declared.models[model], values)
        return Request(operation, model, checked, reference, webhook_url)

    async def submit(self, request: Request | None = None) -> Accepted | Succeeded:
        return await self.adapter.submit(self.http, self.credentials, request or self.request())

    async def check(self, job: Accepted | str) -> State:
        job_id = job if isinstance(job, str) else job.provider_job_id
        return await self.adapter.check(self.http, self.credentials, job_id)

    async def accepted(
        self, *, reference: str = "ref-1", webhook_url: str | None = None
    ) -> Accepted:
        """A generation of an operation that takes time; skips a provider that has none."""
        for operation in self.case.samples:
            answer = await self.submit(
                self.request(operation, reference=reference, webhook_url=webhook_url)
            )
            if isinstance(answer, Accepted):
                return answer
        pytest.skip(f"{self.adapter.name} answers everything at once")

    async def ended(self, job: Accepted) -> Succeeded | Failed:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            state = await self.check(job)
            if not isinstance(state, Running):
                return state
            await asyncio.sleep(0.01)
        raise AssertionError(f"{job.provider_job_id} does not end")

    async def succeeded(self, request: Request) -> Succeeded:
        answer = await self.submit(request)
        ended = answer if isinstance(answer, Succeeded) else await self.ended(answer)
        assert isinstance(ended, Succeeded), ended
        return ended

    async def error(self, request: Request | None = None) -> ProviderError:
        """What goes wrong: the call or the generation."""
        try:
            answer = await self.submit(request)
        except ProviderError as error:
            return error
        assert isinstance(answer, Accepted), answer
        ended = await self.ended(answer)
        assert isinstance(ended, Failed), ended
        return ended.error

    async def fetch(self, output: Output) -> bytes:
        if output.data is not None:
            return output.data
        assert output.url is not None
        async with self.session.get(output.url, headers=output.headers) as response:
            assert response.status == 200
            return await response.read()


Run = Callable[..., Any]


@pytest.fixture
def bench() -> Iterator[Run]:
    """Run `body(bench)` with an adapter by name; options are the fake's."""

    def run(name: str, body: Callable[[Bench], Awaitable[Any]], **options: Any) -> Any:
        case = CASES[name]
        with (case.fake or Files)(**options) as fake:

            async def main() -> Any:
                async with aiohttp.ClientSession() as session:
                    return await body(Bench(ADAPTERS[name], case, fake, session))

            return asyncio.run(main())

    return run


# Parameters


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_operation_and_model_has_a_json_schema_that_refuses_unknown_fields(name: str) -> None:
    assert ADAPTERS[name].operations
    for key, operation in ADAPTERS[name].operations.items():
        assert key == operation.name
        assert operation.default_model in operation.models
        for schema in operation.models.values():
            assert schema.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_operation_is_shown_by_a_sample(name: str) -> None:
    assert set(CASES[name].samples) == set(ADAPTERS[name].operations)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        pytest.param(name, refusal, id=f"{name}-{refusal.operation}-{refusal.field}-{number}")
        for name, case in CASES.items()
        for number, refusal in enumerate(case.refusals)
    ],
)
def test_bad_parameters_are_refused_with_the_field_named(name: str, refusal: Refusal) -> None:
    operation = ADAPTERS[name].operations[refusal.operation]
    schema = operation.models[refusal.model or operation.default_model]

    with pytest.raises(ParamsRefused) as refused:
        validated(schema, refusal.params)

    named = {field.partition(".")[0] for field in refused.value.errors}
    assert named == {refusal.field}


@pytest.mark.parametrize(("name", "operation", "model", "params"), SAMPLES)
def test_params_have_one_canonical_form_that_their_schema_takes_again(
    name: str, operation: str, model: str | None, params: dict[str, Any]
) -> None:
    declared = ADAPTERS[name].operations[operation]
    schema = declared.models[model or declared.default_model]

    first = validated(schema, params)
    again = validated(schema, first.canonical())
    turned = validated(schema, dict(reversed(params.items())))

    assert first.digest() == again.digest() == turned.digest()


# The way of a generation


@pytest.mark.parametrize(("name", "operation", "model", "params"), SAMPLES)
def test_a_generation_succeeds_with_files_that_can_be_fetched(
    bench: Run, name: str, operation: str, model: str | None, params: dict[str, Any]
) -> None:
    async def body(bench: Bench) -> None:
        request = bench.request(operation, model=model, params=params)
        result = await bench.succeeded(request)
        assert result.outputs
        for output in result.outputs:
            assert await bench.fetch(output)
        json.dumps(result.response)

    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_a_generation_runs_until_the_provider_ends_it(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        assert job.provider_job_id in bench.fake.generations
        assert isinstance(await bench.check(job), Running)
        await asyncio.to_thread(bench.fake.finish, job.provider_job_id)
        ended = await bench.check(job)
        assert isinstance(ended, Succeeded)
        assert ended.provider_job_id in (None, job.provider_job_id)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", REMOTE)
def test_our_params_reach_the_provider_once(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        request = bench.request()
        await bench.succeeded(request)
        (generation,) = bench.fake.generations.values()
        assert generation.account == bench.credentials.api_key
        assert generation.operation == request.operation
        if generation.reference:
            assert generation.reference == request.reference

    bench(name, body)


# Trouble


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        pytest.param(name, trouble, id=f"{name}-{trouble.name}")
        for name, case in CASES.items()
        for trouble in case.troubles
    ],
)
def test_each_error_of_the_provider_gets_its_class(bench: Run, name: str, trouble: Trouble) -> None:
    async def body(bench: Bench) -> ProviderError:
        if trouble.behaviour:
            bench.fake.script("submit", trouble.behaviour)
        if trouble.ending:
            bench.fake.endings.append(trouble.ending)
        return await bench.error(bench.request(trouble.operation))

    error = bench(name, body)

    assert error.error_class is trouble.error_class
    assert error.retry_after == trouble.retry_after
    assert str(error)


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(DROPPED_BEFORE, id="dropped before the work"),
        pytest.param(DROPPED_AFTER, id="dropped after the work"),
        pytest.param(BROKEN_AFTER, id="500 after the work"),
        pytest.param(HTML, id="HTML instead of JSON"),
        pytest.param(Behaviour(answer=(200, "[1, 2]", {})), id="no object"),
        pytest.param(Behaviour(answer=(200, {}, {})), id="nothing in it"),
    ],
)
def test_an_answer_that_does_not_come_or_makes_no_sense_may_have_been_accepted(
    bench: Run, name: str, behaviour: Behaviour
) -> None:
    async def body(bench: Bench) -> ProviderError:
        bench.fake.script("submit", behaviour)
        with pytest.raises(ProviderError) as refused:
            await bench.submit()
        return refused.value

    assert bench(name, body).may_have_been_accepted


@pytest.mark.parametrize("name", REMOTE)
def test_no_answer_within_the_operations_deadline_is_a_timeout(
    bench: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(bench: Bench) -> None:
        bench.fake.script("submit", slow(5))
        with pytest.raises(ProviderError) as refused:
            await bench.submit()
        assert refused.value.error_class is ErrorClass.TIMEOUT
        assert len(bench.fake.generations) == 1

    _with_deadline(ADAPTERS[name], 0.3, monkeypatch)
    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_a_provider_that_is_down_or_not_reached_has_accepted_nothing(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        request = bench.request()
        bench.fake.script("submit", DOWN)
        with pytest.raises(ProviderError) as down:
            await bench.submit(request)
        assert down.value.error_class is ErrorClass.UNAVAILABLE

        bench.http = Http(bench.session, f"http://127.0.0.1:{_closed_port()}")
        with pytest.raises(ProviderError) as not_reached:
            await bench.submit(request)
        assert not_reached.value.error_class is ErrorClass.UNAVAILABLE

        assert not bench.fake.generations

    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_a_state_that_cannot_be_learnt_is_a_provider_error_and_no_end(
    bench: Run, name: str
) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        for behaviour in (DROPPED_BEFORE, BROKEN_AFTER, HTML, DOWN):
            # aiohttp itself asks a second time when a kept connection breaks.
            bench.fake.script("check", *[behaviour] * (2 if behaviour.drop else 1))
            with pytest.raises(ProviderError):
                await bench.check(job)
        bench.fake.script("check", Behaviour(answer=(200, {}, {})))
        with pytest.raises(ProviderError):
            await bench.check(job)
        assert isinstance(await bench.check(job), Running)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", REMOTE)
def test_an_answer_for_another_job_is_not_taken(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted(reference="ref-1")
        other = await bench.accepted(reference="ref-2")
        await asyncio.to_thread(bench.fake.finish, other.provider_job_id)

        def swapped(answer: dict[str, Any]) -> dict[str, Any]:
            text = json.dumps(answer)
            for quote in ('"', ""):
                text = text.replace(
                    f"{quote}{job.provider_job_id}{quote}", f"{quote}{other.provider_job_id}{quote}"
                )
            return json.loads(text)

        bench.fake.script("check", Behaviour(change=swapped))
        with pytest.raises(ProviderError) as refused:
            await bench.check(job)
        assert refused.value.error_class is ErrorClass.UNKNOWN

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", REMOTE)
def test_a_job_that_the_provider_does_not_know_is_an_error(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        bench.fake.generations.clear()
        with pytest.raises(ProviderError):
            await bench.check(job)

    bench(name, body)


# Credentials


@pytest.mark.parametrize("name", REMOTE)
def test_wrong_and_expired_credentials_are_an_auth_error_that_does_not_tell_them(
    bench: Run, name: str
) -> None:
    async def body(bench: Bench) -> None:
        adapter, http = bench.adapter, bench.http
        await adapter.test(http, bench.credentials)
        for case in ("wrong", "expired"):
            if case == "wrong":
                credentials = bench.case.wrong_credentials
            else:
                credentials = bench.credentials
                bench.fake.expired.add(str(credentials.api_key))
            for call in (
                adapter.test(http, credentials),
                adapter.submit(http, credentials, bench.request()),
            ):
                with pytest.raises(ProviderError) as refused:
                    await call
                assert refused.value.error_class is ErrorClass.AUTH
                _tells_no_secret(credentials, refused.value)
        assert not bench.fake.generations

    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_credentials_that_cannot_be_sent_are_an_auth_error(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        spoiled = replace(bench.credentials, api_key=f"{bench.credentials.api_key}\n")
        with pytest.raises(ProviderError) as refused:
            await bench.adapter.submit(bench.http, spoiled, bench.request())
        assert refused.value.error_class is ErrorClass.AUTH
        _tells_no_secret(bench.credentials, refused.value)

    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_credentials_that_expire_while_a_generation_runs_end_nothing(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        bench.fake.expired.add(str(bench.credentials.api_key))
        with pytest.raises(ProviderError) as refused:
            await bench.check(job)
        assert refused.value.error_class is ErrorClass.AUTH
        bench.fake.expired.clear()
        assert isinstance(await bench.check(job), Running)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", REMOTE)
def test_nothing_that_is_kept_or_shown_holds_a_secret(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        result = await bench.succeeded(bench.request())
        shown = [bench.credentials, result, *result.outputs, bench.request()]
        kept = [result.response, bench.request().params.canonical()]
        bench.fake.script("submit", Behaviour(answer=(400, _echo(bench.credentials), {})))
        error = await bench.error()
        _tells_no_secret(bench.credentials, *shown, *kept, error)

    bench(name, body)


@pytest.mark.parametrize("name", REMOTE)
def test_an_account_without_credit_is_exhausted(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        bench.fake.exhausted.add(str(bench.credentials.api_key))
        assert (await bench.error()).error_class is ErrorClass.QUOTA
        assert not bench.fake.generations

    bench(name, body)


# Finding and cancelling


@pytest.mark.parametrize("name", FINDING)
def test_what_became_of_a_reference_is_found(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        async def find(reference: str, credentials: Credentials) -> Accepted | Succeeded | None:
            return await bench.adapter.find(bench.http, credentials, reference)

        bench.fake.script("submit", DROPPED_AFTER, DROPPED_BEFORE)
        for reference in ("ref-1", "ref-2"):
            with pytest.raises(ProviderError):
                await bench.submit(bench.request(reference=reference))

        (generation,) = bench.fake.generations.values()
        found = await find("ref-1", bench.credentials)
        assert found is not None
        assert found.provider_job_id == generation.id
        assert await find("ref-2", bench.credentials) is None
        assert await find("ref-1", Credentials(api_key="test-key-2")) is None

    if not CASES[name].fake:
        pytest.skip("nothing can be lost on the way")
    bench(name, body)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name not in FINDING])
def test_who_cannot_find_says_so(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        with pytest.raises(NotImplementedError):
            await bench.adapter.find(bench.http, bench.credentials, "ref-1")

    bench(name, body)


@pytest.mark.parametrize("name", CANCELLING)
def test_a_running_generation_can_be_cancelled(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        await bench.adapter.cancel(bench.http, bench.credentials, job.provider_job_id)
        ended = await bench.ended(job)
        assert isinstance(ended, Failed)
        assert ended.cancelled

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", [name for name in CANCELLING if name in REMOTE])
def test_a_cancel_that_comes_too_late_changes_nothing(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        await asyncio.to_thread(bench.fake.finish, job.provider_job_id)
        try:
            await bench.adapter.cancel(bench.http, bench.credentials, job.provider_job_id)
        except ProviderError as error:
            assert not error.may_have_been_accepted  # noqa: PT017
        assert isinstance(await bench.check(job), Succeeded)

    bench(name, body, duration=None)


# Webhooks


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[dict[str, str], bytes]]]]:
    """Our end of a webhook: its address, and what arrives."""
    arrived: asyncio.Queue[tuple[dict[str, str], bytes]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await arrived.put((dict(request.headers), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhook", arrived
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("name", CALLED_BACK)
@pytest.mark.parametrize("plan", [("ended",), ("ended", "ended"), ("ended", "running")])
def test_webhooks_arrive_and_say_the_same_when_they_come_twice_or_out_of_order(
    bench: Run, name: str, plan: tuple[str, ...]
) -> None:
    async def body(bench: Bench) -> None:
        bench.fake.webhook_plan = plan
        async with receiver() as (url, arrived):
            job = await bench.accepted(webhook_url=url)
            finishing = asyncio.to_thread(bench.fake.finish, job.provider_job_id)
            _, *deliveries = await asyncio.gather(finishing, *(arrived.get() for _ in plan))
        events = [
            bench.adapter.webhook(headers, text, secret=bench.case.webhook_secret, now=time.time())
            for headers, text in deliveries
        ]
        assert {event.provider_job_id for event in events} == {job.provider_job_id}
        assert isinstance(events[0].state, Succeeded)
        assert await bench.fetch(events[0].state.outputs[0])
        assert len({event.event_id for event in events}) == len(set(plan))
        if "running" in plan:
            assert isinstance(events[-1].state, Running)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", CALLED_BACK)
def test_the_webhook_of_a_failure_says_why(bench: Run, name: str) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        await asyncio.to_thread(bench.fake.finish, job.provider_job_id, Ending("failed", "", "No."))
        headers, text = _webhook(bench, job)
        event = bench.adapter.webhook(
            headers, text, secret=bench.case.webhook_secret, now=time.time()
        )
        assert isinstance(event.state, Failed)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", CALLED_BACK)
def test_a_webhook_that_is_forged_altered_old_or_unreadable_is_refused(
    bench: Run, name: str
) -> None:
    async def body(bench: Bench) -> None:
        job = await bench.accepted()
        await asyncio.to_thread(bench.fake.finish, job.provider_job_id)
        headers, text = _webhook(bench, job)
        now, secret, ttl = time.time(), bench.case.webhook_secret, bench.case.webhook_ttl

        def refuses(headers: dict[str, str], text: bytes, *, secret: str, now: float) -> None:
            with pytest.raises(WebhookRefused) as refused:
                bench.adapter.webhook(headers, text, secret=secret, now=now)
            assert bench.case.webhook_secret not in f"{refused.value} {refused.value!r}"

        bench.adapter.webhook(headers, text, secret=secret, now=now)
        lower = {name.lower(): value for name, value in headers.items()}
        bench.adapter.webhook(lower, text, secret=secret, now=now)

        refuses(headers, text, secret=secret[:-4] + "AAAA", now=now)
        refuses(headers, text, secret="", now=now)
        refuses(headers, text + b" ", secret=secret, now=now)
        refuses(headers, text, secret=secret, now=now + ttl + 5)
        refuses(headers, text, secret=secret, now=now - ttl - 5)
        for name in headers:
            if name.lower() != "content-type":
                rest = {other: value for other, value in headers.items() if other != name}
                refuses(rest, text, secret=secret, now=now)
                refuses({**headers, name: "v1,not-it \u00e9"}, text, secret=secret, now=now)
        with pytest.raises(WebhookRefused):
            bench.adapter.webhook({}, b"", secret=secret, now=now)

    bench(name, body, duration=None)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name not in CALLED_BACK])
def test_who_sends_no_webhooks_takes_none(name: str) -> None:
    with pytest.raises(WebhookRefused):
        ADAPTERS[name].webhook({}, b"{}", secret="secret", now=time.time())


def _webhook(bench: Bench, job: Accepted) -> tuple[dict[str, str], bytes]:
    text, headers = bench.fake.webhook_of(bench.fake.generations[job.provider_job_id], "ended")
    return dict(headers), text


def _with_deadline(adapter: Adapter, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def hurried(operation: Operation) -> Operation:
        return replace(operation, deadlines=Deadlines(submit=seconds))

    operations = {name: hurried(each) for name, each in adapter.operations.items()}
    monkeypatch.setattr(type(adapter), "operations", operations)


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _secrets(credentials: Credentials) -> list[str]:
    values = (credentials.api_key, credentials.password, credentials.jwt_token)
    return [value for value in values if value]


def _echo(credentials: Credentials) -> dict[str, Any]:
    """An answer that repeats the key in every place where an error may stand."""
    text = f"Bad key {_secrets(credentials)[0]}"
    return {
        "error": {"message": text, "code": text, "type": text},
        "detail": text,
        "title": text,
        "message": text,
        "ErrMsg": text,
        "ErrCode": 1,
    }


def _tells_no_secret(credentials: Credentials, *things: Any) -> None:
    for thing in things:
        told = f"{thing} {thing!r} {getattr(thing, 'code', '')}"
        for secret in _secrets(credentials):
            assert secret not in told
