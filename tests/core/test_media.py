"""Media examined in a confined child, for real: what is found out, what is refused, what a child may say."""

import io
import os
import signal
import struct
import wave
from contextlib import suppress
from random import Random

import pytest
from PIL import Image, PngImagePlugin

from pixsim.core import media
from pixsim.core.media import client
from tests import poison
from tests.crawler.pictures import corrupted, encode, photograph, truncated

FRAMES = [photograph(96, 64, seed=seed).convert("RGBA") for seed in range(4)]
MOVING = {"save_all": True, "append_images": FRAMES[1:], "duration": [100, 100, 300, 500]}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_picture_of_every_format_is_measured_and_made_small(kind) -> None:
    medium = media.examine(encode(photograph(), kind), side=80)
    assert medium[:3] == (320, 240, None)
    assert medium.small[:2] == (80, 60)
    assert Image.open(io.BytesIO(medium.small.as_jpeg(quality=80))).size == (80, 60)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_lasts_as_long_as_its_frames(kind) -> None:
    data = encode(FRAMES[0], kind, **MOVING)
    assert media.examine(data, side=80).duration_sec == pytest.approx(1.0)
    assert media.examine(data, side=80, is_still=True).duration_sec is None
    assert media.examine(encode(FRAMES[0], kind), side=80).duration_sec is None


def test_a_small_picture_is_upright_and_shows_the_background_where_it_is_transparent() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    clear = encode(Image.new("RGBA", (200, 100), (255, 0, 0, 0)), "PNG", exif=exif)
    small = media.examine(clear, side=50, background="#808080").small
    assert small[:2] == (25, 50)
    assert set(small.rgb) == {0x80}


def test_megabytes_of_text_in_a_png_are_no_damage() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "a red panda " * 200_000, zip=True)
    assert media.examine(encode(photograph(), "PNG", pnginfo=texts), side=80).width == 320


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "I;16", "I", "CMYK"])
def test_no_kind_of_pixels_is_a_surprise(mode) -> None:
    kind = "TIFF" if mode in ("CMYK", "I") else "PNG"
    assert media.examine(encode(Image.new(mode, (64, 64)), kind), side=8).small.width == 8


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (poison.wide_png(), "10000 x 10000 pixels"),
        (poison.gif(10_000, 5), "10000 x 10000 pixels"),
        (poison.gif(3000, 10_000), "10,000 frames of 3000 x 3000"),
        (poison.gif(10, 10_001), "10,001 frames"),
        (truncated(encode(photograph(), "PNG")), "cannot be read"),
        (corrupted(encode(photograph(), "PNG")), "cannot be read"),
        (b"", "no picture"),
        (b"<html>", "no picture"),
        (encode(photograph(), "EPS"), "no picture"),
    ],
)
def test_what_costs_too_much_or_is_damaged_is_refused_with_the_reason(data, why) -> None:
    with pytest.raises(media.Undecodable, match=why) as refused:
        media.examine(data, side=80)
    assert refused.value.is_certain


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"\0\0\0\x07ftypmp42" + bytes(9), "video/mp4"),
        (struct.pack(">I4sI4s", 16, b"moov", 8, b"mvhd"), "video/mp4"),
    ],
)
def test_a_damaged_sound_or_film_is_refused(data, mime_type) -> None:
    with pytest.raises(media.Undecodable):
        media.examine(data, mime_type=mime_type)


def test_a_child_that_is_killed_is_replaced_and_the_file_is_tried_again(monkeypatch) -> None:
    picture = encode(photograph(), "PNG")
    media.examine(picture, side=80)
    child = client._idle[-1]
    ask, kills = child.ask, []

    def killed(*args, **options):
        if not kills:
            child._started()
            kills.append(child.pid)
            os.kill(child.pid, signal.SIGSTOP)
            options["meanwhile"] = lambda: os.kill(kills[0], signal.SIGKILL)
        return ask(*args, **options)

    monkeypatch.setattr(child, "ask", killed)
    assert media.examine(picture, side=80).width == 320
    assert child.pid != kills[0]


def test_no_answer_in_time_is_nobodys_certain_fault() -> None:
    with pytest.raises(media.Undecodable, match="no answer within") as refused:
        media.examine(poison.slow_jpeg(4000, 90), side=80, seconds=0.2)
    assert not refused.value.is_certain


def test_a_forked_process_has_children_of_its_own() -> None:
    media.examine(encode(photograph(), "PNG"), side=80)
    assert client._idle
    pid = os.fork()
    if not pid:
        os._exit(len(client._idle))
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (None, b""),
        (1, b""),
        ([], b""),
        ([1, 1, None, 1], b"rgb"),
        ([1, 1, None, 1, 1], b"rg"),
        ([1, 1, None, 1, 1], b"rgbr"),
        ([1, 1, None, 0, 0], b"rgb"),
        ([-1, 1, None, 1, 1], b"rgb"),
        ([2**31, 1, None, 1, 1], b"rgb"),
        ([True, 1, None, 1, 1], b"rgb"),
        (["1", 1, None, 1, 1], b"rgb"),
        ([1.0, 1, None, 1, 1], b"rgb"),
        ([1, 1, float("nan"), 1, 1], b"rgb"),
        ([1, 1, float("inf"), 1, 1], b"rgb"),
        ([1, 1, 10**400, 1, 1], b"rgb"),
        ([1, 1, -1, 1, 1], b"rgb"),
        ([1, 1, None, -1, -1], b"rgb"),
        ([1, 1, None, 81, 1], b"rgb" * 81),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, b"rgb"),
    ],
)
def test_a_file_that_took_over_its_decoder_cannot_answer_what_it_likes(answer, body) -> None:
    with pytest.raises((ValueError, TypeError)):
        client._checked(answer, body, side=80)


def test_nor_write_what_it_likes_into_a_reason() -> None:
    assert client._checked("\0\ud800" + "x" * 1000, b"", side=80).startswith("\\0\\ud800x")
    assert len(client._checked("x" * 1000, b"", side=80)) == 300


def sound() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 8000, 0, "NONE", ""))
        wav.writeframes(bytes(800))
    return file.getvalue()


MEDIA = {
    **{kind: ("image/*", encode(FRAMES[0], kind, **MOVING)) for kind in ("GIF", "WEBP", "PNG")},
    **{kind: ("image/*", encode(photograph(96, 64), kind)) for kind in ("JPEG", "TIFF", "AVIF")},
    "wav": ("audio/wav", sound()),
    "mp4": ("video/mp4", struct.pack(">I4s4xI4sI4s24x", 48, b"moov", 40, b"trak", 32, b"tkhd")),
}


@pytest.mark.parametrize("kind", MEDIA)
def test_no_damage_to_a_file_does_worse_than_being_refused(kind) -> None:
    mime_type, sample = MEDIA[kind]
    random = Random(kind)
    child = None
    for _ in range(40):
        data = bytearray(sample[: random.choice([len(sample), random.randrange(len(sample))])])
        for _ in range(min(8, len(data))):
            data[random.randrange(min(len(data), random.choice([64, len(data)])))] ^= 1 << (
                random.randrange(8)
            )
        with suppress(media.Undecodable):
            media.examine(bytes(data), mime_type=mime_type, side=80)
        child, before = client._idle[-1].pid, child
        assert before in (None, child), "the file ended its decoder"
