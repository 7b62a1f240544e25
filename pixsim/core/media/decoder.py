"""Runs in a confined child: measures a picture, a wav or an mp4, and makes a picture small.

A request is a header (Request) and the bytes of one file. The answer is why it cannot be decoded, a
text; or the five numbers of `_Measures`, with the small picture's pixels (RGB) as the body.
"""

import io
import struct
import warnings
import wave
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pixsim.core.confined.sandbox import allow_cpu
from pixsim.core.media.animation import duration_sec
from pixsim.core.media.upright import TAG, orientation, turn_upright, upright_size

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_PIXELS = 50_000_000
MAX_ALL_PIXELS = 2_000_000_000
MAX_FRAMES = 10_000
MAX_TEXT = 64 * 1024**2
"""Bytes of text and of a colour profile in a PNG. Generators of images write megabytes."""
MAX_REASON = 300
CPU_SECONDS, BYTES_PER_CPU_SECOND = 3.0, 32 * 1024**2


class Request(NamedTuple):
    """What is asked of one file. `side` 0: no small picture. `is_still`: only the first frame."""

    size: int
    mime_type: str
    side: int
    background: str
    is_still: bool
    max_pixels: int = MAX_PIXELS


class Refused(Exception):
    """The file is too costly or damaged; the message is for whoever brought it."""


class _Measures(NamedTuple):
    width: int | None = None
    height: int | None = None
    duration_sec: float | None = None
    small_width: int = 0
    small_height: int = 0


Answer = tuple[_Measures | str, bytes]


def prepare() -> Callable[..., Iterator[Answer]]:
    """Import and warm up everything; return what decodes."""
    from PIL import AvifImagePlugin, Image, PngImagePlugin

    Image.init()
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.simplefilter("ignore")
    exif = Image.Exif()
    exif[TAG] = 6
    for mode in ("RGBA", "P", "RGB", "L", "1"):
        picture = Image.new(mode, (8, 4))
        for kind in FORMATS:
            if mode in ("RGBA", "P") and kind == "JPEG":
                continue
            buffer = io.BytesIO()
            with_exif = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF") else {}
            picture.save(buffer, kind, **with_exif)
            _answered(buffer.getvalue(), Request(0, "image/*", 2, "white", is_still=False))
    return serve


def serve(header: Sequence[Any], read: Callable[[int], bytes]) -> Iterator[Answer]:
    request = Request(*header)
    data = read(request.size)
    allow_cpu(CPU_SECONDS + request.size / BYTES_PER_CPU_SECOND)
    yield _answered(data, request)


def _answered(data: bytes, request: Request) -> Answer:
    try:
        if request.mime_type == "audio/wav":
            return _measure_wav(data), b""
        if request.mime_type == "video/mp4":
            return _measure_mp4(data), b""
        return _measure_picture(data, request)
    except MemoryError:
        return "Decoding it needs more memory than allowed.", b""
    except Refused as refused:
        return str(refused)[:MAX_REASON], b""
    except Exception as error:  # decoders raise anything on damaged files
        return f"It cannot be read: {error}"[:MAX_REASON], b""


# Pictures


def _measure_picture(data: bytes, request: Request) -> Answer:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused("It is no picture that can be read.") from None
    with picture:
        width, height = picture.size
        if width * height > request.max_pixels:
            raise Refused(f"It has {width} x {height} pixels, more than {request.max_pixels:,}.")
        frames = 1 if request.is_still else getattr(picture, "n_frames", 1)
        if frames > MAX_FRAMES or frames * width * height > MAX_ALL_PIXELS:
            raise Refused(
                f"It has {frames:,} frames of {width} x {height} pixels; {MAX_FRAMES:,} frames"
                f" and {MAX_ALL_PIXELS:,} pixels in all are allowed."
            )
        picture.draft("RGB", (request.side,) * 2)  # a JPEG is decoded to the end, but not larger
        picture.load()
        if picture.format == "TIFF":
            width, height = picture.size  # it was turned as it was loaded
        size = upright_size((width, height), orientation(picture))
        small = _small(picture, request)
        seconds = duration_sec(data, picture.format or "") if frames > 1 else None
    return _Measures(*size, seconds, *small.size), small.tobytes()


def _small(picture: "Image", request: Request) -> "Image":
    """Return the loaded picture upright, without transparency, at most `side` pixels wide and high."""
    from PIL import Image

    side = request.side
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    small = picture if picture.mode == mode else picture.convert(mode)
    small.thumbnail((side, side))
    turn_upright(small)
    if small.mode == "RGB":
        return small
    page = Image.new("RGB", small.size, request.background)
    page.paste(small, mask=small.getchannel("A"))
    return page


# Sound and film


def _measure_wav(data: bytes) -> _Measures:
    with wave.open(io.BytesIO(data)) as sound:
        return _Measures(duration_sec=sound.getnframes() / sound.getframerate())


def _measure_mp4(data: bytes) -> _Measures:
    """Read the boxes `moov/mvhd` and `moov/trak/tkhd` (ISO 14496-12)."""
    duration = width = height = None
    for name, body in _boxes(memoryview(data), ("moov", "trak")):
        if name == "mvhd":
            wide = body[0] == 1
            scale, length = struct.unpack_from(">IQ" if wide else ">II", body, 20 if wide else 12)
            duration = length / scale if scale else None
        elif name == "tkhd" and not width:
            across, down = struct.unpack_from(">II", body, len(body) - 8)
            width, height = across >> 16 or None, down >> 16 or None
    return _Measures(width, height, duration)


def _boxes(data: memoryview, entered: Sequence[str]) -> Iterator[tuple[str, memoryview]]:
    """Yield name and body of each box; enter the boxes named by `entered`, one name per level."""
    position = 0
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
            head = 16
        end = position + size if size else len(data)
        if size and size < head:
            raise Refused("The video is damaged.")
        body = data[position + head : end]
        label = name.decode("latin-1")
        if label in entered[:1]:
            yield from _boxes(body, entered[1:])
        else:
            yield label, body
        position = end
