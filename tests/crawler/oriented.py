"""Pictures that say in every known way how they must be turned, and what is made of each.

A picture has four quarters of one colour each, so its corners tell how it was turned.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from PIL import Image

from tests.crawler.pictures import encode

WIDTH, HEIGHT = 64, 32
COLOURS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "y": (255, 255, 0)}
SEEN = dict(zip(("rgby", "gryb", "ybgr", "byrg", "rbgy", "bryg", "ygbr", "gyrb"), range(1, 9)))  # noqa: B905
"""The orientation, by the quarters of the picture as it is shown: left to right, top to bottom."""

TAG, MAKER, SUBDIRECTORY = 0x0112, 0x010F, 0x8769
NAME, XMP_NAME = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
BYTE, ASCII, SHORT, LONG, RATIONAL, SIGNED_BYTE, UNDEFINED, SIGNED_SHORT = 1, 2, 3, 4, 5, 6, 7, 8
SIGNED_LONG, SIGNED_RATIONAL, FLOAT, DOUBLE, IFD, LONG8 = 9, 10, 11, 12, 13, 16
FORMATS = {
    BYTE: "B", ASCII: "2s", SHORT: "H", LONG: "I", RATIONAL: "II", SIGNED_BYTE: "b", UNDEFINED: "B",
    SIGNED_SHORT: "h", SIGNED_LONG: "i", SIGNED_RATIONAL: "ii", FLOAT: "f", DOUBLE: "d", IFD: "I",
    LONG8: "Q",
}  # fmt: skip
SIX: dict[int, tuple[Any, ...]] = {RATIONAL: (6, 1), SIGNED_RATIONAL: (12, 2), ASCII: (b"6\0",)}
NUMBERS = (
    LONG, SIGNED_BYTE, SIGNED_SHORT, SIGNED_LONG, RATIONAL, SIGNED_RATIONAL, FLOAT, DOUBLE, IFD, LONG8,
)  # fmt: skip
NO_NUMBERS = (BYTE, ASCII, UNDEFINED)


class Case(NamedTuple):
    """A file, and how it is turned: by Pillow and by Chromium (None: it does not show the format)."""

    name: str
    format: str
    data: bytes
    pillow: int
    chromium: int | None


Entry = tuple[int, int, int, bytes]
"""Tag, type, count and the bytes of the value."""


def entry(
    *values: Any, kind: int = SHORT, order: str = "<", tag: int = TAG, count: int = 1
) -> Entry:
    layout = order + FORMATS[kind] * max(1, len(values) // len(FORMATS[kind].strip("2")))
    return tag, kind, count, struct.pack(layout, *values)


def exif(*entries: Entry, order: str = "<", at: int = 8, thumbnail: int | None = None) -> bytes:
    """An EXIF block. `thumbnail` is the orientation in a second directory, that of a thumbnail."""
    directory, extra = struct.pack(f"{order}H", len(entries)), b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        directory += struct.pack(f"{order}HHI", tag, kind, count)
        if len(value) > 4:
            directory += struct.pack(f"{order}I", behind + len(extra))
            extra += value
        else:
            directory += value.ljust(4, b"\0")
    following = behind + len(extra) if thumbnail else 0
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", at)
    block = header.ljust(at, b"\0") + directory + struct.pack(f"{order}I", following) + extra
    if thumbnail:
        block += struct.pack(f"{order}HHHIHHI", 1, TAG, SHORT, 1, thumbnail, 0, 0)
    return block


def xmp(orientation: int = 6, *, layout: str = ' tiff:Orientation="{}"/>') -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f"{layout.format(orientation)}</rdf:RDF></x:xmpmeta>"
    ).encode()


XMP_ELEMENT = "><tiff:Orientation>{}</tiff:Orientation></rdf:Description>"
NO_ORIENTATION = entry(7, tag=MAKER)


@cache
def quarters() -> Image.Image:
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    for number, colour in enumerate(COLOURS.values()):
        left, top = number % 2 * WIDTH // 2, number // 2 * HEIGHT // 2
        picture.paste(colour, (left, top, left + WIDTH // 2, top + HEIGHT // 2))
    return picture


@cache
def file(kind: str, **options: Any) -> bytes:
    return encode(quarters(), kind, **options)


def orientation_seen(quarters: Sequence[Sequence[float]]) -> int:
    """How a picture was turned, by the colours in the middle of its quarters."""

    def nearest(pixel: Sequence[float]) -> str:
        return min(
            COLOURS,
            key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], pixel, strict=True)),
        )

    return SEEN["".join(nearest(pixel) for pixel in quarters)]


def orientation_shown(image: Image.Image) -> int:
    """How Pillow's picture was turned."""
    width, height = image.size
    rgb = image.convert("RGB")
    places = [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]
    return orientation_seen([rgb.getpixel(place) for place in places])  # type: ignore[misc]


