"""OpenAI's Images and Videos API, as published, on loopback.

Sources, by the letters in the tables:

  G  developers.openai.com/api/reference/resources/images/methods/generate
  E  …/resources/images/methods/edit, the JSON body (EditImageBodyJsonParam of the OpenAPI file in
     github.com/openai/openai-openapi): "JSON request body for image edits. Use images (array of
     ImageRefParam) instead of multipart image uploads."
  V  …/resources/videos/methods/create and github.com/openai/openai-python,
     src/openai/types/video_create_params.py and video.py
  C  developers.openai.com/docs/guides/error-codes
  D  …/api/reference/overview, "Debugging requests": X-Client-Request-Id

Left open there, and decided here: a request id has at most 512 ASCII characters (that part of D
could not be read); unknown fields get 400 with code `unknown_parameter` (the live
API's wording; no page describes it); a filtered prompt gets 400 with code `moderation_blocked` (in
wide use, but the error guide does not list it); the multipart form of edits, streaming, and the
inputs' own pixels are not played. The newest reference lets `gpt-image-2` be transparent, earlier
ones refuse it: here it is taken.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
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
    picture,
    refuses,
    text,
    video,
    whole,
)

IMAGE_MODELS = (
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-sunburst",
    "gpt-image-1.5",
    "gpt-image-1",
    "gpt-image-1-mini",
)


def is_size(value: Any) -> bool:
    """ "Width and height must both be divisible by 16 and the requested aspect ratio must be between
    1:3 and 3:1 … the maximum supported resolution is 3840x2160" (G)."""
    if value in ("auto", "1024x1024", "1536x1024", "1024x1536"):
        return True
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", value) if isinstance(value, str) else None
    if match is None:
        return False
    width, height = int(match[1]), int(match[2])
    return (
        width % 16 == height % 16 == 0
        and max(width, height) <= 3840
        and max(width, height) <= 3 * min(width, height)
        and 655_360 <= width * height <= 3840 * 2160
    )


def is_reference(value: Any) -> bool:
    """ "Provide exactly one of image_url or file_id"; "a fully qualified URL or base64-encoded data
    URL" (E, V)."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((name, where),) = value.items()
    return (name == "file_id" and isinstance(where, str)) or (
        name == "image_url"
        and isinstance(where, str)
        and where.startswith(("http://", "https://", "data:image/"))
    )


def are_references(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 16 and all(map(is_reference, value))


GENERATE = {
    "model": Rule(one_of(*IMAGE_MODELS), "a GPT image model", "G", True),
    "prompt": Rule(text(longest=32_000), "at most 32000 characters", "G", True),
    "n": Rule(whole(1, 10), "1 to 10", "G"),
    "size": Rule(is_size, "auto, or WIDTHxHEIGHT in multiples of 16", "G"),
    "quality": Rule(
        one_of("auto", "low", "medium", "high", "xhigh", "max"), "a quality of the model", "G"
    ),
    "background": Rule(one_of("auto", "opaque", "transparent"), "a background", "G"),
    "moderation": Rule(one_of("auto", "low"), "auto or low", "G"),
    "output_format": Rule(one_of("png", "jpeg", "webp"), "png, jpeg or webp", "G"),
    "output_compression": Rule(whole(0, 100), "0 to 100", "G"),
    "user": Rule(text(), "a text", "G"),
}
EDIT = {
    **GENERATE,
    "images": Rule(are_references, "1 to 16 of image_url or file_id", "E", True),
    "mask": Rule(is_reference, "one of image_url or file_id", "E"),
    "input_fidelity": Rule(one_of("low", "high"), "low or high", "E"),
}
VIDEO = {
    "model": Rule(one_of("sora-2", "sora-2-pro"), "sora-2 or sora-2-pro", "V"),
    "prompt": Rule(text(longest=32_000), "a text", "V", True),
    "seconds": Rule(one_of("4", "8", "12"), '"4", "8" or "12"', "V"),
    "size": Rule(
        one_of("720x1280", "1280x720", "1024x1792", "1792x1024"), "one of four sizes", "V"
    ),
    "input_reference": Rule(is_reference, "one of image_url or file_id", "V"),
}


def broken_across(body: Json) -> tuple[str, str] | None:
    """Rules that need two fields."""
    model = body["model"]
    if not model.startswith("gpt-image-2.5") and body.get("quality") in ("xhigh", "max"):
        return "quality", "This quality is for the gpt-image-2.5 models."
    fixed = ("auto", "1024x1024", "1536x1024", "1024x1536")
    if model.startswith("gpt-image-1") and body.get("size", "auto") not in fixed:
        return "size", "This model makes three sizes (G)."
    if body.get("background") == "transparent" and body.get("output_format") == "jpeg":
        return "background", "The output format needs to support transparency (G)."
    if "output_compression" in body and body.get("output_format", "png") == "png":
        return "output_compression", "Only for the webp or jpeg output formats (G)."
    if "input_fidelity" in body and model not in ("gpt-image-1", "gpt-image-1.5"):
        return "input_fidelity", "Not for this model (E)."
    return None


def error(
    kind: str, code: str | None, message: str = "It did not work.", param: str | None = None
) -> Json:
    """ "JSON body with an error object": type, code, param and message (C)."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


