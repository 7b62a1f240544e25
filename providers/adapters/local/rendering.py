"""From parameters to files. Needs numpy, which the site does without: imported only to render."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from pixsim.core import media
from providers.adapters.local import drawing, music


class NotAPicture(Exception):
    """The bytes cannot be decoded as a picture. The message says why."""


class Rendered(NamedTuple):
    """The files, and facts about them for the provider's response."""

    files: Sequence[bytes]
    facts: Mapping[str, Any]


def render(operation: str, params: Any, *, seed: int, source: bytes = b"") -> Rendered:
    """Return the files of a generation; `source` is its input. Raises NotAPicture."""
    match operation:
        case "text_to_image":
            size = params.width, params.height
            paints = (
                drawing.painted(params.prompt, params.style, seed + number, *size)
                for number in range(params.count)
            )
            return Rendered([still(drawing.as_image(paint(0.0)), params) for paint in paints], {})
        case "image_to_image":
            image = opened(source, max_side=params.max_side)
            changed = drawing.edited(image, params.prompt, params.effect, seed)
            return Rendered([still(Image.blend(image, changed, params.strength), params)], {})
        case "text_to_video":
            size = params.width, params.height
            return _animation(drawing.painted(params.prompt, params.style, seed, *size), params)
        case "image_to_video":
            image = opened(source, max_side=params.max_side)
            return _animation(drawing.moving(image, params.prompt, params.motion, seed), params)
        case "song":
            score = music.composed(params, seed)
            facts = {"seconds": round(score.seconds, 3), "tempo": score.tempo}
            return Rendered([music.as_wav(music.performed(score))], facts)
        case _:
            raise ValueError(f"{operation} cannot be rendered")


def opened(data: bytes, *, max_side: int) -> Image.Image:
    """Return the picture in a file, upright, on white, its longer side at most `max_side`.

    Of an animation it is the first frame. It is untrusted, so it is decoded in a confined child.
    Raises NotAPicture, or media.Unavailable.
    """
    try:
        small = media.examine(data, side=max_side, is_still=True).small
    except media.Undecodable as error:
        raise NotAPicture(str(error)) from error
    if small is None:
        raise NotAPicture("It has no pixels.")
    return Image.frombytes("RGB", (small.width, small.height), small.rgb)


def still(image: Image.Image, params: Any) -> bytes:
    """Return the picture as a file of the kind that was asked for."""
    file = io.BytesIO()
    options: dict[str, dict[str, int]] = {
        "png": {"compress_level": 4},
        "jpeg": {"quality": params.quality},
        "webp": {"quality": params.quality, "method": 3},
    }
    image.save(file, params.format, **options[params.format])
    return file.getvalue()


def _animation(paint: drawing.Paint, params: Any) -> Rendered:
    """Return an endless loop as a file of the kind that was asked for."""
    count = round(params.seconds * params.fps)
    first, *rest = [drawing.as_image(paint(number / count)) for number in range(count)]
    is_gif, file = params.format == "gif", io.BytesIO()
    # A GIF counts in hundredths of a second.
    duration = round(100 / params.fps) * 10 if is_gif else round(1000 / params.fps)
    options = {"disposal": 1} if is_gif else {"quality": 80, "method": 2}
    loop = {"save_all": True, "append_images": rest, "duration": duration, "loop": 0}
    first.save(file, params.format, **loop, **options)
    return Rendered([file.getvalue()], {"frames": count})
