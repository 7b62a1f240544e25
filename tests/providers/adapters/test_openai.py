"""What is peculiar to OpenAI; the rest is in test_conformance.py."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from providers.adapters.base import Accepted, Credentials, Request, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.openai.adapter import OpenAI
from providers.adapters.params import validated
from tests.providers.adapters.fake import answers, picture, video
from tests.providers.adapters.openai_fake import OpenAIFake

ADAPTER = OpenAI()
KEY = Credentials(api_key="test-key-1")


def run(body: Callable[[OpenAIFake, Http, aiohttp.ClientSession], Awaitable[Any]]) -> Any:
    async def main(fake: OpenAIFake) -> Any:
        async with aiohttp.ClientSession() as session:
            return await body(fake, Http(session, fake.base_url), session)

    with OpenAIFake() as fake:
        return asyncio.run(main(fake))


def asked(operation: str, **params: Any) -> Request:
    declared = ADAPTER.operations[operation]
    model = declared.default_model
    return Request(operation, model, validated(declared.models[model], params), "ref-7")


def test_pictures_come_as_bytes_and_are_not_kept_in_the_response() -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        result = await ADAPTER.submit(http, KEY, asked("text_to_image", prompt="x", n=3))
        assert isinstance(result, Succeeded)
        assert [output.data for output in result.outputs] == [picture()] * 3
        assert len(json.dumps(result.response)) < 500
        assert result.response["usage"]["total_tokens"] == 100

    run(body)


def test_our_reference_goes_along_as_the_clients_request_id() -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        await ADAPTER.submit(http, KEY, asked("text_to_image", prompt="x"))
        await ADAPTER.submit(http, KEY, asked("text_to_video", prompt="x"))
        assert fake.accepted_by_reference == {"ref-7": 2}

    run(body)


def test_what_was_left_out_is_not_sent() -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        await ADAPTER.submit(http, KEY, asked("text_to_image", prompt="x"))
        (generation,) = fake.generations.values()
        assert None not in generation.params.values()
        assert "output_compression" not in generation.params

    run(body)


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"b64_json": "no base64!"}]},
        {"data": [{"url": "http://127.0.0.1/x.png"}]},
        {"data": [None]},
        {"data": {}},
        {"data": []},
    ],
)
def test_an_answer_without_readable_pictures_may_have_been_charged(answer: dict[str, Any]) -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        fake.script("submit", answers(200, answer))
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.submit(http, KEY, asked("text_to_image", prompt="x"))
        assert refused.value.error_class is ErrorClass.UNKNOWN

    run(body)


def test_a_video_is_downloaded_with_the_accounts_key() -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        job = await ADAPTER.submit(http, KEY, asked("text_to_video", prompt="x"))
        assert isinstance(job, Accepted)
        while not isinstance(
            done := await ADAPTER.check(http, KEY, job.provider_job_id), Succeeded
        ):
            await asyncio.sleep(0.01)
        (output,) = done.outputs
        assert output.url is not None
        async with session.get(output.url) as response:
            assert response.status == 401
        async with session.get(output.url, headers=output.headers) as response:
            assert await response.read() == video()

    run(body)


def test_an_id_cannot_lead_to_another_page() -> None:
    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        with pytest.raises(ProviderError):
            await ADAPTER.check(http, KEY, "../models")
        assert fake.requests == {"check": 1}

    run(body)


def test_files_of_ours_go_as_a_form_and_may_be_larger_than_a_data_url() -> None:
    large = b"\x89PNG" + bytes(16 * 1024 * 1024)

    async def body(fake: OpenAIFake, http: Http, session: aiohttp.ClientSession) -> None:
        url = f"data:image/png;base64,{base64.b64encode(large).decode()}"
        small = f"data:image/jpeg;base64,{base64.b64encode(b'x').decode()}"
        request = asked("image_to_image", prompt="dusk", images=["x", "y"], n=2)
        # The caller puts the files there after the check.
        params = request.params.model_copy(update={"images": [url, small], "mask": url})
        sent = replace(request, params=params)
        result = await ADAPTER.submit(http, KEY, sent)
        assert isinstance(result, Succeeded)
        assert len(result.outputs) == 2
        assert fake.file_sizes == [len(large), 1, len(large)]
        (generation,) = fake.generations.values()
        assert {"prompt": "dusk", "n": 2}.items() <= generation.params.items()

        broken = request.params.model_copy(update={"images": ["data:image/png,x"]})
        with pytest.raises(ProviderError, match="only base64 is understood"):
            await ADAPTER.submit(http, KEY, replace(request, params=broken))

    run(body)
