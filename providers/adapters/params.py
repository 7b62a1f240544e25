"""Parameters of a generation: one declared schema per provider, operation and model."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Params(BaseModel):
    """The parameters of one operation of one model. Unknown fields are refused.

    A field that takes media (an input picture, a video to extend) is a Media; the caller puts
    the address of the file there, for which it has resolved assets and uploads.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    def canonical(self) -> dict[str, Any]:
        """Every field with its value, defaults included, as JSON has it: equal params are equal."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """sha256 of the canonical form, in hex."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


Media = Annotated[
    str,
    Field(
        min_length=1,
        max_length=8000,
        description="An asset (asset:ID), an upload, or an http(s) address.",
        json_schema_extra={"format": "media"},
    ),
]


class ParamsRefused(Exception):
    """Parameters that their schema does not take: `errors` maps a field to what is wrong with it."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))


def validated(schema: type[Params], values: dict[str, Any]) -> Params:
    """`values` as the schema's params. Raises ParamsRefused that names each field."""
    try:
        return schema.model_validate(values)
    except ValidationError as refused:
        errors: dict[str, str] = {}
        for error in refused.errors(include_url=False, include_context=False):
            name = ".".join(map(str, error["loc"])) or "params"
            errors.setdefault(name, error["msg"])
        raise ParamsRefused(errors) from refused
