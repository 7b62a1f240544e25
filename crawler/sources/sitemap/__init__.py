"""Pictures that a site lists in its sitemaps."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from crawler.errors import BadUrl, SourceRefused
from crawler.sources.base import Cursor, Found, Rejected, Source, Step, provenance, rejection
from crawler.sources.page.reading import MAX_PAGE_BYTES, read_page
from crawler.sources.sitemap.xml import MAX_BYTES, BrokenXml, Entry, entries
from crawler.sources.web import NotAllowed, Web
from crawler.urls import canonical, has_picture_suffix, join

MAX_DEPTH = 4
MAX_SITEMAPS = 10_000


class SitemapSource(Source):
    """A sitemap or sitemap index, plain or gzip, with the image extension.

    Pages without listed images count if they are picture files themselves; with the option
    `follow_pages` their HTML is read for pictures.
    The cursor is the stack of open sitemaps, each with how many of its entries are done, and how
    many sitemaps were opened.
    """

    kind: ClassVar[str] = "sitemap"
    option_types = {"follow_pages": bool}

    def __init__(self, location: str, options: Mapping[str, Any], label: str) -> None:
        super().__init__(location, options, label)
        self._web = Web()

    def check(self) -> None:
        self._root()

    def walk(self, cursor: Cursor | None) -> Iterator[Step]:
        self.check()
        begin = cursor or {"stack": [[self._root(), 0]], "opened": 1}
        stack: list[tuple[str, int]] = [(url, done) for url, done in begin["stack"]]
        opened = begin["opened"]
        # The entries still to come of each sitemap in the stack, as far as they were fetched.
        coming: dict[str, Iterator[Entry]] = {}
        while stack:
            url, done = stack[-1]
            try:
                if url not in coming:
                    body = self._fetch(url, is_root=len(stack) == 1)
                    coming[url] = islice(entries(body), done, None)
                entry, problem = next(coming[url], None), ""
            except (BrokenXml, NotAllowed) as error:
                if len(stack) == 1 and not done:
                    raise SourceRefused("location", f"{url}: {error}") from None
                entry, problem = None, str(error)
            if entry is None:
                stack.pop()
                coming.pop(url, None)
                rejected = [rejection(url, problem)] if problem else []
                yield Step(_bookmark(stack, opened), rejected=rejected)
                continue
            stack[-1] = url, done + 1
            if entry.sitemap:
                try:
                    stack.append((_child(url, entry.sitemap, stack, opened), 0))
                    opened += 1
                    yield Step(_bookmark(stack, opened))
                except BadUrl as error:
                    rejected = [rejection(entry.sitemap, error)]
                    yield Step(_bookmark(stack, opened), rejected=rejected)
            else:
                yield self._page(url, entry, _bookmark(stack, opened))

    def _fetch(self, url: str, *, is_root: bool) -> bytes:
        """A sitemap's body. Raises NotAllowed when one that is not the root cannot be had."""
        if is_root:
            return self._web.get(url, max_bytes=MAX_BYTES, ask_robots=False).body
        response = self._web.get_part(url, max_bytes=MAX_BYTES, ask_robots=False)
        if isinstance(response, str):
            raise NotAllowed(response)
        return response.body

    def _page(self, sitemap: str, entry: Entry, after: Cursor) -> Step:
        """What one <url> offers."""
        try:
            page = _joined(sitemap, entry.page)
        except BadUrl as error:
            return Step(after, rejected=[rejection(entry.page, error)])
        if entry.images:
            found, rejected = self._listed(page, entry)
            return Step(after, found, rejected)
        if has_picture_suffix(page):
            return Step(after, [Found(page, self.label, provenance(source=self.kind))])
        if self.options.get("follow_pages", False):
            return self._read(page, after)
        return Step(after)

    def _listed(self, page: str, entry: Entry) -> tuple[list[Found], list[Rejected]]:
        found: list[Found] = []
        rejected: list[Rejected] = []
        for image in entry.images:
            try:
                url = _joined(page, image.get("image", ""))
            except BadUrl as error:
                rejected.append(rejection(image.get("image", page), error))
                continue
            said = provenance(
                source=self.kind,
                landing_page=page,
                title=image.get("title") or image.get("caption"),
                licence_url=image.get("licence_url"),
            )
            found.append(Found(url, self.label, said))
        return found, rejected

    def _read(self, page: str, after: Cursor) -> Step:
        response = self._web.get_part(page, max_bytes=MAX_PAGE_BYTES, ask_robots=True)
        if isinstance(response, str):
            return Step(after, rejected=[rejection(page, response)])
        try:
            reading = read_page(response, source=self.kind, label=self.label, token=self._web.token)
        except NotAllowed as error:
            return Step(after, rejected=[rejection(page, error)])
        return Step(after, reading.found, reading.rejected)

    def _root(self) -> str:
        try:
            return canonical(self.location)
        except BadUrl as error:
            raise SourceRefused("location", str(error)) from None


def _child(parent: str, address: str, stack: list[tuple[str, int]], opened: int) -> str:
    """The address of a sitemap to open next. Raises BadUrl when it may not be."""
    url = join(parent, address)
    if url in [above for above, _ in stack]:
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


def _bookmark(stack: list[tuple[str, int]], opened: int) -> Cursor:
    return {"stack": [[url, done] for url, done in stack], "opened": opened}
