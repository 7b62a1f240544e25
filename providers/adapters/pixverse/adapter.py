"""PixVerse's platform API: clips from text and pictures, transitions, extensions and fusions.

Input pictures and clips are uploaded first. The API has no field for our reference and no look-up;
PixVerse's support can find a request by its Ai-trace-id, which is derived from our reference.
"""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

from providers.adapters.base import (
    Accepted,
    Credentials,
    Failed,
    Output,
    Request,
    Running,
    State,
    Submitted,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.operations import read_operations
from providers.adapters.pixverse import errors, rules, uploads
from providers.adapters.rest import RestAdapter, check_id, path_of, without_empty

PATHS = {
    "text_to_video": "video/text/generate",
    "image_to_video": "video/img/generate",
    "video_transition": "video/transition/generate",
    "video_extend": "video/extend/generate",
    "fusion": "video/fusion/generate",
}

FILES = {
    "image": ("img_id", uploads.IMAGE),
    "first_frame": ("first_frame_img", uploads.IMAGE),
    "last_frame": ("last_frame_img", uploads.IMAGE),
    "video": ("video_media_id", uploads.MEDIA),
}
"""PixVerse's field for the number of an uploaded file, by our parameter."""


class PixVerse(RestAdapter):
    """The video generation API, version 2."""

    name = "pixverse"
    title = "PixVerse"
    base_url = "https://app-api.pixverse.ai/openapi/v2"
    classify = staticmethod(errors.classify)
    operations = read_operations(
        __file__,
        {
            "to_10_s": rules.ToTenSeconds,
            "pictures": rules.Pictures,
            "three_pictures": rules.ThreePictures,
        },
    )

    def headers(self, credentials: Credentials) -> dict[str, str]:
        return {"API-KEY": str(credentials.api_key), "Ai-trace-id": str(uuid4())}

    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        body = await self._question(http, credentials, request)
        headers = {"Ai-trace-id": str(uuid5(NAMESPACE_OID, request.reference))}
        path = PATHS[request.operation]
        answer = await self.create(http, credentials, request, path, body, headers)
        video_id = _inner(answer).get("video_id")
        if not isinstance(video_id, int) or not video_id:
            raise ProviderError(ErrorClass.UNKNOWN, "The answer names no video.")
        return Accepted(str(video_id), answer)

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        answer = await self.call(http, credentials, "GET", path_of("video/result", provider_job_id))
        video = _inner(answer)
        check_id(video, provider_job_id)
        return _state(video, answer)

    async def credits(self, http: Http, credentials: Credentials) -> Mapping[str, int]:
        balance = _inner(await self.call(http, credentials, "GET", "account/balance"))
        try:
            return {
                "monthly": int(balance["credit_monthly"]),
                "package": int(balance["credit_package"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(ErrorClass.UNKNOWN, "The answer tells no balance.") from error

    async def _question(
        self, http: Http, credentials: Credentials, request: Request
    ) -> dict[str, Any]:
        """Upload the input files and return the body of the call."""
        body = without_empty(request.params.canonical())
        for name, (sent_as, kind) in FILES.items():
            if name in body:
                body[sent_as] = await self._upload(http, credentials, kind, body.pop(name))
        if request.operation == "fusion":
            pictures = rules.named_pictures(body.pop("subjects"), body.pop("backgrounds"))
            body["image_references"] = [
                {
                    "type": name.rstrip("0123456789"),
                    "img_id": await self._upload(http, credentials, uploads.IMAGE, url),
                    "ref_name": name,
                }
                for name, url in pictures
            ]
        return body | {"model": request.model}

    async def _upload(
        self, http: Http, credentials: Credentials, kind: uploads.Kind, url: str
    ) -> int:
        """Upload a file and return PixVerse's number of it. A failed upload costs nothing."""
        answer = await self.upload(http, credentials, kind.path, uploads.form(kind, url))
        number = _inner(answer).get(kind.number)
        if not isinstance(number, int):
            raise ProviderError(ErrorClass.UNAVAILABLE, "The upload's answer names no file.")
        return number


def _inner(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object of an answer."""
    inner = answer.get("Resp")
    return inner if isinstance(inner, dict) else {}


def _state(video: Mapping[str, Any], answer: dict[str, Any]) -> State:
    number = str(video["id"])
    match video.get("status"):
        case 1 if isinstance(video.get("url"), str) and video["url"]:
            output = Output(url=video["url"], provider_asset_id=number)
            return Succeeded([output], answer, number)
        case 5:
            return Running(response=answer)
        case 6:
            return _failed(ErrorClass.INVALID_PARAMETER, "The video was deleted.", answer)
        case 7:
            return _failed(ErrorClass.FILTERED, "The content was refused.", answer)
        case 8:
            # "Our server encountered an error during generation. Please try again."
            return _failed(ErrorClass.UNAVAILABLE, "The generation failed.", answer)
        case status:
            raise ProviderError(ErrorClass.UNKNOWN, f"The video has status {status!r}.")


def _failed(error_class: ErrorClass, message: str, answer: dict[str, Any]) -> Failed:
    return Failed(ProviderError(error_class, message), answer)
