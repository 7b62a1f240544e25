"""The decoder, in its real process: every kind of file ends with the right verdict."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from crawler.fetch import decoder as decoding
from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import LATER, Verdict, examine
from crawler.fetch.rules import Checks
from pixsim.core.confined import Confined, Unavailable
from pixsim.core.confined.process import PROJECT
from tests.crawler.pictures import (
    corrupted,
    distance,
    encode,
    jpeg,
    photograph,
    progressive_bomb,
    truncated,
)

CHECKS = Checks(max_pixels=4_000_000, min_side=32, max_aspect=20.0)
GREY = photograph().convert("L")
FRAMES = [photograph(seed=seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(max_pixels=CHECKS.max_pixels)
    yield decoder
    decoder.close()


def verdict_of(decoder: Decoder, data: bytes, checks: Checks = CHECKS) -> Verdict:
    [verdict] = decoder.examine([(data, checks)])
    return verdict


def png(width: int, height: int) -> bytes:
    """A small PNG file that claims any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_png() -> bytes:
    return encode(Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257), "PNG")


def logo_on_nothing() -> Image.Image:
    """Black strokes on a transparent black ground."""
    picture = np.zeros((240, 320, 4), np.uint8)
    picture[40:200, 60:120, 3] = picture[160:200, 60:260, 3] = 255
    return Image.fromarray(picture)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        pytest.param(jpeg(), "jpeg", id="jpeg"),
        pytest.param(encode(FRAMES[0], progressive=True), "jpeg", id="progressive jpeg"),
        pytest.param(encode(FRAMES[0].convert("CMYK")), "jpeg", id="cmyk jpeg"),
        pytest.param(encode(GREY), "jpeg", id="grey jpeg"),
        pytest.param(encode(FRAMES[0], exif=b"Exif\0\0" + bytes(300)), "jpeg", id="jpeg with exif"),
        pytest.param(jpeg() + b"trailing bytes", "jpeg", id="jpeg with something behind it"),
        pytest.param(encode(FRAMES[0], "PNG"), "png", id="png"),
        pytest.param(encode(FRAMES[0].convert("P"), "PNG"), "png", id="palette png"),
        pytest.param(encode(FRAMES[0].convert("RGBA"), "PNG"), "png", id="png with alpha"),
        pytest.param(deep_png(), "png", id="16-bit png"),
        pytest.param(encode(FRAMES[0], "WEBP"), "webp", id="webp"),
        pytest.param(
            encode(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
            "webp",
            id="animated webp",
        ),
        pytest.param(encode(FRAMES[0], "GIF"), "gif", id="gif"),
        pytest.param(encode(FRAMES[0], "BMP"), "bmp", id="bmp"),
        pytest.param(encode(FRAMES[0], "TIFF"), "tiff", id="tiff"),
        pytest.param(encode(FRAMES[0], "TIFF", compression="jpeg"), "tiff", id="jpeg in tiff"),
        pytest.param(encode(FRAMES[0], "AVIF"), "avif", id="avif"),
    ],
)
def test_the_same_scene_is_good_and_recognised_in_every_format(decoder, data, kind):
    verdict = verdict_of(decoder, data)
    assert (verdict.outcome, verdict.detail) == ("", "")
    assert (verdict.format, verdict.width, verdict.height) == (kind, 320, 240)
    original = verdict_of(decoder, jpeg()).phash
    assert distance(verdict.phash, original) <= 6


