"""The coroutines that talk to providers. Each returns an outcome, never raises, knows no database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from jobs.errors import BadOutput
from jobs.generation import files
from jobs.generation.attempts import Attempt
from jobs.generation.files import MediaFile
from pixsim.core.net import Client, FetchError, Limits
from providers.adapters import base_url_of
from providers.adapters.base import Accepted, Failed, Output, Request, State, Succeeded
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""A call that does not keep its own deadline is ended so much later."""
CHECK_SECONDS = 60.0
KEEP_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between tries to write a file that is here."""
OUTPUT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class Sent:
    """What came of a submit call, or of looking a lost one up."""

    result: Accepted | Succeeded | ProviderError | None
    """None: it was looked up and is not there."""
    files: Sequence[MediaFile] = ()


@dataclass(frozen=True)
class Checked:
    """How a submission stands; an error if that could not be learnt."""

    state: State | ProviderError
    files: Sequence[MediaFile] = ()


@dataclass(frozen=True)
class Fetched:
    """The files of a submission that has succeeded; `error` if they could not be had."""

    files: Sequence[MediaFile] = ()
    error: str | None = None
    is_final: bool = False


Outcome = Sent | Checked | Fetched


@dataclass
class Caller:
    """The connections of one event loop."""

    session: aiohttp.ClientSession
    client: Client
    _https: dict[str, Http] = field(default_factory=dict)

    async def submit(self, attempt: Attempt, request: Request) -> Sent:
        """Send it, once."""
        call = attempt.adapter.submit(self._http(attempt), attempt.credentials, request)
        result = await _within(attempt.operation.deadlines.submit + GRACE_SECONDS, call)
        return await self._sent(attempt, result)

    async def find(self, attempt: Attempt) -> Sent:
        """What became of a submission of which we do not know whether it arrived."""
        reference = attempt.submission.reference or ""
        call = attempt.adapter.find(self._http(attempt), attempt.credentials, reference)
        return await self._sent(attempt, await _within(CHECK_SECONDS, call))

    async def check(self, attempt: Attempt) -> Checked:
        provider_job_id = attempt.submission.provider_job_id or ""
        call = attempt.adapter.check(self._http(attempt), attempt.credentials, provider_job_id)
        state = await _within(CHECK_SECONDS, call)
        if isinstance(state, Succeeded):
            return Checked(*await self._kept(attempt, state))
        return Checked(state)

    async def cancel(self, attempt: Attempt) -> Checked:
        """Ask that it be stopped, and how it stands then."""
        provider_job_id = attempt.submission.provider_job_id or ""
        call = attempt.adapter.cancel(self._http(attempt), attempt.credentials, provider_job_id)
        refused = await _within(CHECK_SECONDS, call)
        return Checked(refused) if isinstance(refused, ProviderError) else await self.check(attempt)

    async def fetch(self, attempt: Attempt, outputs: Sequence[Output]) -> Fetched:
        """Fetch and keep the files that a provider has ready."""
        kept = []
        for output in outputs:
            try:
                data = output.data
                if data is None:
                    response = await self.client.fetch(
                        output.url or "", limits=_limits(), headers=output.headers
                    )
                    data = response.body
                kept.append(await self._keep(attempt, output, data))
            except BadOutput as error:
                return Fetched(error=str(error), is_final=True)
            except FetchError as error:
                return Fetched(error=f"Its file cannot be fetched: {error}")
            except Exception as error:
                logger.exception("Fetching a file of submission %s", attempt.submission.pk)
                return Fetched(error=_not_kept(error))
        if not kept:
            return Fetched(
                error="The provider says that it is done and has no file.", is_final=True
            )
        return Fetched(kept)

    async def _sent(self, attempt: Attempt, result: Any) -> Sent:
        if isinstance(result, Succeeded):
            state, kept = await self._kept(attempt, result)
            return Sent(state.error if isinstance(state, Failed) else state, kept)
        return Sent(result)

    async def _kept(
        self, attempt: Attempt, state: Succeeded
    ) -> tuple[Succeeded | Failed | ProviderError, Sequence[MediaFile]]:
        """The files that came inside the answer; those that must be fetched are fetched later.

        An answer whose files have no room here is as good as lost: what cannot be looked up again
        ends as a doubtful submission does.
        """
        if not state.outputs or any(output.data is None for output in state.outputs):
            return state, ()
        try:
            return state, [
                await self._keep(attempt, output, output.data or b"") for output in state.outputs
            ]
        except BadOutput as error:
            return Failed(ProviderError(ErrorClass.INVALID_PARAMETER, str(error)), {}), ()
        except Exception as error:
            logger.exception("Keeping a file of submission %s", attempt.submission.pk)
            return ProviderError(ErrorClass.UNKNOWN, _not_kept(error)), ()

    async def _keep(self, attempt: Attempt, output: Output, data: bytes) -> MediaFile:
        """Paid for and perhaps not to be had again, so it waits here for room."""
        for delay in (*KEEP_DELAYS, None):
            try:
                return await asyncio.to_thread(
                    files.keep,
                    data,
                    operation=attempt.job.operation_type,
                    url=output.url or "",
                    provider_asset_id=output.provider_asset_id,
                )
            except BadOutput:
                raise
            except Exception as error:
                if delay is None:
                    raise
                logger.warning(
                    "%s (submission %s); again in %s s",
                    _not_kept(error), attempt.submission.pk, delay,
                )  # fmt: skip
                await asyncio.sleep(delay)
        raise AssertionError

    def _http(self, attempt: Attempt) -> Http:
        adapter = attempt.adapter
        if adapter.name not in self._https:
            self._https[adapter.name] = Http(self.session, base_url_of(adapter))
        return self._https[adapter.name]


async def _within(seconds: float, call: Any) -> Any:
    """What the call returns, or the ProviderError that ended it, whatever it was."""
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


def _limits() -> Limits:
    limits = Limits.from_settings()
    return Limits(
        max_bytes=OUTPUT_BYTES,
        connect_timeout=limits.connect_timeout,
        read_timeout=limits.read_timeout,
        total_timeout=600.0,
        min_bytes_per_second=limits.min_bytes_per_second,
        max_redirects=limits.max_redirects,
    )
