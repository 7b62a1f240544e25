"""Replicate's HTTP API, as published, on loopback.

Sources, by the letters in the tables (replicate.com/docs/…):

  P  reference/http#predictions.create; github.com/replicate/replicate-python-beta,
     src/replicate/types/prediction_create_params.py and prediction.py; for names without a version
     github.com/replicate/skills: "Official models use owner/name format"
  L  topics/predictions/lifecycle: starting, processing, succeeded, failed, canceled, aborted
  D  changelog/2025-10-16-prediction-deadlines: Cancel-After, shown as "1m"
  R  topics/predictions/rate-limits: 429 with {"detail": "Request was throttled. Your rate limit
     resets in ~30s."}
  W  topics/webhooks/receive-webhook and verify-webhook
  E  reference/error-codes
  F  replicate-python-beta, src/replicate/types/file_create_params.py: content and filename
  M  replicate.com/OWNER/NAME/api of each model: its input schema

Left open there, and decided here: how a bad input is refused (422 with `detail` and
`invalid_fields`, as the live API does); what an unknown input does (Replicate may ignore it; here
it is refused, so that our schemas are held against the models' pages); 402 for an account without
credit is in wide use, but on no page; other forms of Cancel-After; a webhook address on loopback
may be plain http. Of E only E1000, E1001, E4875 and E6716 could be read; E005 is what official
picture models answer when they refuse.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
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
    answers,
    broken_rule,
    is_url,
    main,
    one_of,
    refuses,
    text,
    whole,
)

SECRET = "whsec_" + base64.b64encode(b"the signing key of the account").decode()
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


def is_file(value: Any) -> bool:
    """ "Files should be passed as HTTP URLs or data URLs … data URL when you have a small file
    <= 256kb" (P)."""
    if not isinstance(value, str):
        return False
    if value.startswith("data:"):
        return len(base64.b64decode(value.partition(",")[2])) <= 256 * 1024
    return is_url(value)


def is_webhook(value: Any) -> bool:
    """ "An HTTPS URL for receiving a webhook" (P)."""
    return isinstance(value, str) and value.startswith(("https://", "http://127.0.0.1:"))


def are_events(value: Any) -> bool:
    return isinstance(value, list) and set(value) <= {"start", "output", "logs", "completed"}


CREATE = {
    "version": Rule(
        lambda value: isinstance(value, str)
        and re.fullmatch(r"[\w.-]+/[\w.-]+(:[0-9a-f]{64})?|[0-9a-f]{64}", value) is not None,
        "{owner}/{name}, {owner}/{name}:{version_id} or {version_id}", "P", True,
    ),
    "input": Rule(lambda value: isinstance(value, dict), "an object", "P", True),
    "webhook": Rule(is_webhook, "an HTTPS URL", "P"),
    "webhook_events_filter": Rule(are_events, "start, output, logs, completed", "P"),
    "stream": Rule(one_of(True, False), "a boolean", "P"),
}  # fmt: skip