# Containers


def jpeg(*segments: bytes, before: bytes | None = None) -> bytes:
    """With these segments after the JFIF one, or before the marker `before`."""
    data = file("JPEG", quality=95)
    at = 20 if before is None else data.index(before)
    return data[:at] + b"".join(segments) + data[at:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def app1(block: bytes, name: bytes = NAME) -> bytes:
    return segment(0xE1, name + block)


def png(*chunks: bytes, late: Sequence[bytes] = ()) -> bytes:
    """With these chunks before its pixels, and the `late` ones after them."""
    data = file("PNG")
    pixels, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:pixels] + b"".join(chunks) + data[pixels:end] + b"".join(late) + data[end:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def profile(block: bytes, *, compressed: bool = False) -> bytes:
    """An EXIF block as text in hex, as ImageMagick once wrote it."""
    body = NAME + block
    text = f"\nexif\n{len(body):8}\n{body.hex()[:72]}\n{body.hex()[72:]}\n".encode()
    keyword = b"Raw profile type exif\0"
    if compressed:
        return chunk(b"zTXt", keyword + b"\0" + zlib.compress(text))
    return chunk(b"tEXt", keyword + text)


def png_xmp(packet: bytes, *, compressed: bool = False) -> bytes:
    body = b"\1\0\0\0" + zlib.compress(packet) if compressed else b"\0\0\0\0" + packet
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + body)


def webp(
    *chunks: tuple[bytes, bytes], flags: int = 8, first: bool = False, **options: Any
) -> bytes:
    """With these chunks after its pixels, or before them, and the flags of an extended file."""
    pixels = file("WEBP", quality=95, **options)[12:]
    extended = struct.pack("<B3xI", flags, WIDTH - 1)[:7] + struct.pack("<I", HEIGHT - 1)[:3]
    more = b"".join(riff(name, body) for name, body in chunks)
    parts = more + pixels if first else pixels + more
    return riff(b"RIFF", b"WEBP" + riff(b"VP8X", extended) + parts)


def riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def tiff(value: int, kind: int = SHORT) -> bytes:
    """A TIFF file whose directory has been written again, with an orientation."""
    data = file("TIFF")
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = [data[at : at + 12] for at in range(directory + 2, directory + 2 + 12 * count, 12)]
    _tag, _kind, _count, body = entry(value, kind=kind)
    entries.append(struct.pack("<HHI", TAG, kind, 1) + body.ljust(4, b"\0"))
    entries.sort(key=lambda one: struct.unpack_from("<H", one))
    data += bytes(len(data) % 2)
    written = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + written


def with_pillows(kind: str, orientation: int, **options: Any) -> bytes:
    """As Pillow writes it: with EXIF, or with `irot` and `imir` in AVIF."""
    block = Image.Exif()
    block[TAG] = orientation
    return file(kind, exif=block.tobytes(), **options)


# The cases


