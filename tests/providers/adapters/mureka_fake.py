"""Mureka's song API, as published, on loopback.

Sources, by the letters in the tables (platform.mureka.ai/docs/…):

  G  api/operations/post-v1-song-generate.html, `SongGenerateReq`
  P  api/operations/post-v1-song-easy-generate.html, `SongEasyGenerateReq`
  Q  api/operations/get-v1-song-query-{task_id}.html, `SongTask`
  B  api/operations/get-v1-account-billing.html
  K  en/quickstart.html: the address, the key, a task and the body of an error
  E  en/error-codes.html: 400, 401, 403 (unsupported region), 429 (rate limit; quota), 500, 503

K and the FAQ (en/faq.html) were read themselves. The others were read as others have written them
down: github.com/superbuilders/mureka, and the package `unmodel`, which gives the words of the
OpenAPI document of August 2026. `reviewing` is said to be a status of Mureka's site in China.

Left open there, and decided here: what an unknown field does (refused here, so that our schema is
held against the pages); the words for too many songs at once (the FAQ says that there is a limit,
E gives no code; here a 429 that says so) and for content that is refused; whether a song that
failed is charged; what becomes of an empty request to P (refused here). `reference_id`, `vocal_id`,
`melody_id` and `stream` exist, and are not offered by us.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    answers,
    broken_rule,
    main,
    one_of,
    refuses,
    text,
    whole,
)

STYLES = {
    "pop", "rock", "jazz", "r&b", "edm", "ambient", "folk", "latin", "k-pop", "j-pop", "house",
    "gospel", "lo-fi",
}  # fmt: skip
MODELS = ("auto", "mureka-7.6", "mureka-o2", "mureka-8", "mureka-9", "mureka-9.5")
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00" + bytes(64)


def are_styles(value: Any) -> bool:
    return isinstance(value, list) and set(value) <= STYLES


GENERATE = {
    "lyrics": Rule(text(longest=5000), "maximum 5000 characters", "G", True),
    "model": Rule(one_of(*MODELS), "a model", "G", True),
    "n": Rule(whole(1, 3), "Defaults to 2, maximum 3", "G"),
    "prompt": Rule(text(longest=1024), "maximum 1024 characters", "G"),
    "gender": Rule(one_of("female", "male"), "female or male", "G"),
}
EASY = {
    "model": Rule(one_of(*MODELS), "a model", "P"),
    "n": Rule(whole(1, 3), "Defaults to 2, maximum 3", "P"),
    "prompt": Rule(text(longest=2000), "maximum 2000 characters", "P"),
    "styles": Rule(are_styles, "one or more styles from the enum", "P"),
}


def error(message: str) -> Json:
    return {"error": {"message": message}, "trace_id": "1e94aba5a2de4cc4bff54a2813c8d36c"}


RATE = error("Rate limit reached for requests")
QUOTA = error("You exceeded your current quota, please check your plan and billing details")
CONCURRENT = error("Too many concurrent requests")
OVERLOADED = error("The engine is currently overloaded, please try again later")


def refused(kind: type[web.HTTPException], body: Json) -> web.HTTPException:
    return kind(text=json.dumps(body), content_type="application/json")


class MurekaFake(Fake):
    name = "mureka"
    base_path = "/v1"

    def new_id(self) -> str:
        return str(435134 + int(super().new_id().rpartition("-")[2]))

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        return [
            ("POST", "/song/generate", "submit", self._generate),
            ("POST", "/song/easy-generate", "submit", self._generate),
            ("GET", "/song/query/{id}", "check", self._query),
            ("GET", "/account/billing", "test", self._billing),
        ]

    async def _generate(self, request: web.Request) -> web.Response:
        account = self._account(request)
        body = await request.json()
        easy = request.path.endswith("easy-generate")
        if broken := broken_rule(EASY if easy else GENERATE, body):
            raise refused(web.HTTPBadRequest, error(f"Invalid Request: {broken[1]}"))
        if easy and not (body.get("prompt") or body.get("styles")):
            raise refused(web.HTTPBadRequest, error("Invalid Request: nothing to sing"))
        if account in self.exhausted:
            raise refused(web.HTTPTooManyRequests, QUOTA)
        if not self.has_room(account):
            raise refused(web.HTTPTooManyRequests, CONCURRENT)
        generation = self.accept(account=account, reference="", operation="song", params=body)
        return web.json_response({**self._view(generation), "status": "preparing"})

    async def _query(self, request: web.Request) -> web.Response:
        account = self._account(request)
        generation = self.generations.get(request.match_info["id"])
        if generation is None or generation.account != account:
            raise refused(web.HTTPNotFound, error("task not found"))
        return web.json_response(self._view(generation))

    async def _billing(self, request: web.Request) -> web.Response:
        """Amounts in cents (B)."""
        self._account(request)
        return web.json_response(
            {
                "account_id": 1,
                "balance": 2980,
                "total_recharge": 3000,
                "total_spending": 20,
                "concurrent_request_limit": 5,
            }
        )

    async def _serve_file(self, request: web.Request) -> web.Response:
        content, kind = self.file or (MP3, "audio/mpeg")
        return web.Response(body=content, content_type=kind)

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key.startswith("test-key") or key in self.expired:
            raise refused(web.HTTPUnauthorized, error(f"Invalid Authentication: {key}"))
        return key

    def _view(self, generation: Generation) -> Json:
        view: Json = {
            "id": generation.id,
            "created_at": generation.created,
            "model": generation.params.get("model", "auto"),
            "status": generation.status,
            "trace_id": "1e94aba5a2de4cc4bff54a2813c8d36c",
        }
        if generation.status == "failed":
            view["failed_reason"] = generation.ending.message
        if generation.status == "succeeded":
            view["finished_at"] = generation.created + 45
            view["choices"] = [
                self._song(generation, index) for index in range(generation.params.get("n", 2))
            ]
        return view

    def _song(self, generation: Generation, index: int) -> Json:
        return {
            "index": index,
            "id": f"{generation.id}{index}",
            "url": self.file_url(generation, f"-{index}.mp3"),
            "flac_url": self.file_url(generation, f"-{index}.flac"),
            "wav_url": self.file_url(generation, f"-{index}.wav"),
            "duration": 154000,
            "lyrics_sections": [],
        }


LYRICS = "[Verse]\nA red panda climbs"

CASE = Case(
    adapter="mureka",
    fake=MurekaFake,
    credentials=Credentials(api_key="test-key-1"),
    wrong_credentials=Credentials(api_key="stolen-key-1"),
    samples={"song": {"lyrics": LYRICS, "prompt": "slow folk, banjo", "gender": "female"}},
    more_samples=[
        ("song", "mureka-9", {"prompt": "x" * 2000}),
        ("song", "mureka-o2", {"styles": ["folk", "r&b"], "n": 3}),
        ("song", "auto", {"lyrics": LYRICS}),
    ],
    refusals=[
        Refusal("song", {}, "prompt"),
        Refusal("song", {"lyrics": "x" * 5001}, "lyrics"),
        Refusal("song", {"lyrics": LYRICS, "prompt": "x" * 1025}, "prompt"),
        Refusal("song", {"prompt": "x" * 2001}, "prompt"),
        Refusal("song", {"prompt": "x", "gender": "male"}, "gender"),
        Refusal("song", {"lyrics": LYRICS, "styles": ["pop"]}, "styles"),
        Refusal("song", {"prompt": "x", "styles": ["polka"]}, "styles"),
        Refusal("song", {"prompt": "x", "n": 4}, "n"),
        Refusal("song", {"prompt": "x", "title": "Bamboo"}, "title"),
    ],
    troubles=[
        Trouble("no credit", ErrorClass.QUOTA, refuses(429, QUOTA)),
        Trouble("rate limit", ErrorClass.RATE_LIMIT, refuses(429, RATE, {"Retry-After": "2"}),
                retry_after=2.0),
        Trouble("too many at once", ErrorClass.CONCURRENT_LIMIT, refuses(429, CONCURRENT)),
        Trouble("unsupported region", ErrorClass.AUTH,
                refuses(403, error("You are accessing the API from an unsupported region"))),
        Trouble("bad parameter", ErrorClass.INVALID_PARAMETER, refuses(400, error("Invalid Request"))),
        Trouble("filtered at once", ErrorClass.FILTERED,
                refuses(400, error("The lyrics contain sensitive words"))),
        Trouble("overloaded", ErrorClass.UNAVAILABLE, refuses(503, OVERLOADED)),
        Trouble("server error", ErrorClass.UNKNOWN,
                answers(500, error("The server had an error while processing your request"))),
        Trouble("error inside", ErrorClass.INVALID_PARAMETER,
                refuses(200, error("Something failed."))),
        Trouble("a field called like a filter", ErrorClass.INVALID_PARAMETER,
                refuses(400, error("Unknown parameter: moderation"))),
        Trouble("failed later", ErrorClass.UNKNOWN, ending=Ending("failed", "", "internal error")),
        Trouble("failed without a reason", ErrorClass.UNKNOWN, ending=Ending("failed")),
        Trouble("filtered later", ErrorClass.FILTERED,
                ending=Ending("failed", "", "Lyrics violate our content policy")),
        Trouble("out of time", ErrorClass.TIMEOUT, ending=Ending("timeouted")),
        Trouble("cancelled there", ErrorClass.UNKNOWN, ending=Ending("cancelled")),
    ],
)  # fmt: skip

if __name__ == "__main__":
    main(MurekaFake)