SEED = Rule(whole(0, 2**31 - 1), "an integer", "M")
SEEDANCE = {
    "prompt": Rule(text(), "a text", "M", True),
    "image": Rule(is_file, "a file", "M"),
    "last_frame_image": Rule(is_file, "a file", "M"),
    "duration": Rule(whole(2, 12), "Min: 2 Max: 12", "M"),
    "resolution": Rule(one_of("480p", "720p", "1080p"), "a resolution", "M"),
    "aspect_ratio": Rule(
        one_of("16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "9:21"), "a ratio", "M"
    ),
    "fps": Rule(one_of(24), "24", "M"),
    "camera_fixed": Rule(one_of(True, False), "a boolean", "M"),
    "seed": SEED,
}
INPUTS: dict[str, dict[str, Rule]] = {
    "black-forest-labs/flux-schnell": {
        "prompt": Rule(text(), "a text", "M", True),
        "aspect_ratio": Rule(
            one_of("1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"),
            "a ratio", "M",
        ),
        "num_outputs": Rule(whole(1, 4), "Min: 1 Max: 4", "M"),
        "num_inference_steps": Rule(whole(1, 4), "Min: 1 Max: 4", "M"),
        "seed": SEED,
        "output_format": Rule(one_of("webp", "jpg", "png"), "a format", "M"),
        "output_quality": Rule(whole(0, 100), "Max: 100", "M"),
        "megapixels": Rule(one_of("1", "0.25"), "1 or 0.25", "M"),
        "disable_safety_checker": Rule(one_of(True, False), "a boolean", "M"),
        "go_fast": Rule(one_of(True, False), "a boolean", "M"),
    },
    "black-forest-labs/flux-kontext-pro": {
        "prompt": Rule(text(), "a text", "M", True),
        "input_image": Rule(is_file, "a file", "M"),
        "aspect_ratio": Rule(
            one_of("match_input_image", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5",
                   "5:4", "21:9", "9:21", "2:1", "1:2"),
            "a ratio", "M",
        ),
        "prompt_upsampling": Rule(one_of(True, False), "a boolean", "M"),
        "seed": SEED,
        "output_format": Rule(one_of("png", "jpg"), "png or jpg", "M"),
        # "2 is currently the maximum allowed when input images are used" (M)
        "safety_tolerance": Rule(whole(0, 2), "0 to 2", "M"),
    },
    "bytedance/seedance-1-lite": SEEDANCE,
    "bytedance/seedance-1-pro": SEEDANCE,
    "minimax/music-1.5": {
        "prompt": Rule(text(shortest=10, longest=300), "10-300 characters", "M", True),
        "lyrics": Rule(text(shortest=10, longest=600), "10-600 characters", "M", True),
        "sample_rate": Rule(one_of(44100, 32000, 24000, 16000), "a rate", "M"),
        "bitrate": Rule(one_of(256000, 128000, 64000, 32000), "a rate", "M"),
        "audio_format": Rule(one_of("mp3", "wav", "pcm"), "a format", "M"),
    },
    "somebody/restorer": {"img": Rule(is_file, "a file", "M", True), "scale": Rule(whole(1, 4), "1–4", "M")},
}  # fmt: skip
OPERATIONS = {
    "black-forest-labs/flux-schnell": "text_to_image",
    "black-forest-labs/flux-kontext-pro": "image_to_image",
    "minimax/music-1.5": "song",
}


def problem(status: int, title: str, detail: str, **more: Any) -> Json:
    return {"title": title, "detail": detail, "status": status, **more}


THROTTLED = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
NO_CREDIT = problem(402, "Insufficient credit", "You have insufficient credit to run this model.")


class ReplicateFake(Fake):
    name = "replicate"
    base_path = "/v1"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.webhook_secret = SECRET
        self.uploads: dict[str, bytes] = {}
        self.deadlines: dict[str, str] = {}
        """The Cancel-After of each prediction."""
        self.serve_outputs_from_api = False
        """Give the API's own files as outputs, which are had with the key only."""

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        return [
            ("POST", "/predictions", "submit", self._create),
            ("GET", "/predictions/{id}", "check", self._get),
            ("POST", "/predictions/{id}/cancel", "cancel", self._cancel),
            ("POST", "/files", "upload", self._upload),
            ("GET", "/files/{id}", "file", self._file),
            ("GET", "/account", "test", self._account_page),
        ]

    def webhook_of(self, generation: Generation, event: str) -> tuple[bytes, Mapping[str, str]]:
        """ "The content to sign is composed by concatenating the id, timestamp, and data, separated
        by the full-stop character"; HMAC-SHA256 with the base64 part of the key after whsec_ (W)."""
        view = self._view(generation)
        if event == "running":
            view |= {"status": "processing", "output": None}
        body = json.dumps(view).encode()
        webhook_id, sent = f"msg_{generation.id}_{event}", str(int(time.time()))
        key = base64.b64decode(self.webhook_secret.removeprefix("whsec_"))
        signed = f"{webhook_id}.{sent}.".encode() + body
        made = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        return body, {
            "Content-Type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": sent,
            "webhook-signature": f"v1,{base64.b64encode(b'older').decode()} v1,{made}",
        }

    async def _create(self, request: web.Request) -> web.Response:
        account = self._account(request)
        try:
            body = await request.json()
        except json.JSONDecodeError:
            raise refused(problem(400, "Bad request", "No JSON.")) from None
        if broken := broken_rule(CREATE, body):
            raise invalid(*broken)
        deadline = request.headers.get("Cancel-After", "30m")
        if not re.fullmatch(r"\d+m", deadline):
            raise refused(problem(400, "Bad request", "Cancel-After is no duration."))
        model = body["version"].partition(":")[0]
        if model not in INPUTS:
            raise refused(problem(404, "Not found", "The requested resource could not be found."))
        if broken := broken_rule(INPUTS[model], body["input"]):
            raise invalid(f"input.{broken[0]}", broken[1])
        if account in self.exhausted:
            raise refused(NO_CREDIT)
        if not self.has_room(account):
            return web.json_response(THROTTLED, status=429)
        video = "image_to_video" if "image" in body["input"] else "text_to_video"
        generation = self.accept(
            account=account,
            reference="",
            operation=OPERATIONS.get(model, video),
            params=body,
            webhook_url=body.get("webhook"),
        )
        self.deadlines[generation.id] = deadline
        return web.json_response(self._view(generation), status=201)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._view(self._prediction(request)))

    async def _cancel(self, request: web.Request) -> web.Response:
        generation = self._prediction(request)
        self.end(generation, "canceled")
        return web.json_response(self._view(generation))

    async def _upload(self, request: web.Request) -> web.Response:
        """Multipart; "content: Required", "filename: Required" (F)."""
        self._account(request)
        content = (await request.post()).get("content")
        if not isinstance(content, web.FileField) or not content.filename:
            raise invalid("content", "content is required")
        file_id = f"file{len(self.uploads) + 1}"
        with content.file as file:
            self.uploads[file_id] = file.read()
        where = f"{self.base_url}/files/{file_id}"
        return web.json_response({"id": file_id, "urls": {"get": where}}, status=201)

    async def _file(self, request: web.Request) -> web.Response:
        self._account(request)
        return await self._serve_file(request)

    async def _account_page(self, request: web.Request) -> web.Response:
        self._account(request)
        return web.json_response({"type": "organization", "username": "acme", "name": "Acme"})

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key.startswith("test-key") or key in self.expired:
            raise refused(problem(401, "Unauthenticated", f"The token {key} is not valid."))
        return key

    def _prediction(self, request: web.Request) -> Generation:
        account = self._account(request)
        generation = self.generations.get(request.match_info["id"])
        if generation is None or generation.account != account:
            raise refused(problem(404, "Not found", "The requested resource could not be found."))
        return generation

    def _view(self, generation: Generation) -> Json:
        status = {"running": "processing"}.get(generation.status, generation.status)
        get = f"{self.base_url}/predictions/{generation.id}"
        failed = status == "failed"
        return {
            "id": generation.id,
            "model": generation.params["version"].partition(":")[0],
            "version": "hidden",
            "input": generation.params["input"],
            "logs": "",
            "output": self._output(generation) if status == "succeeded" else None,
            "error": generation.ending.message if failed else None,
            "status": status,
            "created_at": "2026-01-01T00:00:00.000Z",
            "data_removed": False,
            "metrics": {"predict_time": 1.5} if status == "succeeded" else {},
            "urls": {"get": get, "cancel": f"{get}/cancel"},
        }

    def _output(self, generation: Generation) -> Any:
        if generation.ending.code == "text":
            return ["a", "text"]
        if self.serve_outputs_from_api:
            return {"result": f"{self.base_url}/files/{generation.id}", "seed": 3}
        url = self.file_url(generation)
        count = generation.params["input"].get("num_outputs")
        return [url] * count if count else url


