"""What no schema takes, and how a refusal names its field."""

from typing import Any

import pytest
from pydantic import Field, ValidationInfo, create_model, field_validator

from providers.adapters.operations import _field
from providers.adapters.params import Media, Params, ParamsRefused, validated


class Anything(Params):
    """As a model takes it of which we know no schema."""

    input: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, Media | list[Media]] = Field(default_factory=dict)
    text: str = ""
    amount: float = Field(0.0, ge=0, le=1)
    steps: int = 1

    @field_validator("steps")
    @classmethod
    def _fits(cls, value: int, info: ValidationInfo) -> int:
        if value > 5 and info.data.get("amount"):
            raise ValueError("at most 5 with an amount.")
        return value


def refused(**values: Any) -> dict[str, str]:
    with pytest.raises(ParamsRefused) as refusal:
        validated(Anything, values)
    return refusal.value.errors


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NUL = "It has a NUL character (U+0000) in it."


def test_what_jsonb_does_not_hold_is_refused_wherever_it_stands() -> None:
    assert refused(text="a\0b") == {"text": NUL}
    assert refused(input={"a": [{"b": "\0"}]}) == {"input.a.0.b": NUL}
    assert refused(input={"a\0": 1}) == {"input": f"One of its names: {NUL}"}
    assert refused(files={"image": "https://example.org/\0"}) == {"files.image": NUL}
    half = refused(input={"a": "\ud83d"})
    assert half == {"input.a": "Half of a character (U+D83D) stands alone in it."}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_in_json_is_refused_wherever_it_stands(value: float) -> None:
    assert set(refused(amount=value)) == {"amount"}
    assert refused(input={"a": (1, value)}) == {"input.a.1": f"{value} is no number that JSON has."}


def test_values_stand_in_each_other_only_so_deep() -> None:
    assert validated(Anything, {"input": {"a": nested(30)}})
    assert set(refused(input={"a": nested(33)})) == {"input"}
    assert set(refused(input={"a": nested(5_000)})) == {"input"}


def test_every_wrong_field_is_named_once_and_as_the_caller_knows_it() -> None:
    errors = refused(text="\0", amount=2, colour="red", files={"a": ["", 5], "b": 1})

    assert set(errors) == {
        "text",
        "amount",
        "colour",
        "files.a",
        "files.a.0",
        "files.a.1",
        "files.b",
    }


def test_a_refusal_of_ours_is_told_as_it_was_written() -> None:
    assert refused(amount=1, steps=6) == {"steps": "at most 5 with an amount."}


@pytest.mark.parametrize("name", ["jpg", ".JPG", "image/jpeg", "jpeg"])
def test_a_picture_format_may_be_called_as_people_call_it(name: str) -> None:
    ours = create_model(
        "Ours",
        __base__=Params,
        format=_field(choices=["png", "jpeg", "webp"]),
        other=_field(choices=["jpg", "png"]),
    )
    assert validated(ours, {"format": name, "other": name}).canonical() == {
        "format": "jpeg",
        "other": "jpg",
    }
    with pytest.raises(ParamsRefused, match="'png', 'jpeg' or 'webp'"):
        validated(ours, {"format": "gif", "other": "png"})
