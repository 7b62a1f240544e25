"""Untrusted text in the form that PostgreSQL can store."""

import math
from collections.abc import Mapping
from typing import Any

LONGEST_ESCAPE = 6
"""Characters that one may become: half a surrogate pair is written as \\udXXX."""


def storable(text: str, *, longest: int) -> str:
    """`text` cut to `longest` characters, with NUL and halves of surrogate pairs written out.

    PostgreSQL refuses both, and what a server answers or a file is named may contain them.
    """
    plain = text[:longest].replace("\x00", "\\0")
    return plain.encode("utf-8", "backslashreplace").decode()[:longest]


def storable_json(value: Any) -> Any:
    """`value`, as JSON has it, with what jsonb refuses made storable: such text, NaN, infinities."""
    match value:
        case str():
            return storable(value, longest=LONGEST_ESCAPE * len(value))
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {storable_json(name): storable_json(one) for name, one in value.items()}
        case list() | tuple():
            return [storable_json(one) for one in value]
    return value
