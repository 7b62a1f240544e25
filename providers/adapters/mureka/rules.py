"""Rules of Mureka's songs over several fields."""

from pydantic import ValidationInfo, field_validator

from providers.adapters.params import Params

PROMPT_LENGTH_WITH_LYRICS = 1024


class Song(Params):
    @field_validator("gender", check_fields=False)
    @classmethod
    def _sings_given_lyrics(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("lyrics", "") is None:
            raise ValueError("only lyrics of your own are sung by a chosen voice")
        return value

    @field_validator("styles", check_fields=False)
    @classmethod
    def _are_instead_of_lyrics(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if value and info.data.get("lyrics"):
            raise ValueError("with lyrics, say the style in the prompt")
        return value

    @field_validator("prompt", check_fields=False)
    @classmethod
    def _goes_with_the_rest(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("lyrics"):
            if value and len(value) > PROMPT_LENGTH_WITH_LYRICS:
                raise ValueError(f"with lyrics, at most {PROMPT_LENGTH_WITH_LYRICS:,} characters")
        elif value is None and "lyrics" in info.data and info.data.get("styles") == []:
            raise ValueError("give lyrics, a prompt or styles")
        return value
