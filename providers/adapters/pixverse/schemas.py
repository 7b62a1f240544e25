"""Parameters of PixVerse's video models, by model and operation.

MODELS is PixVerse's capability matrix; docs/providers.md names the pages of each rule.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, create_model, field_validator

from providers.adapters.params import Media, Params

Quality = Literal["360p", "540p", "720p", "1080p"]
LARGEST_SEED = 2**31 - 1
PROMPT_LENGTH = 2048
Picture = Annotated[Media, Field(description="PNG, JPEG or WebP, less than 20 MB.")]
Pictures = Annotated[list[Media], Field(max_length=7)]


class Clip(Params):
    """Parameters of every operation of every model."""

    prompt: str = Field(min_length=1, max_length=PROMPT_LENGTH, description="What it shows.")
    quality: Quality = "540p"
    seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED, description="The same seed makes a similar result."
    )


class Short(Clip):
    """The lengths of v5."""

    duration: Literal[5, 8] = Field(5, description="Seconds.")


class Medium(Clip):
    """The lengths of v5.5 and v5.6."""

    duration: Literal[5, 8, 10] = Field(5, description="Seconds; at 1080p at most 8.")

    @field_validator("duration")
    @classmethod
    def _fits_the_quality(cls, value: int, info: ValidationInfo) -> int:
        if value == 10 and info.data.get("quality") == "1080p":
            raise ValueError("at 1080p at most 8 seconds")
        return value


class Long(Clip):
    """The lengths of v6 and c1."""

    duration: int = Field(5, ge=1, le=15, description="Seconds.")


class Sound(Params):
    """Models with sound."""

    generate_audio_switch: bool = Field(False, description="With sound; costs more.")


class Cuts(Params):
    """Models with several shots."""

    generate_multi_clip_switch: bool = Field(False, description="Several shots in one clip.")


class Avoiding(Params):
    """Models with a negative prompt."""

    negative_prompt: str | None = Field(
        None, max_length=PROMPT_LENGTH, description="What it shall not show."
    )


class Shape(Params):
    """Aspect ratios of the v5 family."""

    aspect_ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16"] = "16:9"


class AnyShape(Params):
    """Aspect ratios of v6 and c1."""

    aspect_ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16", "2:3", "3:2", "21:9"] = "16:9"


class FromPicture(Params):
    """A clip that begins with a picture and has its aspect ratio."""

    image: Picture


class Between(Params):
    """A clip that begins with one picture and ends with another."""

    first_frame: Picture
    last_frame: Picture


class Further(Clip):
    """A clip that continues another. PixVerse requires its seed."""

    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="The same seed makes a similar result.")
    video: Media = Field(description="MP4, MOV or WebM: at most 50 MB, 30 seconds, 1920 pixels.")


class UpToSeven(Params):
    """A clip with subjects and backgrounds of several pictures."""

    subjects: Pictures = Field(
        min_length=1, description="Who and what is in it; the prompt calls them @subject1, …"
    )
    backgrounds: Pictures = Field(
        default_factory=list,
        validate_default=True,
        description="Where it is; the prompt calls them @background1, …",
    )

    @field_validator("backgrounds")
    @classmethod
    def _are_those_of_the_prompt(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if "subjects" not in info.data:
            return value
        names = [name for name, _ in named_pictures(info.data["subjects"], value)]
        if len(names) > cls.most_pictures():
            raise ValueError(f"with the subjects, there may be {cls.most_pictures()} pictures")
        for word in info.data.get("prompt", "").split():
            if word.startswith("@") and word[1:] not in names:
                raise ValueError(
                    f"the prompt has {word}, which is no picture; a space must follow a name"
                )
        return value

    @classmethod
    def most_pictures(cls) -> int:
        return 7


class UpToThree(UpToSeven):
    """The same for v5."""

    @classmethod
    def most_pictures(cls) -> int:
        return 3


def named_pictures(subjects: list[str], backgrounds: list[str]) -> list[tuple[str, str]]:
    """Return name and address of each picture of a fusion, in order."""
    return [(f"subject{number}", url) for number, url in enumerate(subjects, 1)] + [
        (f"background{number}", url) for number, url in enumerate(backgrounds, 1)
    ]


# Base classes: the fields of the last one in a row come first.
PARTS: dict[str, dict[str, tuple[type[Params], ...]]] = {
    "text_to_video": {
        "v6": (Cuts, Sound, AnyShape, Long),
        "c1": (Sound, AnyShape, Long),
        "v5.6": (Sound, Avoiding, Shape, Medium),
        "v5.5": (Cuts, Sound, Avoiding, Shape, Medium),
        "v5": (Avoiding, Shape, Short),
    },
    "image_to_video": {
        "v6": (Cuts, Sound, Long, FromPicture),
        "c1": (Sound, Long, FromPicture),
        "v5.6": (Sound, Avoiding, Medium, FromPicture),
        "v5.5": (Cuts, Sound, Avoiding, Medium, FromPicture),
        "v5": (Avoiding, Short, FromPicture),
    },
    "video_transition": {
        "v6": (Sound, Long, Between),
        "c1": (Sound, Long, Between),
        "v5.6": (Medium, Between),
        "v5.5": (Sound, Medium, Between),
        "v5": (Short, Between),
    },
    "video_extend": {
        "v6": (Further, Sound, Long),
        "v5.5": (Further, Medium),
        "v5": (Further, Short),
    },
    "fusion": {
        "c1": (Sound, AnyShape, UpToSeven, Long),
        "v5.6": (Sound, Shape, UpToSeven, Medium),
        "v5.5": (Shape, UpToSeven, Medium),
        "v5": (Shape, UpToThree, Short),
    },
}

MODELS: Mapping[str, Mapping[str, type[Params]]] = {
    operation: {
        model: create_model(
            f"{operation} {model}", __base__=parts, __doc__=f"{operation} by `{model}`."
        )
        for model, parts in models.items()
    }
    for operation, models in PARTS.items()
}
"""The schema of each model, by operation; the first model is the default."""