def test_an_animation_is_judged_by_its_first_frame(decoder):
    animation = encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])
    alone = encode(FRAMES[0], "GIF")
    first = verdict_of(decoder, animation)
    assert (first.outcome, first.width, first.height) == ("", 320, 240)
    assert distance(first.phash, verdict_of(decoder, alone).phash) <= 6


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        pytest.param(
            b"<!DOCTYPE html><html><body>Not found</body></html>", "not_an_image", id="html"
        ),
        pytest.param(b"", "not_an_image", id="nothing"),
        pytest.param(b'<?xml version="1.0"?><svg xmlns="x"/>', "bad_format", id="svg"),
        pytest.param(encode(FRAMES[0], "EPS"), "bad_format", id="eps"),
        pytest.param(encode(FRAMES[0], "JPEG2000"), "bad_format", id="jpeg 2000"),
        pytest.param(b"\xff\xd8\xff\xe0" + b"junk" * 500, "truncated", id="jpeg without picture"),
        pytest.param(jpeg()[:-2], "truncated", id="jpeg without its last two bytes"),
        pytest.param(truncated(encode(FRAMES[0], progressive=True)), "truncated", id="progressive"),
        pytest.param(corrupted(jpeg()), "corrupt", id="jpeg"),
        pytest.param(corrupted(encode(FRAMES[0], "PNG")), "corrupt", id="png"),
        pytest.param(corrupted(encode(FRAMES[0], "GIF")), "corrupt", id="gif"),
        pytest.param(encode(Image.new("RGB", (1, 1)), "PNG"), "too_small", id="tracking pixel"),
        pytest.param(jpeg(31, 200), "too_small", id="one side too short"),
        pytest.param(jpeg(40, 1000), "aspect", id="a strip"),
        pytest.param(png(30_000, 30_000), "too_many_pixels", id="decompression bomb"),
        pytest.param(png(2001, 2000), "too_many_pixels", id="one column too many"),
        pytest.param(png(1500, 1500), "truncated", id="png with too few pixels"),
    ],
)
def test_refusals(decoder, data, outcome):
    verdict = verdict_of(decoder, data)
    assert verdict.outcome == outcome
    assert verdict.detail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("part", [0.1, 0.6, 0.98])
