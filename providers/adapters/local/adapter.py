"""This machine as a provider: it needs no key, costs nothing, and draws and plays by itself.

A generation is answered at once, and nothing of it is kept here. With LOCAL_PROVIDER's `later` it
is accepted, remembered and done when it is asked for. Either way `find` is sure: what is not
remembered is nowhere, and may be asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from pixsim.core.net import Client, FetchError
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
from providers.adapters.errors import MAY_HAVE_BEEN_ACCEPTED, ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.inline import inline_bytes
from providers.adapters.local import errors, schemas
from providers.adapters.local.conduct import Conduct
from providers.adapters.local.memory import Generation, Memory
from providers.adapters.params import Params

DEADLINES = Deadlines(submit=120.0, run=600.0, total=3600.0)


class Local(Adapter):
    """Pictures, animations and songs made on this machine."""

    name = "local"
    title = "This machine"
    base_url = ""
    operations = {
        name: Operation(name, {model: schema}, expected_seconds=seconds, deadlines=DEADLINES)
        for name, model, schema, seconds in (
            ("text_to_image", "painter", schemas.TextToImage, 1.0),
            ("image_to_image", "retoucher", schemas.ImageToImage, 1.0),
            ("text_to_video", "animator", schemas.TextToVideo, 3.0),
            ("image_to_video", "camera", schemas.ImageToVideo, 3.0),
            ("song", "band", schemas.Song, 4.0),
        )
    }
    can_find = True
    can_cancel = True
    credential = None
    calls_at_once = 2  # one is rendered, one waits; more would keep them from other processes

    async def submit(
        self, http: Http, credentials: Credentials, request: Request
    ) -> Accepted | Succeeded:
        conduct = Conduct.from_settings()
        seconds = self.operations[request.operation].deadlines.submit
        try:
            async with asyncio.timeout(seconds):
                if conduct.later:
                    return _accepted(conduct, request)
                return await _answered(conduct, request)
        except TimeoutError as error:
            raise ProviderError(
                ErrorClass.TIMEOUT, f"It was not done within {seconds:g} s."
            ) from error

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        conduct, now = Conduct.from_settings(), time.time()
        generation = Memory(conduct.memory).recall(provider_job_id)
        if generation is None:
            raise ProviderError(
                ErrorClass.INVALID_PARAMETER, f"There is no generation {provider_job_id}."
            )
        response = generation.model_dump(exclude={"params"})
        if generation.cancelled_at is not None:
            error = ProviderError(ErrorClass.UNAVAILABLE, "It was cancelled.", code="cancelled")
            return Failed(error, response, cancelled=True)
        if now < generation.ready_at:
            whole = generation.ready_at - generation.accepted_at
            return Running(min(1.0, max(0.0, (now - generation.accepted_at) / whole)), response)
        if conduct.failure_of(generation.reference) is ErrorClass.FILTERED:
            return Failed(errors.trouble(ErrorClass.FILTERED), response)
        schema = self.operations[generation.operation].models[generation.model]
        params = schema.model_validate(generation.params)
        try:
            return await _done(generation.reference, params, response)
        except ProviderError as error:
            return Failed(error, response)

    async def cancel(self, http: Http, credentials: Credentials, provider_job_id: str) -> None:
        memory = Memory(Conduct.from_settings().memory)
        if generation := memory.recall(provider_job_id):
            memory.keep(generation.cancelled(time.time()))

    async def find(
        self, http: Http, credentials: Credentials, reference: str
    ) -> Accepted | Succeeded | None:
        generation = Memory(Conduct.from_settings().memory).recall(reference)
        if generation is None:
            return None
        return Accepted(reference, generation.model_dump(exclude={"params"}))


async def _answered(conduct: Conduct, request: Request) -> Succeeded:
    await asyncio.sleep(conduct.delay_seconds)
    if failure := conduct.failure_of(request.reference):
        raise errors.trouble(failure)
    return await _done(request.reference, request.params, {})


def _accepted(conduct: Conduct, request: Request) -> Accepted:
    """Remember it. Of the failures, those that leave open what happened come after that; a
    refused content shows when it is done; all others refuse it now."""
    failure = conduct.failure_of(request.reference)
    if failure and failure not in {*MAY_HAVE_BEEN_ACCEPTED, ErrorClass.FILTERED}:
        raise errors.trouble(failure)
    now = time.time()
    generation = Generation(
        reference=request.reference,
        operation=request.operation,
        model=request.model,
        params=request.params.canonical(),
        accepted_at=now,
        ready_at=now + conduct.delay_seconds,
    )
    Memory(conduct.memory).keep(generation)
    if failure in MAY_HAVE_BEEN_ACCEPTED:
        raise errors.trouble(failure)
    return Accepted(request.reference, generation.model_dump(exclude={"params"}))


async def _done(reference: str, params: Params, response: Mapping[str, Any]) -> Succeeded:
    """Render it, in a thread: numpy and Pillow let the loop go on meanwhile."""
    from providers.adapters.local.rendering import render

    seed = getattr(params, "seed", None)
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(reference.encode()).digest()[:4])
    address = getattr(params, "image", None)
    source = b"" if address is None else await _loaded(address)
    work = partial(render, params, seed=seed, source=source)
    rendered = await asyncio.get_running_loop().run_in_executor(_threads(), work)
    outputs = [
        Output(data=data, provider_asset_id=f"{reference}-{number}")
        for number, data in enumerate(rendered.files)
    ]
    return Succeeded(
        outputs, {**response, **rendered.about, "seed": seed}, provider_job_id=reference, cost=0.0
    )


@cache
def _threads() -> ThreadPoolExecutor:
    """No more pictures at once than processors, whatever the slots: each takes memory."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="local-render")


async def _loaded(address: str) -> bytes:
    """The bytes of an input: at an http(s) address, or in the address itself (data:)."""
    try:
        inline = inline_bytes(address)
    except ValueError as error:
        raise errors.of_picture(f"{error}.") from error
    if inline is not None:
        return inline[1]
    try:
        async with Client(connections=1) as client:
            return (await client.fetch(address)).body
    except FetchError as error:
        raise errors.of_input(error) from error
