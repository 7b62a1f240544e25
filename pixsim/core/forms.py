"""Form fields that any app may use."""

import json
from typing import Any

from django import forms

MAX_JSON_CHARACTERS = 100_000


class JsonField(forms.JSONField):
    """An input for JSON that PostgreSQL can store: no NaN, infinity, NUL or unpaired surrogate."""

    def __init__(self, **options: Any) -> None:
        area = forms.Textarea(attrs={"rows": 3, "cols": 60, "spellcheck": "false"})
        super().__init__(**{"widget": area, **options})

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > MAX_JSON_CHARACTERS:
            raise forms.ValidationError(f"At most {MAX_JSON_CHARACTERS:,} characters.")
        try:
            read = super().to_python(value)
            text = json.dumps(read, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (RecursionError, ValueError):  # nested deeply, or a number of thousands of digits
            raise forms.ValidationError("Cannot be read or stored.") from None
        if "\\u0000" in text:
            raise forms.ValidationError("Contains a value that cannot be stored.")
        return read

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except (RecursionError, ValueError):
            return forms.fields.InvalidJSONInput(data)
