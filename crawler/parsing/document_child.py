"""Parses pages, sitemaps and robots.txt files in a confined process, for `documents`.

Requests: `robots`, the lengths of files and our token, with one answer to each file. `open`, a key, a kind of
document, what is to be known of it, and after how many of its rows to begin, with the document;
`next`, a key and after how many rows: both are answered by a batch of rows, or by `missing` if the
document is not open there.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from crawler import robots_file
from crawler.errors import SourceRefused
from crawler.parsing.batches import Batches, cell, refused
from crawler.sources.page.html import HtmlPage
from crawler.sources.sitemap.xml import BrokenXml, Entry, entries
from pixsim.core.confined.sandbox import allow_cpu
from pixsim.core.text import ENCODINGS
from pixsim.core.urls import sendable

MAX_OPEN = 8
"""Sitemaps in each other, and a page."""
ROBOTS_CPU_SECONDS = 2.0
CPU_SECONDS = 3.0
CPU_SECONDS_PER_MIB = 0.7
MAX_TEXT = 2000
Rows = Iterator[list[Any]]


def prepare() -> Callable[..., Iterator[tuple[Any, bytes]]]:
    """Import and warm up everything; return what parses."""
    for encoding in ENCODINGS:
        "\n".encode(encoding).decode(encoding)
    sendable("http://bücher.example/%7e")
    list(
        page_rows(
            b"<title>&copy;</title><img src=http://e.com/a.jpg>", "", "http://e.com/", "a", True
        )
    )
    list(sitemap_rows(b"<urlset><url><loc>a</loc></url></urlset>"))
    robots_file.parse(b"User-agent: *\nDisallow: /", "a")
    serving = _Serving()

    def serve(header: Sequence[Any], read: Callable[[int], bytes]) -> Iterator[tuple[Any, bytes]]:
        name, *arguments = header
        if name == "robots":
            sizes, token = arguments
            for size in sizes:
                body = read(size)
                allow_cpu(ROBOTS_CPU_SECONDS)
                yield robots_file.parse(body, token), b""
            return
        try:
            if name == "open":
                serving.open(*arguments, read=read)
                arguments = [arguments[0], arguments[-1]]
            yield serving.next(*arguments), b""
        except SourceRefused as error:
            yield refused(error.field, error.message), b""
        except MemoryError:
            yield refused("location", "parsing it needs too much memory"), b""

    return serve


class _Serving:
    """The documents that are open, each with how many of its rows were sent."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, tuple[int, float, Batches]] = OrderedDict()

    def open(
        self,
        key: int,
        kind: str,
        size: int,
        known: list[Any],
        after: int,
        *,
        read: Callable[[int], bytes],
    ) -> None:
        seconds = CPU_SECONDS + size / 1024**2 * CPU_SECONDS_PER_MIB
        allow_cpu(seconds)
        rows = KINDS[kind](read(size), *known)
        self._open[key] = after, seconds, Batches(islice(rows, after, None))
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def next(self, key: int, after: int) -> dict[str, Any]:
        sent, seconds, batches = self._open.get(key, (None, 0.0, None))
        if batches is None or sent != after:
            return {"missing": True}
        allow_cpu(seconds)
        answer = batches.next()
        self._open[key] = after + len(answer["rows"]), seconds, batches
        self._open.move_to_end(key)
        if answer["end"]:
            del self._open[key]
        return answer


def page_rows(
    body: bytes, content_type: str, url: str, token: str | None, wants_links: bool
) -> Rows:
    """Yield what a page has to say: a kind of row and two texts.

    `token` is our name if robots meta tags are honoured.
    """
    page = HtmlPage(body, content_type, url)
    if token is not None and (signal := page.opted_out(token)):
        yield ["signal", signal, ""]
        return
    titles, rejected = page.pictures()
    yield from (["picture", picture, title] for picture, title in titles.items())
    yield from (["rejected", *each] for each in rejected)
    if wants_links and (token is None or "nofollow" not in page.directives(token)):
        yield from (["link", link, ""] for link in page.links())


def sitemap_rows(body: bytes) -> Rows:
    """Yield the entries of a sitemap, one in a row."""
    try:
        yield from map(_sent, entries(body))
    except BrokenXml as error:
        raise SourceRefused("location", str(error)) from None


def _sent(entry: Entry) -> list[Any]:
    images = [
        {
            name: cell(text) if name in ("image", "licence_url") else text[:MAX_TEXT]
            for name, text in image.items()
        }
        for image in entry.images
    ]
    return [cell(entry.sitemap), cell(entry.page), images]


KINDS: dict[str, Callable[..., Rows]] = {"page": page_rows, "sitemap": sitemap_rows}