def test_a_file_that_was_cut_is_truncated_whatever_its_format(decoder, kind, part):
    whole = encode(FRAMES[0], kind)
    assert verdict_of(decoder, whole[: int(len(whole) * part)]).outcome == "truncated"


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_cut_behind_its_first_frame_is_truncated(decoder, kind):
    whole = encode(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:])
    assert verdict_of(decoder, whole[: len(whole) * 9 // 10]).outcome == "truncated"


def test_a_gif_without_its_trailer_is_good(decoder):
    assert verdict_of(decoder, encode(FRAMES[0], "GIF").removesuffix(b";")).outcome == ""


def test_a_format_that_the_crawl_does_not_want_is_refused(decoder):
    verdict = verdict_of(decoder, encode(FRAMES[0], "PNG"), CHECKS._replace(formats=("jpeg",)))
    assert (verdict.outcome, verdict.detail) == ("bad_format", "png is not among jpeg")


@pytest.mark.parametrize("colour", ["white", "black", (200, 30, 30)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_flat_picture_is_good_and_has_no_hash(decoder, colour, kind):
    verdict = verdict_of(decoder, encode(Image.new("RGB", (100, 80), colour), kind))
    assert (verdict.outcome, verdict.phash) == ("", None)


def test_what_is_transparent_counts_as_white(decoder):
    logo = logo_on_nothing()
    on_white = Image.new("RGB", logo.size, "white")
    on_white.paste(logo, mask=logo)
    hashes = [verdict_of(decoder, encode(image, "PNG")).phash for image in (logo, on_white)]
    assert hashes[0] == hashes[1] is not None


def test_a_batch_is_answered_in_order_and_with_each_pictures_own_checks(decoder):
    good = jpeg(400, 300, seed=7)
    small = CHECKS._replace(max_pixels=10_000)
    batch = [(good, CHECKS), (b"<html>", CHECKS), (good, small), (jpeg(seed=8), CHECKS)] * 40
    verdicts = decoder.examine(batch)
    assert [v.outcome for v in verdicts] == ["", "not_an_image", "too_many_pixels", ""] * 40
    assert verdicts[0].width == 400
    assert verdicts[3].width == 320


def test_the_work_meanwhile_is_done_while_the_decoder_works(decoder):
    done = []
    decoder.examine([(jpeg(), CHECKS)], meanwhile=lambda: done.append(1))
    assert done == [1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(20))
def test_no_damage_to_a_file_makes_examine_raise(seed):
    random = np.random.default_rng(seed)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        data = bytearray(encode(photograph(96, 64), kind))
        for _ in range(8):
            data[random.integers(len(data) if seed % 2 else 64)] = random.integers(256)
        examine(bytes(data), CHECKS)


def test_it_imports_neither_django_nor_a_network_library():
    code = (
        "import sys, crawler.fetch.decoder as d; d.prepare(9, True)\n"
        "print('django' in sys.modules, 'aiohttp' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_decoder_that_is_killed_is_replaced_and_nothing_is_blamed(decoder):
    verdict_of(decoder, jpeg())
    killed = decoder.pid
    os.kill(killed, signal.SIGKILL)
    pictures = [(jpeg(), CHECKS), (truncated(jpeg()), CHECKS)]
    verdicts = decoder.examine(pictures)
    verdicts += decoder.examine(pictures[len(verdicts) :])
    assert [v.outcome for v in verdicts] == ["", "truncated"]
    assert decoder.pid != killed


class Poisoned:
    """Sends a signal to the decoder while it has the poison, as a parser's defect would end it."""

    def __init__(self, monkeypatch, poison: bytes, number: int) -> None:
        self.poison, self.number, self.times = poison, number, 0
        self.ask = Confined.ask
        monkeypatch.setattr(Confined, "ask", lambda *args, **options: self(*args, **options))

    def __call__(self, confined, header, body, *, answers, **options):
        place = body.index(self.poison) if self.poison in body else answers
        yield from self.ask(confined, header[:place], body[:place], answers=place, **options)
        if place < answers:
            self.times += 1
            os.kill(confined.pid, signal.SIGSTOP)
            options["meanwhile"] = lambda: self.end(confined.pid)
            yield from self.ask(
                confined, header[place:], body[place:], answers=answers - place, **options
            )

    def end(self, pid: int) -> None:
        os.kill(pid, self.number)
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGSEGV, 1), (signal.SIGPROF, 1), (signal.SIGKILL, 2)]
)
def test_a_picture_that_ends_the_decoder_is_blamed_alone(decoder, monkeypatch, number, times):
    """At once, except if somebody else may have killed the decoder: then it is tried once more."""
    poison = b"\xff\xd8\xffpoison"
    poisoned = Poisoned(monkeypatch, poison, number)
    pictures = [(data, CHECKS) for data in (jpeg(), poison, jpeg(seed=2), b"", jpeg(seed=3))]
    verdicts = decoder.examine(pictures)
    assert [v.outcome for v in verdicts] == ["", "decoder_crash"]
    verdicts = decoder.examine(pictures[2:])
    assert [v.outcome for v in verdicts] == ["", "not_an_image", ""]
    assert poisoned.times == times


def test_a_decoder_that_hangs_is_replaced():
    decoder = Decoder(max_pixels=CHECKS.max_pixels, seconds=1.0)
    try:
        verdict_of(decoder, jpeg())
        stopped = decoder.pid
        os.kill(stopped, signal.SIGSTOP)
        assert verdict_of(decoder, jpeg()).outcome == ""
        assert not is_alive(stopped)
    finally:
        decoder.close()


def test_a_picture_that_costs_too_much_is_a_decoder_crash_and_its_neighbours_are_judged():
    decoder = Decoder(max_pixels=50_000_000, cpu_seconds=0.2)
    good, slow = jpeg(), progressive_bomb(4000, 70)
    wide = CHECKS._replace(max_pixels=50_000_000)
    try:
        verdicts = decoder.examine([(good, CHECKS), (slow, wide), (good, CHECKS)])
        assert verdict_of(decoder, good).outcome == ""
    finally:
        decoder.close()
    assert [v.outcome for v in verdicts] == ["", "decoder_crash"]
    assert "processor time" in verdicts[1].detail


def test_a_quick_decoder_leaves_what_may_take_long_to_another():
    decoder = Decoder(max_pixels=50_000_000, quick=True)
    wide = CHECKS._replace(max_pixels=50_000_000)
    pictures = [
        (progressive_bomb(4000, 20), wide),
        (encode(Image.new("RGB", (6000, 4000)), "JPEG"), wide),
        (encode(Image.new("RGB", (4000, 4000)), "WEBP", method=0), wide),
        (progressive_bomb(100, 101), wide),
        (progressive_bomb(7000, 40), wide),
    ]
    try:
        verdicts = decoder.examine(pictures)
    finally:
        decoder.close()
    assert [v.outcome for v in verdicts] == [LATER, "", LATER, "too_costly", "too_costly"]
    assert verdicts[3].detail == "110 scans, more than 100"
    assert verdicts[4].detail == "49 scans of 49000000 pixels"


def test_a_picture_that_needs_too_much_memory_is_too_costly_and_the_decoder_lives():
    decoder = Decoder(max_pixels=1)
    wide = encode(Image.new("RGB", (10_000, 10_000)), "PNG", compress_level=1)
    try:
        [verdict] = decoder.examine([(wide, Checks(200_000_000, 32, 20.0))])
        assert verdict.outcome == "too_costly"
        assert "memory" in verdict.detail
        assert verdict_of(decoder, jpeg()).outcome == ""
    finally:
        decoder.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["transparent webp", "float tiff", "transparent png", "cmyk tiff"])
def test_pictures_of_49_million_pixels_are_decoded_in_the_memory_allowed(kind):
    noise = np.random.default_rng(1).integers(0, 255, (70, 70, 4), dtype=np.uint8)
    picture = Image.fromarray(np.kron(noise, np.ones((100, 100, 1), np.uint8)))
    match kind:
        case "transparent webp":
            data = encode(picture, "WEBP", lossless=True, quality=0, method=0)
        case "float tiff":
            floats = Image.fromarray(np.asarray(picture)[:, :, 0].astype(np.float32))
            data = encode(floats, "TIFF", compression="tiff_deflate")
        case "transparent png":
            data = encode(picture, "PNG", compress_level=1)
        case _:
            cmyk = picture.convert("RGB").convert("CMYK")
            data = encode(cmyk, "TIFF", compression="tiff_lzw")
    decoder = Decoder(max_pixels=50_000_000, cpu_seconds=60)
    try:
        verdict = verdict_of(decoder, data, CHECKS._replace(max_pixels=50_000_000))
    finally:
        decoder.close()
    assert (verdict.outcome, verdict.width) == ("", 7000)


def test_a_decoder_that_cannot_start_says_what_to_try(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable, match=r"exit code 1.*crawler\.fetch\.decoder"):
        Decoder(max_pixels=1).examine([(jpeg(), CHECKS)])


def test_the_decoder_ends_when_its_worker_is_killed():
    """The worker is a process that starts a decoder, hands it half a picture and is killed."""
    code = (
        "import time; from crawler.fetch.decoder_client import Decoder\n"
        "from crawler.fetch.rules import Checks\n"
        "d = Decoder(max_pixels=1000); d.examine([(b'x', Checks(1, 1, 1.0))])\n"
        "from pixsim.core.confined import frames; import os\n"
        "request = frames.head([[9, 1, 1, 1, []]], 9) + b'half'\n"
        "os.write(d._process._process.stdin.fileno(), request)\n"
        "print(d.pid, flush=True); time.sleep(600)\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    pid = int(worker.stdout.readline())
    assert is_alive(pid)
    worker.kill()
    worker.communicate()
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, "the decoder outlived its worker"
        time.sleep(0.01)


def test_what_image_libraries_print_does_not_get_between_the_answers(decoder, capfd):
    """libtiff writes its complaints to stderr, and a defect could write to stdout."""
    bad = corrupted(encode(FRAMES[0], "TIFF", compression="tiff_lzw"))
    assert verdict_of(decoder, bad).outcome
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        1,
        None,
        [],
        [1],
        {"outcome": ""},
        ["", "", "jpeg", 1, 1],
        ["stored", "", "jpeg", 1, 1, 0],
        ["", "", "../x", 1, 1, 0],
        ["", 1, "jpeg", 1, 1, 0],
        ["", "", "jpeg", -1, 1, 0],
        ["", "", "jpeg", 1, 1e9, 0],
        ["", "", "jpeg", True, 1, 0],
        ["", "", "jpeg", 1, 1, 9223372036854775808],
        [[], "", "jpeg", 1, 1, 0],
    ],
)
def test_a_decoder_that_a_picture_took_over_cannot_answer_what_it_likes(answer):
    with pytest.raises((ValueError, TypeError)):
        decoding.checked(answer, b"")


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