BLOCKED = error(
    "image_generation_user_error",
    "moderation_blocked",
    "Your request was rejected by the safety system.",
)


class OpenAIFake(Fake):
    name = "openai"
    base_path = "/v1"

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        return [
            ("POST", "/images/generations", "submit", self._generate),
            ("POST", "/images/edits", "submit", self._edit),
            ("POST", "/videos", "submit", self._create_video),
            ("GET", "/videos/{id}", "check", self._retrieve_video),
            ("GET", "/videos/{id}/content", "file", self._download_video),
            ("GET", "/models", "test", self._models),
        ]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.file_sizes: list[int] = []
        """Of the files that came in forms."""

    def new_id(self) -> str:
        return f"video_{super().new_id()}"

    async def _generate(self, request: web.Request) -> web.Response:
        return await self._make_pictures(request, "text_to_image", GENERATE)

    async def _edit(self, request: web.Request) -> web.Response:
        return await self._make_pictures(request, "image_to_image", EDIT)

    async def _make_pictures(
        self, request: web.Request, operation: str, rules: dict[str, Rule]
    ) -> web.Response:
        account, body = await self._asked(request, rules)
        if broken := broken_across(body):
            raise refusal(broken)
        if "forbidden" in body["prompt"]:
            return web.json_response(BLOCKED, status=400)
        generation = self.accept(
            account=account,
            reference=request.headers.get("X-Client-Request-Id", ""),
            operation=operation,
            params=body,
            at_once=True,
        )
        await asyncio.sleep(self.duration or 0)
        self.end(generation)
        if generation.status != "succeeded":
            ending = generation.ending
            return web.json_response(error("user_error", ending.code, ending.message), status=400)
        made = base64.b64encode(self.file[0] if self.file else picture()).decode()
        return web.json_response(
            {
                "created": generation.created,
                "data": [{"b64_json": made}] * body.get("n", 1),
                "output_format": body.get("output_format", "png"),
                "usage": {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50},
            }
        )

    async def _create_video(self, request: web.Request) -> web.Response:
        account, body = await self._asked(request, VIDEO)
        pro = body.get("model", "sora-2") == "sora-2-pro"
        if not pro and body.get("size") in ("1024x1792", "1792x1024"):
            raise refusal(("size", "This size is for sora-2-pro."))
        if not self.has_room(account):
            return web.json_response(error("requests", "rate_limit_exceeded"), status=429)
        generation = self.accept(
            account=account,
            reference=request.headers.get("X-Client-Request-Id", ""),
            operation="image_to_video" if "input_reference" in body else "text_to_video",
            params=body,
        )
        return web.json_response(self._view(generation))

    async def _retrieve_video(self, request: web.Request) -> web.Response:
        return web.json_response(self._view(self._video(request)))

    async def _download_video(self, request: web.Request) -> web.Response:
        generation = self._video(request)
        if generation.status != "succeeded":
            raise refused(404, error("invalid_request_error", None, "The video is not ready."))
        body, kind = self.file or (video(), "video/mp4")
        return web.Response(body=body, content_type=kind)

    async def _models(self, request: web.Request) -> web.Response:
        self._account(request)
        return web.json_response(
            {"object": "list", "data": [{"id": each} for each in IMAGE_MODELS]}
        )

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not key.startswith("test-key") or key in self.expired:
            # "401 - Incorrect API key provided" (C); the live API repeats the key, masked.
            message = f"Incorrect API key provided: {key}."
            raise refused(401, error("invalid_request_error", "invalid_api_key", message))
        return key

    async def _asked(self, request: web.Request, rules: dict[str, Rule]) -> tuple[str, Json]:
        account = self._account(request)
        reference = request.headers.get("X-Client-Request-Id", "")
        if len(reference) > 512 or not reference.isascii():
            raise refusal(("X-Client-Request-Id", "At most 512 ASCII characters (D)."))
        if request.content_type == "multipart/form-data":
            body = await self._posted(request)
        else:
            try:
                body = await request.json()
            except json.JSONDecodeError:
                raise refused(400, error("invalid_request_error", None, "No JSON.")) from None
        if broken := broken_rule(rules, body):
            raise refusal(broken)
        if account in self.exhausted:
            # "429 - You exceeded your current quota, please check your plan and billing" (C)
            raise refused(429, error("insufficient_quota", "insufficient_quota"))
        return account, body

    async def _posted(self, request: web.Request) -> Json:
        """A form as the JSON that says the same. Each file of an edit is less than 50 MB (E)."""
        form = await request.post()
        body: Json = {}
        for name, value in form.items():
            if isinstance(value, web.FileField):
                content = value.file.read()
                if not value.content_type.startswith("image/") or len(content) >= 50_000_000:
                    raise refusal((name, "A png, webp, or jpg file less than 50MB (E)."))
                self.file_sizes.append(len(content))
                reference = {"image_url": f"data:{value.content_type};base64,"}
                if name == "image[]":
                    body.setdefault("images", []).append(reference)
                else:
                    body[name] = reference
            else:
                body[name] = int(value) if name in ("n", "output_compression") else value
        return body

    def _video(self, request: web.Request) -> Generation:
        account = self._account(request)
        generation = self.generations.get(request.match_info["id"])
        if generation is None or generation.account != account:
            raise refused(404, error("invalid_request_error", None, "Video not found."))
        return generation

    def _view(self, generation: Generation) -> Json:
        ended = not generation.is_live
        status = {"running": "in_progress", "succeeded": "completed"}.get(
            generation.status, "failed"
        )
        ending = generation.ending
        return {
            "id": generation.id,
            "object": "video",
            "model": generation.params.get("model", "sora-2"),
            "status": status,
            "progress": 100 if ended else 33,
            "created_at": generation.created,
            "completed_at": generation.created if ended else None,
            "seconds": generation.params.get("seconds", "4"),
            "size": generation.params.get("size", "720x1280"),
            "error": {"code": ending.code, "message": ending.message}
            if status == "failed"
            else None,
        }


