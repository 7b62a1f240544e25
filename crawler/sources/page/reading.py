"""The content of a fetched web page: its pictures and links, unless it opts out."""

from dataclasses import dataclass, field

from django.conf import settings

from crawler.directives import robots_directives
from crawler.robots import header_values, opted_out
from crawler.sources.base import Found, Rejected, clean, provenance, rejection
from crawler.sources.web import NotAllowed, Web

MAX_PAGE_BYTES = 10 * 1024**2
HTML_TYPES = ("text/html", "application/xhtml+xml", "")


@dataclass(frozen=True, slots=True)
class PageContent:
    """The pictures of a page and, if the page allows to follow them, its links."""

    url: str
    found: list[Found] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def fetch_page(
    web: Web, url: str, *, source: str, label: str, optional: bool, wants_links: bool = False
) -> PageContent:
    """Return a page's content. An answer that is a picture itself is the only candidate.

    Raise like `Web.get` and `Documents.page`, and NotAllowed, with the signal, when the page opts out
    or is no HTML.
    """
    token = web.token
    response = web.get(url, max_bytes=MAX_PAGE_BYTES, ask_robots=True, optional=optional)
    url = response.url
    honour = settings.CRAWL_HONOUR_ROBOTS
    if honour and (signal := opted_out(response.headers, token)):
        raise NotAllowed(f"it opts out: {signal}")
    content_type = response.headers.get("Content-Type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/"):
        return PageContent(url, [Found(url, label, provenance(source=source))])
    if media_type not in HTML_TYPES:
        raise NotAllowed(f"it is {media_type[:50]}, not an HTML page")
    header = robots_directives(header_values(response.headers, "x-robots-tag"), token)
    rows = web.documents.page(
        response.body,
        content_type,
        url,
        token=token if honour else None,
        wants_links=wants_links and not (honour and "nofollow" in header),
    )
    content = PageContent(url)
    for kind, first, second in rows:
        match kind:
            case "signal":
                raise NotAllowed(f"it opts out: {clean(first)}")
            case "picture":
                said = provenance(source=source, landing_page=url, title=second)
                content.found.append(Found(first, label, said))
            case "rejected":
                content.rejected.append(rejection(first, second))
            case "link":
                content.links.append(first)
    return content
