"""What a picture is, or why it is none. Only the decoder's process calls this on untrusted bytes.

The magic bytes decide the type. The size is read from the header before anything is decoded.
Then everything is decoded once, strictly, JPEG at an eighth of its size: the entropy-coded data
is still read to the end, which is what finds a truncated or corrupt file.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from crawler.fetch.containers import (
    Malformed,
    Refusal,
    TooManyParts,
    check_container,
    has_many_scans,
    without_stray_bytes,
)
from crawler.fetch.metadata import strip_metadata
from crawler.fetch.phash import GRID, phash
from crawler.fetch.rules import Checks
from pixsim.core.media.upright import UPRIGHT, orientation, turn_upright, upright_size
from pixsim.core.patterns import Find, pattern

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage

GOOD = ""
OUTCOMES = (
    GOOD,
    "not_an_image",
    "bad_format",
    "truncated",
    "corrupt",
    "too_small",
    "too_many_pixels",
    "too_costly",
    "aspect",
    "decoder_crash",
)
LATER = "later"
"""No outcome: the picture may take long, so it goes to a decoder for which nobody waits."""

MAX_SCANS, MAX_COST = 100, 1_500_000_000
"""Programs write at most about 20 scans of a progressive picture; each costs a pass over all of it.
So many pixels times scans are about a second."""
QUICK_COST = 50_000_000
"""Pixels times passes that a picture may cost without being LATER: about a third of a second."""
PASSES = {"png": 2, "gif": 2, "tiff": 2, "webp": 4, "avif": 4}
"""What a pixel costs beside one of a JPEG scan."""

# Pictures larger than this on a side are averaged down before they become an array.
GREY_SIDE = 2 * GRID
BAND_ROWS = 256
LONGEST_MESSAGE = 1000
OUTCOME_BY_PHRASE = (
    ("truncated", ("truncated", "not enough", "eof")),
    ("bad_format", ("unsupported", "not supported", "cannot handle")),
)
"""What a decoder's message means; anything else is damage."""

STRAY_BYTES = pattern(
    r"Corrupt JPEG data: (\d{1,9}) extraneous bytes before marker 0x(\w\w)",
    longest=100,
    method="match",
)

MAGIC_BYTES = 1024
MAGIC: tuple[tuple[Find[bytes], str], ...] = tuple(
    (pattern(rb"(?s)" + regex, longest=MAGIC_BYTES, method="match"), kind)
    for regex, kind in (
        (rb"\xff\xd8\xff", "jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"RIFF....WEBP", "webp"),
        (rb"GIF8[79]a", "gif"),
        (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "bmp"),
        (rb"II[*+]\0|II\0\*|MM\0[*+]|MM\*\0", "tiff"),
        # The first brand, or one of those with which the file says it is compatible.
        (rb"....ftyp(?:....){0,31}?avi[fs]", "avif"),
        # Never read, but known: these are refused as bad_format, not as not_an_image.
        (rb"....ftyp(?:hei|hev|mif1|msf1)", "heic"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "jpeg2000"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "jpegxl"),
        (rb"\0\0[\1\2]\0", "ico"),
        (rb"8BPS", "psd"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "eps"),
        (
            rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:<!--(?>.*?-->)\s*+)*+(?:<!DOCTYPE svg[^>]*+>\s*+)?+<svg",
            "svg",
        ),
        (rb"P[1-7]\s", "pnm"),
    )
)


class Verdict(NamedTuple):
    """A picture's data with the outcome GOOD, or why it is refused: an outcome and a detail.

    Width, height and hash are those of the upright picture.
    """

    outcome: str
    detail: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    phash: int | None = None


class File(NamedTuple):
    """A file as it came, and without its metadata."""

    kind: str
    data: bytes
    stripped: bytes


def examine(data: bytes, checks: Checks, *, quick: bool = False) -> Verdict:
    """Decode one picture and return what it is; with `quick` LATER if it may take long.

    Raise nothing.
    """
    kind = sniff(data)
    if kind is None:
        return Verdict("not_an_image", f"begins with {data[:24]!r}")
    if kind not in checks.formats:
        return Verdict("bad_format", f"{kind} is not among {', '.join(checks.formats)}", kind)
    try:
        # Nothing is stored that an export could not hand on.
        file = File(kind, data, _stripped(data, kind))
        look = _grey_jpeg if kind == "jpeg" else _grey_other
        size, grey, turn = look(file, checks, QUICK_COST if quick else None)
    except Refusal as refusal:
        return Verdict(refusal.outcome, refusal.detail, kind)
    except MemoryError:
        return Verdict("too_costly", "decoding needs more memory than the decoder may use", kind)
    return Verdict(GOOD, "", kind, *upright_size(size, turn), phash(grey, size, turn))


def sniff(data: bytes) -> str | None:
    """Return the format that the first bytes announce, or None."""
    return next((kind for begins, kind in MAGIC if begins(data)), None)


def _check_size(width: int, height: int, checks: Checks) -> None:
    if width * height > checks.max_pixels:
        raise Refusal("too_many_pixels", f"{width} x {height}, more than {checks.max_pixels}")
    if min(width, height) < checks.min_side:
        raise Refusal("too_small", f"{width} x {height}, a side below {checks.min_side}")
    if max(width, height) > checks.max_aspect * min(width, height):
        raise Refusal("aspect", f"{width} x {height}, sides beyond {checks.max_aspect:g} to 1")


