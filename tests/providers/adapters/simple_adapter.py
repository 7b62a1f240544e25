"""The adapter of SimpleFake, as small as an adapter can be.

Importing this module makes `simple` one of all_adapters(), if that was not called before. The
environment decides what it can do: SIMPLE_CAN_FIND=0 takes `find` away, SIMPLE_SUBMIT_SECONDS is how
long it waits for an answer (5).
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field

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
    WebhookEvent,
)
from providers.adapters.errors import ErrorClass, ProviderError, WebhookRefused
from providers.adapters.http import Answer, Http, by_status
from providers.adapters.params import Params
from tests.providers.adapters.simple_fake import signature

CLASSES = {
    "auth": ErrorClass.AUTH,
    "no_credit": ErrorClass.QUOTA,
    "slow_down": ErrorClass.RATE_LIMIT,
    "too_many": ErrorClass.CONCURRENT_LIMIT,
    "filtered": ErrorClass.FILTERED,
    "invalid": ErrorClass.INVALID_PARAMETER,
    "not_found": ErrorClass.INVALID_PARAMETER,
    "internal": ErrorClass.UNAVAILABLE,
}
WEBHOOK_TTL = 300.0


class SimpleParams(Params):
    prompt: str = Field(min_length=1, max_length=1000)


def _operation(name: str) -> Operation:
    return Operation(
        name,
        {"plain": SimpleParams},
        expected_seconds=1.0,
        deadlines=Deadlines(
            submit=float(os.environ.get("SIMPLE_SUBMIT_SECONDS", "5")), run=30.0, total=120.0
        ),
    )


class SimpleAdapter(Adapter):
    name = "simple"
    title = "Simple"
    base_url = "http://127.0.0.1:9"
    operations = {name: _operation(name) for name in ("text_to_image", "text_to_video")}
    can_find = os.environ.get("SIMPLE_CAN_FIND", "1") == "1"
    can_cancel = True

    async def submit(
        self, http: Http, credentials: Credentials, request: Request
    ) -> Accepted | Succeeded:
        body = {
            **request.params.canonical(),
            "operation": request.operation,
            "reference": request.reference,
        }
        if request.webhook_url:
            body["webhook_url"] = request.webhook_url
        timeout = self.operations[request.operation].deadlines.submit
        answer = await self._call(http, credentials, "POST", "generations", body, timeout=timeout)
        accepted, state = Accepted(_id(answer), answer), _state(answer)
        if isinstance(state, Failed):
            raise state.error
        return state if isinstance(state, Succeeded) else accepted

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        answer = await self._call(http, credentials, "GET", f"generations/{provider_job_id}")
        if _id(answer) != provider_job_id:
            raise ProviderError(ErrorClass.UNKNOWN, f"Asked for {provider_job_id}, got another.")
        return _state(answer)

    async def cancel(self, http: Http, credentials: Credentials, provider_job_id: str) -> None:
        await self._call(http, credentials, "POST", f"generations/{provider_job_id}/cancel")

    async def find(
        self, http: Http, credentials: Credentials, reference: str
    ) -> Accepted | Succeeded | None:
        answer = await self._call(
            http, credentials, "GET", "generations", query={"reference": reference}
        )
        if not isinstance(answer.get("generations"), list):
            raise ProviderError(ErrorClass.UNKNOWN, "The answer lists no generations.")
        for found in answer["generations"]:
            return Accepted(_id(found), found)
        return None

    async def credits(self, http: Http, credentials: Credentials) -> Mapping[str, int]:
        return {"credits": (await self._call(http, credentials, "GET", "credits"))["credits"]}

    def webhook(
        self, headers: Mapping[str, str], body: bytes, *, secret: str, now: float
    ) -> WebhookEvent:
        lower = {name.lower(): value for name, value in headers.items()}
        event, sent = lower.get("x-event", ""), lower.get("x-sent", "")
        right = signature(secret, event, sent, body).encode()
        if not hmac.compare_digest(right, lower.get("x-signature", "").encode()):
            raise WebhookRefused("The signature is wrong.")
        if not secret or abs(now - int(sent)) > WEBHOOK_TTL:
            raise WebhookRefused("The webhook is too old.")
        view = json.loads(body)
        return WebhookEvent(event, view["id"], _state(view))

    async def _call(
        self,
        http: Http,
        credentials: Credentials,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> dict[str, Any]:
        answer = await http.call(
            method,
            path,
            headers={"Authorization": f"Bearer {credentials.api_key}"},
            classify=_classify,
            timeout=timeout,
            body=body,
            query=query,
        )
        return answer.body


def _id(view: Mapping[str, Any]) -> str:
    if not isinstance(view.get("id"), str):
        raise ProviderError(ErrorClass.UNKNOWN, "The answer names no generation.")
    return view["id"]


def _classify(answer: Answer) -> ProviderError | None:
    # A generation that failed has an error too, and an id: that one `check` reads.
    if "error" not in answer.body or "id" in answer.body:
        return None
    return _error(answer.body["error"], answer)


def _error(error: Mapping[str, str], answer: Answer | None = None) -> ProviderError:
    plain = by_status(answer) if answer else None
    return ProviderError(
        CLASSES.get(error["code"], ErrorClass.UNKNOWN),
        error["message"] or error["code"],
        code=error["code"],
        retry_after=plain.retry_after if plain else None,
    )


def _state(view: dict[str, Any]) -> State:
    match view["status"]:
        case "succeeded":
            outputs = [Output(url=url) for url in view["files"]]
            return Succeeded(outputs, view, view["id"], view["cost"])
        case "failed":
            return Failed(_error(view["error"]), view)
        case "cancelled":
            error = ProviderError(ErrorClass.UNAVAILABLE, "It was cancelled.")
            return Failed(error, view, cancelled=True)
        case _:
            return Running(response=view)
