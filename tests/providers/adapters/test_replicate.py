"""What is peculiar to Replicate; the rest is in test_conformance.py."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from providers.adapters.base import (
    Accepted,
    Credentials,
    Failed,
    Request,
    Running,
    State,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.params import validated
from providers.adapters.replicate.adapter import Replicate
from providers.adapters.replicate.schemas import AnyInput
from tests.providers.adapters.fake import BROKEN_AFTER, DROPPED_AFTER, Behaviour
from tests.providers.adapters.replicate_fake import SECRET, VERSION, ReplicateFake

ADAPTER = Replicate()
KEY = Credentials(api_key="test-key-1")


def run(body: Callable[[ReplicateFake, Http], Awaitable[Any]]) -> Any:
    async def main(fake: ReplicateFake) -> Any:
        async with aiohttp.ClientSession() as session:
            return await body(fake, Http(session, fake.base_url))

    with ReplicateFake() as fake:
        return asyncio.run(main(fake))


def asked(operation: str, model: str, **params: Any) -> Request:
    schema = ADAPTER.operations[operation].models[model]
    return Request(operation, model, validated(schema, params), "ref-7")


def restored(content: bytes) -> Request:
    """A request with a file in it."""
    url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    request = asked("image_to_image", f"somebody/restorer:{VERSION}", files={"img": "x"})
    # The caller puts the file there after the check.
    params = request.params.model_copy(update={"files": {"img": url}})
    return Request(request.operation, request.model, params, request.reference)


async def ended(http: Http, job: Accepted | Succeeded) -> State:
    assert isinstance(job, Accepted)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not isinstance(state := await ADAPTER.check(http, KEY, job.provider_job_id), Running):
            return state
        await asyncio.sleep(0.01)
    raise AssertionError("it does not end")


def test_any_model_of_replicate_may_be_asked_for_and_nothing_else() -> None:
    models = ADAPTER.operations["text_to_image"].models
    assert "go_fast" in models["black-forest-labs/flux-schnell"].model_fields
    assert models[f"somebody/model-2.1:{VERSION}"] is AnyInput
    assert "somebody/model" in models
    for name in ("flux", "a/b/c", "a/b:c", "../x/y", "a/b?x=1", "", " a/b"):
        assert name not in models
        with pytest.raises(KeyError):
            models[name]


def test_a_prediction_has_a_deadline_of_its_own() -> None:
    async def body(fake: ReplicateFake, http: Http) -> None:
        await ADAPTER.submit(
            http, KEY, asked("text_to_image", "black-forest-labs/flux-schnell", prompt="x")
        )
        assert list(fake.deadlines.values()) == ["30m"]

    run(body)


def test_a_small_file_goes_inline_and_a_large_one_is_uploaded_first() -> None:
    async def body(fake: ReplicateFake, http: Http) -> None:
        for content in (b"small", b"x" * 300_000):
            await ADAPTER.submit(http, KEY, restored(content))
        small, large = (each.params["input"]["img"] for each in fake.generations.values())
        assert small.startswith("data:image/png;base64,")
        assert large == f"{fake.base_url}/files/file1"
        assert fake.uploads == {"file1": b"x" * 300_000}

    run(body)


@pytest.mark.parametrize(
    "behaviour", [DROPPED_AFTER, BROKEN_AFTER, Behaviour(answer=(201, {}, {}))]
)
def test_an_upload_that_fails_has_cost_nothing(behaviour: Behaviour) -> None:
    async def body(fake: ReplicateFake, http: Http) -> None:
        fake.script("upload", behaviour)
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.submit(http, KEY, restored(b"x" * 300_000))
        assert refused.value.error_class is ErrorClass.UNAVAILABLE
        assert not fake.generations

    run(body)


def test_only_replicates_own_files_are_asked_for_with_the_key(settings: Any) -> None:
    request = asked("text_to_image", "black-forest-labs/flux-schnell", prompt="x")

    async def body(fake: ReplicateFake, http: Http) -> None:
        settings.PROVIDER_BASE_URLS = {"replicate": fake.base_url}
        elsewhere = await ended(http, await ADAPTER.submit(http, KEY, request))
        assert isinstance(elsewhere, Succeeded)
        assert not elsewhere.outputs[0].headers

        fake.serve_outputs_from_api = True
        job = await ADAPTER.submit(http, KEY, request)
        own = await ended(http, job)
        assert isinstance(own, Succeeded)
        assert own.outputs[0].headers["Authorization"] == "Bearer test-key-1"

        for url, is_replicates in (
            ("https://replicate.delivery/x/out.png", True),
            ("https://pbxt.replicate.delivery/out.png", True),
            ("http://replicate.delivery/out.png", False),
            ("https://replicate.delivery.evil.example/out.png", False),
            ("https://evil.example/https://replicate.delivery/out.png", False),
            ("https://evil-replicate.delivery/out.png", False),
            ("https://replicate.delivery@evil.example/out.png", False),
        ):
            fake.script("check", Behaviour(change=lambda answer, url=url: answer | {"output": url}))
            state = await ended(http, job)
            assert isinstance(state, Succeeded)
            assert bool(state.outputs[0].headers) is is_replicates, url

        generation = list(fake.generations.values())[-1]
        text, headers = fake.webhook_of(generation, "ended")
        event = ADAPTER.webhook(headers, text, secret=SECRET, now=time.time())
        assert isinstance(event.state, Running)

    run(body)


@pytest.mark.parametrize(
    ("change", "error_class"),
    [
        ({"output": None, "data_removed": True}, ErrorClass.INVALID_PARAMETER),
        ({"output": {"text": "no file"}}, ErrorClass.INVALID_PARAMETER),
    ],
)
def test_a_prediction_without_files_has_failed(
    change: dict[str, Any], error_class: ErrorClass
) -> None:
    async def body(fake: ReplicateFake, http: Http) -> None:
        request = asked("text_to_image", "black-forest-labs/flux-schnell", prompt="x")
        job = await ADAPTER.submit(http, KEY, request)
        await ended(http, job)
        fake.script("check", Behaviour(change=lambda answer: answer | change))
        state = await ended(http, job)
        assert isinstance(state, Failed)
        assert state.error.error_class is error_class

    run(body)


def test_files_are_found_wherever_they_stand_in_the_output() -> None:
    output = {"video": "https://a/v.mp4", "stills": [["https://a/1.png"], "no file"], "seed": 3}

    async def body(fake: ReplicateFake, http: Http) -> None:
        request = asked("text_to_image", "black-forest-labs/flux-schnell", prompt="x")
        job = await ADAPTER.submit(http, KEY, request)
        await ended(http, job)
        fake.script("check", Behaviour(change=lambda answer: answer | {"output": output}))
        state = await ended(http, job)
        assert isinstance(state, Succeeded)
        assert [each.url for each in state.outputs] == ["https://a/v.mp4", "https://a/1.png"]

    run(body)


def test_what_the_person_did_not_say_is_not_sent() -> None:
    """The provider's own default holds, whatever we believe of it."""

    async def body(fake: ReplicateFake, http: Http) -> None:
        for params in ({}, {"resolution": "1080p"}):
            request = asked("text_to_video", "bytedance/seedance-1-pro", prompt="x", **params)
            await ADAPTER.submit(http, KEY, request)
            *_, prediction = fake.generations.values()
            assert prediction.params["input"] == {"prompt": "x", **params}

    run(body)
