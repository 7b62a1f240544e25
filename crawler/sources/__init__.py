"""Where candidates come from: one folder each, found by its name.

A source is a folder with a module `source` in it that defines one Source.

    source = build("urls", "/data/list.csv", {"url_column": "link"}, "cats")
    source.check()                      # before a job is accepted
    page = source.read(None)            # then again with page.cursor until that is None
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from crawler.errors import SourceRefused
from crawler.sources.base import Source
from pixsim.core.plugins import plugin_classes
from pixsim.core.urls import has_user_info


@cache
def all_sources() -> dict[str, type[Source]]:
    """Return every installed source by its kind."""
    found = plugin_classes(__name__, Source, module="source")
    return {each.kind: each for each in sorted(found, key=lambda each: each.kind)}


def build(kind: str, location: str, options: Mapping[str, Any] | None, label: str) -> Source:
    """Return a source, ready to be checked or read.

    Raise SourceRefused for a kind that is not installed, an empty location and wrong options.
    """
    if kind not in all_sources():
        known = ", ".join(all_sources())
        raise SourceRefused("kind", f"no source {kind!r:.50} is installed; there are: {known}")
    if not location.strip():
        raise SourceRefused("location", "is empty")
    return all_sources()[kind](location, options or {}, label)


def checked(kind: str, location: str, options: Mapping[str, Any] | None, label: str) -> Source:
    """Return a source that a job may have. Raise SourceRefused, naming what is wrong."""
    source = build(kind, location, options, label)
    if has_user_info(location):
        why = "names a user or a password, which are never sent and may be seen: leave them out"
        raise SourceRefused("location", why)
    source.check()
    return source


def guess_kind(location: str) -> str:
    """Return the kind whose `fit` for a path or an address is the best."""
    return max(all_sources().values(), key=lambda source: source.fit(location.strip())).kind


def title_of(kind: str) -> str:
    """Return what people call a kind of source; one that is not installed is named as such."""
    source = all_sources().get(kind)
    return source.title if source else f"{kind} (not installed)"


def described_options() -> list[str]:
    """Return for each source with options a sentence that explains them."""
    return [
        f"{source.kind}: "
        + ", ".join(f"{option.name} ({option.help})" for option in source.known_options)
        + "."
        for source in all_sources().values()
        if source.known_options
    ]
