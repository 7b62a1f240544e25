"""Parameters of a generation: one declared schema per provider, operation and model."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_DEPTH = 32
"""Maximum nesting of objects and lists."""


class Params(BaseModel):
    """The parameters of one operation of one model. Unknown fields are refused.

    A field for a file (an input picture, a video to extend) has the type Media; the caller has
    replaced assets and uploads by the address of the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    def canonical(self) -> dict[str, Any]:
        """Return all fields, defaults included, as JSON: equal params give equal results."""
        return self.model_dump(mode="json")

    def given(self) -> dict[str, Any]:
        """Return the fields that were given, as JSON: what is not sent has the provider's default."""
        return self.model_dump(mode="json", exclude_unset=True)

    def digest(self) -> str:
        """Return the sha256 of the canonical form, in hex."""
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
    """The schema refuses the parameters: `errors` maps a field to its message."""

    def __init__(self, errors: dict[str, str]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))


def validated(schema: type[Params], values: dict[str, Any]) -> Params:
    """Return `values` as the schema's params. Raise ParamsRefused, which names each field.

    The result can be stored and sent as JSON, also where a schema allows any value.
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
    """Return field and message of each value that PostgreSQL's jsonb or JSON cannot represent."""
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
    """Return a field's path in `values`, without the union members that pydantic adds."""
    parts = []
    for part in place:
        if isinstance(values, Mapping):
            parts.append(part)
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int):
            parts.append(part)
            values = values[part]
    return ".".join(map(str, parts)) or "params"
