"""Rules of this machine's parameters over several fields."""

from pydantic import ValidationInfo, field_validator

from providers.adapters.params import Params

MAX_PIXELS = 2048 * 2048
PLAIN_QUALITY = 88


class Picture(Params):
    @field_validator("height", check_fields=False)
    @classmethod
    def _not_too_large(cls, value: int, info: ValidationInfo) -> int:
        width = info.data.get("width", 0)
        if width * value > MAX_PIXELS:
            raise ValueError(f"{width} × {value} are more than {MAX_PIXELS:,} pixels.")
        return value


class File(Params):
    @field_validator("quality", check_fields=False)
    @classmethod
    def _not_of_png(cls, value: int, info: ValidationInfo) -> int:
        if info.data.get("format") == "png" and value != PLAIN_QUALITY:
            raise ValueError("A png has no quality; leave it out.")
        return value
