"""The decoder: a process of its own that says what a picture is, or why it is none.

    python -m crawler.fetch.decoder MEMORY_BYTES CPU_SECONDS

Pictures come from strangers and image libraries have bugs, so they are opened only here, under
limits: memory, processor time per picture, no files. The process reads batches from stdin,
answers each on stdout, and ends when stdin closes, so it cannot outlive its worker, not even one
that was killed. It knows neither Django nor the network.

The magic bytes decide the type. The size is read from the header before anything is decoded.
Then everything is decoded once, strictly, JPEG at an eighth of its size: the entropy-coded data
is still read to the end, which is what finds a truncated or corrupt file.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from crawler.fetch.phash import GRID, phash
from crawler.fetch.tasks import FORMATS, Checks

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
    "aspect",
    "decoder_crash",
)

# Batch: how many pictures; for each its length, max_pixels, min_side, max_aspect, formats (bits).
COUNT = struct.Struct("<I")
REQUEST = struct.Struct("<IQIdB")
# Answer: outcome, format, width, height, whether there is a hash, the hash, length of the detail.
ANSWER = struct.Struct("<BBIIBqH")
READY = b"R"
MAX_DETAIL_BYTES = 500

# Pictures larger than this on a side are averaged down before they become an array.
GREY_SIDE = 2 * GRID

MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"RIFF....WEBP", "webp"),
        (rb"GIF8[79]a", "gif"),
        (rb"BM.{4}\0{4}", "bmp"),
        (rb"II[*+]\0|MM\0[*+]", "tiff"),
        (rb"....ftypavi[fs]", "avif"),
        # Pictures all the same, so that their refusal says bad_format.
        (rb"....ftyp(?:hei|hev|mif1|msf1)", "heic"),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "jpeg2000"),
        (rb"\xff\x0a|\0\0\0\x0cJXL ", "jpegxl"),
        (rb"\0\0[\1\2]\0", "ico"),
        (rb"8BPS", "psd"),
        (rb"%!PS|\xc5\xd0\xd3\xc6", "eps"),
        (rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE svg[^>]*>\s*)?<svg", "svg"),
        (rb"P[1-7]\s", "pnm"),
    )
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the decoder found: GOOD with the picture's data, or an outcome with words about it."""

    outcome: str
    detail: str = ""
    format: str = ""
    width: int = 0
    height: int = 0
    phash: int | None = None


class Refusal(Exception):
    """This picture is refused."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


def examine(data: bytes, checks: Checks) -> Verdict:
    """Decode one picture and judge it. Never raises."""
    kind = sniff(data)
    if kind is None:
        return Verdict("not_an_image", f"begins with {data[:24]!r}")
    if kind not in checks.formats:
        return Verdict("bad_format", f"{kind} is not among {', '.join(checks.formats)}", kind)
    try:
        look = _grey_jpeg if kind == "jpeg" else _grey_other
        (width, height), grey = look(data, kind, checks)
    except Refusal as refusal:
        return Verdict(refusal.outcome, refusal.detail, kind)
    except MemoryError:
        return Verdict("decoder_crash", "decoding needs more memory than the decoder may use", kind)
    return Verdict(GOOD, "", kind, width, height, phash(grey, (width, height)))


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce, or None."""
    start = data[:1024]
    return next((kind for pattern, kind in MAGIC if pattern.match(start)), None)


def _check_size(width: int, height: int, checks: Checks) -> None:
    if width * height > checks.max_pixels:
        raise Refusal("too_many_pixels", f"{width} x {height}, more than {checks.max_pixels}")
    if min(width, height) < checks.min_side:
        raise Refusal("too_small", f"{width} x {height}, a side below {checks.min_side}")
    if max(width, height) > checks.max_aspect * min(width, height):
        raise Refusal("aspect", f"{width} x {height}, sides beyond {checks.max_aspect:g} to 1")


# Each of these returns ((width, height), grey array) or raises Refusal.

Look = tuple[tuple[int, int], "NDArray[np.uint8]"]


