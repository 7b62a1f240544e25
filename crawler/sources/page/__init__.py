"""The pictures of a web page and, on request, of the pages it links to on its site."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from crawler.errors import BadUrl, SourceRefused
from crawler.sources.base import Cursor, Source, Step, rejection
from crawler.sources.page.reading import MAX_PAGE_BYTES, Reading, read_page
from crawler.sources.web import NotAllowed, Web
from crawler.urls import canonical, has_picture_suffix, host_of

DEFAULT_MAX_PAGES = 50
MOST_MAX_PAGES = 1000


class PageSource(Source):
    """Pictures that an HTML page shows or links to.

    Option `follow_links` reads the linked pages of the same site too, breadth first, at most
    `max_pages` of them. robots.txt, nofollow and opt-out signals are honoured.
    The cursor keeps the pages in reading order: at most twice `max_pages`, as some may be closed.
    """

    kind: ClassVar[str] = "page"
    option_types = {"follow_links": bool, "max_pages": int}

    def __init__(self, location: str, options: Mapping[str, Any], label: str) -> None:
        super().__init__(location, options, label)
        self._web = Web()

    def check(self) -> None:
        self._root()
        if not 1 <= self.options.get("max_pages", 1) <= MOST_MAX_PAGES:
            raise SourceRefused("options.max_pages", f"must be from 1 to {MOST_MAX_PAGES}")

    def walk(self, cursor: Cursor | None) -> Iterator[Step]:
        self.check()
        begin = cursor or {"pages": [self._root()], "next": 0, "read": 0, "site": ""}
        pages, read, site = list(begin["pages"]), begin["read"], begin["site"]
        most = self.options.get("max_pages", DEFAULT_MAX_PAGES)
        following = self.options.get("follow_links", False)
        place = begin["next"]
        while place < len(pages) and read < most:
            reading = self._read(pages[place], site)
            if isinstance(reading, str):
                place += 1
                rejected = [rejection(pages[place - 1], reading)]
                yield Step(_bookmark(pages, place, read, site), rejected=rejected)
                continue
            place, read, site = place + 1, read + 1, site or _site(reading.url)
            if following:
                _add_links(pages, reading.links, site=site, most=2 * most)
            after = _bookmark(pages, place, read, site)
            yield Step(after, reading.found, reading.rejected)

    def _read(self, url: str, site: str) -> Reading | str:
        """What a page offers, or why nothing. The first page, without a site yet, must work."""
        if site:
            response = self._web.get_part(url, max_bytes=MAX_PAGE_BYTES, ask_robots=True)
            if isinstance(response, str):
                return response
        else:
            response = self._web.get(url, max_bytes=MAX_PAGE_BYTES, ask_robots=True)
        try:
            reading = read_page(response, source=self.kind, label=self.label, token=self._web.token)
        except NotAllowed as error:
            if site:
                return str(error)
            raise SourceRefused("location", f"{url} may not be read: {error}") from None
        if site and _site(reading.url) != site:
            return f"it leads to another site: {host_of(reading.url)}"
        return reading

    def _root(self) -> str:
        try:
            return canonical(self.location)
        except BadUrl as error:
            raise SourceRefused("location", str(error)) from None


def _bookmark(pages: list[str], place: int, read: int, site: str) -> Cursor:
    return {"pages": [*pages], "next": place, "read": read, "site": site}


def _site(url: str) -> str:
    return host_of(url).removeprefix("www.")


def _add_links(pages: list[str], links: Iterable[str], *, site: str, most: int) -> None:
    """Append the links to pages of the site that are not there yet, up to `most` in all."""
    seen = set(pages)
    for link in links:
        if len(pages) >= most:
            return
        if link not in seen and _site(link) == site and not has_picture_suffix(link):
            seen.add(link)
            pages.append(link)
