"""A form for the parameters of a generation, made from the schema that validates them."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

from django import forms

from pixsim.core.forms import JsonField
from providers.adapters.params import Params, ParamsRefused, validated

LONG_TEXT = 500
"""A text that may be longer than this gets an input of several lines."""

Schema = Mapping[str, Any]
"""A piece of JSON schema."""


class ParamsForm(forms.Form):
    """The parameters of one operation of one model; an empty input means the default.

    A valid form has the validated values as `params`. Errors of the schema are shown at the fields
    that they name.
    """

    schema: ClassVar[type[Params]]
    clearable: ClassVar[frozenset[str]]
    """Fields that have a default and may also have no value."""
    params: Params | None = None

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        try:
            self.params = validated(self.schema, self._given(values))
        except ParamsRefused as refused:
            for name, text in refused.errors.items():
                field = name.partition(".")[0]
                self.add_error(field if field in self.fields else None, text)
        return values

    def _given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the inputs that are not empty, and that differ from the default."""
        fields = self.schema.model_fields
        given = {name: value for name, value in values.items() if value not in (None, "", [])}
        changed = {name: value for name, value in given.items() if value != fields[name].default}
        return {**dict.fromkeys(self.clearable - given.keys()), **changed}


@cache
def form_of(schema: type[Params]) -> type[ParamsForm]:
    """Return the form for the params of `schema`."""
    described = schema.model_json_schema()
    parts, required = described.get("$defs", {}), described.get("required", ())
    properties = described["properties"]
    fields: dict[str, Any] = {
        name: _field(_resolved(part, parts), required=name in required)
        for name, part in properties.items()
    }
    clearable = frozenset(
        name
        for name, part in properties.items()
        if {"type": "null"} in part.get("anyOf", ()) and part.get("default") is not None
    )
    attributes = {**fields, "schema": schema, "clearable": clearable}
    return type(f"{schema.__name__}Form", (ParamsForm,), attributes)


class LinesField(forms.CharField):
    """An input for several texts, one per line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 3, "cols": 60}), **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> Any:
        lines = super().clean(value).splitlines()
        return [line.strip() for line in lines if line.strip()]


def _field(part: Schema, *, required: bool) -> forms.Field:
    """Return the form field of one property."""
    options: dict[str, Any] = {
        "required": required,
        "initial": part.get("default"),
        "help_text": part.get("description", ""),
    }
    types = _types(part)
    if choices := _choices(part):
        return _choice(choices, options)
    if types == ["boolean"]:
        return _boolean(options)
    if types == ["array"]:
        return _list(part, options)
    if types == ["integer"]:
        return forms.IntegerField(**options, **_range(part))
    if types == ["number"]:
        return forms.FloatField(**options, **_range(part))
    if types and "object" not in types and "array" not in types:
        # The value may also be a text or a number; the schema decides.
        return _text(part, options)
    return JsonField(**options)


def _choice(choices: list[Any], options: dict[str, Any]) -> forms.Field:
    pairs = [(each, str(each).replace("_", " ")) for each in choices]
    if options["initial"] is None:
        pairs = [("", "—"), *pairs]
    by_text = {str(each): each for each in choices}
    return forms.TypedChoiceField(
        choices=pairs, coerce=by_text.__getitem__, empty_value=None, **options
    )


def _boolean(options: dict[str, Any]) -> forms.Field:
    if options["initial"] is None:
        return forms.NullBooleanField(**{**options, "required": False})
    # A box that is not ticked means False, so the field cannot be required.
    return forms.BooleanField(**{**options, "required": False})


def _list(part: Schema, options: dict[str, Any]) -> forms.Field:
    items = part.get("items", {})
    if choices := _choices(items):
        by_text = {str(each): each for each in choices}
        return forms.TypedMultipleChoiceField(
            choices=[(each, str(each).replace("_", " ")) for each in choices],
            coerce=by_text.__getitem__,
            **options,
        )
    if _types(items) == ["string"]:
        return LinesField(**{**options, "help_text": f"{options['help_text']} One per line."})
    return JsonField(**options)


def _text(part: Schema, options: dict[str, Any]) -> forms.Field:
    longest = part.get("maxLength")
    widget: forms.Widget = forms.TextInput(attrs={"size": 60})
    is_media = part.get("format") == "media"
    if part.get("format") == "multiline" or ((longest or 0) > LONG_TEXT and not is_media):
        widget = forms.Textarea(attrs={"rows": 4, "cols": 60})
    return forms.CharField(
        max_length=longest, min_length=part.get("minLength"), widget=widget, **options
    )


def _resolved(part: Schema, parts: Mapping[str, Schema]) -> Schema:
    """Return the piece with references resolved and without the alternative of null."""
    part = dict(part)
    if reference := part.pop("$ref", None):
        part = {**_resolved(parts[reference.rpartition("/")[2]], parts), **part}
    if "items" in part:
        part["items"] = _resolved(part["items"], parts)
    kinds = [_resolved(each, parts) for each in part.get("anyOf", ())]
    kinds = [each for each in kinds if each.get("type") != "null"]
    if len(kinds) == 1:
        del part["anyOf"]
        return {**kinds[0], **part}
    if kinds:
        part["anyOf"] = kinds
    return part


def _types(part: Schema) -> list[str]:
    """Return the JSON types that a value may have; empty if all are allowed."""
    if "anyOf" in part:
        found = [kind for each in part["anyOf"] for kind in _types(each) or ["object"]]
        return list(dict.fromkeys(found))
    return [part["type"]] if "type" in part else []


def _choices(part: Schema) -> list[Any]:
    return [part["const"]] if "const" in part else list(part.get("enum", ()))


def _range(part: Schema) -> dict[str, Any]:
    # Exclusive bounds and steps are left to the schema: Django counts steps from the minimum.
    return {"min_value": part.get("minimum"), "max_value": part.get("maximum")}
