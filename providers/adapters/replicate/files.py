"""Input and output files of Replicate."""

from collections.abc import Iterator, Mapping
from typing import Any

from pixsim.core.patterns import pattern
from providers.adapters.base import Output
from providers.adapters.inline import inline_bytes

LARGEST_INLINE = 256 * 1024
"""Bytes. "Use a data URL when you have a small file <= 256kb"; larger ones are uploaded first."""


match_delivery = pattern(
    r"(?i)https://([a-z0-9-]+\.)*replicate\.delivery/", longest=300, method="match"
)
""" "Output files are served by replicate.delivery and its subdomains"; "you'll need to pass the
Authorization header to request them"."""


def needs_key(url: str, own_files: str) -> bool:
    """Return whether fetching a file needs the account's key: only Replicate's own files do."""
    return url.startswith(own_files) or match_delivery(url) is not None


def outputs_of(value: Any, own_files: str, headers: Mapping[str, str]) -> list[Output]:
    """Return the files in a prediction's output, at any depth.

    `own_files` is the address at which the API serves files; `headers` are sent only if `needs_key`.
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
    return Output(url=url, headers=dict(headers) if needs_key(url, own_files) else {})
