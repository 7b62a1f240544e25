"""The pictures of a web page and, on request, of the pages it links to on its site."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.parsing.parser import Unreadable
from crawler.sources.base import Cursor, Option, Page, Source, reason_of, rejection
from crawler.sources.page.reading import PageContent, fetch_page
from crawler.sources.web import NotAllowed, Web, is_web, web_location
from crawler.urls import canonical, has_picture_suffix, host_of


class PageSource(Source):
    """Pictures that an HTML page shows or links to.

    Linked pages are read breadth first. robots.txt, nofollow and opt-out signals are honoured.
    The cursor has the pages in reading order: at most twice `max_pages`, since some may be closed,
    and how many of them ended their parser.
    """

    kind = "page"
    title = "pictures of a page"
    place = "a web page (a URL)"
    known_options = (
        Option("follow_links", bool, "read linked pages of the same site too", default=False),
        Option("max_pages", int, "how many pages to read at most", default=50, at_most=1000),
    )

    @cached_property
    def _web(self) -> Web:
        return Web()

    def close(self) -> None:
        super().close()
        self._web.close()

    @classmethod
    def fit(cls, location: str) -> int:
        return 1 if is_web(location) else 0

    def check(self) -> None:
        web_location(self.location)

    def walk(self, cursor: Cursor | None) -> Iterator[Page]:
        begin = cursor or {"pages": [web_location(self.location)], "next": 0, "read": 0, "site": ""}
        documents = self._web.documents
        documents.ended = begin.get("ended", 0)
        pages, read, site = list(begin["pages"]), begin["read"], begin["site"]
        most = self.options["max_pages"]
        place = begin["next"]
        while place < len(pages) and read < most:
            url = pages[place]
            place += 1
            try:
                content = self._read(url, site)
                site = site or _site(content.url)
                if self.options["follow_links"]:
                    _add_links(pages, content.links, site=site, most=2 * most)
            except (SourceRefused, SourceUnavailable):
                raise
            except Exception as error:
                why = reason_of(error, NotAllowed, Unreadable)
                if not site:
                    raise SourceRefused("location", f"{url} may not be read: {why}") from None
                after = _cursor(pages, place, read, site, documents.ended)
                yield Page(after, rejected=[rejection(url, why)])
                continue
            read += 1
            after = _cursor(pages, place, read, site, documents.ended)
            yield Page(after, content.found, content.rejected)

    def _read(self, url: str, site: str) -> PageContent:
        """Return a page's content. The first page, without a site, must work."""
        content = fetch_page(
            self._web,
            url,
            source=self.kind,
            label=self.label,
            optional=bool(site),
            wants_links=self.options["follow_links"],
        )
        if site and _site(content.url) != site:
            raise NotAllowed(f"it leads to another site: {host_of(content.url)}")
        return content


def _cursor(pages: list[str], place: int, read: int, site: str, ended: int) -> Cursor:
    return {"pages": [*pages], "next": place, "read": read, "site": site, "ended": ended}


def _site(url: str) -> str:
    return host_of(url).removeprefix("www.")


def _add_links(pages: list[str], links: Iterable[str], *, site: str, most: int) -> None:
    """Append the links to pages of the site that are not there yet, up to `most` in all."""
    seen = {canonical(page) for page in pages}
    for link in links:
        if len(pages) >= most:
            return
        if _site(link) != site or has_picture_suffix(link):
            continue
        if (key := canonical(link)) not in seen:
            seen.add(key)
            pages.append(link)
