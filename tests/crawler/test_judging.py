"""What loses pixels is damage; what Pillow and browsers show whole is kept, and exported so.

Each file that is kept is also looked at as an export hands it on: Pillow, which is strict about the
structure of files, opens it and finds the same pixels.
"""

import io
import re
import struct
import zlib

import pytest
from PIL import Image

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.metadata import strip_metadata
from crawler.fetch.rules import Checks
from tests.crawler.pictures import corrupted, encode, jpeg, photograph

CHECKS = Checks(max_pixels=4_000_000, min_side=1, max_aspect=1000.0)
SCENE, OTHER = photograph(), photograph(seed=2)
JPEG, PNG, GIF = jpeg(), encode(SCENE, "PNG"), encode(SCENE, "GIF")
BMP, TIFF, WEBP, AVIF = (encode(SCENE, kind) for kind in ("BMP", "TIFF", "WEBP", "AVIF"))
PROGRESSIVE, RESTARTING = (
    encode(SCENE, quality=85, **options)
    for options in ({"progressive": True}, {"restart_marker_blocks": 10})
)
CMYK = encode(SCENE.convert("CMYK"))
MOVING = encode(SCENE, "PNG", save_all=True, append_images=[OTHER, photograph(seed=3)])
WHOLE = {"JPEG": JPEG, "PNG": PNG, "GIF": GIF, "BMP": BMP, "TIFF": TIFF, "WEBP": WEBP, "AVIF": AVIF}
IN_HEADER, AFTER_IHDR, IEND = 20, 33, len(PNG) - 12
SCAN = JPEG.index(b"\xff\xda")


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(max_pixels=CHECKS.max_pixels)
    yield decoder
    decoder.close()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def with_bytes(data: bytes, at: int, new: bytes) -> bytes:
    """The file with bytes overwritten."""
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


def inserted(data: bytes, at: int, new: bytes) -> bytes:
    at %= len(data)
    return data[:at] + new + data[at:]


def segment(marker: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2 if length is None else length) + body


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))


def padded_scans(data: bytes, padding: bytes) -> bytes:
    """The file with something behind the data of each scan."""
    scan = re.compile(rb"(\xff\xda.*?)(?=\xff[^\0\xd0-\xd7])", re.DOTALL)
    return scan.sub(lambda found: found[1] + padding, data)


def chunk(name: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + body)
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", checksum or right)


def in_png(*chunks: bytes, at: int = AFTER_IHDR) -> bytes:
    return inserted(PNG, at, b"".join(chunks))


def branded(brand: bytes) -> bytes:
    return with_bytes(AVIF, 8, brand)


