"""What can be asked of this machine."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from providers.adapters.params import Media, Params

MAX_PIXELS = 2048 * 2048
MAX_SONG_SECONDS = 60
PLAIN_QUALITY = 88


def _not_of_png(value: int, info: ValidationInfo) -> int:
    if info.data.get("format") == "png" and value != PLAIN_QUALITY:
        raise PydanticCustomError("quality", "A png has no quality; leave it out.")
    return value


MULTILINE: JsonDict = {"format": "multiline"}
OptionalPrompt = Annotated[
    str,
    Field(
        max_length=2000,
        description="What it shows. Words for colours, places and moods choose palette and motif.",
        json_schema_extra=MULTILINE,
    ),
]
Prompt = Annotated[OptionalPrompt, Field(min_length=1)]
Style = Annotated[
    Literal["auto", "landscape", "flow", "nebula"],
    Field(description="How it is drawn; auto: as the prompt's words suggest."),
]
Seed = Annotated[
    int | None,
    Field(
        ge=0,
        le=2**32 - 1,
        description="The same seed and parameters make the same file. Empty: another each time.",
    ),
]
FileKind = Annotated[Literal["png", "jpeg", "webp"], Field(description="The kind of file.")]
Quality = Annotated[
    int,
    Field(ge=1, le=100, description="Higher is finer and larger; not for png."),
    # Reads `format`, which therefore stands before it.
    AfterValidator(_not_of_png),
]
Seconds = Annotated[float, Field(ge=0.5, le=6, description="How long the loop is, in seconds.")]
Fps = Annotated[int, Field(ge=4, le=15, description="Frames per second.")]


class TextToImage(Params):
    prompt: Prompt
    style: Style = "auto"
    width: int = Field(768, ge=16, le=4096, description="Pixels.")
    height: int = Field(
        768, ge=16, le=4096, description=f"Pixels; width × height at most {MAX_PIXELS:,}."
    )
    count: int = Field(1, ge=1, le=4, description="How many pictures.")
    format: FileKind = "png"
    quality: Quality = PLAIN_QUALITY
    seed: Seed = None

    @field_validator("height")
    @classmethod
    def _not_too_large(cls, value: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 0)
        if width * value > MAX_PIXELS:
            raise PydanticCustomError(
                "size",
                "{width} × {height} are more than {most} pixels.",
                {"width": width, "height": value, "most": f"{MAX_PIXELS:,}"},
            )
        return value


class ImageToImage(Params):
    image: Media
    prompt: OptionalPrompt = ""
    effect: Literal["auto", "duotone", "mosaic", "paint"] = Field(
        "auto", description="What is done with the picture; auto: the seed decides."
    )
    strength: float = Field(0.9, ge=0, le=1, description="0 leaves the picture as it is.")
    max_side: int = Field(1024, ge=16, le=2048, description="Pixels of the longer side at most.")
    format: FileKind = "png"
    quality: Quality = PLAIN_QUALITY
    seed: Seed = None


class _Loop(Params):
    seconds: Seconds = 2.0
    fps: Fps = 12
    format: Literal["gif", "webp"] = Field("gif", description="The kind of file.")
    seed: Seed = None


class TextToVideo(_Loop):
    prompt: Prompt
    style: Style = "auto"
    width: int = Field(384, ge=16, le=512, description="Pixels.")
    height: int = Field(384, ge=16, le=512, description="Pixels.")


class ImageToVideo(_Loop):
    image: Media
    prompt: OptionalPrompt = ""
    motion: Literal["auto", "zoom", "pan", "ripple"] = Field(
        "auto", description="How it moves; auto: the seed decides."
    )
    max_side: int = Field(384, ge=16, le=512, description="Pixels of the longer side at most.")


class Song(Params):
    title: str = Field(min_length=1, max_length=200, description="What the song is called.")
    lyrics: str = Field(
        "",
        max_length=3000,
        description="One line of the song per line, an empty line between verses; equal lines have "
        "equal tunes. Empty: nobody sings.",
        json_schema_extra=MULTILINE,
    )
    genre: Literal["pop", "rock", "electronic", "hiphop", "jazz", "folk", "lullaby", "ambient"] = (
        Field("pop", description="Decides rhythm, harmony and instruments.")
    )
    tempo: int | None = Field(
        None, ge=50, le=200, description="Beats per minute. Empty: as the genre has it."
    )
    seconds: float | None = Field(
        None,
        ge=5,
        le=MAX_SONG_SECONDS,
        description=f"How long it is. Empty: as the lyrics need, at most {MAX_SONG_SECONDS} s.",
    )
    seed: Seed = None
