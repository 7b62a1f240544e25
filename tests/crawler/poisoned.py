"""Parsers of untrusted documents with a defect: some words crash or occupy them, as a real one may.

For `Parser`: the real module, in the same kind of process, with one function that looks for the words.
"""

import ctypes
import os
from collections.abc import Callable
from typing import Any

from crawler.parsing import document_child
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
    """Return what reads a list; without options what parses documents."""
    if not options:
        return _documents()
    sent = reading._sent

    def falling(row: Any) -> Any:
        fall(str(row.values))
        return sent(row)

    reading._sent = falling
    reading.CPU_SECONDS = 0.3
    return reading.prepare(**options)


def _documents() -> Callable[..., Any]:
    parse = document_child.robots_file.parse

    def falling_parse(body: bytes, token: str) -> Any:
        fall(body.decode())
        return parse(body, token)

    def falling_rows(rows: Callable[..., Any]) -> Callable[..., Any]:
        def call(body: bytes, *known: Any) -> Any:
            for row in rows(body, *known):
                fall(str(row))
                yield row

        return call

    document_child.robots_file.parse = falling_parse
    document_child.KINDS = {name: falling_rows(rows) for name, rows in document_child.KINDS.items()}
    document_child.CPU_SECONDS = document_child.ROBOTS_CPU_SECONDS = 0.3
    return document_child.prepare()