LONG_TEXT = zlib.compress(b"a prompt " * 200_000)
JUNK = b"not a chunk"
HARMLESS = {
    "parameters of a scan, by Samsung": with_bytes(JPEG, SCAN + 11, b"\0"),
    "parameters of a scan, none": with_bytes(JPEG, SCAN + 11, b"\0\0\0"),
    "parameters of a scan, more precision": with_bytes(JPEG, SCAN + 13, b"\x21"),
    "JFIF 2": with_bytes(JPEG, JPEG.index(b"JFIF\0") + 5, b"\2"),
    "JFIF 0": with_bytes(JPEG, JPEG.index(b"JFIF\0") + 5, b"\0"),
    "Adobe's transform, unknown": JPEG[:2] + adobe(7) + JPEG[20:],
    "Adobe's transform, that of four colours": JPEG[:2] + adobe(2) + JPEG[20:],
    "Adobe's transform of four colours, unknown": with_bytes(CMYK, CMYK.index(b"Adobe") + 11, b"\7"),
    "zeros between segments": inserted(JPEG, IN_HEADER, b"\0\0\0"),
    "text between segments": inserted(JPEG, IN_HEADER, b"hello world"),
    "much between segments": inserted(JPEG, IN_HEADER, b"x" * 100_000),
    "fill bytes": inserted(JPEG, IN_HEADER, b"\xff\xff\xff"),
    "stuffed bytes between segments": inserted(JPEG, IN_HEADER, b"\xff\0" * 3),
    "a restart marker between segments": inserted(JPEG, IN_HEADER, b"\xff\xd3"),
    "TEM between segments": inserted(JPEG, IN_HEADER, b"\xff\1"),
    "a comment of length 0": inserted(JPEG, IN_HEADER, segment(0xFE, length=0)),
    "a comment of length 1": inserted(JPEG, IN_HEADER, segment(0xFE, length=1)),
    "a comment of length 0 and its text": inserted(
        JPEG, IN_HEADER, segment(0xFE, b"text", length=0)
    ),
    "an application segment of length 0": inserted(JPEG, IN_HEADER, segment(0xE5, length=0)),
    "EXIF of length 1": inserted(JPEG, IN_HEADER, segment(0xE1, b"Exif\0\0MM", length=1)),
    "half a JFIF segment": inserted(JPEG, 2, segment(0xE0, b"JFIF\0\1")),
    "half an Adobe segment": inserted(JPEG, IN_HEADER, segment(0xEE, b"Adobe\0")),
    "half a Photoshop segment": inserted(
        JPEG, IN_HEADER, segment(0xED, b"Photoshop 3.0\0008BIM\4\4")
    ),
    "a profile of which half is missing": inserted(
        JPEG, IN_HEADER, segment(0xE2, b"ICC_PROFILE\0\1\2half")
    ),
    "a profile that is there twice": inserted(
        JPEG, IN_HEADER, segment(0xE2, b"ICC_PROFILE\0\1\1all") * 2
    ),
    "a profile without a number": inserted(JPEG, IN_HEADER, segment(0xE2, b"ICC_PROFILE\0")),
    "an empty profile": inserted(JPEG, IN_HEADER, segment(0xE2, b"ICC_PROFILE\0\1\1")),
    "one zero behind a scan": inserted(JPEG, -2, b"\0"),
    "zeros behind a scan": inserted(JPEG, -2, bytes(5000)),
    "zeros behind each scan": padded_scans(PROGRESSIVE, bytes(40)),
    "some bytes behind a scan": inserted(JPEG, -2, bytes(range(70, 75))),
    "text behind a scan": inserted(JPEG, -2, b"written by a program" * 9),
    "fill bytes behind a scan": inserted(JPEG, -2, b"\xff" * 90),
    "a restart marker behind a scan": inserted(JPEG, -2, b"\xff\xd0"),
    "a comment behind a scan": inserted(JPEG, -2, segment(0xFE, b"bye")),
    "two ends": JPEG + b"\xff\xd9",
    "half a picture behind the end": JPEG + JPEG[:3000],
    "a thumbnail in EXIF": encode(
        SCENE, quality=85, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + jpeg(64, 48)
    ),
    "several pictures (MPO)": encode(SCENE, "MPO", quality=85, save_all=True, append_images=[OTHER]),
    "restart markers": RESTARTING,
    "long zTXt": in_png(chunk(b"zTXt", b"prompt\0\0" + LONG_TEXT)),
    "long iTXt": in_png(chunk(b"iTXt", b"prompt\0\1\0\0\0" + LONG_TEXT)),
    "long zTXt at the end": in_png(chunk(b"zTXt", b"prompt\0\0" + LONG_TEXT), at=IEND),
    "countless zTXt": in_png(chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(10**6))) * 70),
    "zTXt that is none": in_png(chunk(b"zTXt", b"prompt\0\7nonsense")),
    "tEXt with a wrong checksum": in_png(chunk(b"tEXt", b"a\0b", checksum=1)),
    "tEXt with a wrong checksum at the end": in_png(chunk(b"tEXt", b"a\0b", checksum=1), at=IEND),
    "gAMA with a wrong checksum": in_png(chunk(b"gAMA", bytes(4), checksum=1)),
    "IDAT with a wrong checksum": with_bytes(PNG, IEND - 4, bytes(4)),
    "IEND with a wrong checksum": with_bytes(PNG, -4, bytes(4)),
    "no IEND": PNG[:IEND],
    "half an IEND": PNG[:-6],
    "no checksum of IDAT": PNG[: IEND - 4],
    "no checksum of the pixels": PNG[: IEND - 8],
    "something for IEND": PNG[:IEND] + JUNK * 9,
    "something behind IEND": PNG + JUNK * 9,
    "half a comment": in_png(chunk(b"tEXt", bytes(500)), at=IEND)[: IEND + 200],
    "a chunk without a name": in_png(chunk(b"a1 \0", b"x")),
    "more data than pixels": in_png(chunk(b"IDAT", b"more"), at=IEND),
    "an empty IDAT": in_png(chunk(b"IDAT", b""), at=PNG.index(b"IDAT") - 4),
    "a profile that cannot be unpacked": in_png(chunk(b"iCCP", b"x\0\0nonsense")),
    "a profile packed otherwise": in_png(chunk(b"iCCP", b"x\0\7nonsense")),
    "a profile without a name": in_png(chunk(b"iCCP", b"x")),
    "a profile beyond Pillow's limit": in_png(
        chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(3 * 10**6)))
    ),
    "transparency that is too short": in_png(chunk(b"tRNS", b"\0\1")),
    "no transparency": in_png(chunk(b"tRNS", b"")),
    **{
        f"half a {name} chunk": in_png(chunk(name.encode(), b"\1" * short))
        for name, short in [("gAMA", 1), ("cHRM", 9), ("pHYs", 4), ("sRGB", 0), ("acTL", 3)]
    },
    "eXIf that is none": in_png(chunk(b"eXIf", b"nonsense")),
    "a palette for true colours": in_png(chunk(b"PLTE", bytes(6))),
    "an animation without IEND": MOVING[:-12],
    "a GIF without trailer": GIF[:-1],
    "a GIF whose last block is not ended": GIF[:-2],
    "something for the trailer of a GIF": GIF[:-1] + b"\0x" * 50,
    "something behind a GIF": GIF + b"x" * 50,
    "half a comment in a GIF": GIF[:-1] + b"\x21\xfe\x20abc",
    "something behind a WebP": WEBP + b"x" * 9,
    "reserved bytes of a BMP": with_bytes(BMP, 6, b"abcd"),
    "the size of a BMP, none": with_bytes(BMP, 2, bytes(4)),
    "the size of a BMP, wrong": with_bytes(BMP, 2, b"\xff" * 4),
    "a BMP of OS/2 1": b"BM" + struct.pack("<IIIIHHHH", 0, 0, 26, 12, 320, 240, 1, 24) + BMP[54:],
    "a BMP of OS/2 2": b"BM"
    + struct.pack("<IIII", 0, 0, 78, 64)
    + BMP[18:54]
    + bytes(24)
    + BMP[54:],
    "something behind a BMP": BMP + b"x" * 9,
    "a TIFF that turned its number round": b"II\0*" + TIFF[4:],
    "AVIF as MIAF's image": branded(b"mif1"),
    "AVIF as MIAF's sequence": branded(b"msf1"),
    "AVIF as MIAF": branded(b"miaf"),
    "text behind an AVIF": AVIF + b"trailing bytes!!",
    "bytes behind an AVIF": AVIF + b"\xff" * 20,
    "half a free box behind an AVIF": AVIF + b"\0\0\0\xfffreeabcd",
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_a_picture_of_which_every_pixel_is_there_is_kept_and_exported_whole(decoder, name):
    data = HARMLESS[name]
    [verdict] = decoder.examine([(data, CHECKS)])
    assert (verdict.outcome, verdict.detail) == ("", "")
    stripped = strip_metadata(data)
    assert strip_metadata(stripped) == stripped
    image = opened(stripped)
    assert image.size == (320, 240)
    # Of unknown colours all decoders make the same.
    whole = data if "four colours, unknown" in name else WHOLE[image.format]
    assert image.convert("RGB").tobytes() == opened(whole).convert("RGB").tobytes()


