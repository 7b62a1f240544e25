"""Untrusted text and JSON: how they are read, and the form that PostgreSQL can store."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from encodings.aliases import aliases
from typing import Any
from unicodedata import category

LONGEST_ESCAPE = 6
"""Characters that one may become: half a surrogate pair is written as \\udXXX."""
DEEPEST_JSON = 100
"""Objects and lists in each other; what stands deeper is left out."""
MOST_JSON = 200_000
"""Values of one document."""
LEFT_OUT = "…"
CONTROLS = ("Cc", "Zl", "Zp")

ENCODINGS = (
    "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be",
    "ascii", *(f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)), "latin_1",
    *(f"cp125{n}" for n in range(9)), "cp437", "cp850", "cp852", "cp866", "cp874", "koi8_r", "koi8_u",
    "mac_cyrillic", "mac_roman", "tis_620", "big5", "big5hkscs", "cp932", "cp949", "cp950", "euc_jp",
    "euc_kr", "gb18030", "gb2312", "gbk", "iso2022_jp", "johab", "shift_jis",
)  # fmt: skip
"""The only ones in which untrusted text is decoded: all take linear time, none is a compression."""


def path_text(path: str | bytes | os.PathLike[str]) -> str:
    r"""Return a path for people and columns of texts: bytes that are no UTF-8 and controls as \xe9, \n."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        each.encode("unicode_escape").decode() if category(each) in CONTROLS else each
        for each in text
    )


def unfit(text: str, longest: int) -> str:
    """Return why a column of so many characters does not hold a text; empty if it does.

    What a person or a source gives is refused and not cut: what is cut is another text.
    """
    if len(text) > longest:
        return f"may have at most {longest:,} characters, not {len(text):,}"
    if any("\ud800" <= each <= "\udfff" for each in text):
        return "has a byte in it that is no UTF-8, or half of a surrogate pair"
    return "has a NUL character (U+0000) in it" if "\0" in text else ""


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


_ENCODING_BY_NAME = {
    _letters(name): codec
    for name, codec in [*aliases.items(), *((codec, codec) for codec in ENCODINGS)]
    if codec in ENCODINGS
}


def text_encoding(name: str) -> str | None:
    """Return the encoding, one of ENCODINGS, that an untrusted name of one means, else None."""
    return _ENCODING_BY_NAME.get(_letters(name[:50]))


_ON_THE_WEB = {
    "ascii": "cp1252", "latin_1": "cp1252", "iso8859_9": "cp1254", "tis_620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip


def web_encoding(name: str) -> str | None:
    """Return what a name means on the web: the larger encoding that pages use under that name."""
    name = name.strip().lower().removeprefix("x-").replace("windows-", "cp")
    known = text_encoding(name)
    return _ON_THE_WEB.get(known, known) if known else None


def read_json(text: str | bytes) -> Any:
    """Return what untrusted JSON says, without what stands deeper than DEEPEST_JSON.

    Raise ValueError if it is no JSON, nested too deeply to be read, or has more than MOST_JSON values.
    """
    marks: Any = b",[{" if isinstance(text, bytes) else ",[{"
    if sum(text.count(marks[at : at + 1]) for at in range(len(marks))) > MOST_JSON:
        raise ValueError(f"the JSON has more than {MOST_JSON:,} values")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [inner for outer in level for inner in _inside(outer)]
    for outer in level:
        if isinstance(outer, dict | list):
            outer.clear()
    return value


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
