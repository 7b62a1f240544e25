"""Parameters of a generation: one declared schema per provider, operation and model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_DEPTH = 32
"""Objects and lists may stand in each other so deep."""


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
    """`values` as the schema's params. Raises ParamsRefused that names each field.

    What passes can be stored and sent as JSON, also where a schema takes any value.
    """
    errors: dict[str, str] = {}
    for name, text in _unstorable(values, "params", 0):
        errors.setdefault(name.removeprefix("params."), text)
    try:
        params = schema.model_validate(values)
    except ValidationError as refused:
        for error in refused.errors(include_url=False, include_context=False):
            text = error["msg"].removeprefix("Value error, ")
            errors.setdefault(_name(error["loc"], values), text)
        raise ParamsRefused(errors) from refused
    if errors:
        raise ParamsRefused(errors)
    return params


def _unstorable(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Name and refusal of each value that PostgreSQL's jsonb, or JSON itself, does not hold."""
    if depth > MAX_DEPTH:
        field = ".".join(name.split(".")[:2])
        yield field, f"Values stand in each other more than {MAX_DEPTH} deep."
    elif isinstance(value, str):
        if reason := _unwritable(value):
            yield name, reason
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield name, f"{value} is no number that JSON has."
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if reason := _unwritable(key):
                yield name, f"One of its names: {reason}"
            else:
                yield from _unstorable(one, f"{name}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _unstorable(one, f"{name}.{number}", depth + 1)


def _unwritable(text: str) -> str | None:
    if "\0" in text:
        return "It has a NUL character (U+0000) in it."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"Half of a character (U+{ord(text[error.start]):04X}) stands alone in it."
    return None


def _name(place: Sequence[str | int], values: Any) -> str:
    """A field by its path in `values`, without the kinds of a union that pydantic puts into it."""
    parts = []
    for part in place:
        if isinstance(values, Mapping):
            parts.append(part)
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int):
            parts.append(part)
            values = values[part]
    return ".".join(map(str, parts)) or "params"
