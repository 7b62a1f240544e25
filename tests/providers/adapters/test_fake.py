"""The fake provider itself: what is measured with it is measured right."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from providers.adapters.base import Accepted, Credentials, Request, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from tests.providers.adapters.fake import BROKEN_AFTER, DOWN, Chaos
from tests.providers.adapters.simple_adapter import SimpleAdapter, SimpleParams
from tests.providers.adapters.simple_fake import SimpleFake

PROJECT = Path(__file__).resolve().parents[3]
ADAPTER = SimpleAdapter()


async def submit(http: Http, number: int, account: str = "test-key-1") -> Accepted | Succeeded:
    request = Request("text_to_image", "plain", SimpleParams(prompt="x"), f"ref-{number}")
    return await ADAPTER.submit(http, Credentials(api_key=account), request)


async def submit_all(fake: SimpleFake, accounts: list[str]) -> list[object]:
    async with aiohttp.ClientSession() as session:
        http = Http(session, fake.base_url)
        calls = (submit(http, number, account) for number, account in enumerate(accounts))
        return await asyncio.gather(*calls, return_exceptions=True)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_runs_is_counted_by_account_and_so_is_the_most_there_was() -> None:
    with SimpleFake(duration=None) as fake:
        asyncio.run(submit_all(fake, ["test-key-1"] * 3 + ["test-key-2"]))
        assert fake.live == {"test-key-1": 3, "test-key-2": 1}
        for generation in list(fake.generations):
            fake.finish(generation)
        assert not fake.live
        assert fake.most_live == {"test-key-1": 3, "test-key-2": 1}
        assert all(count == 1 for count in fake.accepted_by_reference.values())


def test_an_account_is_refused_more_than_it_may_have_at_once() -> None:
    with SimpleFake(duration=None, max_live=2) as fake:
        answers = asyncio.run(submit_all(fake, ["test-key-1"] * 5))
        refused = [each for each in answers if isinstance(each, ProviderError)]
        assert [each.error_class for each in refused] == [ErrorClass.CONCURRENT_LIMIT] * 3
        assert fake.most_live == {"test-key-1": 2}


def test_a_request_is_worked_on_when_the_sender_is_gone() -> None:
    async def send_and_leave(fake: SimpleFake) -> None:
        async with aiohttp.ClientSession() as session:
            call = asyncio.create_task(submit(Http(session, fake.base_url), 1))
            while not fake.requests["submit"]:
                await asyncio.sleep(0.005)
            call.cancel()

    with SimpleFake(latency=0.2) as fake:
        asyncio.run(send_and_leave(fake))
        until(lambda: fake.accepted_by_reference["ref-1"] == 1)


def test_an_answer_may_come_when_all_is_done() -> None:
    with SimpleFake(at_once=True, duration=0.05) as fake:
        (answer,) = asyncio.run(submit_all(fake, ["test-key-1"]))
        assert isinstance(answer, Succeeded)
        (generation,) = fake.generations.values()
        assert generation.ended_at is not None
        assert generation.ended_at - generation.accepted_at >= 0.05


def test_chaos_strikes_its_share_and_the_same_requests_each_time() -> None:
    def struck() -> list[bool]:
        chaos = Chaos(0.2, {"submit": [DOWN, BROKEN_AFTER]}, seed=3)
        return [chaos.behaviour("submit").answer is not None for _ in range(1000)]

    assert sum(struck()) == pytest.approx(200, abs=40)
    assert struck() == struck()
    assert Chaos(1.0, {"submit": [DOWN]}).behaviour("check").work


def test_a_fake_can_be_a_process_that_tells_what_it_saw() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.providers.adapters.simple_fake", "0", "--at-once"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        async def ask() -> None:
            async with aiohttp.ClientSession() as session:
                await submit(Http(session, url), 1)

        asyncio.run(ask())
        with urllib.request.urlopen(f"{url}/_fake") as response:
            told = json.load(response)
        assert [each["reference"] for each in told["generations"]] == ["ref-1"]
        assert told["most_live"] == {"test-key-1": 1}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()
