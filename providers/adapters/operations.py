"""Operations as data: an adapter's `models.toml` says what its models take.

    [operations.text_to_image]              # also `expected_seconds`, `deadlines`
    models."flux-1" = ["prompt", "size"]    # the groups of fields of a model; the first is the default
    [fields.size]
    width = { type = "integer", ge = 16, le = 4096, default = 768, description = "Pixels." }

`families` and `dates` are described in `models.py`. A later group replaces fields of the same name. A
field has a `type` (string by default) or `choices`; `many` makes it a list, `optional` allows no value;
`format` is shown to forms. Everything else is an argument of pydantic's Field. A rule over several fields
is a validator of the last of them, in a class that the adapter names for a group.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, create_model

from pixsim.core.media.format_names import canonical_format
from providers.adapters.base import Deadlines, Operation
from providers.adapters.models import Dates, Models
from providers.adapters.params import Media, Params

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "media": Media,
}


def read_operations(
    adapter_file: str, rules: Mapping[str, type[Params]] = {}
) -> dict[str, Operation]:
    """Return the operations in the `models.toml` beside an adapter's module.

    `rules` are classes with the validators of a group of fields.
    """
    declared = _declared(adapter_file)
    groups = declared["fields"]

    def schema(name: str, model: str, parts: Sequence[str]) -> type[Params]:
        fields: dict[str, Any] = {}
        for part in parts:
            fields |= groups.get(part, {})
        bases = tuple(rules[part] for part in reversed(parts) if part in rules)
        definitions: Any = {field: _field(**options) for field, options in fields.items()}
        doc = f"{name} by `{model}`."
        return create_model(f"{name} {model}", __base__=bases or Params, __doc__=doc, **definitions)

    def schemas(name: str, parts_by_model: Mapping[str, Sequence[str]]) -> dict[str, type[Params]]:
        return {model: schema(name, model, parts) for model, parts in parts_by_model.items()}

    return {
        name: Operation(
            name,
            Models(schemas(name, one["models"]), schemas(name, one.get("families", {}))),
            one["expected_seconds"],
            Deadlines(**one["deadlines"]),
        )
        for name, one in declared["operations"].items()
    }


def read_dates(adapter_file: str) -> dict[str, Dates]:
    """Return the dates of models in the `models.toml` beside an adapter's module."""
    return {name: Dates(**one) for name, one in _declared(adapter_file).get("dates", {}).items()}


@cache
def _declared(adapter_file: str) -> dict[str, Any]:
    return tomllib.loads(Path(adapter_file).with_name("models.toml").read_text("utf-8"))


def _field(
    *,
    type: str = "string",
    choices: Sequence[Any] = (),
    many: bool = False,
    optional: bool = False,
    format: str | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Return annotation and Field, as create_model takes them."""
    kind: Any = Literal[tuple(choices)] if choices else TYPES[type]
    if "jpeg" in map(canonical_format, map(str, choices)):
        kind = Annotated[kind, BeforeValidator(partial(_as_the_provider_spells_it, choices))]
    if many:
        kind = list[kind]
    if optional:
        kind, options = kind | None, {"default": None, **options}
    if format:
        options["json_schema_extra"] = {"format": format}
    return kind, Field(**options)


def _as_the_provider_spells_it(choices: Sequence[Any], value: Any) -> Any:
    """Return the choice that is the same picture format, such as jpg for JPEG; else the value."""
    if value in choices or not isinstance(value, str):
        return value
    spelled = {canonical_format(str(choice)): choice for choice in choices}
    return spelled.get(canonical_format(value), value)
