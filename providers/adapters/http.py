"""Calls of a provider's API, with limits on the answer and classified errors."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from pixsim.core.net.client import parse_retry_after
from pixsim.core.redaction import is_secret
from pixsim.core.text import read_json
from providers.adapters.errors import ErrorClass, ProviderError

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Large, because a picture may be in the answer as base64."""

STATUS_CLASSES = {
    **dict.fromkeys([400, 404, 413, 415, 422], ErrorClass.INVALID_PARAMETER),
    **dict.fromkeys([401, 403], ErrorClass.AUTH),
    402: ErrorClass.QUOTA,
    429: ErrorClass.RATE_LIMIT,
    **dict.fromkeys([408, 425, 503], ErrorClass.UNAVAILABLE),
}
"""The class of a status where the body says nothing more exact. An error that the provider itself
wrote (in an answer 2xx or 4xx) is a refusal: only other 5xx and redirects are UNKNOWN, since a
provider may have accepted the call before it failed."""


@dataclass(frozen=True)
class Answer:
    """A provider's answer. `body` is its JSON object."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


SHORTEST_SECRET = 6
UNSENDABLE = frozenset("\r\n\0")

Classify = Callable[[Answer], ProviderError | None]
"""Return the error that an answer contains; None if the adapter knows none."""


class Http:
    """Calls to one provider. The caller of an adapter creates it, one per event loop."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")

    def url(self, path: str) -> str:
        """Return the full address of a path of the API."""
        return f"{self._base_url}/{path.lstrip('/')}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        classify: Classify,
        timeout: float,
        body: Any = None,
        form: aiohttp.FormData | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; return its 2xx answer, a JSON object in which `classify` finds no error.

        Raise ProviderError: UNAVAILABLE if no connection was made, TIMEOUT or UNKNOWN if the
        request was sent and no valid answer came, else by `classify` or the status.
        """
        url = self.url(path)
        if any(set(value) & UNSENDABLE for value in headers.values()):
            raise ProviderError(ErrorClass.AUTH, "The credentials have a line break in them.")
        try:
            async with asyncio.timeout(timeout):
                async with self._session.request(
                    method, url, headers=headers, json=body, data=form, params=query,
                    allow_redirects=False,
                ) as response:  # fmt: skip
                    raw = await response.content.read(MAX_ANSWER_BYTES + 1)
                    while not response.content.at_eof() and len(raw) <= MAX_ANSWER_BYTES:
                        raw += await response.content.read(MAX_ANSWER_BYTES + 1 - len(raw))
        except TimeoutError as error:
            raise ProviderError(
                ErrorClass.TIMEOUT, f"No answer from {url} within {timeout:g} s."
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise ProviderError(ErrorClass.UNAVAILABLE, f"Cannot reach {url}: {error}") from error
        except aiohttp.ClientError as error:
            raise ProviderError(
                ErrorClass.UNKNOWN, f"The connection to {url} broke: {error}"
            ) from error
        return _checked(url, response, _without_secrets(raw, headers), classify)


def _without_secrets(raw: bytes, headers: Mapping[str, str]) -> bytes:
    """Remove the keys that were sent from the answer: some providers repeat them in errors."""
    for name, value in headers.items():
        if is_secret(name):
            secret = value.rpartition(" ")[2].encode()
            raw = raw.replace(secret, b"[secret]") if len(secret) >= SHORTEST_SECRET else raw
    return raw


def _checked(url: str, response: aiohttp.ClientResponse, raw: bytes, classify: Classify) -> Answer:
    succeeded = 200 <= response.status < 300
    try:
        if len(raw) > MAX_ANSWER_BYTES:
            raise ValueError("too long")
        body = read_json(raw) if raw else {}
        if not isinstance(body, dict):
            raise ValueError("no object")
    except ValueError as error:
        if not succeeded:
            body = {}
        else:
            raise ProviderError(
                ErrorClass.UNKNOWN,
                f"{url} answered {response.status} with something other than a JSON object.",
            ) from error
    answer = Answer(response.status, response.headers, body)
    if found := classify(answer):
        raise found
    if not succeeded:
        raise by_status(answer)
    return answer


def by_status(answer: Answer, message: str | None = None, code: str | None = None) -> ProviderError:
    """Return the error of an answer by its status alone. With 2xx the caller found an error in it."""
    is_refusal = answer.status // 100 in (2, 4)
    other = ErrorClass.INVALID_PARAMETER if is_refusal else ErrorClass.UNKNOWN
    error_class = STATUS_CLASSES.get(answer.status, other)
    retry_after = parse_retry_after(answer.headers.get("Retry-After"), now=datetime.now(UTC))
    return ProviderError(
        error_class,
        message or f"The provider answered HTTP {answer.status}.",
        code=code,
        retry_after=retry_after,
    )
