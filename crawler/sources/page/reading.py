"""From an answer to candidates: what a page offers, unless it opts out."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings

from crawler.robots import header_values, opted_out, robots_directives
from crawler.sources.base import Found, Rejected, provenance
from crawler.sources.page.html import HtmlPage
from crawler.sources.web import NotAllowed, final_url

if TYPE_CHECKING:
    from pixsim.core.net import Response

MAX_PAGE_BYTES = 10 * 1024**2
HTML_TYPES = ("text/html", "application/xhtml+xml", "")


class NotAPage(NotAllowed):
    """An answer that is neither HTML nor a picture."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The pictures of a page and, if the page lets us follow them, its links."""

    url: str
    found: list[Found]
    rejected: list[Rejected] = field(default_factory=list)
    links: Iterable[str] = ()


def read_page(response: "Response", *, source: str, label: str, token: str) -> Reading:
    """Read a page. An answer that is a picture itself is its own candidate.

    Raises NotAllowed, with the signal, when the page opts out, and NotAPage.
    """
    url = final_url(response)
    honour = settings.CRAWL_HONOUR_ROBOTS
    if honour and (signal := opted_out(response.headers, token)):
        raise NotAllowed(f"it opts out: {signal}")
    content_type = response.headers.get("Content-Type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return Reading(url, [Found(url, label, provenance(source=source))])
    if kind not in HTML_TYPES:
        raise NotAPage(f"it is {kind[:50]}, not an HTML page")
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
    return Reading(url, found, rejected, page.links() if may_follow else ())
