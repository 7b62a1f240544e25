"""How a confined parser answers: bounded batches, the next one only on request."""

import json
import time
from collections.abc import Iterable
from itertools import chain
from typing import Any

from crawler.errors import SourceRefused

MAX_ROWS = 1000
MAX_BATCH_BYTES = 1024**2
BATCH_SECONDS = 1.0
MAX_CELL = 8192
"""Characters of a value; an address is longer than any that is fetched."""
MAX_MESSAGE = 1000


class Batches:
    """Rows, each as JSON has it, in batches. An error comes after the rows before it."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._rows = iter(rows)
        self._next: list[Any] = []
        self._error: SourceRefused | None = None

    def next(self) -> dict[str, Any]:
        """Return the next rows and whether they are the last. Raise SourceRefused."""
        if self._error is not None:
            raise self._error
        taken: list[Any] = []
        size = 0
        deadline = time.monotonic() + BATCH_SECONDS
        try:
            for row in chain(self._next, self._rows):
                size += len(json.dumps(row, separators=(",", ":")))
                if taken and size > MAX_BATCH_BYTES:
                    self._next = [row]
                    return {"rows": taken, "end": False}
                taken.append(row)
                if len(taken) == MAX_ROWS or time.monotonic() > deadline:
                    self._next = []
                    return {"rows": taken, "end": False}
        except SourceRefused as error:
            if not taken:
                raise
            self._error = error
        self._next = []
        return {"rows": taken, "end": self._error is None}


def refused(field: str, why: object) -> dict[str, Any]:
    """Return the answer that refuses a document: the field to correct, and why."""
    return {"refused": [field, str(why)[:MAX_MESSAGE]]}


def cell(value: object, longest: int = MAX_CELL) -> object:
    """Return a value as an answer may hold it: texts are cut, and what is no number is a text."""
    match value:
        case str():
            return value[:longest]
        case None | bool() | float():
            return value
        case int() if abs(value) < 2**63:
            return value
        case bytes():
            return value.decode("utf-8", "replace")[:longest]
    return str(value)[:longest]
