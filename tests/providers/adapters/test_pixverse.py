"""What is peculiar to PixVerse; the rest is in test_conformance.py."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import pytest

from providers.adapters.base import Accepted, Credentials, Request
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.params import validated
from providers.adapters.pixverse.adapter import PixVerse
from tests.providers.adapters.fake import BROKEN_AFTER, DROPPED_AFTER, Behaviour, Json, picture
from tests.providers.adapters.pixverse_fake import PixVerseFake

ADAPTER = PixVerse()
KEY = Credentials(api_key="test-key-1")


def run(body: Callable[[PixVerseFake, Http], Awaitable[Any]]) -> Any:
    async def main(fake: PixVerseFake) -> Any:
        async with aiohttp.ClientSession() as session:
            return await body(fake, Http(session, fake.base_url))

    with PixVerseFake() as fake:
        return asyncio.run(main(fake))


def asked(operation: str, reference: str = "ref-7", **params: Any) -> Request:
    declared = ADAPTER.operations[operation]
    checked = validated(
        declared.models[declared.default_model], {"prompt": "a red panda", **params}
    )
    return Request(operation, declared.default_model, checked, reference)


def with_files(request: Request, **files: Any) -> Request:
    """The request after its files were put there, which happens after the check."""
    params = request.params.model_copy(update=files)
    return Request(request.operation, request.model, params, request.reference)


def data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


async def accepted(http: Http, request: Request) -> Accepted:
    job = await ADAPTER.submit(http, KEY, request)
    assert isinstance(job, Accepted)
    return job


def test_each_request_has_a_trace_id_of_its_own_and_a_submission_that_of_its_reference() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        job = await accepted(http, asked("image_to_video", image="https://a.example/in.png"))
        await ADAPTER.check(http, KEY, job.provider_job_id)
        await ADAPTER.credits(http, KEY)
        assert len(set(fake.traces)) == 4
        assert fake.traces[1] == str(uuid5(NAMESPACE_OID, "ref-7"))

        with pytest.raises(ProviderError):
            await ADAPTER.submit(http, KEY, asked("text_to_video"))
        assert len(fake.generations) == 1

    run(body)


def test_files_are_uploaded_by_their_address_or_with_their_bytes() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        request = asked("video_transition", first_frame="x", last_frame="x")
        await accepted(
            http,
            with_files(
                request,
                first_frame="https://a.example/in.png",
                last_frame=data_url(picture(), "image/png"),
            ),
        )
        video = asked("video_extend", "ref-8", video="x")
        await accepted(http, with_files(video, video=data_url(b"clip", "video/mp4")))

        assert [upload[1:] for upload in fake.uploads.values()] == [
            ("image", "https://a.example/in.png"),
            ("image", picture()),
            ("file", b"clip"),
        ]
        transition, extension = (each.params for each in fake.generations.values())
        assert (transition["first_frame_img"], transition["last_frame_img"]) == (1, 2)
        assert extension["video_media_id"] == 3

    run(body)


@pytest.mark.parametrize("url", ["data:image/png,plain", "data:image/png;base64,!", "data:"])
def test_a_data_address_that_cannot_be_read_is_refused_before_anything_is_sent(url: str) -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        request = with_files(asked("image_to_video", image="x"), image=url)
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.submit(http, KEY, request)
        assert refused.value.error_class is ErrorClass.INVALID_PARAMETER
        assert not fake.requests

    run(body)


@pytest.mark.parametrize(
    "behaviour",
    [DROPPED_AFTER, BROKEN_AFTER, Behaviour(answer=(200, {"ErrCode": 0, "Resp": {}}, {}))],
)
def test_an_upload_that_fails_has_cost_nothing(behaviour: Behaviour) -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        fake.script("upload", behaviour)
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.submit(http, KEY, asked("image_to_video", image="https://a.example/x"))
        assert refused.value.error_class is ErrorClass.UNAVAILABLE
        assert not fake.generations

    run(body)


def test_a_picture_that_is_refused_at_its_upload_is_filtered() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        refusal = {"err_code": 500052, "err_msg": "The image was refused.", "resp": ""}
        fake.script("upload", Behaviour(work=False, answer=(500, refusal, {})))
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.submit(http, KEY, asked("image_to_video", image="https://a.example/x"))
        assert refused.value.error_class is ErrorClass.FILTERED

    run(body)


def test_the_pictures_of_a_fusion_have_the_names_that_the_prompt_calls_them() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        urls = {"subjects": ["https://a.example/1", "https://a.example/2"]}
        request = asked(
            "fusion",
            prompt="@subject1 and @subject2 at @background1",
            **urls,
            backgrounds=["https://a.example/3"],
        )
        await accepted(http, request)
        (generation,) = fake.generations.values()
        assert generation.params["image_references"] == [
            {"type": "subject", "img_id": 1, "ref_name": "subject1"},
            {"type": "subject", "img_id": 2, "ref_name": "subject2"},
            {"type": "background", "img_id": 3, "ref_name": "background1"},
        ]
        assert not generation.params.keys() & {"subjects", "backgrounds"}

    run(body)


def test_what_was_left_out_is_not_sent_but_for_the_seed_of_an_extension() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        await accepted(http, asked("text_to_video"))
        await accepted(http, asked("video_extend", "ref-8", video="https://a.example/x.mp4"))
        clip, extension = (each.params for each in fake.generations.values())
        assert "seed" not in clip
        assert extension["seed"] == 0

    run(body)


@pytest.mark.parametrize("change", [{"url": ""}, {"url": None}, {"status": 4}, {"status": "1"}])
def test_a_state_that_is_not_published_or_has_no_file_is_no_end(change: Json) -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        job = await accepted(http, asked("text_to_video"))
        await asyncio.to_thread(fake.finish, job.provider_job_id)
        fake.script(
            "check", Behaviour(change=lambda answer: {**answer, "Resp": answer["Resp"] | change})
        )
        with pytest.raises(ProviderError) as refused:
            await ADAPTER.check(http, KEY, job.provider_job_id)
        assert refused.value.error_class is ErrorClass.UNKNOWN

    run(body)


def test_both_kinds_of_credits_are_told() -> None:
    async def body(fake: PixVerseFake, http: Http) -> None:
        assert await ADAPTER.credits(http, KEY) == {"monthly": 1069020, "package": 3630}
        fake.script("test", Behaviour(answer=(200, {"ErrCode": 0, "Resp": {}}, {})))
        with pytest.raises(ProviderError):
            await ADAPTER.credits(http, KEY)

    run(body)
