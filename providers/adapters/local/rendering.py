"""From parameters to files. Needs numpy, which the site does without: imported only to render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.adapters.local import drawing, music
from providers.adapters.local.drawing import files
from providers.adapters.local.errors import of_picture
from providers.adapters.local.schemas import (
    MAX_SONG_SECONDS,
    ImageToImage,
    ImageToVideo,
    Song,
    TextToImage,
    TextToVideo,
)
from providers.adapters.params import Params


@dataclass(frozen=True)
class Rendered:
    """The files, and what there is to say about them."""

    files: Sequence[bytes]
    about: Mapping[str, Any] = field(default_factory=dict)


def render(params: Params, *, seed: int, source: bytes = b"") -> Rendered:
    """The files of a generation; `source` is its input. Raises ProviderError about the input."""
    match params:
        case TextToImage():
            return _pictures(params, seed)
        case ImageToImage():
            return _edited(params, seed, source)
        case TextToVideo():
            return _animation(params, seed)
        case ImageToVideo():
            return _moving(params, seed, source)
        case Song():
            return _song(params, seed)
        case _:
            raise TypeError(f"{type(params).__name__} cannot be rendered")


def _pictures(params: TextToImage, seed: int) -> Rendered:
    pictures = (
        drawing.picture(
            prompt=params.prompt,
            style=params.style,
            seed=seed + number,
            width=params.width,
            height=params.height,
        )
        for number in range(params.count)
    )
    return Rendered([files.still(each, params.format, quality=params.quality) for each in pictures])


def _edited(params: ImageToImage, seed: int, source: bytes) -> Rendered:
    picture = drawing.edited(
        _opened(source, params.max_side),
        prompt=params.prompt,
        effect=params.effect,
        seed=seed,
        strength=params.strength,
    )
    return Rendered([files.still(picture, params.format, quality=params.quality)])


def _animation(params: TextToVideo, seed: int) -> Rendered:
    frames = drawing.frames(
        prompt=params.prompt,
        style=params.style,
        seed=seed,
        width=params.width,
        height=params.height,
        count=round(params.seconds * params.fps),
    )
    return Rendered(
        [files.animation(frames, params.format, fps=params.fps)], {"frames": len(frames)}
    )


def _moving(params: ImageToVideo, seed: int, source: bytes) -> Rendered:
    frames = drawing.moving(
        _opened(source, params.max_side),
        prompt=params.prompt,
        motion=params.motion,
        seed=seed,
        count=round(params.seconds * params.fps),
    )
    return Rendered(
        [files.animation(frames, params.format, fps=params.fps)], {"frames": len(frames)}
    )


def _song(params: Song, seed: int) -> Rendered:
    score = music.composed(
        title=params.title,
        lyrics=params.lyrics,
        genre=params.genre,
        tempo=params.tempo,
        seconds=params.seconds,
        longest=MAX_SONG_SECONDS,
        seed=seed,
    )
    about = {"seconds": round(score.seconds, 3), "tempo": score.tempo}
    return Rendered([music.as_wav(music.performed(score))], about)


def _opened(source: bytes, max_side: int) -> Any:
    try:
        return files.opened(source, max_side=max_side)
    except files.NotAPicture as error:
        raise of_picture(str(error)) from error
