"""Taking metadata out of picture files without touching the picture."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from crawler.fetch.metadata import Malformed, strip_metadata
from tests.crawler.pictures import encode, photograph

SECRET = "48.8584N-2.2945E-Jane"
ORIENTATION, DESCRIPTION, ARTIST = 0x0112, 0x010E, 0x013B
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation: int | None = None) -> bytes:
    block = Image.Exif()
    block[DESCRIPTION] = block[ARTIST] = SECRET
    if orientation is not None:
        block[ORIENTATION] = orientation
    block.get_ifd(0x8825)[1] = "N"
    return block.tobytes()


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def frames(data: bytes) -> list[bytes]:
    image = Image.open(io.BytesIO(data))
    shown = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        shown.append(image.convert("RGBA").tobytes())
    return shown


def jpeg_full_of_secrets(*, orientation: int | None = None, **options) -> bytes:
    data = encode(
        photograph(64, 48),
        "JPEG",
        exif=exif(orientation),
        xmp=SECRET.encode(),
        icc_profile=PROFILE,
        comment=SECRET,
        dpi=(300, 300),
        **options,
    )
    thumbnail = jpeg_segment(0xE0, b"JFXX\0\x10" + SECRET.encode())
    photoshop = jpeg_segment(0xED, b"Photoshop 3.0\0" + SECRET.encode())
    c2pa = jpeg_segment(0xEB, b"JP" + SECRET.encode())
    return data[:2] + thumbnail + photoshop + c2pa + data[2:] + SECRET.encode()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100}])
def test_a_jpeg_keeps_its_pixels_profile_and_density_and_nothing_that_was_written(options):
    data = jpeg_full_of_secrets(**options)
    stripped = strip_metadata(data)
    assert SECRET.encode() in data
    assert SECRET.encode() not in stripped
    assert frames(stripped) == frames(data)
    image = opened(stripped)
    assert image.info["icc_profile"] == PROFILE
    assert image.info["dpi"] == (300, 300)
    assert "exif" not in image.info
    assert strip_metadata(stripped) == stripped


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_picture_stays_turned_in_every_format_that_can_say_so(orientation):
    block = exif(orientation)
    for data in (
        jpeg_full_of_secrets(orientation=orientation),
        encode(photograph(64, 48), "PNG", exif=block),
        encode(photograph(64, 48), "WEBP", exif=block, lossless=True),
    ):
        stripped = strip_metadata(data)
        assert SECRET.encode() not in stripped
        assert dict(opened(stripped).getexif()) == {ORIENTATION: orientation}
        turned, expected = (
            ImageOps.exif_transpose(opened(one)).tobytes() for one in (stripped, data)
        )
        assert turned == expected
        assert strip_metadata(stripped) == stripped


def test_the_colour_transform_of_a_cmyk_jpeg_stays():
    data = encode(photograph(64, 48).convert("CMYK"), "JPEG", exif=exif())
    stripped = strip_metadata(data)
    assert b"Adobe" in stripped
    assert SECRET.encode() not in stripped
    assert opened(stripped).tobytes() == opened(data).tobytes()


def test_a_png_keeps_transparency_profile_and_frames_and_no_text():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", SECRET)
    texts.add_itxt("XML:com.adobe.xmp", SECRET)
    texts.add_text("Comment", SECRET, zip=True)
    still = photograph(64, 48).convert("RGBA")
    still.putalpha(120)
    data = encode(still, "PNG", pnginfo=texts, exif=exif(), icc_profile=PROFILE, dpi=(72, 72))
    end = data.rindex(b"IEND") - 4
    private = png_chunk(b"tIME", bytes(7)) + png_chunk(b"caBX", SECRET.encode())
    data = data[:end] + private + data[end:] + SECRET.encode()
    stripped = strip_metadata(data)
    for name in (b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME", b"caBX", SECRET.encode()):
        assert name in data
        assert name not in stripped
    assert frames(stripped) == frames(data)
    assert opened(stripped).info["icc_profile"] == PROFILE

    moving = encode(
        photograph(64, 48),
        "PNG",
        save_all=True,
        append_images=[photograph(64, 48, seed=2), photograph(64, 48, seed=3)],
        pnginfo=texts,
    )
    stripped = strip_metadata(moving)
    assert SECRET.encode() not in stripped
    assert len(frames(stripped)) == 3
    assert frames(stripped) == frames(moving)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 70}, {"save_all": True}])
def test_a_webp_keeps_its_frames_and_profile_and_loses_exif_and_xmp(options):
    if "save_all" in options:
        options = {"save_all": True, "append_images": [photograph(64, 48, seed=2)]}
    data = encode(
        photograph(64, 48), "WEBP", exif=exif(), xmp=SECRET, icc_profile=PROFILE, **options
    )
    stripped = strip_metadata(data + SECRET.encode())
    assert SECRET.encode() not in stripped
    assert frames(stripped) == frames(data)
    assert opened(stripped).info["icc_profile"] == PROFILE
    assert not dict(opened(stripped).getexif())
    assert stripped[12:16] == b"VP8X"
    assert stripped[20] & 0x0C == 0  # no flag promises what is not there


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
def test_other_formats_stay_as_they_are(kind):
    data = encode(photograph(64, 48), kind)
    assert strip_metadata(data) == data


SAMPLES = [
    jpeg_full_of_secrets(orientation=6),
    encode(photograph(48, 32), "PNG", exif=exif(3)),
    encode(photograph(48, 32), "WEBP", exif=exif(3), icc_profile=PROFILE),
]


@given(data=st.data())
def test_no_broken_file_does_worse_than_being_refused(data):
    sample = data.draw(st.sampled_from(SAMPLES))
    broken = bytearray(sample[: data.draw(st.integers(0, len(sample)))])
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=5)
    ):
        if place < len(broken):
            broken[place] = value
    try:
        stripped = strip_metadata(bytes(broken))
    except Malformed:
        return
    assert len(stripped) <= len(broken) + 40


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xff\xe0\0\2" * 100_001,
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0gAMA\0\0\0\0" * 100_001,
        b"RIFF" + (4 + 8 * 100_001).to_bytes(4, "little") + b"WEBP" + b"ICCP\0\0\0\0" * 100_001,
    ],
    ids=["jpeg", "png", "webp"],
)
def test_a_file_of_countless_parts_is_refused(data):
    with pytest.raises(Malformed, match="more than 100,000 parts"):
        strip_metadata(data)