def _check_cost(data: bytes, kind: str, pixels: int, most: int | None) -> None:
    passes = PASSES.get(kind, 1)
    if kind == "jpeg" and has_many_scans(data):
        passes = data.count(b"\xff\xda")
        if passes > MAX_SCANS:
            raise Refusal("too_costly", f"{passes} scans, more than {MAX_SCANS}")
        if pixels * passes > MAX_COST:
            raise Refusal("too_costly", f"{passes} scans of {pixels} pixels")
    if most is not None and pixels * passes > most:
        raise Refusal(LATER, "")


def _stripped(data: bytes, kind: str) -> bytes:
    try:
        return strip_metadata(data)
    except TooManyParts as error:
        raise Refusal("too_costly", str(error)) from error
    except Malformed as error:
        check_container(data, kind, is_decoded=False)
        raise Refusal("corrupt", str(error)) from error


# Each of these returns ((width, height), grey array, its orientation) or raises Refusal.

Look = tuple[tuple[int, int], "NDArray[np.uint8]", int]


def _grey_jpeg(file: File, checks: Checks, most: int | None) -> Look:
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(file.stripped, strict=False)
    except (ValueError, KeyError):
        # A broken header, or a chroma subsampling that TurboJPEG does not know and Pillow reads.
        return _grey_other(file, checks, most)
    _check_size(width, height, checks)
    _check_cost(file.stripped, file.kind, width * height, most)
    try:
        grey = _strictly_decoded(file.stripped)
    except ValueError as error:
        if "memory" in str(error).lower():
            raise MemoryError from error
        check_container(file.data, file.kind, is_decoded=False)
        raise _broken(error) from error
    return (width, height), grey, _orientation_of_jpeg(file)


def _orientation_of_jpeg(file: File) -> int:
    if not _has_app1(file.data):
        return UPRIGHT  # opening it would cost more than this
    for data in (file.data, file.stripped):
        with suppress(Exception):  # Pillow opens no such file, so it turns none
            return orientation(_opener("jpeg")(io.BytesIO(data)))
    return UPRIGHT


def _has_app1(data: bytes) -> bool:
    """Return False if no segment before the first scan is of the kind of EXIF and XMP."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in (0xDA, 0xE1):
            return marker == 0xE1
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 1 if marker == 0xFF else 2 + length
    return True


def _strictly_decoded(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG at an eighth of its size. Raise ValueError for any warning of libjpeg.

    Taking metadata out has removed what warnings without loss are about (version of JFIF, Adobe's
    transform, parameters of a scan, bytes between segments), save for bytes behind a scan.
    """
    import simplejpeg

    for mendings_left in (2, 1, 0):  # each costs one more pass over the whole picture
        try:
            grey: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, "GRAY", min_height=GRID, min_width=GRID, min_factor=1, strict=True
            )
            break
        except ValueError as error:
            stray = STRAY_BYTES(str(error))
            mended = stray and without_stray_bytes(data, int(stray[1]), int(stray[2], 16))
            if not (mended and mendings_left):
                raise
            data = mended
    return grey[:, :, 0]


def _grey_other(file: File, checks: Checks, most: int | None) -> Look:
    # No library reads a WebP file whose container had to be mended.
    data = file.data if file.kind == "webp" else file.stripped
    try:
        image = _opener(file.kind)(io.BytesIO(data))
        _check_size(image.width, image.height, checks)
        _check_cost(data, file.kind, image.width * image.height, most)
        check_container(file.data, file.kind, is_decoded=True)
        image.load()
        turn_upright(image)
        return image.size, _grey(image), UPRIGHT
    except (MemoryError, Refusal):
        raise
    except Exception as error:
        check_container(file.data, file.kind, is_decoded=False)
        raise _broken(error) from error


def _opener(kind: str) -> Callable[[BinaryIO], Any]:
    """Return Pillow's reader of this format alone: no other can be reached."""
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    return {
        "jpeg": JpegImagePlugin.JpegImageFile,
        "png": PngImagePlugin.PngImageFile,
        "webp": WebPImagePlugin.WebPImageFile,
        "gif": GifImagePlugin.GifImageFile,
        "bmp": BmpImagePlugin.BmpImageFile,
        "tiff": TiffImagePlugin.TiffImageFile,
        "avif": AvifImagePlugin.AvifImageFile,
    }[kind]


def _grey(image: PillowImage) -> NDArray[np.uint8]:
    """Return the whole loaded frame as a small grey array; what is transparent becomes white."""
    import numpy as np
    from PIL import Image

    if image.mode[0] in "IF":
        return _grey_of_deep(np.asarray(image))
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
    elif image.mode == "LAB":
        image = image.getchannel(0)
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image = image.reduce((max(1, image.width // GREY_SIDE), max(1, image.height // GREY_SIDE)))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L"))


def _grey_of_deep(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return samples of more than eight bits by their upper byte (16 bits) or by their range."""
    import numpy as np

    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    # In bands of rows: each step copies what it works on.
    grey = np.empty(values.shape, np.uint8)
    bands = [slice(at, at + BAND_ROWS) for at in range(0, len(values), BAND_ROWS)]

    def finite(band: slice) -> NDArray[np.float32]:
        return np.nan_to_num(values[band].astype(np.float32), posinf=0, neginf=0)

    low = min(float(finite(band).min()) for band in bands)
    high = max(float(finite(band).max()) for band in bands)
    for band in bands:
        grey[band] = (finite(band) - low) * (255 / (high - low or 1))
    return grey


def _broken(error: Exception) -> Refusal:
    message = (str(error) or type(error).__name__)[:LONGEST_MESSAGE]
    for outcome, phrases in OUTCOME_BY_PHRASE:
        if any(phrase in message.lower() for phrase in phrases):
            return Refusal(outcome, message)
    return Refusal("corrupt", message)
