"""OpenAI: pictures from text and from pictures, and videos.

The answer contains the pictures; a video is created, polled and downloaded. OpenAI shut its own
Videos API down on 24 September 2026; the video operations are for other servers with that API
(PROVIDER_BASE_URLS). Our reference is sent as X-Client-Request-Id, by which OpenAI's support can
find a request; no call of the API can.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import aiohttp

from providers.adapters.base import (
    Credentials,
    Failed,
    Output,
    Request,
    Running,
    State,
    Submitted,
    Succeeded,
    is_amount,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.inline import inline_bytes
from providers.adapters.openai import errors, rules
from providers.adapters.operations import read_dates, read_operations
from providers.adapters.rest import RestAdapter, accepted, check_id, path_of, without_empty


class OpenAI(RestAdapter):
    """The Images and Videos API."""

    name = "openai"
    title = "OpenAI"
    base_url = "https://api.openai.com/v1"
    classify = staticmethod(errors.classify)
    can_list_models = True
    dates = read_dates(__file__)
    operations = read_operations(__file__, {"picture": rules.Picture, "any_size": rules.AnySize})

    async def submit(self, http: Http, credentials: Credentials, request: Request) -> Submitted:
        headers = {"X-Client-Request-Id": request.reference}
        if form := _form(request):
            answer = await self.create(
                http, credentials, request, "images/edits", None, headers, form=form
            )
            return _pictures(answer)
        path, body = _question(request)
        answer = await self.create(http, credentials, request, path, body, headers)
        if path != "videos":
            return _pictures(answer)
        return accepted(answer, "video")

    async def check(self, http: Http, credentials: Credentials, provider_job_id: str) -> State:
        path = path_of("videos", provider_job_id)
        video = await self.call(http, credentials, "GET", path)
        check_id(video, provider_job_id)
        match video.get("status"):
            case "completed":
                output = Output(
                    url=http.url(f"{path}/content"),
                    headers=self.headers(credentials),
                    provider_asset_id=provider_job_id,
                )
                return Succeeded([output], video, provider_job_id)
            case "failed":
                return Failed(errors.of_video(video.get("error")), video)
            case "queued" | "in_progress":
                percent = video.get("progress")
                return Running(min(percent, 100) / 100 if is_amount(percent) else None, video)
            case status:
                raise ProviderError(ErrorClass.UNKNOWN, f"The video is {status!r}.")

    async def models(self, http: Http, credentials: Credentials) -> Sequence[str]:
        answer = await self.call(http, credentials, "GET", "models")
        return [str(each.get("id")) for each in answer.get("data") or () if isinstance(each, dict)]

    async def test(self, http: Http, credentials: Credentials) -> None:
        await self.models(http, credentials)


def _form(request: Request) -> aiohttp.FormData | None:
    """Return an edit whose inputs are all bytes as a form; None for other requests.

    A form takes files of up to 50 MB each, a data URL about a third of that.
    """
    if request.operation != "image_to_image":
        return None
    values = without_empty(request.params.given()) | {"model": request.model}
    pictures = [("image[]", url) for url in values.pop("images")]
    pictures += [("mask", values.pop("mask"))] if "mask" in values else []
    if not all(url.startswith("data:") for _, url in pictures):
        return None
    form = aiohttp.FormData()
    for name, value in values.items():
        form.add_field(name, str(value))
    for number, (name, url) in enumerate(pictures):
        kind, content = _inline(url)
        filename = f"{number}.{kind.rpartition('/')[2]}"
        form.add_field(name, content, filename=filename, content_type=kind)
    return form


def _inline(url: str) -> tuple[str, bytes]:
    try:
        inline = inline_bytes(url)
    except ValueError as error:
        raise ProviderError(ErrorClass.INVALID_PARAMETER, f"A file: {error}.") from error
    assert inline is not None  # noqa: S101 - for the type checker
    return inline


def _question(request: Request) -> tuple[str, dict[str, Any]]:
    """Return path and body of the call that submits a generation."""
    body = without_empty(request.params.given()) | {"model": request.model}
    if request.operation == "text_to_image":
        return "images/generations", body
    if request.operation == "image_to_image":
        body["images"] = [{"image_url": url} for url in body["images"]]
        if "mask" in body:
            body["mask"] = {"image_url": body["mask"]}
        return "images/edits", body
    if "seconds" in body:
        body["seconds"] = str(body["seconds"])
    if image := body.pop("image", None):
        body["input_reference"] = {"image_url": image}
    return "videos", body


def _pictures(answer: dict[str, Any]) -> Succeeded:
    """Split an answer into its pictures and the rest, which is stored."""
    try:
        pictures = [base64.b64decode(each["b64_json"], validate=True) for each in answer["data"]]
    except (KeyError, TypeError, binascii.Error) as error:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer has no readable pictures.") from error
    if not pictures:
        raise ProviderError(ErrorClass.UNKNOWN, "The answer has no pictures.")
    rest = {name: value for name, value in answer.items() if name != "data"}
    return Succeeded([Output(data=data) for data in pictures], rest)
