"""Rules of PixVerse's models over several fields."""

from typing import ClassVar

from pydantic import ValidationInfo, field_validator

from providers.adapters.params import Params


class ToTenSeconds(Params):
    @field_validator("duration", check_fields=False)
    @classmethod
    def _fits_the_quality(cls, value: int, info: ValidationInfo) -> int:
        if value == 10 and info.data.get("quality") == "1080p":
            raise ValueError("at 1080p at most 8 seconds")
        return value


class Pictures(Params):
    """The pictures of a fusion: subjects and backgrounds, which the prompt names."""

    most: ClassVar[int] = 7

    @field_validator("backgrounds", check_fields=False)
    @classmethod
    def _are_those_of_the_prompt(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if "subjects" not in info.data:
            return value
        names = [name for name, _ in named_pictures(info.data["subjects"], value)]
        if len(names) > cls.most:
            raise ValueError(f"with the subjects, there may be {cls.most} pictures")
        for word in info.data.get("prompt", "").split():
            if word.startswith("@") and word[1:] not in names:
                raise ValueError(
                    f"the prompt has {word}, which is no picture; a space must follow a name"
                )
        return value


class ThreePictures(Pictures):
    """The same for v5."""

    most = 3


def named_pictures(subjects: list[str], backgrounds: list[str]) -> list[tuple[str, str]]:
    """Return name and address of each picture of a fusion, in order."""
    return [(f"subject{number}", url) for number, url in enumerate(subjects, 1)] + [
        (f"background{number}", url) for number, url in enumerate(backgrounds, 1)
    ]
