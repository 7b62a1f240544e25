"""Pictures that a site lists in its sitemaps."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.parsing.parser import Unreadable
from crawler.sources.base import (
    Cursor,
    Found,
    Option,
    Page,
    Source,
    provenance,
    reason_of,
    rejection,
)
from crawler.sources.page.reading import fetch_page
from crawler.sources.sitemap.xml import MAX_BYTES, BrokenXml, Entry
from crawler.sources.web import NotAllowed, Web, is_web, web_location
from crawler.urls import canonical, has_picture_suffix, join
from pixsim.core.urls import BadUrl

MAX_DEPTH = 4
MAX_SITEMAPS = 10_000


class SitemapSource(Source):
    """A sitemap or sitemap index, plain or gzip, with the image extension.

    Pages without listed images count if they are picture files themselves. The cursor is the stack
    of open sitemaps, each with the number of its entries that are done, how many sitemaps were
    opened, and how many documents ended their parser.
    """

    kind = "sitemap"
    title = "sitemap of a site"
    place = "a sitemap (a URL)"
    known_options = (
        Option("follow_pages", bool, "read the HTML of pages without listed images", default=False),
    )

    @cached_property
    def _web(self) -> Web:
        return Web()

    def close(self) -> None:
        super().close()
        self._web.close()

    @classmethod
    def fit(cls, location: str) -> int:
        path = PurePosixPath(urlsplit(location).path)
        name = path.with_suffix("") if path.suffix == ".gz" else path
        is_named = name.suffix.lower() == ".xml" or "sitemap" in name.name.lower()
        return 2 if is_web(location) and is_named else 0

    def check(self) -> None:
        web_location(self.location)

    def walk(self, cursor: Cursor | None) -> Iterator[Page]:
        begin = cursor or {"stack": [[web_location(self.location), 0]], "opened": 1}
        stack: list[tuple[str, int]] = [(url, done) for url, done in begin["stack"]]
        opened = begin["opened"]
        documents = self._web.documents
        documents.ended = begin.get("ended", 0)
        # The entries still to come of each sitemap in the stack, as far as they were fetched.
        coming: dict[str, Iterator[Entry]] = {}
        while stack:
            url, done = stack[-1]
            problem: tuple[str, object] | None = None
            entry = None
            try:
                if url not in coming:
                    optional = len(stack) > 1
                    response = self._web.get(
                        url, max_bytes=MAX_BYTES, ask_robots=False, optional=optional
                    )
                    coming[url] = documents.entries(response.body, done)
                entry = next(coming[url], None)
            except (SourceRefused, SourceUnavailable):
                raise
            except Exception as error:
                why = reason_of(error, BrokenXml, NotAllowed, Unreadable)
                if len(stack) == 1 and (not done or isinstance(error, Unreadable)):
                    raise SourceRefused("location", f"{url}: {why}") from None
                problem = url, why
            if entry is None:
                stack.pop()
                coming.pop(url, None)
            else:
                stack[-1] = url, done + 1
                if not entry.sitemap:
                    after = _cursor(stack, opened, documents.ended)
                    yield self.step(entry.page, after, partial(self._page, url, entry, after))
                    continue
                try:
                    stack.append((_child(url, entry.sitemap, stack, opened), 0))
                    opened += 1
                except Exception as error:
                    problem = entry.sitemap, reason_of(error, BadUrl)
            rejected = [rejection(*problem)] if problem else []
            yield Page(_cursor(stack, opened, documents.ended), rejected=rejected)

    def _page(self, sitemap: str, entry: Entry, after: Cursor) -> Page:
        try:
            page = _joined(sitemap, entry.page)
        except BadUrl as error:
            problem = rejection(entry.page, error)
            listed = self._listed("", sitemap, entry, after)
            return replace(listed, rejected=[problem, *listed.rejected])
        if entry.images:
            return self._listed(page, page, entry, after)
        if has_picture_suffix(page):
            return Page(after, [Found(page, self.label, provenance(source=self.kind))])
        if self.options["follow_pages"]:
            return self._read(page, after)
        return Page(after)

    def _listed(self, page: str, base: str, entry: Entry, after: Cursor) -> Page:
        """Return the pictures of an entry, which may lack the address of its page."""
        listed = Page(after)
        for image in entry.images:
            try:
                url = _joined(base, image.get("image", ""))
            except BadUrl as error:
                listed.rejected.append(rejection(image.get("image", page), error))
                continue
            said = provenance(
                source=self.kind,
                landing_page=page or None,
                title=image.get("title"),
                caption=image.get("caption", ""),
                licence_url=image.get("licence_url"),
            )
            listed.found.append(Found(url, self.label, said))
        return listed

    def _read(self, page: str, after: Cursor) -> Page:
        try:
            content = fetch_page(self._web, page, source=self.kind, label=self.label, optional=True)
        except (NotAllowed, Unreadable) as error:
            ended = self._web.documents.ended
            return Page({**after, "ended": ended}, rejected=[rejection(page, error)])
        return Page(after, content.found, content.rejected)


def _child(parent: str, address: str, stack: list[tuple[str, int]], opened: int) -> str:
    url = join(parent, address)
    if canonical(url) in [canonical(above) for above, _ in stack]:
        raise BadUrl("the sitemap leads back to itself")
    if len(stack) >= MAX_DEPTH:
        raise BadUrl(f"sitemaps are nested more than {MAX_DEPTH} deep")
    if opened >= MAX_SITEMAPS:
        raise BadUrl(f"more than {MAX_SITEMAPS} sitemaps")
    return url


def _joined(base: str, address: str) -> str:
    if not address:
        raise BadUrl("an entry without <loc>")
    return join(base, address)


def _cursor(stack: list[tuple[str, int]], opened: int, ended: int) -> Cursor:
    return {"stack": [[url, done] for url, done in stack], "opened": opened, "ended": ended}
