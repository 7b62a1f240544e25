"""Untrusted text in the form that PostgreSQL can store."""

import math
from collections.abc import Mapping
from typing import Any

LONGEST_ESCAPE = 6
"""Characters that one may become: half a surrogate pair is written as \\udXXX."""
DEEPEST_JSON = 100
"""Objects and lists in each other; what stands deeper is left out."""
LEFT_OUT = "…"


def storable(text: str, *, longest: int) -> str:
    """`text` cut to `longest` characters, with NUL and halves of surrogate pairs written out.

    PostgreSQL refuses both, and what a server answers or a file is named may contain them.
    """
    plain = text[:longest].replace("\x00", "\\0")
    return plain.encode("utf-8", "backslashreplace").decode()[:longest]


def storable_json(value: Any, *, depth: int = 0) -> Any:
    """`value`, as JSON has it, with what jsonb refuses made storable: such text, NaN, infinities."""
    if depth > DEEPEST_JSON:
        return LEFT_OUT
    match value:
        case str():
            return storable(value, longest=LONGEST_ESCAPE * len(value))
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {
                storable_json(name): storable_json(one, depth=depth + 1)
                for name, one in value.items()
            }
        case list() | tuple():
            return [storable_json(one, depth=depth + 1) for one in value]
    return value
