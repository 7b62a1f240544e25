"""Replicate: predictions of any model, with signed webhooks, cancel and files.

A prediction has no field for our reference and cannot be looked up by it. It has a deadline
(Cancel-After), so that a prediction whose answer was lost stops by itself.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from pixsim.core.text import read_json
from providers.adapters import base_url_of
from providers.adapters.base import (
    Credentials,
    Failed,
    Request,
    Running,
    State,
    Submitted,
    Succeeded,
    WebhookEvent,
)
from providers.adapters.errors import ErrorClass, ProviderError, WebhookRefused
from providers.adapters.http import Http
from providers.adapters.inline import inline_bytes
from providers.adapters.operations import read_operations
from providers.adapters.replicate import errors, files, schemas, webhooks
from providers.adapters.rest import RestAdapter, accepted, check_id, path_of, without_empty


class Replicate(RestAdapter):
    """The predictions API."""

    name = "replicate"
    title = "Replicate"
    base_url = "https://api.replicate.com/v1"
    classify = staticmethod(errors.classify)
    can_cancel = True
    operations = {
        name: replace(each, models=schemas.AnyModel(each.models))
        for name, each in read_operations(__file__).items()
    }

    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        body: dict[str, Any] = {
            "version": request.model,
            "input": await self._input(http, credentials, request),
        }
        if request.webhook_url:
            body |= {"webhook": request.webhook_url, "webhook_events_filter": ["completed"]}
        minutes = math.ceil(self.operations[request.operation].deadlines.run / 60)
        headers = {"Cancel-After": f"{minutes}m"}
        prediction = await self.create(http, credentials, request, "predictions", body, headers)
        return accepted(prediction, "prediction")

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        path = path_of("predictions", provider_job_id)
        prediction = await self.call(http, credentials, "GET", path)
        check_id(prediction, provider_job_id)
        return _state(prediction, http.url("files/"), self.headers(credentials))

    async def cancel(self, http: Http, credentials: Credentials, provider_job_id: str) -> None:
        await self.call(
            http, credentials, "POST", f"{path_of('predictions', provider_job_id)}/cancel"
        )

    async def test(self, http: Http, credentials: Credentials) -> None:
        await self.call(http, credentials, "GET", "account")

    def webhook(
        self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float
    ) -> WebhookEvent:
        event_id = webhooks.checked_id(headers, body, secret=secret, now=now)
        try:
            prediction = read_json(body)
            provider_job_id = str(prediction["id"])
            own_files = f"{base_url_of(self).rstrip('/')}/files/"
            state = _state(prediction, own_files, {})
        except (ValueError, KeyError, TypeError, ProviderError) as error:
            raise WebhookRefused("The webhook tells of no prediction.") from error
        if isinstance(state, Succeeded) and any(
            output.url and files.needs_key(output.url, own_files) for output in state.outputs
        ):
            # Such files need the account's key, which `check` has.
            state = Running(1.0, prediction)
        return WebhookEvent(event_id, provider_job_id, state)

    async def _input(
        self, http: Http, credentials: Credentials, request: Request
    ) -> dict[str, Any]:
        """Return the model's input; upload files that are too large for a data URL."""
        values = without_empty(request.params.given())
        if isinstance(request.params, schemas.AnyInput):
            values = values.get("input", {}) | values.get("files", {})
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = [await self._placed(http, credentials, each) for each in value]
            else:
                values[name] = await self._placed(http, credentials, value)
        return values

    async def _placed(self, http: Http, credentials: Credentials, value: Any) -> Any:
        """Return `value`, or the address of its upload. A failed upload costs nothing."""
        try:
            inline = inline_bytes(value)
        except ValueError as error:
            raise ProviderError(ErrorClass.INVALID_PARAMETER, f"A file: {error}.") from error
        if inline is None or len(inline[1]) <= files.LARGEST_INLINE:
            return value
        kind, content = inline
        form = aiohttp.FormData()
        form.add_field("content", content, filename="input", content_type=kind)
        answer = await self.upload(http, credentials, "files", form)
        try:
            return answer["urls"]["get"]
        except (KeyError, TypeError) as error:
            raise ProviderError(
                ErrorClass.UNAVAILABLE, "The upload's answer names no address."
            ) from error


def _state(prediction: dict[str, Any], own_files: str, headers: Mapping[str, str]) -> State:
    """Return the state of a prediction."""
    match prediction.get("status"):
        case "starting" | "processing":
            return Running(response=prediction)
        case "succeeded":
            return _result(prediction, own_files, headers)
        case "failed":
            return Failed(errors.of_prediction(prediction.get("error")), prediction)
        case "canceled":
            error = ProviderError(ErrorClass.TIMEOUT, "It was cancelled, or ran out of its time.")
            return Failed(error, prediction, cancelled=True)
        case "aborted":
            error = ProviderError(ErrorClass.UNAVAILABLE, "It was stopped before it began.")
            return Failed(error, prediction, cancelled=True)
        case status:
            raise ProviderError(ErrorClass.UNKNOWN, f"The prediction is {status!r}.")


def _result(prediction: dict[str, Any], own_files: str, headers: Mapping[str, str]) -> State:
    try:
        outputs = files.outputs_of(prediction.get("output"), own_files, headers)
    except ValueError as error:
        raise ProviderError(ErrorClass.UNKNOWN, f"A file in the output: {error}.") from error
    if outputs:
        return Succeeded(outputs, prediction, prediction.get("id"))
    if prediction.get("data_removed"):
        message = "Its files were deleted before they were fetched (after an hour)."
    else:
        message = "The model made no file."
    return Failed(ProviderError(ErrorClass.INVALID_PARAMETER, message), prediction)