DAMAGED = {
    "cut, and ended": (JPEG[: len(JPEG) * 6 // 10] + b"\xff\xd9", "corrupt"),
    "one byte of the picture is missing": (JPEG[:-3] + b"\xff\xd9", "corrupt"),
    "cut, and filled with zeros": (JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "truncated"),
    "cut, filled with zeros, and ended": (
        JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2) + b"\xff\xd9",
        "corrupt",
    ),
    "zeros in the middle": (corrupted(JPEG), "corrupt"),
    "zeros in the middle, with restarts": (corrupted(RESTARTING), "corrupt"),
    "zeros in the middle, progressive": (corrupted(PROGRESSIVE), "corrupt"),
    "JFIF 2, and zeros in the middle": (
        corrupted(HARMLESS["JFIF 2"]),
        "corrupt",
    ),
    "a restart marker is lost": (RESTARTING.replace(b"\xff\xd3", b"", 1), "corrupt"),
    "much that is not understood behind a scan": (
        inserted(JPEG, -2, bytes(range(1, 255)) * 2),
        "corrupt",
    ),
    "no end": (JPEG[:-2], "truncated"),
    "12 bits": (with_bytes(JPEG, JPEG.index(b"\xff\xc0") + 4, b"\x0c"), "bad_format"),
    "an unknown marker": (inserted(JPEG, IN_HEADER, segment(0xF0, b"x")), "corrupt"),
    "only a header": (JPEG[:SCAN], "truncated"),
    "IHDR with a wrong checksum": (with_bytes(PNG, 29, bytes(4)), "corrupt"),
    "pixels with both checksums wrong": (with_bytes(PNG, IEND - 8, bytes(8)), "corrupt"),
    "pixels are missing": (PNG[: IEND - 40], "truncated"),
    "no IDAT": (PNG[:AFTER_IHDR], "truncated"),
    "no IDAT but IEND": (PNG[:AFTER_IHDR] + PNG[IEND:], "corrupt"),
    "transparency with a wrong checksum": (
        in_png(chunk(b"tRNS", bytes(6), checksum=1)),
        "corrupt",
    ),
    "a frame with a wrong checksum": (
        with_bytes(MOVING, MOVING.rindex(b"fcTL") + 10, b"\7"),
        "corrupt",
    ),
    "a frame was cut": (MOVING[: len(MOVING) * 8 // 10], "truncated"),
    "a frame is missing": (MOVING[: MOVING.rindex(b"fcTL") - 4], "truncated"),
    "a GIF's pixels are missing": (GIF[:-40], "truncated"),
    "a WebP shorter than it says": (
        with_bytes(WEBP, 4, struct.pack("<I", len(WEBP))),
        "truncated",
    ),
    "a BMP's pixels are missing": (BMP[:-1], "truncated"),
    "a BMP packed unusually": (with_bytes(BMP, 30, b"\x09"), "bad_format"),
    "an AVIF's pixels are missing": (AVIF[:-100], "truncated"),
    "white space before a JPEG": (b"\n" + JPEG, "not_an_image"),
    "a byte order mark before a PNG": (b"\xef\xbb\xbf" + PNG, "not_an_image"),
    "text that begins like a BMP": (b"BM is short for bitmap, and this is text", "not_an_image"),
    "HEIC": (branded(b"heic").replace(b"avif", b"heix"), "bad_format"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_loses_pixels_or_no_program_reads_is_refused_by_its_name(decoder, name):
    data, outcome = DAMAGED[name]
    [verdict] = decoder.examine([(data, CHECKS)])
    assert verdict.outcome == outcome, verdict.detail
    assert verdict.detail


def test_only_the_first_profile_of_a_png_is_unpacked_and_kept():
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(10**5)))
    assert strip_metadata(in_png(profile * 3)) == strip_metadata(in_png(profile)) == in_png(profile)