def cases() -> list[Case]:
    return [
        *_values(),
        *_types(),
        *_jpeg_places(),
        *_damaged_blocks(),
        *_png_places(),
        *_webp_places(),
        *_other_formats(),
    ]


def _values() -> Iterator[Case]:
    for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x106):
        seen = value if 1 <= value <= 8 else 1
        block = exif(entry(value))
        yield Case(f"jpeg, {value}", "jpeg", jpeg(app1(block)), seen, seen)
        yield Case(f"png, {value}", "png", png(chunk(b"eXIf", block)), seen, seen)
        yield Case(f"webp, {value}", "webp", webp((b"EXIF", block)), seen, 1)
        yield Case(f"tiff, {value}", "tiff", tiff(value), seen, None)


def _types() -> Iterator[Case]:
    for order in "<>":
        for kind in (SHORT, *NUMBERS, *NO_NUMBERS):
            block = exif(entry(*SIX.get(kind, (6,)), kind=kind, order=order), order=order)
            read = 1 if kind in NO_NUMBERS else 6
            plain = 6 if kind == SHORT else 1
            name = f"type {kind}, {'little' if order == '<' else 'big'}-endian"
            yield Case(f"jpeg, {name}", "jpeg", jpeg(app1(block)), read, plain)
            yield Case(f"png, {name}", "png", png(chunk(b"eXIf", block)), read, plain)
            yield Case(f"webp, {name}", "webp", webp((b"EXIF", block)), read, 1)
    for kind in (LONG, SIGNED_SHORT, SIGNED_LONG):
        yield Case(f"tiff, type {kind}", "tiff", tiff(6, kind), 6, None)
    for kind, values, count, read in [
        (SHORT, (6,), 0, 1),
        (SHORT, (6, 1), 2, 6),
        (SHORT, (6, 1, 1), 3, 6),
        (LONG, (6, 1), 2, 6),
        (LONG, (0x10006,), 1, 1),
        (BYTE, (6, 1), 2, 1),
    ]:
        for order in "<>":
            block = exif(entry(*values, kind=kind, count=count, order=order), order=order)
            name = f"jpeg, {count} of type {kind}: {values}, {order}"
            yield Case(name, "jpeg", jpeg(app1(block)), read, 1)


def _jpeg_places() -> Iterator[Case]:
    block = exif(entry(6))
    photoshop, packet = segment(0xED, b"Photoshop 3.0\0x"), segment(0xE1, XMP_NAME + xmp())
    without = exif(NO_ORIENTATION)
    for name, data, pillow, chromium in [
        ("no EXIF", jpeg(), 1, 1),
        ("after APP13", jpeg(photoshop, app1(block)), 6, 6),
        ("before JFIF", jpeg(app1(block), before=b"\xff\xe0"), 6, 6),
        ("just before the scan", jpeg(app1(block), before=b"\xff\xda"), 6, 6),
        ("after fill bytes", jpeg(b"\xff\xff\xff" + app1(block)), 6, 6),
        ("after XMP that says 1", jpeg(segment(0xE1, XMP_NAME + xmp(1)), app1(block)), 6, 6),
        ("the first of two without it", jpeg(app1(without), app1(block)), 1, 1),
        ("two: 6, 3", jpeg(app1(block), app1(exif(entry(3)))), 6, 6),
        ("two: 1, 6", jpeg(app1(exif(entry(1))), app1(block)), 1, 1),
        ("two: 9, 6", jpeg(app1(exif(entry(9))), app1(block)), 1, 1),
        ("the first of two empty", jpeg(app1(b""), app1(block)), 6, 6),
        ("the first of two damaged", jpeg(app1(b"no EXIF!"), app1(block)), 1, 1),
        ("one block in two segments", jpeg(app1(block[:20]), app1(block[20:])), 6, 1),
        ("its name twice", jpeg(app1(NAME + block)), 6, 1),
        ("its name three times", jpeg(app1(NAME * 2 + block)), 1, 1),
        ("its name in capitals", jpeg(app1(block, b"EXIF\0\0")), 1, 1),
        ("for the thumbnail alone", jpeg(app1(exif(NO_ORIENTATION, thumbnail=6))), 1, 1),
        ("1, for the thumbnail 6", jpeg(app1(exif(entry(1), thumbnail=6))), 1, 1),
        ("6, for the thumbnail 1", jpeg(app1(exif(entry(6), thumbnail=1))), 6, 6),
        ("XMP, attribute", jpeg(packet), 6, 1),
        ("XMP, element", jpeg(segment(0xE1, XMP_NAME + xmp(layout=XMP_ELEMENT))), 6, 1),
        ("XMP, two", jpeg(segment(0xE1, XMP_NAME + xmp(3)), packet), 6, 1),
        ("XMP and EXIF without it", jpeg(app1(without), packet), 6, 1),
        ("XMP, EXIF says 1", jpeg(app1(exif(entry(1))), packet), 1, 1),
        ("XMP, EXIF says 3", jpeg(app1(exif(entry(3))), packet), 3, 3),
        ("XMP, EXIF says 9", jpeg(app1(exif(entry(9))), packet), 1, 1),
        ("progressive", with_pillows("JPEG", 6, progressive=True), 6, 6),
        ("several pictures", with_pillows("MPO", 6, save_all=True), 6, 6),
    ]:
        yield Case(f"jpeg, {name}", "jpeg", data, pillow, chromium)


