"""PixVerse's platform API, as published, on loopback.

Sources, by the letters in the tables (docs.platform.pixverse.ai/…):

  T  text-to-video-generation-13016634e0
  I  image-to-video-generation-13016633e0
  N  transitionfirst-last-frame-generation-15123014e0
  X  extend-generation-19094393e0
  F  fusionreference-to-video-generation-19884194e0
  V  the table of v6 on the front page: which operations, lengths 1–15, eight shapes, sound
  U  upload-image-13016631e0 and upload-videoaudio-19094401e0
  S  get-video-generation-status-13016632e0: 1, 5, 6, 7, 8
  B  get-user-credit-balance-13778989e0
  E  error-codes-796041m0; the guides beside it say "400/500 status" of them
  C  common-errors-and-solutions-882978m0: "Invalid API-KEY"

"traceID format: UUID, must be unique for each request" stands on every page. The pages were read in
stored copies of 2026, some older than v6 and c1.

Left open there, and decided here: the code of a bad key (400012, "Invalid account") and of a trace
id that comes again (400017; the guides only say that the video then seems to run for ever); the
status of an error (400 or 500, as the code begins; the upload's page shows a 500 with `err_code`);
what an unknown field does (refused here, so that our schemas are held against the pages); whether
uploads are seen by other accounts (not here). T, I and N do not speak of c1, nor of the lengths of
v5.6, nor N of v5.6's sound: for c1 and those lengths, F is used, and N gives sound to v5.5 and V to
v6 only. The length of a prompt is 2048 on these pages and in E; newer ones are said to have 5000.
An address to upload from is not fetched here. Webhooks exist (webhook-integration-1905378m0), for
two of the operations; how to register one and what is signed could not be read to the end, and
they are not played here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from aiohttp import web

from providers.adapters.base import Credentials
from providers.adapters.errors import ErrorClass
from tests.providers.adapters.fake import (
    Case,
    Ending,
    Fake,
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
    picture,
    refuses,
    text,
    video,
    whole,
)

FIVE = ("16:9", "4:3", "1:1", "3:4", "9:16")
EIGHT = (*FIVE, "2:3", "3:2", "21:9")
WIDE = {"v6", "c1"}
DURATIONS: dict[str, Sequence[int]] = {
    "v5": (5, 8),
    "v5.5": (5, 8, 10),
    "v5.6": (5, 8, 10),
    "v6": range(1, 16),
    "c1": range(1, 16),
}
SWITCH = Rule(one_of(True, False), "a boolean", "V")
NEGATIVE = Rule(text(longest=2048, shortest=0), "<= 2048 characters", "T I")
IMAGE_TYPES = {"image/jpeg", "image/jpg", "image/png", "image/webp"}
MEDIA_TYPES = {"video/mp4", "video/mov", "video/webm", "video/quicktime"}
IMAGE_BYTES = 20 * 1024 * 1024
MEDIA_BYTES = 50 * 1024 * 1024

MODELS = {
    "text": {"v5", "v5.5", "v5.6", "v6", "c1"},
    "img": {"v5", "v5.5", "v5.6", "v6", "c1"},
    "transition": {"v5", "v5.5", "v5.6", "v6", "c1"},
    "extend": {"v5", "v5.5", "v6"},
    "fusion": {"v5", "v5.5", "v5.6", "c1"},
}
SOUND = {
    "text": {"v5.5", "v5.6", "v6", "c1"},
    "img": {"v5.5", "v5.6", "v6", "c1"},
    "transition": {"v5.5", "v6", "c1"},
    "extend": {"v6"},
    "fusion": {"v5.6", "c1"},
}
OPERATIONS = {
    "text": "text_to_video",
    "img": "image_to_video",
    "transition": "video_transition",
    "extend": "video_extend",
    "fusion": "fusion",
}


def is_number(value: Any) -> bool:
    return type(value) is int and value > 0


def are_references(value: Any) -> bool:
    """ "type: supports "subject", "background"", img_id and ref_name, all required (F)."""
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and set(each) == {"type", "img_id", "ref_name"}
        and each["type"] in ("subject", "background")
        and is_number(each["img_id"])
        and isinstance(each["ref_name"], str)
        for each in value
    )


def rules(endpoint: str, model: str) -> dict[str, Rule]:
    """What an endpoint takes for a model."""
    ratio = Rule(one_of(*(EIGHT if model in WIDE else FIVE)), "Aspect ratio", "T F V", True)
    number = Rule(is_number, "an ID from the upload", "I N X", True)
    found = {
        "prompt": Rule(text(longest=2048), "<= 2048 characters", "T I X", True),
        "model": Rule(one_of(*MODELS[endpoint]), "Model version", "T I N X F V", True),
        "duration": Rule(one_of(*DURATIONS[model]), "Video duration", "T I N X F V", True),
        "quality": Rule(one_of("360p", "540p", "720p", "1080p"), "Video quality", "T", True),
        "seed": Rule(whole(0, 2147483647), "0 - 2147483647", "T I N X", endpoint == "extend"),
    }
    if model in SOUND[endpoint]:
        found["generate_audio_switch"] = SWITCH
    if endpoint in ("text", "img") and model in ("v5.5", "v6"):
        found["generate_multi_clip_switch"] = SWITCH
    if endpoint in ("text", "img") and model not in WIDE:
        found["negative_prompt"] = NEGATIVE
    match endpoint:
        case "text":
            found["aspect_ratio"] = ratio
        case "img":
            found["img_id"] = number
        case "transition":
            found |= {"first_frame_img": number, "last_frame_img": number}
        case "extend":
            found["video_media_id"] = number
        case "fusion":
            references = Rule(are_references, "type, img_id and ref_name", "F", True)
            found |= {"aspect_ratio": ratio, "image_references": references}
    return found


def broken_pair(endpoint: str, body: Json) -> str | None:
    """What two fields may not say together."""
    if body["quality"] == "1080p" and body["duration"] == 10 and body["model"] not in WIDE:
        return "1080p cannot use 10"  # T I N X F
    if endpoint == "fusion":
        names = [each["ref_name"] for each in body["image_references"]]
        # "v4.5/v5 : up to 3 items, v5.5/v5.6 : up to 7 items" (F)
        if not 1 <= len(names) <= (3 if body["model"] == "v5" else 7):
            return "image_references"
        # "The @name used in the prompt must exactly match the ref_name in image_references" (F)
        used = [word[1:] for word in body["prompt"].split() if word.startswith("@")]
        if not set(used) <= set(names):
            return "@ref_name"
    return None


def error(code: int, message: str) -> Json:
    return {"ErrCode": code, "ErrMsg": message, "Resp": None}


def success(inner: Json) -> web.Response:
    return web.json_response({"ErrCode": 0, "ErrMsg": "success", "Resp": inner})


def refused(code: int, message: str) -> web.HTTPException:
    kind = web.HTTPBadRequest if code < 500000 else web.HTTPInternalServerError
    return kind(text=json.dumps(error(code, message)), content_type="application/json")


class PixVerseFake(Fake):
    name = "pixverse"
    base_path = "/openapi/v2"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.uploads: dict[int, tuple[str, str, bytes | str]] = {}
        """Account, kind, and bytes or address of each file, by its number."""
        self.traces: list[str] = []
        """The trace ids of all requests, in order."""

    def new_id(self) -> str:
        return str(300_000_000_000_000 + int(super().new_id().rpartition("-")[2]))

    def routes(self) -> Sequence[tuple[str, str, str, Handler]]:
        return [
            ("POST", "/video/{endpoint}/generate", "submit", self._generate),
            ("GET", "/video/result/{id}", "check", self._result),
            ("POST", "/image/upload", "upload", self._upload_image),
            ("POST", "/media/upload", "upload", self._upload_media),
            ("GET", "/account/balance", "test", self._balance),
        ]

    async def _generate(self, request: web.Request) -> web.Response:
        account = self._account(request)
        endpoint = request.match_info["endpoint"]
        body = await request.json()
        if endpoint not in MODELS or body.get("model") not in MODELS[endpoint]:
            raise refused(400017, "Invalid parameter: model")
        if broken := broken_rule(rules(endpoint, body["model"]), body):
            raise refused(400013, f"Invalid binding request: {broken[1]}")
        if wrong := broken_pair(endpoint, body):
            raise refused(400017, f"Invalid parameter: {wrong}")
        self._check_files(account, body)
        if account in self.exhausted:
            raise refused(500090, "Insufficient balance. Unable to generate video.")
        if not self.has_room(account):
            raise refused(500044, "Reached the limit for concurrent generations.")
        generation = self.accept(
            account=account, reference="", operation=OPERATIONS[endpoint], params=body
        )
        return success({"video_id": int(generation.id), "credits": 45})

    async def _result(self, request: web.Request) -> web.Response:
        account = self._account(request)
        generation = self.generations.get(request.match_info["id"])
        if generation is None or generation.account != account:
            raise refused(500008, "Requested data not found")
        status = {"running": 5, "succeeded": 1}.get(generation.status)
        return success(
            {
                "create_time": "2026-01-01T00:00:00Z",
                "id": int(generation.id),
                "modify_time": "2026-01-01T00:00:00Z",
                "negative_prompt": generation.params.get("negative_prompt", ""),
                "outputHeight": 576,
                "outputWidth": 1024,
                "prompt": generation.params["prompt"],
                "resolution_ratio": 540,
                "seed": generation.params.get("seed", 0),
                "size": len(video()),
                "status": status or int(generation.status),
                "style": "",
                "url": self.file_url(generation, ".mp4") if status == 1 else "",
            }
        )

    async def _upload_image(self, request: web.Request) -> web.Response:
        """PNG, WebP, JPEG; "file size less than 20MB"; "Either image or image_url is required"."""
        number = await self._upload(request, "image", IMAGE_TYPES, IMAGE_BYTES)
        return success({"img_id": number, "img_url": f"{self.url}/files/{number}.png"})

    async def _upload_media(self, request: web.Request) -> web.Response:
        """MP4, MOV, WebM; "File size: Up to 50MB"; "Either file or file_url is required"."""
        number = await self._upload(request, "file", MEDIA_TYPES, MEDIA_BYTES)
        where = f"{self.url}/files/{number}.mp4"
        return success({"media_id": number, "media_type": "video", "url": where})

    async def _upload(self, request: web.Request, field: str, kinds: set[str], largest: int) -> int:
        account = self._account(request)
        if request.content_type != "multipart/form-data":
            raise refused(400013, "Invalid binding request")
        form = await request.post()
        given, address = form.get(field), form.get(f"{field}_url")
        content: bytes | str
        if isinstance(given, web.FileField):
            with given.file as file:
                content = file.read()
            if given.content_type not in kinds:
                raise refused(500032, "Invalid image format")
            if len(content) >= largest:
                raise refused(500030, "Image size cannot exceed 20M")
        elif is_url(address):
            content = str(address)
        else:
            raise refused(400011, "Empty parameter")
        number = len(self.uploads) + 1
        self.uploads[number] = (account, field, content)
        return number

    async def _balance(self, request: web.Request) -> web.Response:
        self._account(request)
        return success({"account_id": 1, "credit_monthly": 1069020, "credit_package": 3630})

    async def _serve_file(self, request: web.Request) -> web.Response:
        is_video = request.path.endswith(".mp4")
        sound = (video(), "video/mp4") if is_video else (picture(), "image/png")
        content, kind = self.file or sound
        return web.Response(body=content, content_type=kind)

    def _account(self, request: web.Request) -> str:
        key = request.headers.get("API-KEY", "")
        if not key.startswith("test-key") or key in self.expired:
            raise refused(400012, f"Invalid account: {key}")
        trace = request.headers.get("Ai-trace-id", "")
        try:
            UUID(trace)
        except ValueError:
            raise refused(400011, "Empty parameter: Ai-trace-id") from None
        if trace in self.traces:
            raise refused(400017, "Invalid parameter: Ai-trace-id must be unique")
        self.traces.append(trace)
        return key

    def _check_files(self, account: str, body: Json) -> None:
        """ "Invalid image ID" (E); "couldn't find a matching video_media_id" (the guide to X)."""
        images = [
            body[name] for name in ("img_id", "first_frame_img", "last_frame_img") if name in body
        ]
        images += [each["img_id"] for each in body.get("image_references", [])]
        for number in images:
            if self.uploads.get(number, ("", ""))[:2] != (account, "image"):
                raise refused(400032, "Invalid image ID")
        if "video_media_id" in body:
            number = body["video_media_id"]
            if self.uploads.get(number, ("", ""))[:2] != (account, "file"):
                raise refused(400017, "couldn't find a matching video_media_id")


def with_prompt(**more: Any) -> Json:
    return {"prompt": "a red panda climbs", **more}


TEN_AT_1080P = {"quality": "1080p", "duration": 10}
TWO_PICTURES = {"subjects": ["FILE"], "backgrounds": ["FILE"]}
CONCURRENT = error(500044, "Reached the limit for concurrent generations.")

CASE = Case(
    adapter="pixverse",
    fake=PixVerseFake,
    credentials=Credentials(api_key="test-key-1"),
    wrong_credentials=Credentials(api_key="stolen-key-1"),
    samples={
        "text_to_video": with_prompt(duration=3, generate_audio_switch=True),
        "image_to_video": with_prompt(image="FILE"),
        "video_transition": with_prompt(first_frame="FILE", last_frame="FILE"),
        "video_extend": with_prompt(video="FILE"),
        "fusion": {"prompt": "@subject1 plays at @background1", **TWO_PICTURES},
    },
    more_samples=[
        ("text_to_video", "v6", with_prompt(aspect_ratio="21:9", generate_multi_clip_switch=True, seed=0)),
        ("text_to_video", "c1", with_prompt(duration=15, quality="1080p")),
        ("text_to_video", "v5.6", with_prompt(duration=8, quality="1080p", negative_prompt="fog")),
        ("text_to_video", "v5.5", with_prompt(duration=10, generate_multi_clip_switch=True)),
        ("text_to_video", "v5", with_prompt(quality="360p")),
        *(("image_to_video", model, with_prompt(image="FILE")) for model in ("c1", "v5.6", "v5.5", "v5")),
        *(
            ("video_transition", model, with_prompt(first_frame="FILE", last_frame="FILE"))
            for model in ("c1", "v5.6", "v5.5", "v5")
        ),
        *(("video_extend", model, with_prompt(video="FILE")) for model in ("v5.5", "v5")),
        ("fusion", "v5.6", with_prompt(subjects=["FILE"] * 7)),
        ("fusion", "v5.5", with_prompt(**TWO_PICTURES)),
        ("fusion", "v5", {"prompt": "@subject2", "subjects": ["FILE"] * 3}),
    ],
    refusals=[
        Refusal("text_to_video", {}, "prompt"),
        Refusal("text_to_video", with_prompt(prompt="x" * 2049), "prompt"),
        Refusal("text_to_video", with_prompt(duration=16), "duration"),
        Refusal("text_to_video", with_prompt(duration=6), "duration", "v5"),
        Refusal("text_to_video", with_prompt(**TEN_AT_1080P), "duration", "v5.6"),
        Refusal("text_to_video", with_prompt(aspect_ratio="21:9"), "aspect_ratio", "v5.5"),
        Refusal("text_to_video", with_prompt(generate_audio_switch=True), "generate_audio_switch", "v5"),
        Refusal("text_to_video", with_prompt(quality="4k"), "quality"),
        Refusal("text_to_video", with_prompt(seed=-1), "seed"),
        Refusal("text_to_video", with_prompt(img_id=7), "img_id"),
        Refusal("image_to_video", with_prompt(), "image"),
        Refusal("image_to_video", with_prompt(image="FILE", aspect_ratio="1:1"), "aspect_ratio"),
        Refusal("video_transition", with_prompt(first_frame="FILE"), "last_frame"),
        Refusal("video_extend", with_prompt(), "video"),
        Refusal("fusion", with_prompt(), "subjects"),
        Refusal("fusion", with_prompt(subjects=["FILE"] * 4), "backgrounds", "v5"),
        Refusal("fusion", with_prompt(subjects=["FILE"] * 7, backgrounds=["FILE"]), "backgrounds"),
        Refusal("fusion", {"prompt": "@subject2 runs", "subjects": ["FILE"]}, "backgrounds"),
        Refusal("fusion", {"prompt": "@subject1, running", "subjects": ["FILE"]}, "backgrounds"),
    ],
    troubles=[
        Trouble("bad key without a code of its own", ErrorClass.AUTH,
                refuses(400, error(400999, "Invalid API-KEY"))),
        Trouble("no permission", ErrorClass.AUTH, refuses(500, error(500020, "No permission"))),
        Trouble("no credit", ErrorClass.QUOTA, refuses(500, error(500090, "Insufficient balance."))),
        Trouble("too many at once", ErrorClass.CONCURRENT_LIMIT, refuses(500, CONCURRENT)),
        Trouble("too many at once, with 200", ErrorClass.CONCURRENT_LIMIT, refuses(200, CONCURRENT)),
        Trouble("rate limit", ErrorClass.RATE_LIMIT, refuses(429, {}, {"Retry-After": "2"}),
                retry_after=2.0),
        Trouble("bad parameter", ErrorClass.INVALID_PARAMETER,
                refuses(400, error(400017, "Invalid parameter"))),
        Trouble("bad parameter, with 200", ErrorClass.INVALID_PARAMETER,
                refuses(200, error(400013, "Invalid binding request"))),
        Trouble("filtered at once", ErrorClass.FILTERED,
                refuses(500, error(500063, "Text moderation failed"))),
        Trouble("filtered, spelt otherwise", ErrorClass.FILTERED,
                refuses(500, {"err_code": 500052, "err_msg": "The image was refused."})),
        Trouble("high load", ErrorClass.UNAVAILABLE,
                refuses(500, error(500069, "System is currently experiencing high load."))),
        Trouble("a broken database", ErrorClass.UNKNOWN, answers(500, error(500100, "MySQL error"))),
        Trouble("error inside", ErrorClass.UNKNOWN, answers(200, error(99999, "Unknown error"))),
        Trouble("an unlisted code", ErrorClass.INVALID_PARAMETER,
                refuses(200, error(10003, "This account may not do that."))),
        Trouble("an unlisted code with a status", ErrorClass.INVALID_PARAMETER,
                refuses(500, error(10003, "This account may not do that."))),
        Trouble("no video in the answer", ErrorClass.UNKNOWN,
                answers(200, {"ErrCode": 0, "ErrMsg": "success", "Resp": {"video_id": 0}})),
        Trouble("filtered later", ErrorClass.FILTERED, ending=Ending("7")),
        Trouble("failed later", ErrorClass.UNAVAILABLE, ending=Ending("8")),
        Trouble("deleted", ErrorClass.INVALID_PARAMETER, ending=Ending("6")),
    ],
)  # fmt: skip

if __name__ == "__main__":
    main(PixVerseFake)
