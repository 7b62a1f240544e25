"""Parameters of Replicate's models: own schemas for some, one schema for all others.

Fields, defaults and ranges are those of the models' own pages (replicate.com/OWNER/NAME/api).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from providers.adapters.params import Media, Params

Seed = Annotated[
    int | None, Field(ge=0, le=2**31 - 1, description="The same seed makes the same result.")
]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000, description="What it shows.")]

ANY_MODEL = re.compile(r"[a-z0-9][\w.-]*/[a-z0-9][\w.-]*(:[0-9a-f]{64})?", re.IGNORECASE)
"""OWNER/NAME for an official model, OWNER/NAME:VERSION for any other."""


class FluxSchnell(Params):
    """Pictures by `black-forest-labs/flux-schnell`."""

    prompt: Prompt
    aspect_ratio: Literal[
        "1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"
    ] = "1:1"
    num_outputs: int = Field(1, ge=1, le=4, description="How many pictures.")
    num_inference_steps: int = Field(4, ge=1, le=4)
    seed: Seed = None
    output_format: Literal["webp", "jpg", "png"] = "webp"
    output_quality: int = Field(80, ge=0, le=100, description="Not for PNG.")
    megapixels: Literal["1", "0.25"] = "1"
    disable_safety_checker: bool = False
    go_fast: bool = Field(True, description="Faster; the same seed may then make another picture.")


class FluxKontext(Params):
    """Edited pictures by `black-forest-labs/flux-kontext-pro`."""

    prompt: Prompt
    input_image: Media
    aspect_ratio: Literal[
        "match_input_image", "1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "4:5", "5:4",
        "21:9", "9:21", "2:1", "1:2",
    ] = "match_input_image"  # fmt: skip
    seed: Seed = None
    output_format: Literal["png", "jpg"] = "png"
    safety_tolerance: int = Field(2, ge=0, le=2, description="0 is strictest.")
    prompt_upsampling: bool = Field(False, description="Let the model better the prompt.")


class Seedance(Params):
    """Clips by `bytedance/seedance-1-lite` and `-pro`."""

    prompt: Prompt
    duration: int = Field(5, ge=2, le=12, description="Seconds.")
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    aspect_ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "9:21"] = "16:9"
    fps: Literal[24] = 24
    camera_fixed: bool = False
    seed: Seed = None


class SeedanceFromImage(Seedance):
    """Clips that begin with a picture, and may end with one."""

    image: Media = Field(description="The first frame; its shape is the clip's.")
    last_frame_image: Media | None = None


class MinimaxMusic(Params):
    """Songs by `minimax/music-1.5`."""

    prompt: str = Field(min_length=10, max_length=300, description="Style, mood, instruments.")
    lyrics: str = Field(
        min_length=10, max_length=600, description="Lines, with [verse], [chorus] and the like."
    )
    sample_rate: Literal[44100, 32000, 24000, 16000] = 44100
    bitrate: Literal[256000, 128000, 64000, 32000] = 256000
    audio_format: Literal["mp3", "wav", "pcm"] = "mp3"


class AnyInput(Params):
    """The input of a model without a schema here: Replicate validates it."""

    input: dict[str, JsonValue] = Field(
        default_factory=dict, description="As the model's page describes it, but for files."
    )
    files: dict[str, Media | list[Media]] = Field(
        default_factory=dict, description="Those fields of the input that are files."
    )

    @field_validator("files")
    @classmethod
    def _is_not_in_both(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if both := value.keys() & info.data.get("input", {}).keys():
            raise ValueError(f"{', '.join(sorted(both))} is in the input already")
        return value


class Models(Mapping[str, type[Params]]):
    """Schemas by model: own ones by name, and AnyInput for every other valid name."""

    def __init__(self, named: Mapping[str, type[Params]]) -> None:
        self._named = named

    def __getitem__(self, model: str) -> type[Params]:
        if model in self._named:
            return self._named[model]
        if isinstance(model, str) and ANY_MODEL.fullmatch(model):
            return AnyInput
        raise KeyError(model)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)
