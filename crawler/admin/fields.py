"""Form fields of the crawler's admin: what people type, as what the columns hold."""

import json
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput

MAX_LABEL = 100
MAX_LABELS = 1000
MAX_OPTIONS_LENGTH = 10_000


class LabelsField(forms.CharField):
    """Class labels separated by commas or lines, as a list."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        labels = [" ".join(part.split()) for part in text.replace("\n", ",").split(",")]
        labels = list(dict.fromkeys(label for label in labels if label))
        if any(len(label) > MAX_LABEL for label in labels):
            raise forms.ValidationError(f"A label has at most {MAX_LABEL} characters.")
        if len(labels) > MAX_LABELS:
            raise forms.ValidationError(f"There may be at most {MAX_LABELS} labels.")
        return labels


class OptionsField(forms.JSONField):
    """A JSON object that PostgreSQL can store; empty means `{}`."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("initial", dict)
        kwargs.setdefault("required", False)
        kwargs.setdefault(
            "widget", forms.Textarea(attrs={"rows": 1, "cols": 22, "spellcheck": "false"})
        )
        super().__init__(**kwargs)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(initial or {}, data or "{}")

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except (RecursionError, ValueError):
            return InvalidJSONInput(data)

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > MAX_OPTIONS_LENGTH:
            raise forms.ValidationError(f"At most {MAX_OPTIONS_LENGTH:,} characters.")
        try:
            options = super().to_python(value)
        except (RecursionError, ValueError):  # deeply nested, or a number of thousands of digits
            raise forms.ValidationError("Cannot be read.") from None
        if options in self.empty_values:
            return {}
        if not isinstance(options, dict):
            raise forms.ValidationError('Must be a JSON object, as {"name": value}.')
        if not _is_storable(options):
            raise forms.ValidationError("Contains a value that cannot be stored.")
        return options


def _is_storable(options: dict[str, Any]) -> bool:
    """Whether PostgreSQL's jsonb takes it: no NaN, no infinity, no NUL, no half surrogate pair."""
    try:
        text = json.dumps(options, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return False
    return "\\u0000" not in text
