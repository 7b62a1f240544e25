"""The coroutines that call providers. Each returns an outcome and never raises; none uses the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import aiohttp

from jobs.errors import BadOutput
from jobs.generation import files
from jobs.generation.attempts import Attempt
from jobs.models import Asset
from pixsim.core.media import Unavailable
from pixsim.core.net import Client, FetchError, Limits
from providers.adapters import base_url_of
from providers.adapters.base import Accepted, Credentials, Failed, Output, Request, State, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""A call that does not keep its own deadline is cancelled this much later."""
CHECK_SECONDS = 60.0
KEEP_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between tries to store a file."""
OUTPUT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Answered:
    """The outcome of submitting, checking, cancelling or looking up a submission."""

    state: Accepted | State | ProviderError | None
    """An error: the state is not known. None: the provider does not know the reference."""
    files: Sequence[Asset] = ()
    """The files, if the answer included them."""


@dataclass(frozen=True)
class Fetched:
    """The files of a submission that has succeeded, or why they could not be fetched."""

    files: Sequence[Asset] = ()
    error: str | None = None
    is_final: bool = False


Outcome = Answered | Fetched


@dataclass
class Caller:
    """The connections of one event loop. Call `open` and `close` on that loop."""

    session: aiohttp.ClientSession
    client: Client
    _https: dict[str, Http] = field(default_factory=dict)

    @classmethod
    async def open(cls) -> Caller:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return cls(session, await Client().__aenter__())

    async def close(self) -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        await self.session.close()
        await self.client.__aexit__(None, None, None)

    async def submit(self, attempt: Attempt, request: Request) -> Answered:
        """Send the request, once."""
        seconds = attempt.operation.deadlines.submit + GRACE_SECONDS
        return await self._answer(attempt, attempt.adapter.submit, request, seconds=seconds)

    async def find(self, attempt: Attempt) -> Answered:
        """Look up a submission of which we do not know whether it arrived."""
        reference = attempt.submission.reference or ""
        return await self._answer(attempt, attempt.adapter.find, reference)

    async def check(self, attempt: Attempt) -> Answered:
        provider_job_id = attempt.submission.provider_job_id or ""
        return await self._answer(attempt, attempt.adapter.check, provider_job_id)

    async def cancel(self, attempt: Attempt) -> Answered:
        """Ask the provider to stop; return the state after that."""
        provider_job_id = attempt.submission.provider_job_id or ""
        refused = await self._answer(attempt, attempt.adapter.cancel, provider_job_id)
        return await self.check(attempt) if refused.state is None else refused

    async def fetch(self, attempt: Attempt, outputs: Sequence[Output]) -> Fetched:
        """Fetch and store the files that the provider has ready."""
        kept = []
        limits = replace(Limits.from_settings(), max_bytes=OUTPUT_BYTES, total_timeout=600.0)
        for output in outputs:
            try:
                data = output.data
                if data is None:
                    fetched = await self.client.fetch(
                        output.url or "", limits=limits, headers=output.headers
                    )
                    data = fetched.body
                kept.append(await self._keep(attempt, output, data))
            except BadOutput as error:
                return Fetched(error=str(error), is_final=True)
            except FetchError as error:
                return Fetched(error=f"Its file cannot be fetched: {error}")
            except Exception as error:
                logger.exception("Fetching a file of submission %s", attempt.submission.pk)
                return Fetched(error=_not_kept(error))
        missing = None if kept else "The provider says that it is done and has no file."
        return Fetched(kept, missing, is_final=True)

    async def check_and_fetch(self, attempt: Attempt, recorded: Sequence[Output]) -> Fetched:
        """Check again, for addresses expire and headers are not recorded; then fetch the files."""
        outputs = recorded
        if attempt.submission.provider_job_id:
            checked = await self.check(attempt)
            if checked.files:
                return Fetched(checked.files)
            if isinstance(checked.state, Succeeded):
                outputs = checked.state.outputs
        return await self.fetch(attempt, outputs)

    async def _answer(
        self,
        attempt: Attempt,
        method: Callable[[Http, Credentials, Any], Awaitable[Any]],
        argument: Any,
        *,
        seconds: float = CHECK_SECONDS,
    ) -> Answered:
        """Call a method of the adapter, and store the files that its answer includes.

        If they cannot be stored the answer counts as lost: a submission that cannot be looked up
        again ends as `unknown` ones do. Files that must be fetched are fetched later.
        """
        adapter = attempt.adapter
        http = self._https.setdefault(adapter.name, Http(self.session, base_url_of(adapter)))
        state = await _within(seconds, method(http, attempt.credentials, argument))
        outputs = state.outputs if isinstance(state, Succeeded) else ()
        if not outputs or any(output.data is None for output in outputs):
            return Answered(state)
        try:
            kept = [await self._keep(attempt, output, output.data or b"") for output in outputs]
        except BadOutput as error:
            return Answered(Failed(ProviderError(ErrorClass.INVALID_PARAMETER, str(error)), {}))
        except Exception as error:
            logger.exception("Keeping a file of submission %s", attempt.submission.pk)
            return Answered(ProviderError(ErrorClass.UNKNOWN, _not_kept(error)))
        return Answered(state, kept)

    async def _keep(self, attempt: Attempt, output: Output, data: bytes) -> Asset:
        """Store a file. Retry with KEEP_DELAYS: it is paid for, and may not be offered again."""
        keep = partial(
            files.keep,
            data,
            operation=attempt.job.operation_type,
            url=output.url or "",
            provider_asset_id=output.provider_asset_id,
        )
        for delay in KEEP_DELAYS:
            try:
                return await asyncio.to_thread(keep)
            except BadOutput:
                raise
            except Exception as error:
                text = (
                    f"{_not_kept(error)} (submission {attempt.submission.pk}); again in {delay} s"
                )
                logger.warning(text)
                await asyncio.sleep(delay)
        try:
            return await asyncio.to_thread(keep)
        except Unavailable as error:
            return await asyncio.to_thread(keep, undecoded=f"It could not be decoded: {error}")


async def _within(seconds: float, call: Awaitable[Any]) -> Any:
    """Return the call's result, or a ProviderError for any exception or for no answer in time."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except ProviderError as error:
        return error
    except TimeoutError:
        return ProviderError(ErrorClass.TIMEOUT, f"No answer within {seconds:g} s.")
    except Exception as error:
        logger.exception("An adapter failed")
        return ProviderError(ErrorClass.UNKNOWN, f"{type(error).__name__}: {error}")


def _not_kept(error: Exception) -> str:
    return f"Its file cannot be kept: {type(error).__name__}: {error}"
