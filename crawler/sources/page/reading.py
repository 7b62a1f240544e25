"""The content of a fetched web page: its pictures and links, unless it opts out."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.conf import settings

from crawler.robots import header_values, opted_out, robots_directives
from crawler.sources.base import Found, Rejected, provenance
from crawler.sources.page.html import HtmlPage
from crawler.sources.web import NotAllowed, Web, final_url

MAX_PAGE_BYTES = 10 * 1024**2
HTML_TYPES = ("text/html", "application/xhtml+xml", "")


@dataclass(frozen=True, slots=True)
class PageContent:
    """The pictures of a page and, if the page allows to follow them, its links."""

    url: str
    found: list[Found]
    rejected: list[Rejected] = field(default_factory=list)
    links: Iterable[str] = ()


def fetch_page(web: Web, url: str, *, source: str, label: str, optional: bool) -> PageContent:
    """Return a page's content. An answer that is a picture itself is the only candidate.

    Raise like `Web.get`, and NotAllowed, with the signal, when the page opts out or is no HTML.
    """
    token = web.token
    response = web.get(url, max_bytes=MAX_PAGE_BYTES, ask_robots=True, optional=optional)
    url = final_url(response)
    honour = settings.CRAWL_HONOUR_ROBOTS
    if honour and (signal := opted_out(response.headers, token)):
        raise NotAllowed(f"it opts out: {signal}")
    content_type = response.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/"):
        return PageContent(url, [Found(url, label, provenance(source=source))])
    if media_type not in HTML_TYPES:
        raise NotAllowed(f"it is {media_type[:50]}, not an HTML page")
    page = HtmlPage(response.body, content_type, url)
    if honour and (signal := page.opted_out(token)):
        raise NotAllowed(f"it opts out: {signal}")
    titles, rejected = page.pictures()
    found = [
        Found(picture, label, provenance(source=source, landing_page=url, title=title))
        for picture, title in titles.items()
    ]
    header = robots_directives(header_values(response.headers, "x-robots-tag"), token)
    may_follow = not honour or "nofollow" not in header | page.directives(token)
    return PageContent(url, found, rejected, page.links() if may_follow else ())
