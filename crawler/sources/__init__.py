"""Where candidates come from. One module per kind of source, all read in the same way.

source = build("urls", "/data/list.csv", {"url_column": "link"}, "cats")
source.check()                      # before a job is accepted
page = source.read(None)            # then again with page.cursor until that is None
"""

from collections.abc import Mapping
from typing import Any

from crawler.errors import SourceRefused
from crawler.sources.base import Found, Page, Source
from crawler.sources.folder import FolderSource
from crawler.sources.page import PageSource
from crawler.sources.sitemap import SitemapSource
from crawler.sources.urls import UrlsSource

__all__ = ["KINDS", "Found", "Page", "Source", "build"]

KINDS: dict[str, type[Source]] = {
    source.kind: source for source in (FolderSource, UrlsSource, SitemapSource, PageSource)
}


def build(kind: str, location: str, options: Mapping[str, Any] | None, label: str) -> Source:
    """The source of this kind. Raises SourceRefused for an unknown kind, option or option type."""
    if kind not in KINDS:
        raise SourceRefused(
            "kind", f"there is no source {kind!r:.50}; there are: {', '.join(KINDS)}"
        )
    if not location.strip():
        raise SourceRefused("location", "is empty")
    return KINDS[kind](location, options or {}, label)
