"""Parameters of Mureka's songs.

With lyrics the call is song/generate; without, Mureka writes them from prompt and styles
(song/easy-generate). The two have different parameters; docs/providers.md names the pages.
"""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from providers.adapters.params import Params

MODELS = ("auto", "mureka-9.5", "mureka-9", "mureka-8", "mureka-7.6", "mureka-o2")

PROMPT_LENGTH_WITH_LYRICS = 1024

Style = Literal[
    "pop", "rock", "jazz", "r&b", "edm", "ambient", "folk", "latin", "k-pop", "j-pop", "house",
    "gospel", "lo-fi",
]  # fmt: skip


class Song(Params):
    """A sung song."""

    lyrics: str | None = Field(
        None,
        min_length=1,
        max_length=5000,
        description="With [Verse], [Chorus] and the like; if empty, they are written for it.",
        json_schema_extra={"format": "multiline"},
    )
    gender: Literal["female", "male"] | None = Field(
        None, description="Whose voice sings; only for lyrics of your own."
    )
    styles: list[Style] = Field(
        default_factory=list, max_length=13, description="Only without lyrics of your own."
    )
    prompt: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        validate_default=True,
        description="Style, mood, voice, instruments; with lyrics, at most 1,024 characters.",
    )
    n: int = Field(1, ge=1, le=3, description="How many songs; each is charged.")

    @field_validator("gender")
    @classmethod
    def _sings_given_lyrics(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("lyrics", "") is None:
            raise ValueError("only lyrics of your own are sung by a chosen voice")
        return value

    @field_validator("styles")
    @classmethod
    def _are_instead_of_lyrics(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if value and info.data.get("lyrics"):
            raise ValueError("with lyrics, say the style in the prompt")
        return value

    @field_validator("prompt")
    @classmethod
    def _goes_with_the_rest(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("lyrics"):
            if value and len(value) > PROMPT_LENGTH_WITH_LYRICS:
                raise ValueError(f"with lyrics, at most {PROMPT_LENGTH_WITH_LYRICS:,} characters")
        elif value is None and "lyrics" in info.data and info.data.get("styles") == []:
            raise ValueError("give lyrics, a prompt or styles")
        return value
