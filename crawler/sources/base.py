"""What every source has in common: entries come in pages, and reading resumes after any of them."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.labels import LabelTooLong, check_label
from pixsim.core.formats import first_line
from pixsim.core.redaction import redact
from pixsim.core.text import LONGEST_ESCAPE, storable, unfit
from pixsim.core.urls import MAX_LENGTH

logger = logging.getLogger(__name__)

MAX_TEXT = 500
MAX_OPTION = 1000
MAX_LABEL_READ = 10_000
MAX_CAPTION = 100_000
MAX_REJECTED_TEXT = 200
WHOLE = ("landing_page", "licence_url", "source_id")
# A page with captions ends at so many characters: a thousand of the longest would fill the memory.
MAX_PAGE_CAPTIONS = 4_000_000
# A page of a slow source ends after this long, so that what was found is stored soon.
PAGE_SECONDS = 10.0
TYPE_NAMES = {str: "a text", bool: "true or false", int: "a whole number"}

Cursor = dict[str, Any]
Rejected = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """One candidate.

    `url` is an http(s) address as found (`sendable`), or file:/// for pictures inside CRAWL_FOLDER_ROOTS.
    `provenance` has keys among source, source_id, landing_page, caption, title, creator, licence,
    licence_url and attribution.
    """

    url: str
    label: str = ""
    provenance: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Entries that were read: a whole page, or the smallest piece that reading can resume after.

    `rejected` has each entry that is no usable address, and why. `cursor` is where the next read
    begins; None at the end of the source.
    """

    cursor: Cursor | None
    found: list[Found] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a source: its flag on the command line and its line of help derive from it."""

    name: str
    type: type[str] | type[bool] | type[int]
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    at_most: int | None = None

    def accept(self, value: object) -> object:
        """Return the value, a choice in its one spelling. Raise SourceRefused if it may not be given."""
        field = f"options.{self.name}"
        if type(value) is not self.type:
            raise SourceRefused(field, f"must be {TYPE_NAMES[self.type]}, not {value!r:.50}")
        if isinstance(value, str) and (why := unfit(value, MAX_OPTION)):
            raise SourceRefused(field, why)
        if self.choices:
            plain = str(value).strip().lower().lstrip("*.")
            value = self.aliases.get(plain, plain)
            if value not in self.choices:
                raise SourceRefused(field, f"must be one of {', '.join(self.choices)}")
        if self.at_most is not None and not 1 <= int(value) <= self.at_most:
            raise SourceRefused(field, f"must be from 1 to {self.at_most}")
        return value


class Source(ABC):
    """A place that names pictures. A subclass reads it from any of its own cursors on.

    `title` says what a kind of source is, `place` what its location may be; people read both.
    `options` has the value of every option, the default where none was given; `given_options` those
    that were given, as they are stored.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar[str]
    takes_path: ClassVar[bool] = False
    known_options: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, location: str, options: Mapping[str, Any], label: str) -> None:
        """Raise SourceRefused for a label that is too long, an option that this kind does not have, or a
        wrong value.
        """
        self.location = location.strip()
        try:
            self.label = label_of(label)
        except LabelTooLong as error:
            raise SourceRefused("label", str(error)) from None
        known = {option.name: option for option in self.known_options}
        self.given_options: dict[str, Any] = {}
        for name, value in options.items():
            if name not in known:
                raise SourceRefused(
                    f"options.{name}",
                    f"a source of kind {self.kind!r} has no such option; it has: "
                    f"{', '.join(known) or 'none'}",
                )
            self.given_options[name] = known[name].accept(value)
        defaults = {name: option.default for name, option in known.items()}
        self.options = defaults | self.given_options
        # Called after each piece of work, for whoever must know that a long read makes progress.
        self.progress: Callable[[], None] = lambda: None
        self._walk: tuple[Cursor | None, Iterator[Page]] | None = None

    @classmethod
    def fit(cls, location: str) -> int:
        """Return how well a location suits: 0 not at all, 1 possibly, 2 or more by its name."""
        return 0

    @abstractmethod
    def check(self) -> None:
        """Raise SourceRefused, naming the field to correct, for what cannot work.

        Called before a job is accepted; must not use the network.
        """

    @abstractmethod
    def walk(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield what comes after `cursor` in small pieces, always in the same order.

        Raise like `read`.
        """

    def read(self, cursor: Cursor | None, *, limit: int = 1000) -> Page:
        """Return the next entries after `cursor`, about `limit`; fewer when they come slowly.

        Reading the same cursor again gives the same entries. Raise SourceRefused when the source
        cannot be read, SourceUnavailable when it does not answer now; entries that were read
        before an error are returned first, and the next read raises it. Close the source after use.
        """
        found: list[Found] = []
        rejected: list[Rejected] = []
        captions = 0
        deadline = time.monotonic() + PAGE_SECONDS
        try:
            for step in self._steps_after(cursor):
                self.progress()
                found += step.found
                rejected += step.rejected
                cursor = step.cursor
                captions += sum(
                    len((one.provenance or {}).get("caption", "")) for one in step.found
                )
                is_full = len(found) + len(rejected) >= limit or captions > MAX_PAGE_CAPTIONS
                if is_full or time.monotonic() > deadline:
                    return Page(cursor, found, rejected)
        except Exception as error:
            if not (found or rejected):
                raise
            self._walk = (cursor, _raising(error))
            return Page(cursor, found, rejected)
        return Page(None, found, rejected)

    def close(self) -> None:
        """End what reading keeps open: processes and files. A later read opens it again."""
        if self._walk is not None and isinstance(self._walk[1], Generator):
            self._walk[1].close()
        self._walk = None

    def step(self, entry: object, after: Cursor, make: Callable[[], Page]) -> Page:
        """Return what `make` reads from one entry; an error that nobody foresaw rejects the entry."""
        try:
            return make()
        except (SourceRefused, SourceUnavailable):
            raise
        except Exception as error:
            return Page(after, rejected=[rejection(entry, reason_of(error))])

    def _steps_after(self, cursor: Cursor | None) -> Iterator[Page]:
        """Yield the steps after `cursor`; the walk of the last read goes on if it stands there."""
        if self._walk is None or self._walk[0] != cursor:
            self._walk = (cursor, self.walk(cursor))
        steps, self._walk = self._walk[1], None
        for step in steps:
            self._walk = (step.cursor, steps)
            yield step
            self._walk = None  # a walk that raises cannot be continued


def _raising(error: Exception) -> Iterator[Page]:
    raise error
    yield


def clean(text: object, longest: int = MAX_TEXT) -> str:
    """Return text that PostgreSQL and a person can read: one line, no control characters, short."""
    raw = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    raw = raw[: longest * 4]
    if not raw.isprintable():
        raw = raw.encode("utf-8", "replace").decode()
        raw = "".join(c if c.isprintable() else " " for c in raw)
    return " ".join(raw.split())[:longest].rstrip()


def label_of(text: object) -> str:
    """Return a class label as one line without control characters. Raise LabelTooLong."""
    return check_label(clean(text, longest=MAX_LABEL_READ))


def reason_of(error: Exception, *foreseen: type[Exception]) -> str:
    """Return why an entry is rejected; log where an error arose that nobody foresaw."""
    if isinstance(error, foreseen):
        return str(error)
    logger.error("An entry of a source is rejected", exc_info=error)
    return f"unexpected {type(error).__name__}: {first_line(error)}"


def rejection(entry: object, why: object) -> Rejected:
    """Return an entry as it was read, shortened, and why it is no candidate."""
    return clean(redact(str(entry)), MAX_REJECTED_TEXT), clean(redact(str(why)))


def provenance(*, caption: str = "", **values: object) -> dict[str, str]:
    """Return the named values that are not empty, as one line of text each.

    A caption, of at most MAX_CAPTION characters, is kept whole, with its lines. What has no title gets
    the beginning of its caption as one. An address or a path is kept whole: cut it would lead nowhere.
    """
    values["title"] = values.get("title") or caption
    texts = {
        name: clean(value, MAX_LENGTH if name in WHOLE else MAX_TEXT)
        for name, value in values.items()
        if value is not None
    }
    texts["caption"] = storable(caption, longest=LONGEST_ESCAPE * MAX_CAPTION)
    return {name: text for name, text in texts.items() if text}
