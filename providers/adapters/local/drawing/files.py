"""Pictures and animations as files, and files as pictures."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

from PIL import Image, ImageOps

READABLE = ("PNG", "JPEG", "WEBP", "GIF")
MAX_READ_PIXELS = 50_000_000
GIF_COLOURS = 255


class NotAPicture(Exception):
    """Bytes that are no picture that can be read here."""


def opened(data: bytes, *, max_side: int) -> Image.Image:
    """The picture in a file, upright, in RGB, its longer side at most `max_side`.

    Of an animation the first frame. Raises NotAPicture.
    """
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=READABLE) as image:
            warnings.simplefilter("ignore")
            if image.width * image.height > MAX_READ_PIXELS:
                raise NotAPicture(f"It has more than {MAX_READ_PIXELS:,} pixels.")
            image.draft("RGB", (max_side, max_side))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
            if upright.mode in ("RGBA", "LA", "P", "PA"):
                white = Image.new("RGBA", upright.size, "white")
                return Image.alpha_composite(white, upright.convert("RGBA")).convert("RGB")
            return upright.convert("RGB")
    # What Pillow raises for a broken file differs by format.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise NotAPicture(f"It cannot be read as {', '.join(READABLE)}.") from error


def still(image: Image.Image, kind: str, *, quality: int) -> bytes:
    """The picture as a file of the kind png, jpeg or webp; `quality` (1 to 100) not for png."""
    file = io.BytesIO()
    options: dict[str, dict[str, int]] = {
        "png": {"compress_level": 4},
        "jpeg": {"quality": quality},
        "webp": {"quality": quality, "method": 3},
    }
    image.save(file, kind, **options[kind])
    return file.getvalue()


def animation(frames: Sequence[Image.Image], kind: str, *, fps: int) -> bytes:
    """The frames as an endless loop, a file of the kind gif or webp."""
    file = io.BytesIO()
    first, *rest = _indexed(frames) if kind == "gif" else frames
    options = {"quality": 80, "method": 2} if kind == "webp" else {"disposal": 1}
    # A GIF counts in hundredths of a second.
    duration = round(100 / fps) * 10 if kind == "gif" else round(1000 / fps)
    first.save(file, kind, save_all=True, append_images=rest, duration=duration, loop=0, **options)
    return file.getvalue()


def _indexed(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames in the same few colours, so that nothing flickers."""
    width, height = frames[0].size
    sample = Image.new("RGB", (width, height * 3))
    for place in range(3):
        sample.paste(frames[place * len(frames) // 3], (0, place * height))
    colours = sample.quantize(GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
