"""The one reader of settings from the environment, and of the file `.env`.

What is empty counts as not set. What cannot be meant is refused in one line that names the variable,
and that quotes no secret. Nothing is replaced inside a value: `$` is a character like any other.
"""

import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from pixsim.core.redaction import declare

N = TypeVar("N", int, float)
F = TypeVar("F", bool, None)

WORDS = {
    **dict.fromkeys(("true", "yes", "on", "1", "y", "t"), True),
    **dict.fromkeys(("false", "no", "off", "0", "n", "f"), False),
}
LONGEST_SHOWN = 40


class Env:
    """Settings by name. Each method returns `default` for what is not set."""

    def __init__(self, values: Mapping[str, str] = os.environ) -> None:
        self._values = values

    def text(self, name: str, default: str = "", *, choices: Collection[str] = ()) -> str:
        """With `choices` return the one that is meant, however it is capitalised."""
        value = self._get(name) or default
        if not choices:
            return value
        for choice in choices:
            if choice.lower() == value.lower():
                return choice
        raise _wrong(name, f"be one of {', '.join(choices)}", value)

    def secret(self, name: str) -> str:
        """Return the value of a setting that no log line may show."""
        declare(name)
        return self._get(name)

    def secrets(self, name: str) -> list[str]:
        declare(name)
        return self.items(name)

    def flag(self, name: str, default: F) -> bool | F:
        value = self._get(name)
        if value.lower() not in {"", *WORDS}:
            raise _wrong(name, "be true or false", value)
        return WORDS[value.lower()] if value else default

    def integer(self, name: str, default: int, *, least: int = 0, most: float = math.inf) -> int:
        return self._number(name, default, int, "a whole number", least, most)

    def number(
        self, name: str, default: float, *, least: float = 0.0, most: float = math.inf
    ) -> float:
        return self._number(name, default, float, "a number", least, most)

    def integers(self, name: str, default: list[int], *, least: int, most: int) -> list[int]:
        items = self.items(name)
        if not all(item.isdecimal() and least <= int(item) <= most for item in items):
            raise _wrong(
                name, f"have whole numbers from {least} to {most}, by commas", self._get(name)
            )
        return [int(item) for item in items] or default

    def items(self, name: str, default: Collection[str] = ()) -> list[str]:
        """Return what stands between commas."""
        value = self._get(name)
        return [item for part in value.split(",") if (item := part.strip())] or list(default)

    def mapping(self, name: str, *, secret: bool = False) -> dict[str, Any]:
        """Return a JSON object; an empty one if it is not set."""
        if secret:
            declare(name)
        try:
            value = json.loads(self._get(name) or "{}")
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ImproperlyConfigured(f'{name} must be a JSON object such as {{"name": "value"}}.')
        return value

    def _get(self, name: str) -> str:
        return self._values.get(name, "").strip()

    def _number(
        self, name: str, default: N, cast: Callable[[str], N], what: str, least: float, most: float
    ) -> N:
        value = self._get(name)
        if not value:
            return default
        try:
            number = cast(value)
        except ValueError:
            raise _wrong(name, f"be {what} without a unit", value) from None
        if not least <= number <= most or number == math.inf:
            limits = f"from {least:g} up" if most == math.inf else f"from {least:g} to {most:g}"
            raise _wrong(name, f"be {what} {limits}", value)
        return number


def _wrong(name: str, rule: str, value: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} must {rule}, not {value[:LONGEST_SHOWN]!r}.")


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file in the format of `.env`; none if there is no file.

    A line is empty, a comment (`# …`), or `NAME=value`, with spaces around the `=` and the word
    `export` before it, if you like. A value ends before ` #`, and white space around it is dropped;
    between quotes it is kept as it is, and between double quotes `\\n`, `\\t`, `\\"` and `\\\\` mean
    what they mean in JSON. Raise ImproperlyConfigured with the number of a line that is none of
    these, and do not quote it.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ImproperlyConfigured(f"{path} cannot be read: {why}.") from None
    values = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                name, value = _assignment(line)
            except ValueError:
                raise ImproperlyConfigured(
                    f"{path}, line {number}: this is not NAME=value, or a quote is not closed."
                ) from None
            values[name] = value
    return values


ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def _assignment(line: str) -> tuple[str, str]:
    before, equals, after = line.partition("=")
    name = before.removeprefix("export ").strip()
    if not (equals and name.isidentifier() and name.isascii()):
        raise ValueError
    value = after.lstrip()
    if value.startswith(("'", '"')):
        return name, _unquoted(value[0], iter(value[1:]))
    return name, after.replace("\t#", " #").partition(" #")[0].strip()


def _unquoted(quote: str, characters: Iterator[str]) -> str:
    value = ""
    for character in characters:
        if character == quote:
            if "".join(characters).lstrip()[:1] not in ("", "#"):
                break
            return value
        if character == "\\" and quote == '"':
            following = next(characters, "")
            character = ESCAPES.get(following, character + following)
        value += character
    raise ValueError