def _damaged_blocks() -> Iterator[Case]:
    block = exif(entry(6))
    far = (MAKER, ASCII, 500, b"\xff" * 5)
    for name, damaged, pillow, chromium in [
        ("directory at byte 4000", exif(entry(6), at=4000), 6, 6),
        ("directory at byte 9", exif(entry(6), at=9), 6, 6),
        ("directory at its beginning", block[:4] + bytes(4) + block[8:], 1, 1),
        ("directory behind its end", block[:4] + b"\0\xff\0\0" + block[8:], 1, 1),
        ("two of the type", exif(entry(6), entry(3)), 6, 6),
        ("the entry after a greater tag", exif(entry(7, tag=0x13B), entry(6)), 6, 6),
        ("the entry after an unknown type", exif((MAKER, 77, 1, b"abcd"), entry(6)), 6, 6),
        ("the entry after one longer than the block", exif(far, entry(6)), 6, 6),
        ("the entry before one longer than the block", exif(entry(6), far), 6, 6),
        ("fewer entries than it says", block[:8] + b"\5\0" + block[10:], 6, 6),
        ("cut behind the entry", block[:-4], 6, 6),
        ("cut in the entry", block[:-5], 1, 1),
        ("the other byte order", b"MM\0*" + block[4:], 1, 1),
        ("its magic number reversed", b"II\0*" + block[4:], 6, 1),
        ("another magic number", b"II+\0" + block[4:], 1, 1),
        ("a value behind the first two bytes", exif((TAG, SHORT, 1, b"\6\0\xff\xff")), 6, 6),
    ]:
        yield Case(f"jpeg, {name}", "jpeg", jpeg(app1(damaged)), pillow, chromium)


def read_by_chromium_alone() -> list[Case]:
    """What no format allows, and Pillow passes over."""
    six = entry(6)
    far = (MAKER, ASCII, 10, b"\xff" * 4)  # its value is behind the end
    nested = struct.pack("<HHHIHHI", 1, TAG, SHORT, 1, 6, 0, 0)
    pointer = (SUBDIRECTORY, LONG, 1, struct.pack("<I", len(exif(NO_ORIENTATION))))
    return [
        Case(f"jpeg, {name}", "jpeg", jpeg(segment), 1, 6)
        for name, segment in [
            ("EXIF of another name", app1(exif(six), b"Exif\0\xff")),
            ("a damaged entry before it", app1(exif(far, six))),
            ("in a subdirectory", app1(exif(pointer) + nested)),
        ]
    ]


