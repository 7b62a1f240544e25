"""Pages, sitemaps and robots.txt files, parsed in a confined process: see `document_child`."""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

from crawler.errors import SourceRefused
from crawler.parsing.batches import MAX_CELL, MAX_MESSAGE, MAX_ROWS
from crawler.parsing.parser import Parser, Unreadable, text
from crawler.robots_file import MAX_DELAY_SECONDS, MAX_RULES, PARSED_BYTES, Parsed, Rule
from crawler.sources.sitemap.xml import FIELDS, MAX_IMAGES, BrokenXml, Entry
from pixsim.core.urls import sendable

MODULE = "crawler.parsing.document_child"
MEMORY_BYTES = 768 * 1024**2
"""Sitemaps in each other, each as large as allowed, and a page."""
MAX_ENDED = 3
"""A source of whose documents so many ended the process is not read on."""
LONGEST_RULE = 64 * 1024
LONGEST_TYPE = 1000

Row = TypeVar("Row")
PageRow = tuple[str, str, str]
"""`signal` and what opts out; `picture`, its address and title; `rejected`, an entry and why; `link`
and its address."""


class Documents:
    """A confined process for documents of one source, started when first needed. For one thread.

    `ended` is how many documents ended it.
    """

    def __init__(self) -> None:
        self.ended = 0
        self._parser = Parser(MODULE, memory_bytes=MEMORY_BYTES)
        self._keys = count()

    @property
    def pid(self) -> int | None:
        return self._parser.pid

    def page(
        self, body: bytes, content_type: str, url: str, *, token: str | None, wants_links: bool
    ) -> Iterator[PageRow]:
        """Yield what an HTML page says; see `document_child.page_rows`.

        Raise Unreadable, SourceRefused after MAX_ENDED such documents, or SourceUnavailable.
        """
        known = [content_type[:LONGEST_TYPE], url, token, wants_links]
        return self._rows("page", body, known, 0, _page_row)

    def entries(self, body: bytes, after: int) -> Iterator[Entry]:
        """Yield the entries of a sitemap after the first ones. Raise like `page`, and BrokenXml."""
        rows = self._rows("sitemap", body, [], after, _entry)
        while True:
            try:
                entry = next(rows, None)
            except SourceRefused as error:
                if self.ended >= MAX_ENDED:
                    raise
                raise BrokenXml(error.message) from None
            if entry is None:
                return
            yield entry

    def robots(self, bodies: Sequence[bytes], token: str) -> list[Parsed | Unreadable]:
        """Return what each robots.txt says to us, or why that cannot be known."""
        # One byte more shows that the file goes on.
        cut = [body[: PARSED_BYTES + 1] for body in bodies]
        return self._parser.ask_each("robots", token, bodies=cut, check=_parsed)

    def close(self) -> None:
        """End the process."""
        self._parser.close()

    def _rows(
        self, kind: str, body: bytes, known: list[Any], after: int, make: Callable[..., Row]
    ) -> Iterator[Row]:
        key = next(self._keys)
        begin = ("open", key, kind, len(body), known)

        def check(answer: Any, _body: bytes) -> tuple[list[Row], bool] | None:
            return None if "missing" in answer else _batch(answer, make)

        is_open = False
        while True:
            try:
                batch = self._parser.ask("next", key, after, check=check) if is_open else None
                # The process may be another one by now.
                batch = batch or self._parser.ask(*begin, after, body=body, check=check)
            except Unreadable as error:
                self._count(error)
                raise
            if batch is None:
                raise Unreadable("its parser does not find it")
            rows, is_end = batch
            yield from rows
            if is_end:
                return
            after += len(rows)
            is_open = True

    def _count(self, error: Unreadable) -> None:
        self.ended += 1
        if self.ended >= MAX_ENDED:
            why = f"{self.ended} of its documents ended their parser; the last one: {error}"
            raise SourceRefused("location", why) from None


def _batch(answer: Any, make: Callable[..., Row]) -> tuple[list[Row], bool]:
    rows = [make(*row) for row in answer["rows"]]
    is_end = answer["end"] is True
    if len(rows) > MAX_ROWS or not (rows or is_end):
        raise ValueError("no batch of rows")
    return rows, is_end


def _page_row(kind: Any, first: Any, second: Any) -> PageRow:
    row = text(kind, 10), text(first, MAX_CELL), text(second, MAX_MESSAGE)
    if kind not in ("signal", "picture", "rejected", "link"):
        raise ValueError("no row of a page")
    if kind in ("picture", "link") and sendable(row[1]) != row[1]:
        raise ValueError("no address as it is sent")
    return row


def _entry(sitemap: Any, page: Any, images: Any) -> Entry:
    if len(images) > MAX_IMAGES or not all(set(FIELDS.values()).issuperset(one) for one in images):
        raise ValueError("no entry of a sitemap")
    checked = [{name: text(one[name], MAX_CELL) for name in one} for one in images]
    return Entry(text(sitemap, MAX_CELL), text(page, MAX_CELL), checked)


def _parsed(answer: Any, _body: bytes) -> Parsed:
    rules, delay, signals, signal = answer
    if type(delay) not in (int, float) or not 0 <= delay <= MAX_DELAY_SECONDS:
        raise ValueError("no delay")
    return Parsed(_rules(rules), float(delay), _rules(signals), text(signal, MAX_MESSAGE))


def _rules(rules: Any) -> list[Rule]:
    checked = [(allow is True, text(pattern, LONGEST_RULE)) for allow, pattern in rules]
    if len(checked) > MAX_RULES or not all(pattern.isascii() for _, pattern in checked):
        raise ValueError("no rules")
    return checked
