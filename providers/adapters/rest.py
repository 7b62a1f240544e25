"""What the JSON APIs of most providers have in common: a key in a header, jobs by their id."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from pixsim.core.redaction import declare
from providers.adapters.base import Accepted, Adapter, Credentials, Request
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Answer, Http

ASK_TIMEOUT = 30.0
UPLOAD_TIMEOUT = 120.0
PROBE = "the account's key"


class RestAdapter(Adapter):
    """An adapter whose calls take and return JSON objects."""

    def __init__(self) -> None:
        # Which headers contain the key, whatever they are called.
        headers = self.headers(Credentials(api_key=PROBE))
        declare(*(name for name, value in headers.items() if PROBE in value))

    @staticmethod
    @abstractmethod
    def classify(answer: Answer) -> ProviderError | None:
        """Return the error that an answer contains; None if there is none."""

    def headers(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers that authorise a call."""
        return {"Authorization": f"Bearer {credentials.api_key}"}

    async def call(
        self,
        http: Http,
        credentials: Credentials,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        form: aiohttp.FormData | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = ASK_TIMEOUT,
    ) -> dict[str, Any]:
        """Make one call and return the object of its answer. Raise ProviderError."""
        answer = await http.call(
            method,
            path,
            headers={**self.headers(credentials), **(headers or {})},
            classify=self.classify,
            timeout=timeout,
            body=body,
            form=form,
        )
        return answer.body

    async def create(
        self,
        http: Http,
        credentials: Credentials,
        request: Request,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None = None,
        *,
        form: aiohttp.FormData | None = None,
    ) -> dict[str, Any]:
        """Make the call that submits a generation, within the deadline of its operation."""
        timeout = self.operations[request.operation].deadlines.submit
        return await self.call(
            http, credentials, "POST", path, body, form=form, headers=headers, timeout=timeout
        )

    async def upload(
        self, http: Http, credentials: Credentials, path: str, form: aiohttp.FormData
    ) -> dict[str, Any]:
        """Upload a file. A failed upload costs nothing: its error is never "may be accepted"."""
        try:
            return await self.call(
                http, credentials, "POST", path, form=form, timeout=UPLOAD_TIMEOUT
            )
        except ProviderError as error:
            if error.may_have_been_accepted:
                message = f"The upload failed: {error}"
                raise ProviderError(ErrorClass.UNAVAILABLE, message) from error
            raise


def accepted(answer: dict[str, Any], what: str) -> Accepted:
    """Return the acceptance that an answer's `id` stands for. Raise ProviderError without one."""
    if not isinstance(answer.get("id"), str):
        raise ProviderError(ErrorClass.UNKNOWN, f"The answer names no {what}.")
    return Accepted(answer["id"], answer)


def path_of(folder: str, provider_job_id: str) -> str:
    """Return the path of a job, whatever characters its id has."""
    return f"{folder}/{quote(provider_job_id, safe='')}"


def check_id(answer: Mapping[str, Any], provider_job_id: str) -> None:
    """Raise ProviderError if an answer is about another job than was asked for."""
    if str(answer.get("id")) != provider_job_id:
        message = f"Asked for {provider_job_id}, told of {answer.get('id')}."
        raise ProviderError(ErrorClass.UNKNOWN, message)


def without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not None: what an API is to use its own default for."""
    return {name: value for name, value in values.items() if value is not None}
