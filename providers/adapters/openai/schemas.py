"""Parameters of OpenAI's image and video models, from its API reference.

Source: https://developers.openai.com/api/reference/resources/images and
/resources/videos, and the guides beside them (docs/providers.md names the pages).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from providers.adapters.params import Media, Params

Prompt = Annotated[
    str, Field(min_length=1, max_length=32_000, description="What the picture shows.")
]
Format = Literal["png", "jpeg", "webp"]

SIZE = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
EDGE_STEP = 16
LONGEST_EDGE = 3840
PIXELS = (655_360, 8_294_400)
STEEPEST_RATIO = 3


def _free_size(value: str) -> str:
    if value == "auto":
        return value
    match = SIZE.fullmatch(value)
    if match is None:
        raise ValueError("must be auto or WIDTHxHEIGHT, such as 1536x864")
    width, height = int(match[1]), int(match[2])
    if width % EDGE_STEP or height % EDGE_STEP:
        raise ValueError(f"width and height must be multiples of {EDGE_STEP}")
    if max(width, height) > LONGEST_EDGE:
        raise ValueError(f"no edge may be longer than {LONGEST_EDGE}")
    if max(width, height) > STEEPEST_RATIO * min(width, height):
        raise ValueError(f"the sides may be at most {STEEPEST_RATIO}:1")
    if not PIXELS[0] <= width * height <= PIXELS[1]:
        raise ValueError(f"must have {PIXELS[0]:,} to {PIXELS[1]:,} pixels")
    return value


class ImageParams(Params):
    """Parameters of all image models."""

    prompt: Prompt
    n: int = Field(1, ge=1, le=10, description="How many pictures.")
    quality: Literal["auto", "low", "medium", "high"] = "auto"
    moderation: Literal["auto", "low"] = Field(
        "auto", description="How strictly the content is filtered."
    )
    background: Literal["auto", "opaque", "transparent"] = "auto"
    output_format: Format = "png"
    output_compression: int | None = Field(
        None, ge=0, le=100, description="Per cent, for JPEG and WebP."
    )

    @field_validator("output_format")
    @classmethod
    def _can_be_transparent(cls, value: Format, info: ValidationInfo) -> Format:
        if value == "jpeg" and info.data.get("background") == "transparent":
            raise ValueError("a transparent background needs png or webp")
        return value

    @field_validator("output_compression")
    @classmethod
    def _can_be_compressed(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("output_format") == "png":
            raise ValueError("only jpeg and webp are compressed")
        return value


class FreeSizeImage(ImageParams):
    """Pictures of any size: `gpt-image-2` and later."""

    size: Annotated[str, AfterValidator(_free_size)] = Field(
        "auto", description="auto or WIDTHxHEIGHT: multiples of 16, at most 3840, at most 3:1."
    )


class FineImage(FreeSizeImage):
    """`gpt-image-2.5`: two more steps of quality."""

    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] = "auto"  # type: ignore[assignment]


class FixedSizeImage(ImageParams):
    """Pictures of three sizes: the `gpt-image-1` family."""

    size: Literal["auto", "1024x1024", "1536x1024", "1024x1536"] = "auto"


class Inputs(Params):
    """Additional parameters of an edit."""

    images: list[Media] = Field(
        min_length=1, max_length=16, description="The pictures to work from."
    )
    mask: Media | None = Field(
        None, description="Its transparent parts are changed in the first picture."
    )


class FreeSizeEdit(FreeSizeImage, Inputs):
    """An edit by `gpt-image-2`."""


class FineEdit(FineImage, Inputs):
    """An edit by `gpt-image-2.5`."""


class FixedSizeEdit(FixedSizeImage, Inputs):
    """An edit by `gpt-image-1-mini`."""


class FaithfulEdit(FixedSizeEdit):
    """An edit by `gpt-image-1` and `gpt-image-1.5`."""

    input_fidelity: Literal["low", "high"] = Field(
        "low", description="How closely style and faces of the inputs are kept."
    )


class Video(Params):
    """A clip by `sora-2`."""

    prompt: Prompt
    seconds: Literal[4, 8, 12] = 4
    size: Literal["720x1280", "1280x720"] = "720x1280"


class ProVideo(Video):
    """A clip by `sora-2-pro`."""

    size: Literal["720x1280", "1280x720", "1024x1792", "1792x1024"] = "720x1280"  # type: ignore[assignment]


class VideoFromImage(Video):
    """A clip that begins with a picture."""

    image: Media = Field(description="The first frame; it must have the clip's size.")


class ProVideoFromImage(ProVideo, VideoFromImage):
    """A clip by `sora-2-pro` that begins with a picture."""
