"""This machine as a provider: it needs no key, costs nothing, and renders by itself.

A generation is answered at once and not stored. With LOCAL_PROVIDER's `later` it is accepted,
stored in a file and done when it is asked for. Either way `find` is certain: what is not stored
was never accepted, and may be submitted again.
"""

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
    Failed,
    Output,
    Request,
    Running,
    State,
    Submitted,
    Succeeded,
)
from providers.adapters.errors import MAY_HAVE_BEEN_ACCEPTED, ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.inline import inline_bytes
from providers.adapters.local import rules
from providers.adapters.local.behaviour import Behaviour
from providers.adapters.local.memory import Generation, Memory
from providers.adapters.operations import read_operations
from providers.adapters.params import Params


class Local(Adapter):
    """Pictures, animations and songs made on this machine."""

    name = "local"
    title = "This machine"
    base_url = ""
    operations = read_operations(__file__, {"picture": rules.Picture, "file": rules.File})
    can_find = True
    can_cancel = True
    credential = None
    calls_at_once = 2  # one is rendered, one waits; more would keep them from other processes

    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        behaviour = Behaviour.from_settings()
        seconds = self.operations[request.operation].deadlines.submit
        try:
            async with asyncio.timeout(seconds):
                if behaviour.later:
                    return _accepted(behaviour, request)
                await asyncio.sleep(behaviour.delay_seconds)
                if failure := behaviour.failure_of(request.reference):
                    raise behaviour.error(failure)
                return await _done(request.operation, request.reference, request.params, {})
        except TimeoutError as error:
            raise ProviderError(
                ErrorClass.TIMEOUT, f"It was not done within {seconds:g} s."
            ) from error

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        behaviour, now = Behaviour.from_settings(), time.time()
        generation = Memory(behaviour.memory).recall(provider_job_id)
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
        if behaviour.failure_of(generation.reference) is ErrorClass.FILTERED:
            return Failed(behaviour.error(ErrorClass.FILTERED), response)
        schema = self.operations[generation.operation].models[generation.model]
        try:
            params = schema.model_validate(generation.params)
            return await _done(generation.operation, generation.reference, params, response)
        except ProviderError as error:
            return Failed(error, response)

    async def cancel(self, http: Http, credentials: Credentials, provider_job_id: str) -> None:
        memory = Memory(Behaviour.from_settings().memory)
        if generation := memory.recall(provider_job_id):
            memory.keep(generation.cancelled(time.time()))

    async def find(self, http: Http, credentials: Credentials, reference: str) -> Submitted | None:
        generation = Memory(Behaviour.from_settings().memory).recall(reference)
        if generation is None:
            return None
        return Accepted(reference, generation.model_dump(exclude={"params"}))


def _accepted(behaviour: Behaviour, request: Request) -> Accepted:
    """Store the generation, to be rendered when it is checked.

    Of the failures, those that leave open what happened come after it is stored; `filtered` shows
    when it is checked; all others refuse it now.
    """
    failure = behaviour.failure_of(request.reference)
    if failure and failure not in {*MAY_HAVE_BEEN_ACCEPTED, ErrorClass.FILTERED}:
        raise behaviour.error(failure)
    now = time.time()
    generation = Generation(
        reference=request.reference,
        operation=request.operation,
        model=request.model,
        params=request.params.canonical(),
        accepted_at=now,
        ready_at=now + behaviour.delay_seconds,
    )
    Memory(behaviour.memory).keep(generation)
    if failure in MAY_HAVE_BEEN_ACCEPTED:
        raise behaviour.error(failure)
    return Accepted(request.reference, generation.model_dump(exclude={"params"}))


async def _done(
    operation: str, reference: str, params: Params, response: Mapping[str, Any]
) -> Succeeded:
    """Render in a thread: numpy and Pillow let the event loop run meanwhile."""
    from providers.adapters.local.rendering import NotAPicture, render

    seed = getattr(params, "seed", None)
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(reference.encode()).digest()[:4])
    address = getattr(params, "image", None)
    source = b"" if address is None else await _loaded(address)
    try:
        work = partial(render, operation, params, seed=seed, source=source)
        rendered = await asyncio.get_running_loop().run_in_executor(_threads(), work)
    except NotAPicture as error:
        raise _not_a_picture(error) from error
    files = enumerate(rendered.files)
    outputs = [Output(data=data, provider_asset_id=f"{reference}-{place}") for place, data in files]
    response = {**response, **rendered.facts, "seed": seed}
    return Succeeded(outputs, response, provider_job_id=reference, cost=0.0)


@cache
def _threads() -> ThreadPoolExecutor:
    """At most as many renderings at once as processors: each takes memory."""
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="local-render")


async def _loaded(address: str) -> bytes:
    """Return the bytes of an input: at an http(s) address, or in the address itself (data:)."""
    try:
        if inline := inline_bytes(address):
            return inline[1]
        async with Client(connections=1) as client:
            return (await client.fetch(address)).body
    except ValueError as error:
        raise _not_a_picture(error) from error
    except FetchError as error:
        raise ProviderError(
            ErrorClass.UNAVAILABLE if error.retryable else ErrorClass.INVALID_PARAMETER,
            f"image: cannot be fetched: {error.detail}",
            code=error.reason,
            retry_after=error.retry_after,
        ) from error


def _not_a_picture(why: Exception) -> ProviderError:
    return ProviderError(ErrorClass.INVALID_PARAMETER, f"image: {why}", code="not_a_picture")
