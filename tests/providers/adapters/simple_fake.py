"""A plain remote generator that no company runs: for load tests, crash tests and as the example.

    POST /generations             {"operation", "prompt", "reference", "webhook_url"?} → {"id", …}
    GET  /generations/ID          {"id", "status", "progress", "files", "cost", "error"}
    GET  /generations?reference=  {"generations": […]}
    POST /generations/ID/cancel
    GET  /credits                 {"credits": 1000}

Nothing is deduplicated by reference, so that a job sent twice is seen twice in its log. With
`at_once` the first answer comes when the generation has ended, as some providers do it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass
from tests.providers.adapters.fake import (
    Case,
    Ending,
    Fake,
    Generation,
    Handler,
    Json,
    Refusal,
    Rule,
    Trouble,
    broken_rule,
    is_url,
    main,
    one_of,
    refuses,
    text,
)

RULES = {
    "operation": Rule(one_of("text_to_image", "text_to_video"), "an operation", "above", True),
    "prompt": Rule(text(longest=1000), "1 to 1000 characters", "above", True),
    "reference": Rule(text(longest=100), "1 to 100 characters", "above", True),
    "webhook_url": Rule(is_url, "an http address", "above"),
}


def error(code: str, message: str = "It did not work.") -> Json:
    return {"error": {"code": code, "message": message}}


class SimpleFake(Fake):
    name = "simple"

    def __init__(self, *, at_once: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.at_once = at_once
        self.webhook_secret = "simple-webhook-secret"

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        return [
            ("POST", "/generations", "submit", self._submit),
            ("GET", "/generations", "find", self._find),
            ("GET", "/generations/{id}", "check", self._check),
            ("POST", "/generations/{id}/cancel", "cancel", self._cancel),
            ("GET", "/credits", "credits", self._credits),
        ]

    def webhook_of(self, generation: Generation, event: str) -> tuple[bytes, Mapping[str, str]]:
        view = self._view(generation)
        if event == "running":
            view |= {"status": "running", "files": []}
        body = json.dumps(view).encode()
        sent = str(int(time.time()))
        return body, {
            "X-Event": f"{generation.id}-{event}",
            "X-Sent": sent,
            "X-Signature": signature(self.webhook_secret, f"{generation.id}-{event}", sent, body),
        }

    async def _submit(self, request: web.Request) -> web.Response:
        account = self._account(request)
        body = await request.json()
        if broken := broken_rule(RULES, body):
            return web.json_response(error("invalid", broken[1]), status=422)
        if account in self.exhausted:
            return web.json_response(error("no_credit"), status=402)
        if not self.has_room(account):
            return web.json_response(error("too_many"), status=429)
        if "forbidden" in body["prompt"]:
            return web.json_response(error("filtered"), status=400)
        generation = self.accept(
            account=account,
            reference=body["reference"],
            operation=body["operation"],
            params=body,
            webhook_url=body.get("webhook_url"),
            at_once=self.at_once,
        )
        if self.at_once:
            await asyncio.sleep(self.duration or 0)
            self.end(generation)
        return web.json_response(self._view(generation), status=201)

    async def _find(self, request: web.Request) -> web.Response:
        account = self._account(request)
        reference = request.query.get("reference")
        found = [
            self._view(each)
            for each in self.generations.values()
            if each.account == account and each.reference == reference
        ]
        return web.json_response({"generations": found})

    async def _check(self, request: web.Request) -> web.Response:
        return web.json_response(self._view(self._asked(request)))

    async def _cancel(self, request: web.Request) -> web.Response:
        generation = self._asked(request)
        self.end(generation, "cancelled")
        return web.json_response(self._view(generation))

    async def _credits(self, request: web.Request) -> web.Response:
        account = self._account(request)
        return web.json_response({"credits": 0 if account in self.exhausted else 1000})

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key.startswith("test-key") or key in self.expired:
            raise web.HTTPUnauthorized(
                text=json.dumps(error("auth", "Bad key.")), content_type="application/json"
            )
        return key

    def _asked(self, request: web.Request) -> Generation:
        generation = self.generations.get(request.match_info["id"])
        if generation is None or generation.account != self._account(request):
            raise web.HTTPNotFound(
                text=json.dumps(error("not_found")), content_type="application/json"
            )
        return generation

    def _view(self, generation: Generation) -> Json:
        view: Json = {"id": generation.id, "status": generation.status, "files": []}
        if generation.status == "succeeded":
            view |= {"files": [self.file_url(generation)], "cost": 2}
        elif generation.status == "failed":
            view |= error(generation.ending.code, generation.ending.message)
        return view


def signature(secret: str, event: str, sent: str, body: bytes) -> str:
    """HMAC-SHA256 over event, time and body, in hex."""
    signed = f"{event}.{sent}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


CASE = Case(
    adapter="simple",
    fake=SimpleFake,
    credentials=Credentials(api_key="test-key-1"),
    wrong_credentials=Credentials(api_key="stolen-key-1"),
    samples={
        "text_to_image": {"prompt": "a red panda"},
        "text_to_video": {"prompt": "a red panda climbs"},
    },
    refusals=[
        Refusal("text_to_image", {}, "prompt"),
        Refusal("text_to_image", {"prompt": ""}, "prompt"),
        Refusal("text_to_image", {"prompt": "x", "colour": "red"}, "colour"),
    ],
    troubles=[
        Trouble("no credit", ErrorClass.QUOTA, refuses(402, error("no_credit"))),
        Trouble(
            "rate limit", ErrorClass.RATE_LIMIT,
            refuses(429, error("slow_down"), {"Retry-After": "7"}), retry_after=7.0,
        ),
        Trouble("concurrent limit", ErrorClass.CONCURRENT_LIMIT, refuses(429, error("too_many"))),
        Trouble("filtered at once", ErrorClass.FILTERED, refuses(400, error("filtered"))),
        Trouble("filtered later", ErrorClass.FILTERED, ending=Ending("failed", "filtered")),
        Trouble("failed later", ErrorClass.UNAVAILABLE, ending=Ending("failed", "internal")),
        Trouble("error inside", ErrorClass.UNAVAILABLE, refuses(200, error("internal"))),
    ],
    webhook_secret="simple-webhook-secret",
)  # fmt: skip

if __name__ == "__main__":
    main(SimpleFake, "--at-once")
