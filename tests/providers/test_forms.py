"""A form made of a schema takes what the schema takes, and shows its refusals on the field."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from django import forms
from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator

from pixsim.core.forms import JsonField
from providers.adapters import all_adapters
from providers.adapters.params import Media, Params
from providers.forms import LinesField, ParamsForm, form_of
from tests.providers.adapters.local_fake import CASE


class Everything(Params):
    """One field of each kind."""

    prompt: str = Field(min_length=2, max_length=2000, description="What it shows.")
    image: Media
    name: str = "Ann"
    size: Literal["small", "very_large"] = "small"
    seconds: Literal[4, 8] = 4
    speed: Literal["slow", "fast"] | None = None
    count: int = Field(1, ge=1, le=4)
    share: float = Field(0.5, gt=0, lt=1)
    seed: int | None = Field(None, ge=0)
    volume: int | None = 5
    loud: bool = True
    sure: bool | None = None
    tags: list[str] = Field(default_factory=list)
    sides: list[Literal["left", "right"]] = Field(default_factory=list)
    length: Literal["auto"] | int = "auto"
    more: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _no_bob(cls, value: str, info: ValidationInfo) -> str:
        if value == "Bob":
            raise ValueError("Not Bob.")
        return value

    @model_validator(mode="after")
    def _not_fast_and_loud(self) -> Everything:
        if self.speed == "fast" and self.loud:
            raise ValueError("Fast and loud do not go together.")
        return self


NEEDED = {"prompt": "a red panda", "image": "asset:7"}


def filled(**values: Any) -> ParamsForm:
    return form_of(Everything)({**NEEDED, **values})


def test_each_kind_of_value_has_its_input() -> None:
    fields = form_of(Everything)().fields

    assert list(fields) == list(Everything.model_fields)
    assert isinstance(fields["prompt"].widget, forms.Textarea)
    assert isinstance(fields["image"].widget, forms.TextInput)
    kinds = {
        "name": forms.CharField,
        "size": forms.TypedChoiceField,
        "seconds": forms.TypedChoiceField,
        "count": forms.IntegerField,
        "share": forms.FloatField,
        "seed": forms.IntegerField,
        "loud": forms.BooleanField,
        "sure": forms.NullBooleanField,
        "tags": LinesField,
        "sides": forms.TypedMultipleChoiceField,
        "length": forms.CharField,
        "more": JsonField,
    }
    assert {name: type(fields[name]) for name in kinds} == kinds


def test_defaults_ranges_choices_and_help_come_from_the_schema() -> None:
    fields = form_of(Everything)().fields

    assert [name for name, field in fields.items() if field.required] == ["prompt", "image"]
    assert fields["prompt"].help_text == "What it shows."
    assert fields["name"].initial == "Ann"
    assert (fields["count"].min_value, fields["count"].max_value) == (1, 4)
    assert fields["size"].choices == [("small", "small"), ("very_large", "very large")]
    assert fields["seconds"].choices == [(4, "4"), (8, "8")]
    assert fields["speed"].choices[0] == ("", "—")


def test_what_is_left_empty_has_its_default() -> None:
    form = filled(name="", count="", size="small", loud="on", volume="5")
    assert form.is_valid(), form.errors
    assert form.params == Everything(**NEEDED)


def test_a_field_that_may_have_no_value_can_be_emptied() -> None:
    assert filled(volume="", loud="on").params is None
    form = filled(volume="", loud="on")
    assert form.is_valid()
    assert form.params is not None
    assert form.params.canonical()["volume"] is None


def test_what_is_filled_in_becomes_params() -> None:
    form = filled(
        size="very_large",
        seconds="8",
        speed="fast",
        share="0.25",
        seed="12",
        sure="false",
        tags="one\n two \n\nthree",
        sides=["left"],
        length="12",
        more='{"a": [1, {"b": null}]}',
    )
    assert form.is_valid(), form.errors
    assert form.params is not None
    assert form.params.canonical() == {
        **NEEDED,
        "name": "Ann",
        "size": "very_large",
        "seconds": 8,
        "speed": "fast",
        "count": 1,
        "share": 0.25,
        "seed": 12,
        "volume": None,
        "loud": False,
        "sure": False,
        "tags": ["one", "two", "three"],
        "sides": ["left"],
        "length": 12,
        "more": {"a": [1, {"b": None}]},
    }


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"prompt": " "}, "prompt"),
        ({"prompt": "x"}, "prompt"),
        ({"prompt": "a\x00b"}, "prompt"),
        ({"count": "5"}, "count"),
        ({"count": "9" * 5000}, "count"),
        ({"share": "1"}, "share"),
        ({"share": "nan"}, "share"),
        ({"size": "huge"}, "size"),
        ({"sides": ["up"]}, "sides"),
        ({"length": "long"}, "length"),
        ({"name": "Bob"}, "name"),
        ({"more": "{"}, "more"),
        ({"more": "[1]"}, "more"),
        ({"more": "[" * 50_000}, "more"),
        ({"more": "9" * 50_000}, "more"),
        ({"more": '{"a": NaN}'}, "more"),
        ({"more": '{"a": "\\u0000"}'}, "more"),
        ({"more": '{"a": "\\ud800"}'}, "more"),
        ({"speed": "fast", "loud": "on"}, "__all__"),
    ],
)
def test_a_refusal_stands_on_its_field(values: dict[str, Any], field: str) -> None:
    form = filled(**values)
    assert list(form.errors) == [field]
    assert form.params is None
    assert "Value error" not in str(form.errors)
    assert form.as_p()


def test_a_missing_picture_is_asked_for() -> None:
    assert list(form_of(Everything)({"prompt": "xx"}).errors) == ["image"]


def test_several_forms_may_stand_on_one_page() -> None:
    form = form_of(Everything)({"p-prompt": "xx", "p-image": "asset:1", "prompt": ""}, prefix="p")
    assert form.is_valid(), form.errors


@pytest.mark.parametrize(
    ("name", "operation", "model"),
    [
        (adapter.name, operation.name, model)
        for adapter in all_adapters().values()
        for operation in adapter.operations.values()
        for model in operation.models
    ],
)
def test_every_schema_has_a_form_that_shows_its_fields(
    name: str, operation: str, model: str
) -> None:
    schema = all_adapters()[name].operations[operation].models[model]
    form = form_of(schema)()
    assert list(form.fields) == list(schema.model_fields)
    assert form.as_p()


@pytest.mark.parametrize("operation", CASE.samples)
def test_a_form_as_a_browser_sends_it_makes_the_params_of_the_values(operation: str) -> None:
    declared = all_adapters()["local"].operations[operation]
    schema = declared.models[declared.default_model]
    sample = CASE.samples[operation]
    shown = {name: field.initial for name, field in form_of(schema)().fields.items()}
    sent = {name: "" if value is None else str(value) for name, value in (shown | sample).items()}

    form = form_of(schema)(sent)

    assert form.is_valid(), form.errors
    assert form.params == schema.model_validate(sample)
    assert json.dumps(form.params.canonical())


def test_a_reused_part_of_a_schema_is_followed() -> None:
    Tone = Annotated[Literal["low", "high"], Field(description="How it sounds.")]

    class Part(Params):
        tone: Tone = "low"

    class Whole(Params):
        part: Part
        tone: Tone | None = None

    form = form_of(Whole)({"part": '{"tone": "loud"}', "tone": "high"})
    assert list(form.errors) == ["part"]
    form = form_of(Whole)({"part": '{"tone": "high"}', "tone": ""})
    assert form.is_valid(), form.errors