def refused(status: int, body: Json) -> web.HTTPException:
    kinds = {400: web.HTTPBadRequest, 401: web.HTTPUnauthorized, 429: web.HTTPTooManyRequests}
    kind = kinds.get(status, web.HTTPNotFound)
    return kind(text=json.dumps(body), content_type="application/json")


def refusal(broken: tuple[str, str]) -> web.HTTPException:
    name, message = broken
    return refused(400, error("invalid_request_error", "unknown_parameter", message, name))


CASE = Case(
    adapter="openai",
    fake=OpenAIFake,
    credentials=Credentials(api_key="test-key-1"),
    wrong_credentials=Credentials(api_key="stolen-key-1"),
    samples={
        "text_to_image": {"prompt": "a red panda"},
        "image_to_image": {"prompt": "make it blue", "images": ["FILE"], "mask": "FILE"},
        "text_to_video": {"prompt": "a red panda climbs", "seconds": 8},
        "image_to_video": {"prompt": "it jumps", "image": "FILE", "size": "1280x720"},
    },
    more_samples=[
        (
            "text_to_image",
            "gpt-image-2",
            {"prompt": "x", "size": "3840x2160", "n": 3, "output_format": "webp",
             "output_compression": 80, "background": "transparent", "quality": "low"},
        ),
        ("text_to_image", "gpt-image-2.5-flare", {"prompt": "x", "quality": "max"}),
        ("text_to_image", "gpt-image-1-mini", {"prompt": "x", "size": "1024x1536"}),
        ("image_to_image", "gpt-image-1.5",
         {"prompt": "x", "images": ["FILE", "FILE"], "input_fidelity": "high"}),
        ("text_to_video", "sora-2-pro", {"prompt": "x", "size": "1792x1024", "seconds": 12}),
    ],
    refusals=[
        Refusal("text_to_image", {}, "prompt"),
        Refusal("text_to_image", {"prompt": "x" * 32_001}, "prompt"),
        Refusal("text_to_image", {"prompt": "x", "n": 11}, "n"),
        Refusal("text_to_image", {"prompt": "x", "style": "vivid"}, "style"),
        Refusal("text_to_image", {"prompt": "x", "size": "1000x1000"}, "size"),
        Refusal("text_to_image", {"prompt": "x", "size": "3840x1024"}, "size"),
        Refusal("text_to_image", {"prompt": "x", "size": "256x256"}, "size"),
        Refusal("text_to_image", {"prompt": "x", "size": "1536x864"}, "size", "gpt-image-1"),
        Refusal("text_to_image", {"prompt": "x", "quality": "max"}, "quality"),
        Refusal("text_to_image", {"prompt": "x", "output_compression": 50}, "output_compression"),
        Refusal(
            "text_to_image",
            {"prompt": "x", "background": "transparent", "output_format": "jpeg"},
            "output_format",
        ),
        Refusal("image_to_image", {"prompt": "x", "images": []}, "images"),
        Refusal("image_to_image", {"prompt": "x", "images": ["FILE"] * 17}, "images"),
        Refusal("image_to_image", {"prompt": "x", "images": ["FILE"], "input_fidelity": "high"},
                "input_fidelity"),
        Refusal("text_to_video", {"prompt": "x", "seconds": 5}, "seconds"),
        Refusal("text_to_video", {"prompt": "x", "size": "1792x1024"}, "size"),
        Refusal("image_to_video", {"prompt": "x"}, "image"),
    ],
    troubles=[
        Trouble("no credit", ErrorClass.QUOTA,
                refuses(429, error("insufficient_quota", "insufficient_quota"))),
        Trouble("rate limit", ErrorClass.RATE_LIMIT,
                refuses(429, error("requests", "rate_limit_exceeded"), {"Retry-After": "12"}),
                retry_after=12.0),
        Trouble("overloaded", ErrorClass.UNAVAILABLE,
                refuses(503, error("service_unavailable_error", "server_is_overloaded"))),
        Trouble("server error", ErrorClass.UNKNOWN, answers(500, error("server_error", None))),
        Trouble("filtered at once", ErrorClass.FILTERED, refuses(400, BLOCKED)),
        Trouble("unknown model", ErrorClass.MODEL_ACCESS,
                refuses(404, error("invalid_request_error", "model_not_found"))),
        Trouble("country", ErrorClass.AUTH,
                refuses(403, error("request_forbidden", "unsupported_country_region_territory"))),
        Trouble("slow down", ErrorClass.RATE_LIMIT,
                refuses(429, error("rate_limit_error", "slow_down"))),
        Trouble("error inside", ErrorClass.QUOTA,
                refuses(200, error("insufficient_quota", "insufficient_quota"))),
        Trouble("no pictures inside", ErrorClass.UNKNOWN, answers(200, {"created": 1, "data": []})),
        Trouble("filtered later", ErrorClass.FILTERED,
                ending=Ending("failed", "moderation_blocked", "Blocked.")),
    ],
)  # fmt: skip

if __name__ == "__main__":
    main(OpenAIFake)
