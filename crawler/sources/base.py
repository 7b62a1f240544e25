"""What every source has in common: entries come in pages that can be resumed anywhere."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from crawler.errors import SourceRefused, SourceUnavailable

MAX_LABEL = 100
MAX_TEXT = 500
MAX_WORDS_OF_REJECTED = 200
# A page of a slow source ends after this long, so that what was found is kept soon.
PAGE_SECONDS = 10.0

Cursor = dict[str, Any]
Rejected = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """One candidate.

    `url` is a canonical http(s) address, or file:/// for pictures inside CRAWL_FOLDER_ROOTS.
    `provenance` has keys among source, source_id, landing_page, title, creator, licence,
    licence_url and attribution.
    """

    url: str
    label: str = ""
    provenance: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One step of reading.

    `rejected` names each entry that is no usable address and why; `cursor` is the bookmark for
    the next read, None at the end.
    """

    found: list[Found]
    rejected: list[Rejected]
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Step:
    """The smallest piece of a source that can be resumed after: a row, a file, a web page."""

    cursor: Cursor
    found: list[Found] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


class Source(ABC):
    """A place that names pictures. Subclasses say how to walk it from any of their cursors."""

    kind: ClassVar[str]
    # Option name → type of its value.
    option_types: ClassVar[Mapping[str, type]] = {}

    def __init__(self, location: str, options: Mapping[str, Any], label: str) -> None:
        """Raises SourceRefused for an option that this kind does not have, or of another type."""
        self.location = location.strip()
        self.options = options
        self.label = clean(label, MAX_LABEL)
        self._check_options()
        # Called whenever something was done, for whoever must know that a long read is alive.
        self.progress: Callable[[], None] = lambda: None
        self._walk: tuple[Cursor | None, Iterator[Step]] | None = None

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work, before a job is accepted; asks nothing of the network.

        Raises SourceRefused naming the field to correct.
        """

    @abstractmethod
    def walk(self, cursor: Cursor | None) -> Iterator[Step]:
        """The steps after `cursor`, always in the same order. Raises like `read`."""

    def read(self, cursor: Cursor | None, *, limit: int = 1000) -> Page:
        """The next entries after `cursor`, about `limit` of them; fewer when they come slowly.

        Reading the same cursor again gives the same entries. Raises SourceRefused when the source
        cannot be read, SourceUnavailable when it does not answer now; what came before such a
        place is returned first.
        """
        found: list[Found] = []
        rejected: list[Rejected] = []
        deadline = time.monotonic() + PAGE_SECONDS
        try:
            for step in self._steps_after(cursor):
                self.progress()
                found += step.found
                rejected += step.rejected
                cursor = step.cursor
                if len(found) + len(rejected) >= limit or time.monotonic() > deadline:
                    return Page(found, rejected, cursor)
        except (SourceRefused, SourceUnavailable):
            if found or rejected:
                return Page(found, rejected, cursor)
            raise
        return Page(found, rejected, None)

    def _steps_after(self, cursor: Cursor | None) -> Iterator[Step]:
        """The steps after `cursor`; those of the walk we are in when it stands there."""
        if self._walk is None or self._walk[0] != cursor:
            self._walk = (cursor, self.walk(cursor))
        _, steps = self._walk
        self._walk = None
        for step in steps:
            self._walk = (step.cursor, steps)
            yield step
            self._walk = None  # a walk that raises now is over

    def _check_options(self) -> None:
        for name, value in self.options.items():
            wanted = self.option_types.get(name)
            if wanted is None:
                known = ", ".join(self.option_types) or "none"
                raise SourceRefused(
                    f"options.{name}",
                    f"a source of kind {self.kind!r} has no such option; it has: {known}",
                )
            if type(value) is not wanted:
                words = {str: "a text", bool: "true or false", int: "a whole number"}[wanted]
                raise SourceRefused(f"options.{name}", f"must be {words}, not {value!r:.50}")


def clean(text: object, longest: int = MAX_TEXT) -> str:
    """Text as PostgreSQL and a person can take it: one line, no control characters, not endless."""
    raw = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    raw = raw[: longest * 4]
    if not raw.isprintable():
        raw = raw.encode("utf-8", "replace").decode()
        raw = "".join(c if c.isprintable() else " " for c in raw)
    return " ".join(raw.split())[:longest].rstrip()


def rejection(entry: object, why: object) -> Rejected:
    """An entry as it was seen, shortened, and why it is no candidate."""
    return clean(entry, MAX_WORDS_OF_REJECTED), clean(why)


def provenance(**values: object) -> dict[str, str]:
    """The named values that say something, as text."""
    texts = {name: clean(value) for name, value in values.items() if value is not None}
    return {name: text for name, text in texts.items() if text}
