"""What `local` makes, and how it behaves when it is told to behave badly."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import time
import wave
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
from aiohttp import web
from django.core.exceptions import ImproperlyConfigured
from PIL import Image

from providers.adapters import adapter_named
from providers.adapters.base import (
    Accepted,
    Adapter,
    Credentials,
    Deadlines,
    Failed,
    Request,
    Running,
    Succeeded,
)
from providers.adapters.errors import ErrorClass, ProviderError
from providers.adapters.http import Http
from providers.adapters.local import drawing, rendering
from providers.adapters.local.drawing import EFFECTS, MOTIONS, STYLES
from providers.adapters.local.memory import KEPT_SECONDS, SWEEP_SECONDS, Memory
from providers.adapters.local.music import GENRES, Score, composed, syllables
from providers.adapters.params import validated
from tests import poison
from tests.providers.adapters.local_fake import address_of_picture

NOBODY = Credentials()
NOWHERE = cast(Http, None)
LYRICS = "Little red panda\nhigh in the tree\n\nLittle red panda\ncome down to me"


def schema_of(operation: str) -> Any:
    declared = adapter_named("local").operations[operation]
    return declared.models[declared.default_model]


@pytest.fixture
def local() -> Adapter:
    return adapter_named("local")


@pytest.fixture
def conduct(settings: Any, tmp_path: Path) -> Any:
    """Set LOCAL_PROVIDER."""

    def set_to(**values: Any) -> None:
        settings.LOCAL_PROVIDER = {"folder": str(tmp_path), **values}

    set_to()
    return set_to


def asked(local: Adapter, operation: str, reference: str = "ref-1", **params: Any) -> Request:
    declared = local.operations[operation]
    model = declared.default_model
    return Request(operation, model, validated(declared.models[model], params), reference)


def submitted(local: Adapter, request: Request) -> Accepted | Succeeded:
    return asyncio.run(local.submit(NOWHERE, NOBODY, request))


def checked(local: Adapter, provider_job_id: str) -> Running | Succeeded | Failed:
    return asyncio.run(local.check(NOWHERE, NOBODY, provider_job_id))


def found(local: Adapter, reference: str) -> Accepted | Succeeded | None:
    return asyncio.run(local.find(NOWHERE, NOBODY, reference))


def made(local: Adapter, operation: str, **params: Any) -> list[bytes]:
    answer = submitted(local, asked(local, operation, **params))
    assert isinstance(answer, Succeeded)
    return [cast(bytes, output.data) for output in answer.outputs]


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def drawn(prompt: str, style: str, seed: int, width: int, height: int) -> Image.Image:
    return drawing.as_image(drawing.painted(prompt, style, seed, width, height)(0.0))


def song(**params: Any) -> Score:
    return composed(schema_of("song")(**params), 1)


# What it makes


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("width", "height"), [(16, 16), (301, 77), (16, 400)])
def test_a_picture_has_the_size_asked_for_and_something_on_it(
    style: str, width: int, height: int
) -> None:
    image = drawn("a calm lake", style, 3, width, height)
    assert image.size == (width, height)
    assert np.asarray(image).std() > 8


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_pictures_are_of_the_kind_asked_for(local: Adapter, conduct: Any, kind: str) -> None:
    pictures = made(
        local, "text_to_image", prompt="a fox", width=80, height=60, count=2, format=kind
    )
    assert [(picture(data).format, picture(data).size) for data in pictures] == [
        (kind.upper(), (80, 60))
    ] * 2
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("style", STYLES)
def test_the_same_prompt_and_seed_make_the_same_picture_and_others_another(style: str) -> None:
    def bytes_of(prompt: str, seed: int) -> bytes:
        return drawn(prompt, style, seed, 90, 70).tobytes()

    first = bytes_of("a red panda", 5)
    assert bytes_of("a red panda", 5) == first
    assert bytes_of("a red panda", 6) != first
    assert bytes_of("a blue whale", 5) != first


@pytest.mark.parametrize(
    ("prompt", "strong", "weak"), [("blue ocean", 2, 0), ("green forest", 1, 2), ("lava", 0, 2)]
)
def test_the_words_of_a_prompt_choose_the_colours(prompt: str, strong: int, weak: int) -> None:
    for style in STYLES:
        image = drawn(prompt, style, 2, 96, 96)
        mean = np.asarray(image).reshape(-1, 3).mean(axis=0)
        assert mean[strong] > mean[weak], style


def test_without_a_seed_each_generation_is_another_and_says_its_seed(
    local: Adapter, conduct: Any
) -> None:
    def answer(reference: str, **params: Any) -> Succeeded:
        request = asked(
            local, "text_to_image", reference, prompt="x", width=64, height=64, **params
        )
        return cast(Succeeded, submitted(local, request))

    first, second = answer("ref-1"), answer("ref-2")
    again = answer("ref-3", seed=first.response["seed"])
    assert first.outputs[0].data != second.outputs[0].data
    assert again.outputs[0].data == first.outputs[0].data


def test_the_schema_offers_what_can_be_drawn_and_played() -> None:
    def offered(operation: str, field: str) -> set[str]:
        return set(get_args(schema_of(operation).model_fields[field].annotation)) - {"auto"}

    assert offered("text_to_image", "style") == set(STYLES)
    assert offered("text_to_video", "style") == set(STYLES)
    assert offered("image_to_image", "effect") == set(EFFECTS)
    assert offered("image_to_video", "motion") == set(MOTIONS)
    assert offered("song", "genre") == set(GENRES)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_has_its_frames_and_loops_for_ever(
    local: Adapter, conduct: Any, kind: str
) -> None:
    (data,) = made(
        local, "text_to_video", prompt="waves", width=64, height=48, seconds=1, fps=8, format=kind
    )
    image = picture(data)
    assert image.format == kind.upper()
    assert image.size == (64, 48)
    assert image.n_frames == 8  # type: ignore[attr-defined]
    assert image.info["loop"] == 0


@pytest.mark.parametrize("style", STYLES)
def test_an_animation_ends_where_it_began(style: str) -> None:
    paint = drawing.painted("sea", style, 1, 48, 36)
    frames = [drawing.as_image(paint(number / 24)) for number in range(24)]

    def change(one: int, other: int) -> float:
        difference = np.asarray(frames[one], float) - np.asarray(frames[other], float)
        return float(np.abs(difference).mean())

    steps = [change(number, number + 1) for number in range(23)]
    assert max(steps) > 0
    assert change(23, 0) < 2 * max(steps)


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_effect_changes_a_picture_by_its_strength(effect: str) -> None:
    source = drawn("sunset", "landscape", 1, 120, 90)
    changed = drawing.edited(source, "gold", effect, 1)
    assert changed.size == source.size

    def away(strength: float) -> float:
        image = Image.blend(source, changed, strength)
        return float(np.abs(np.asarray(image, float) - np.asarray(source, float)).mean())

    assert away(0) == 0
    assert 0 < away(0.4) < away(1)


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_given_picture_is_set_in_motion(motion: str) -> None:
    paint = drawing.moving(drawn("party", "landscape", 1, 80, 60), "", motion, 1)
    frames = [drawing.as_image(paint(number / 4)) for number in range(4)]
    assert len({frame.tobytes() for frame in frames}) > 2
    assert {frame.size for frame in frames} == {(80, 60)}


@pytest.mark.parametrize("genre", GENRES)
def test_a_song_is_heard_from_beginning_to_end(local: Adapter, conduct: Any, genre: str) -> None:
    (data,) = made(local, "song", title="Red Panda", lyrics=LYRICS, genre=genre, seconds=8, seed=1)
    with wave.open(io.BytesIO(data)) as song:
        assert (song.getnchannels(), song.getsampwidth(), song.getframerate()) == (2, 2, 44_100)
        assert song.getnframes() == 8 * 44_100
        samples = np.frombuffer(song.readframes(song.getnframes()), "<i2").reshape(-1, 2) / 32768
    loudness = [np.sqrt((part**2).mean()) for part in np.array_split(samples, 8)]
    assert min(loudness[:-1]) > 0.03
    assert 0.5 < np.abs(samples).max() < 1
    assert np.abs(samples[-200:]).max() < 0.01


def test_the_same_song_is_the_same_file_and_another_title_another(
    local: Adapter, conduct: Any
) -> None:
    asked_for = {"lyrics": LYRICS, "seconds": 5, "seed": 1}
    assert made(local, "song", title="A", **asked_for) == made(
        local, "song", title="A", **asked_for
    )
    assert made(local, "song", title="A", **asked_for) != made(
        local, "song", title="B", **asked_for
    )


def test_every_syllable_is_a_note_and_equal_lines_have_equal_tunes() -> None:
    score = song(title="Panda", lyrics=LYRICS, tempo=100)
    sung = [note for note in score.notes if note.instrument == "voice"]
    assert "".join(note.vowel for note in sung).startswith("".join(syllables(LYRICS)[:9]))
    assert [len(syllables(line)) for line in LYRICS.splitlines()] == [5, 4, 0, 5, 4]
    line_seconds = 60 / 100 * 8

    def tune(line: int) -> list[tuple[float, float]]:
        start = (1 + line) * line_seconds
        return [
            (round(note.start - start, 3), note.pitch)
            for note in sung
            if start - 1e-6 <= note.start < start + line_seconds - 1e-6
        ]

    assert len(tune(0)) == 5
    assert len(tune(1)) == 4
    assert [at for at, _ in tune(0)] == [at for at, _ in tune(3)]


@pytest.mark.parametrize(
    ("title", "lyrics"),
    [("🐼🐼", ""), ("小熊猫", "小熊猫在树上\n睡觉"), ("x", "\n\n!\n\n"), ("y", "la " * 900)],
)
def test_any_text_can_be_set_to_music(title: str, lyrics: str) -> None:
    score = song(title=title, lyrics=lyrics, genre="folk")
    assert 0 < score.seconds <= 60
    assert any(note.instrument in ("voice", "flute") for note in score.notes)


# Inputs


async def _serve(body: Any) -> Any:
    async def take(request: web.Request) -> web.Response:
        if request.path == "/missing":
            return web.Response(status=404)
        if request.path == "/broken":
            return web.Response(status=503)
        return web.Response(body=b"<html>no picture</html>")

    app = web.Application()
    app.router.add_get("/{name}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return await body(f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/missing", ErrorClass.INVALID_PARAMETER),
        ("/html", ErrorClass.INVALID_PARAMETER),
        ("/broken", ErrorClass.UNAVAILABLE),
    ],
)
def test_an_input_that_cannot_be_had_is_refused_by_what_is_wrong_with_it(
    local: Adapter, conduct: Any, settings: Any, path: str, expected: ErrorClass
) -> None:
    async def body(url: str) -> ProviderError:
        settings.CRAWL_ALLOWED_PRIVATE = [f"127.0.0.0/8:{url.rpartition(':')[2]}"]
        with pytest.raises(ProviderError) as refused:
            await local.submit(NOWHERE, NOBODY, asked(local, "image_to_image", image=url + path))
        return refused.value

    error = asyncio.run(_serve(body))
    assert error.error_class is expected
    assert str(error).startswith("image: ")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:9/in.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:image/png,plain",
        "data:image/png;base64,%%%",
        "data:image/png;base64," + base64.b64encode(b"GIF89a").decode(),
    ],
)
def test_an_input_inside_our_network_or_on_our_disk_or_no_picture_is_refused(
    local: Adapter, conduct: Any, address: str
) -> None:
    with pytest.raises(ProviderError) as refused:
        submitted(local, asked(local, "image_to_video", image=address))
    assert refused.value.error_class is ErrorClass.INVALID_PARAMETER


def test_an_input_is_read_upright_on_white_and_no_larger_than_asked(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (200, 100), (255, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter.
    file = io.BytesIO()
    clear.save(file, "PNG", exif=exif)

    image = rendering.opened(file.getvalue(), max_side=50)

    assert image.size == (25, 50)
    assert image.getpixel((5, 5)) == (255, 255, 255)


def test_an_input_cut_off_or_with_too_many_pixels_is_no_picture() -> None:
    data = base64.b64decode(address_of_picture(300, 300).partition(",")[2])
    with pytest.raises(rendering.NotAPicture):
        rendering.opened(data[: len(data) // 2], max_side=100)
    with pytest.raises(rendering.NotAPicture, match="10000 x 10000 pixels"):
        rendering.opened(poison.wide_png(), max_side=100)


# How it behaves


def text_to_image(local: Adapter, reference: str) -> Request:
    return asked(local, "text_to_image", reference, prompt="x", width=16, height=16, seed=1)


@pytest.mark.parametrize("error_class", ErrorClass)
@pytest.mark.parametrize("later", [False, True])
def test_every_class_of_error_can_be_had(
    local: Adapter, conduct: Any, error_class: ErrorClass, later: bool
) -> None:
    conduct(failure_rate=1.0, failures=[error_class], later=later)

    if later and error_class is ErrorClass.FILTERED:
        answer = submitted(local, text_to_image(local, "ref-1"))
        state = checked(local, cast(str, answer.provider_job_id))
        assert isinstance(state, Failed)
        error = state.error
    else:
        with pytest.raises(ProviderError) as refused:
            submitted(local, text_to_image(local, "ref-1"))
        error = refused.value

    assert error.error_class is error_class
    # Only where it may have been accepted was it, and then it is found.
    assert (found(local, "ref-1") is not None) == (
        later and (error.may_have_been_accepted or error_class is ErrorClass.FILTERED)
    )


def test_the_share_that_fails_is_as_set_and_the_same_generation_always_fails(
    local: Adapter, conduct: Any
) -> None:
    conduct(failure_rate=0.3, failures=["auth", "unavailable"], later=True)

    async def outcomes() -> list[str]:
        results = []
        for number in range(600):
            try:
                await local.submit(NOWHERE, NOBODY, text_to_image(local, f"ref-{number}"))
                results.append("accepted")
            except ProviderError as error:
                results.append(error.error_class)
        return results

    first = asyncio.run(outcomes())
    counts = Counter(first)
    assert set(counts) == {"accepted", "auth", "unavailable"}
    assert 120 < 600 - counts["accepted"] < 240
    assert asyncio.run(outcomes()) == first


def test_a_generation_takes_at_least_the_time_that_is_set(local: Adapter, conduct: Any) -> None:
    conduct(delay_seconds=0.2)
    began = time.monotonic()
    submitted(local, text_to_image(local, "ref-1"))
    assert time.monotonic() - began >= 0.2


def test_what_is_not_done_by_the_deadline_is_a_timeout(
    local: Adapter, conduct: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = replace(local.operations["text_to_image"], deadlines=Deadlines(submit=0.05))
    monkeypatch.setattr(type(local), "operations", {"text_to_image": operation})
    conduct(delay_seconds=30)
    with pytest.raises(ProviderError) as refused:
        submitted(local, text_to_image(local, "ref-1"))
    assert refused.value.error_class is ErrorClass.TIMEOUT


def test_rendering_leaves_the_event_loop_free(local: Adapter, conduct: Any) -> None:
    request = asked(local, "text_to_image", prompt="x", style="nebula", width=900, height=900)

    async def turns_meanwhile() -> int:
        work = asyncio.ensure_future(local.submit(NOWHERE, NOBODY, request))
        turns = 0
        while not work.done():
            await asyncio.sleep(0.005)
            turns += 1
        await work
        return turns

    assert asyncio.run(turns_meanwhile()) > 10


@pytest.fixture
def later(conduct: Any) -> Any:
    """Accept first; seconds until it is done."""

    def set_to(seconds: float) -> None:
        conduct(later=True, delay_seconds=seconds)

    return set_to


def test_accepted_first_it_runs_and_then_has_what_it_would_have_had_at_once(
    local: Adapter, conduct: Any, later: Any
) -> None:
    at_once = submitted(local, text_to_image(local, "ref-0"))
    later(60)
    answer = submitted(local, text_to_image(local, "a/../ref 1"))
    assert isinstance(answer, Accepted)
    assert answer.provider_job_id == "a/../ref 1"
    running = checked(local, answer.provider_job_id)
    assert isinstance(running, Running)
    assert 0 <= cast(float, running.progress) < 0.5

    later(0)
    answer = submitted(local, text_to_image(local, "ref-2"))
    done = checked(local, cast(str, answer.provider_job_id))
    assert isinstance(done, Succeeded)
    assert isinstance(at_once, Succeeded)
    assert done.outputs[0].data == at_once.outputs[0].data
    assert done.provider_job_id == "ref-2"


def test_an_input_that_is_no_picture_ends_an_accepted_generation(
    local: Adapter, later: Any
) -> None:
    later(0)
    submitted(local, asked(local, "image_to_image", image="data:image/png;base64,QUJD"))
    state = checked(local, "ref-1")
    assert isinstance(state, Failed)
    assert state.error.error_class is ErrorClass.INVALID_PARAMETER


def test_a_cancel_ends_what_runs_and_is_too_late_for_what_is_done(
    local: Adapter, later: Any
) -> None:
    def cancelled(reference: str) -> Running | Succeeded | Failed:
        submitted(local, text_to_image(local, reference))
        for _ in range(2):
            asyncio.run(local.cancel(NOWHERE, NOBODY, reference))
        return checked(local, reference)

    later(60)
    state = cancelled("ref-1")
    assert isinstance(state, Failed)
    assert state.cancelled
    later(0)
    assert isinstance(cancelled("ref-2"), Succeeded)


def test_what_was_never_accepted_is_not_found_and_cannot_be_checked(
    local: Adapter, later: Any
) -> None:
    later(0)
    assert found(local, "ref-9") is None
    with pytest.raises(ProviderError):
        checked(local, "ref-9")


def test_answered_at_once_nothing_is_remembered(
    local: Adapter, conduct: Any, tmp_path: Path
) -> None:
    submitted(local, text_to_image(local, "ref-1"))
    assert found(local, "ref-1") is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_accepted_long_ago_is_forgotten(
    local: Adapter, later: Any, tmp_path: Path
) -> None:
    later(0)
    submitted(local, text_to_image(local, "old"))
    (old,) = tmp_path.glob("*.json")
    long_ago = time.time() - KEPT_SECONDS - 60
    os.utime(old, (long_ago, long_ago))

    submitted(local, text_to_image(local, "new"))
    assert found(local, "old") is not None
    swept = time.time() - SWEEP_SECONDS - 60
    os.utime(tmp_path / ".swept", (swept, swept))
    submitted(local, text_to_image(local, "newer"))

    memory = Memory(tmp_path)
    assert memory.recall("old") is None
    assert memory.recall("new") is not None


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"failure_rate": 2}, "failure_rate"),
        ({"delay": 1}, "delay"),
        ({"failures": ["sleepy"]}, "failures"),
    ],
)
def test_a_conduct_that_makes_no_sense_is_named(
    local: Adapter, conduct: Any, value: dict[str, Any], named: str
) -> None:
    conduct(**value)
    with pytest.raises(ImproperlyConfigured, match=f"LOCAL_PROVIDER: {named}"):
        submitted(local, text_to_image(local, "ref-1"))


def test_an_account_needs_no_secret_and_its_test_costs_nothing(local: Adapter) -> None:
    assert local.credential is None
    asyncio.run(local.test(NOWHERE, NOBODY))
