"""Rules of OpenAI's image models over several fields, and of their sizes."""

from pydantic import ValidationInfo, field_validator

from pixsim.core.patterns import pattern
from providers.adapters.params import Params

match_size = pattern(r"([1-9]\d{1,3})x([1-9]\d{1,3})", longest=9, method="fullmatch")
EDGE_STEP = 16
LONGEST_EDGE = 3840
PIXELS = (655_360, 8_294_400)
STEEPEST_RATIO = 3


class Picture(Params):
    @field_validator("output_format", check_fields=False)
    @classmethod
    def _can_be_transparent(cls, value: str, info: ValidationInfo) -> str:
        if value == "jpeg" and info.data.get("background") == "transparent":
            raise ValueError("a transparent background needs png or webp")
        return value

    @field_validator("output_compression", check_fields=False)
    @classmethod
    def _can_be_compressed(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("output_format") == "png":
            raise ValueError("only jpeg and webp are compressed")
        return value


class AnySize(Params):
    @field_validator("size", check_fields=False)
    @classmethod
    def _is_a_size(cls, value: str) -> str:
        if value == "auto":
            return value
        match = match_size(value)
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
