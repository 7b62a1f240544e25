"""Files that go to Replicate and come from it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from providers.adapters.base import Output

LARGEST_INLINE = 256 * 1024
"""Bytes. "Use a data URL when you have a small file <= 256kb"; larger ones are uploaded first."""


def inline_bytes(url: Any) -> tuple[str, bytes] | None:
    """Type and content of a data address, None for anything else. Raises ValueError."""
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, _, text = url.removeprefix("data:").partition(",")
    kind, _, encoding = head.partition(";")
    if encoding != "base64":
        raise ValueError("only base64 is understood in a data address")
    try:
        return kind or "application/octet-stream", base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the data address is not base64") from error


def outputs_of(value: Any, own_files: str, headers: Mapping[str, str]) -> list[Output]:
    """The files in a prediction's output, wherever they stand in it.

    A file that the API itself serves, under `own_files`, is had with the account's key; nobody
    else is given it.
    """
    return [_output(url, own_files, headers) for url in _addresses(value)]


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(("https://", "http://", "data:")):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _addresses(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _addresses(each)


def _output(url: str, own_files: str, headers: Mapping[str, str]) -> Output:
    if inline := inline_bytes(url):
        return Output(data=inline[1])
    own = url.startswith(own_files)
    return Output(url=url, headers=dict(headers) if own else {})