def refused(body: Json) -> web.HTTPException:
    kinds = {
        400: web.HTTPBadRequest,
        401: web.HTTPUnauthorized,
        402: web.HTTPPaymentRequired,
        422: web.HTTPUnprocessableEntity,
    }
    kind = kinds.get(body["status"], web.HTTPNotFound)
    return kind(text=json.dumps(body), content_type="application/problem+json")


def invalid(field: str, message: str) -> web.HTTPException:
    fields = [{"type": "invalid", "field": field, "description": message}]
    return refused(
        problem(422, "Input validation failed", f"- {field}: {message}\n", invalid_fields=fields)
    )


def ran_and_failed(message: str) -> Ending:
    return Ending("failed", "", message)


CASE = Case(
    adapter="replicate",
    fake=ReplicateFake,
    credentials=Credentials(api_key="test-key-1"),
    wrong_credentials=Credentials(api_key="stolen-key-1"),
    samples={
        "text_to_image": {"prompt": "a red panda"},
        "image_to_image": {"prompt": "make it blue", "input_image": "FILE"},
        "text_to_video": {"prompt": "a red panda climbs", "duration": 3},
        "image_to_video": {"prompt": "it jumps", "image": "FILE", "last_frame_image": "FILE"},
        "song": {"prompt": "slow folk with a banjo", "lyrics": "[verse]\nA red panda climbs"},
    },
    more_samples=[
        ("text_to_image", "black-forest-labs/flux-schnell",
         {"prompt": "x", "num_outputs": 4, "seed": 7, "output_format": "png"}),
        ("text_to_video", "bytedance/seedance-1-pro", {"prompt": "x", "resolution": "1080p"}),
        ("image_to_image", f"somebody/restorer:{VERSION}",
         {"input": {"scale": 2}, "files": {"img": "FILE"}}),
    ],
    refusals=[
        Refusal("text_to_image", {}, "prompt"),
        Refusal("text_to_image", {"prompt": "x", "num_outputs": 5}, "num_outputs"),
        Refusal("text_to_image", {"prompt": "x", "seed": "seven"}, "seed"),
        Refusal("text_to_image", {"prompt": "x", "width": 512}, "width"),
        Refusal("image_to_image", {"prompt": "x"}, "input_image"),
        Refusal("image_to_image", {"prompt": "x", "input_image": "FILE", "safety_tolerance": 3},
                "safety_tolerance"),
        Refusal("text_to_video", {"prompt": "x", "duration": 13}, "duration"),
        Refusal("song", {"prompt": "x" * 20, "lyrics": "short"}, "lyrics"),
        Refusal("image_to_image", {"input": {"img": 1}, "files": {"img": "FILE"}}, "files",
                "somebody/restorer"),
        Refusal("image_to_image", {"img": "FILE"}, "img", "somebody/restorer"),
    ],
    troubles=[
        Trouble("no credit", ErrorClass.QUOTA, refuses(402, NO_CREDIT)),
        Trouble("rate limit", ErrorClass.RATE_LIMIT, refuses(429, THROTTLED), retry_after=30.0),
        Trouble("rate limit with a header", ErrorClass.RATE_LIMIT,
                refuses(429, THROTTLED, {"Retry-After": "3"}), retry_after=3.0),
        Trouble("bad input", ErrorClass.INVALID_PARAMETER,
                refuses(422, problem(422, "Input validation failed", "- input.prompt: required"))),
        Trouble("filtered at once", ErrorClass.FILTERED,
                refuses(422, problem(422, "Refused", "The input was flagged as sensitive. (E005)"))),
        Trouble("server error", ErrorClass.UNKNOWN,
                answers(500, problem(500, "Internal Server Error", "Sorry."))),
        Trouble("error inside", ErrorClass.INVALID_PARAMETER,
                refuses(200, {"detail": "Something failed."})),
        Trouble("a field called like a filter", ErrorClass.INVALID_PARAMETER,
                refuses(422, problem(422, "Input validation failed",
                                     "- input: Additional property moderation is not allowed"))),
        Trouble("a value of a field called like a filter", ErrorClass.INVALID_PARAMETER,
                refuses(422, problem(422, "Invalid version or not permitted",
                                     '- input.moderation: moderation must be one of "low", "auto"'))),
        Trouble("filtered later", ErrorClass.FILTERED, ending=ran_and_failed("NSFW content detected.")),
        Trouble("flagged later", ErrorClass.FILTERED,
                ending=ran_and_failed("The input or output was flagged as sensitive. (E005)")),
        Trouble("out of memory", ErrorClass.INVALID_PARAMETER,
                ending=ran_and_failed("Model ran out of memory (E1001)")),
        Trouble("not started in time", ErrorClass.UNAVAILABLE,
                ending=ran_and_failed("Timeout starting prediction (E6716)")),
        Trouble("the model crashed", ErrorClass.UNKNOWN,
                ending=ran_and_failed("list index out of range")),
        Trouble("aborted", ErrorClass.UNAVAILABLE, ending=Ending("aborted")),
        Trouble("no file made", ErrorClass.INVALID_PARAMETER, ending=Ending("succeeded", "text")),
    ],
    webhook_secret=SECRET,
)  # fmt: skip

if __name__ == "__main__":
    main(ReplicateFake)