def _png_places() -> Iterator[Case]:
    block = exif(entry(6))
    whole, one = chunk(b"eXIf", block), chunk(b"eXIf", exif(entry(1)))
    for name, data, pillow, chromium in [
        ("no EXIF", png(), 1, 1),
        ("after the pixels", png(late=[whole]), 6, 1),
        ("with JPEG's name before it", png(chunk(b"eXIf", NAME + block)), 6, 1),
        ("text profile", png(profile(block)), 6, 1),
        ("text profile, compressed", png(profile(block, compressed=True)), 6, 1),
        ("text profile after the pixels", png(late=[profile(block)]), 6, 1),
        ("text profile, EXIF says 1", png(profile(block), one), 1, 1),
        ("XMP", png(png_xmp(xmp())), 6, 1),
        ("XMP, element", png(png_xmp(xmp(layout=XMP_ELEMENT))), 6, 1),
        ("XMP, compressed", png(png_xmp(xmp(), compressed=True)), 6, 1),
        ("XMP after the pixels", png(late=[png_xmp(xmp())]), 6, 1),
        ("XMP as plain text", png(chunk(b"tEXt", b"XML:com.adobe.xmp\0" + xmp())), 6, 1),
        ("XMP, EXIF says 1", png(png_xmp(xmp()), one), 1, 1),
        ("EXIF as text", png(chunk(b"tEXt", b"exif\0" + NAME + block)), 6, 1),
        ("animated", with_pillows("PNG", 6, save_all=True), 6, 6),
    ]:
        yield Case(f"png, {name}", "png", data, pillow, chromium)


def _webp_places() -> Iterator[Case]:
    block = exif(entry(6))
    for name, data, pillow in [
        ("no EXIF", file("WEBP"), 1),
        ("lossless", webp((b"EXIF", block), lossless=True), 6),
        ("before the pixels", webp((b"EXIF", block), first=True), 6),
        ("with JPEG's name before it", webp((b"EXIF", NAME + block)), 6),
        ("with JPEG's name twice", webp((b"EXIF", NAME * 2 + block)), 6),
        ("its flag not set", webp((b"EXIF", block), flags=0), 1),
        ("two: 6, 3", webp((b"EXIF", block), (b"EXIF", exif(entry(3)))), 6),
        ("two: 1, 6", webp((b"EXIF", exif(entry(1))), (b"EXIF", block)), 1),
        ("XMP", webp((b"XMP ", xmp()), flags=4), 6),
        ("XMP, its flag not set", webp((b"XMP ", xmp()), flags=0), 1),
        ("XMP, EXIF says 1", webp((b"EXIF", exif(entry(1))), (b"XMP ", xmp()), flags=12), 1),
        ("not extended", riff(b"RIFF", file("WEBP")[8:] + riff(b"EXIF", block)), 1),
    ]:
        yield Case(f"webp, {name}", "webp", data, pillow, 1)


def _other_formats() -> Iterator[Case]:
    for value in range(1, 9):
        data = with_pillows("AVIF", value, quality=95)
        yield Case(f"avif, turned to {value}", "avif", data, value, value)
    yield Case("avif, XMP", "avif", file("AVIF", quality=95, xmp=xmp()), 6, 1)
    maker = exif(entry(6, tag=TAG - 4), order="<")
    data = file("AVIF", quality=95, exif=NAME + maker)
    there = struct.pack("<HHI", TAG - 4, SHORT, 1)
    named = data.replace(there, struct.pack("<HHI", TAG, SHORT, 1))
    yield Case("avif, EXIF without a turn", "avif", named, 1, 1)
    yield Case("gif", "gif", file("GIF"), 1, 1)
    yield Case("bmp", "bmp", file("BMP"), 1, 1)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
