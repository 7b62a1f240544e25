"""Parsers of strangers' documents with a defect: some words crash or occupy them, as a real one may.

For `Parser`: the real module, in the same kind of process, with one function that looks for the words.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any

from crawler.sources.urls import reading


def fall(text: str) -> None:
    """Do what a document asks for."""
    if "CRASH" in text:
        ctypes.string_at(0)
    while "COMPUTE" in text:
        pass
    if "WAIT" in text:
        os.read(0, 1 << 20)  # as if it waited for something that never comes


def prepare(**options: Any) -> Callable[..., Any]:
    """Return what reads lists."""
    sent = reading._sent

    def falling(row: Any) -> Any:
        fall(str(row.values))
        return sent(row)

    reading._sent = falling
    reading.CPU_SECONDS = 0.3
    return reading.prepare(**options)