def _grey_jpeg(data: bytes, kind: str, checks: Checks) -> Look:
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):
        # A broken header, or a chroma subsampling that TurboJPEG does not know and Pillow reads.
        return _grey_other(data, kind, checks)
    _check_size(width, height, checks)
    try:
        grey = simplejpeg.decode_jpeg(
            data, "GRAY", min_height=GRID, min_width=GRID, min_factor=1, strict=True
        )
    except ValueError as error:
        if "memory" in str(error).lower():
            raise MemoryError from error
        _check_container(data, kind)
        raise Refusal("corrupt", str(error)) from error
    return (width, height), grey[:, :, 0]


def _grey_other(data: bytes, kind: str, checks: Checks) -> Look:
    try:
        image = _opener(kind)(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:
        _check_container(data, kind)
        raise _broken(error) from error
    _check_size(image.width, image.height, checks)
    _check_container(data, kind)
    try:
        return image.size, _grey(image)
    except MemoryError:
        raise
    except Exception as error:
        raise _broken(error) from error


def _opener(kind: str) -> Callable[[BinaryIO], Any]:
    """Pillow's reader of exactly this format: no other can be reached."""
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
    """The first frame, whole, as a small grey array; what is transparent becomes white."""
    import numpy as np
    from PIL import Image

    image.load()
    if image.mode[0] in "IF":
        return _grey_of_deep(np.asarray(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "LAB":
        image = image.getchannel(0)
    elif image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image = image.reduce((max(1, image.width // GREY_SIDE), max(1, image.height // GREY_SIDE)))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L"))


def _grey_of_deep(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of more than eight bits: 16-bit ones by their upper byte, others by their range."""
    import numpy as np

    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / (high - low or 1))).astype(np.uint8)


def _broken(error: Exception) -> Refusal:
    """Truncated or corrupt, by what the library says."""
    words = str(error) or type(error).__name__
    is_cut = re.search("truncated|not enough|eof", words, re.IGNORECASE)
    return Refusal("truncated" if is_cut else "corrupt", words)


# Containers. The libraries stop reading when the first frame is complete and skip checksums, so a
# file that was cut behind it, or changed inside, would pass.


def _check_container(data: bytes, kind: str) -> None:
    """Raise Refusal if the file ends before its container says, or a checksum is wrong."""
    match kind:
        case "jpeg":
            # An end of image before the last scan is that of an embedded preview.
            if data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda"):
                raise Refusal("truncated", "no end of the picture")
        case "png":
            _check_png(data)
        case "gif":
            _check_gif(data)
        case "webp":
            _check_end(data, 8 + int.from_bytes(data[4:8], "little"))
        case "bmp":
            # Some writers put a wrong size there; where the pixels begin is always right.
            _check_end(data, int.from_bytes(data[10:14], "little"))
        case "tiff":
            order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
            where = slice(8, 16) if b"+" in data[2:4] else slice(4, 8)
            _check_end(data, int.from_bytes(data[where], order))
        case "avif":
            _check_boxes(data)


def _check_end(data: bytes, end: int) -> None:
    if end > len(data):
        raise Refusal("truncated", f"{len(data)} of {end} bytes")


def _check_png(data: bytes) -> None:
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        _check_end(data, end)
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(data[position + 4 : end - 4]) != checksum:
            raise Refusal("corrupt", f"wrong checksum in the chunk at byte {position}")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end
    raise Refusal("truncated", "no end of the file")


def _check_gif(data: bytes) -> None:
    """Walk the blocks. A missing trailer is common and harmless; a cut block is not."""
    position = 13 + _colour_table(data, 10)
    while position < len(data):
        block = data[position]
        if block == 0x2C:
            position += 11 + _colour_table(data, position + 9)
        elif block == 0x21:
            position += 2
        else:
            return
        while position < len(data) and data[position]:
            position += 1 + data[position]
        position += 1
    _check_end(data, position)


def _colour_table(data: bytes, position: int) -> int:
    """The length of the colour table announced by the flags at `position`."""
    _check_end(data, position + 1)
    flags = data[position]
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _check_boxes(data: bytes) -> None:
    """Walk the top level boxes of an ISO media file. A size of 0 means up to the end."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size == 0:
            return
        position += max(size, 8)
    _check_end(data, position)


# The process


def encode_request(data: bytes, checks: Checks) -> bytes:
    """The header that goes before a picture's bytes."""
    formats = sum(1 << FORMATS.index(name) for name in checks.formats)
    return REQUEST.pack(len(data), checks.max_pixels, checks.min_side, checks.max_aspect, formats)


def decode_answers(answers: bytes) -> list[Verdict]:
    """The verdicts of one batch."""
    verdicts, position = [], 0
    while position < len(answers):
        outcome, kind, width, height, hashed, bits, length = ANSWER.unpack_from(answers, position)
        position += ANSWER.size
        detail = answers[position : position + length].decode(errors="replace")
        position += length
        verdicts.append(
            Verdict(
                OUTCOMES[outcome],
                detail,
                FORMATS[kind] if kind < len(FORMATS) else "",
                width,
                height,
                bits if hashed else None,
            )
        )
    return verdicts


def _encode_answer(verdict: Verdict) -> bytes:
    detail = verdict.detail.encode(errors="replace")[:MAX_DETAIL_BYTES]
    kind = FORMATS.index(verdict.format) if verdict.format in FORMATS else len(FORMATS)
    return (
        ANSWER.pack(
            OUTCOMES.index(verdict.outcome),
            kind,
            verdict.width,
            verdict.height,
            verdict.phash is not None,
            verdict.phash or 0,
            len(detail),
        )
        + detail
    )


def _serve(requests: BinaryIO, answers: int, cpu_seconds: int) -> None:
    """Answer batches until stdin closes."""
    while count := requests.read(COUNT.size):
        batch = b"".join(
            _encode_answer(_examine_next(requests, cpu_seconds))
            for _ in range(COUNT.unpack(count)[0])
        )
        _write(answers, COUNT.pack(len(batch)) + batch)


def _examine_next(requests: BinaryIO, cpu_seconds: int) -> Verdict:
    header = requests.read(REQUEST.size)
    if len(header) < REQUEST.size:
        raise EOFError
    size, max_pixels, min_side, max_aspect, bits = REQUEST.unpack(header)
    data = requests.read(size)
    if len(data) < size:
        raise EOFError
    _allow_cpu(cpu_seconds)
    formats = tuple(name for index, name in enumerate(FORMATS) if bits >> index & 1)
    return examine(data, Checks(max_pixels, min_side, max_aspect, formats))


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _allow_cpu(seconds: int) -> None:
    """The kernel ends this process when it uses more than `seconds` from now."""
    import resource

    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, resource.RLIM_INFINITY))


def _confine(memory_bytes: int) -> None:
    """Give up what a picture does not need: memory beyond `memory_bytes`, files, core dumps."""
    import resource

    with open("/proc/self/statm", "rb") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _load_libraries() -> None:
    """Import and warm up everything now: no file can be opened later."""
    import numpy as np
    import simplejpeg
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.simplefilter("ignore")
    picture = np.arange(GRID * GRID * 3, dtype=np.uint8).reshape(GRID, GRID, 3)
    checks = Checks(GRID * GRID, 1, 1.0)
    examine(simplejpeg.encode_jpeg(picture), checks)
    for kind in ("png", "tiff"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        examine(buffer.getvalue(), checks)


def main(arguments: Iterable[str]) -> None:
    memory_bytes, cpu_seconds = map(int, arguments)
    _load_libraries()
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # What image libraries print must not get between the answers.
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _confine(memory_bytes)
    _write(answers, READY)
    # Either error means that the worker is gone.
    with suppress(EOFError, BrokenPipeError), open(0, "rb", 1 << 16, closefd=False) as requests:
        _serve(requests, answers, cpu_seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
