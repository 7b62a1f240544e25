"""Parameters of Replicate's models: those of `models.toml`, and one schema for all others."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from pixsim.core.patterns import pattern
from providers.adapters.params import Media, Params

match_model = pattern(
    r"(?i)[a-z0-9][\w.-]*/[a-z0-9][\w.-]*(:[0-9a-f]{64})?", longest=300, method="fullmatch"
)
"""OWNER/NAME for an official model, OWNER/NAME:VERSION for any other."""


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


class AnyModel(Mapping[str, type[Params]]):
    """Schemas by model: own ones by name, and AnyInput for every other valid name."""

    def __init__(self, named: Mapping[str, type[Params]]) -> None:
        self._named = named

    def __getitem__(self, model: str) -> type[Params]:
        if model in self._named:
            return self._named[model]
        if isinstance(model, str) and match_model(model):
            return AnyInput
        raise KeyError(model)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)
