"""What is peculiar to Mureka; the rest is in test_conformance.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from providers.adapters.base import Accepted, Credentials, Request, Running, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.mureka.adapter import Mureka
from providers.adapters.params import validated
from tests.providers.adapters.fake import Behaviour, Json
from tests.providers.adapters.mureka_fake import LYRICS, MurekaFake

ADAPTER = Mureka()
KEY = Credentials(api_key="test-key-1")


def run(body: Callable[[MurekaFake, Http], Awaitable[Any]]) -> Any:
    async def main(fake: MurekaFake) -> Any:
        async with aiohttp.ClientSession() as session:
            return await body(fake, Http(session, fake.base_url))

    with MurekaFake() as fake:
        return asyncio.run(main(fake))


async def accepted(http: Http, **params: Any) -> Accepted:
    schema = ADAPTER.operations["song"].models["auto"]
    job = await ADAPTER.submit(
        http, KEY, Request("song", "auto", validated(schema, params), "ref-7")
    )
    assert isinstance(job, Accepted)
    return job


def test_lyrics_are_sung_and_a_description_gets_lyrics_of_its_own() -> None:
    async def body(fake: MurekaFake, http: Http) -> None:
        await accepted(http, lyrics=LYRICS)
        await accepted(http, prompt="slow folk", styles=["folk"])
        sung, described = (each.params for each in fake.generations.values())
        assert sung == {"lyrics": LYRICS, "model": "auto", "n": 1}
        assert described == {"prompt": "slow folk", "styles": ["folk"], "model": "auto", "n": 1}

    run(body)


def test_every_song_of_a_task_comes_out() -> None:
    async def body(fake: MurekaFake, http: Http) -> None:
        job = await accepted(http, prompt="slow folk", n=3)
        await asyncio.to_thread(fake.finish, job.provider_job_id)
        state = await ADAPTER.check(http, KEY, job.provider_job_id)
        assert isinstance(state, Succeeded)
        assert [str(output.url).rpartition("-")[2] for output in state.outputs] == [
            "0.mp3",
            "1.mp3",
            "2.mp3",
        ]
        assert len({output.provider_asset_id for output in state.outputs}) == 3

    run(body)


@pytest.mark.parametrize("status", ["preparing", "queued", "running", "streaming", "reviewing"])
def test_a_song_is_not_done_before_it_has_succeeded(status: str) -> None:
    async def body(fake: MurekaFake, http: Http) -> None:
        job = await accepted(http, prompt="slow folk")
        fake.script("check", Behaviour(change=lambda answer: answer | {"status": status}))
        assert isinstance(await ADAPTER.check(http, KEY, job.provider_job_id), Running)

    run(body)


@pytest.mark.parametrize(
    "change",
    [{"choices": []}, {"choices": None}, {"choices": [{"id": "1"}]}, {"status": "finished"}],
)
def test_a_state_that_is_not_published_or_has_no_song_is_no_end(change: Json) -> None:
    async def body(fake: MurekaFake, http: Http) -> None:
        job = await accepted(http, prompt="slow folk")
        await asyncio.to_thread(fake.finish, job.provider_job_id)
        fake.script("check", Behaviour(change=lambda answer: answer | change))
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.check(http, KEY, job.provider_job_id)
        assert refused.value.error_class is ErrorClass.UNKNOWN

    run(body)


def test_the_balance_is_told_in_cents() -> None:
    async def body(fake: MurekaFake, http: Http) -> None:
        assert await ADAPTER.credits(http, KEY) == {"cents": 2980}
        fake.script("test", Behaviour(answer=(200, {}, {})))
        with pytest.raises(ProviderError):
            await ADAPTER.credits(http, KEY)

    run(body)
