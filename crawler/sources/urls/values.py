"""The values of a list's rows as texts, written as people would write them."""

import json
import math
from decimal import Decimal

from pixsim.core.patterns import pattern

MISSING = frozenset(
    {"", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "Null", "None", "NaT", "<NA>"}
    | {"N/A", "n/a", "#N/A", "#NA", "\\N"}
)
"""What programs write for what is missing. Not NA, a country and an element; nor none, maybe a class."""
SHOWN_EXPONENTS = range(-7, 21)
"""Numbers of this size are written without an exponent, as JavaScript does."""

_match_whole_number = pattern(r"(-?\d{1,18})\.0+", longest=40, method="fullmatch")


def text_of(value: object) -> str:
    """Return a value as text, without white space around it; empty if it is missing."""
    match value:
        case bool() | str():
            text = str(value)
        case float():
            text = _number(Decimal(repr(value))) if math.isfinite(value) else str(value)
        case Decimal():
            text = _number(value) if value.is_finite() else str(value)
        case bytes():
            text = value.decode("utf-8", "replace")
        case [str() | int() | float() as only]:
            return text_of(only)
        case list() | tuple() | dict():
            text = json.dumps(value, ensure_ascii=False, default=text_of) if value else ""
        case _:
            text = str(value)
    text = text.strip()
    return "" if text in MISSING else text


def number_text_of(value: object) -> str:
    """Return the text of a label or an id. 1.0 is 1, also as text: programs so write columns with gaps."""
    text = text_of(value)
    whole = _match_whole_number(text)
    return whole[1] if whole else text


def _number(value: Decimal) -> str:
    if not value:
        return "0"
    if value.adjusted() not in SHOWN_EXPONENTS:
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
