"""The pictures and links of an HTML page."""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from crawler.errors import BadUrl
from crawler.robots import EXCLUDING, robots_directives
from crawler.sources.base import Rejected, clean, rejection
from crawler.urls import has_picture_suffix, join

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

# Where pages put the address of a picture that is loaded when it scrolls into view.
LAZY_SRCSETS = ("data-srcset", "data-lazy-srcset")
LAZY_SOURCES = ("data-src", "data-original", "data-lazy-src", "data-lazy")
META_PICTURES = "meta[property='og:image'], meta[property='og:image:url'], meta[name='og:image']"

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]+)", re.I)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_:.-]+)", re.I)
_NO_ADDRESS = ("data:", "blob:", "about:", "javascript:")
_SRCSET_URL = re.compile(r"[\s,]*(\S+)")
_DESCRIPTOR = re.compile(r"(\d+(?:\.\d+)?)([wx])")


class HtmlPage:
    """A parsed page. Addresses are canonical, and relative to its <base>."""

    def __init__(self, body: bytes, content_type: str, url: str) -> None:
        from selectolax.lexbor import LexborHTMLParser

        self._tree = LexborHTMLParser(decoded(body, content_type))
        self._base = url
        base = self._tree.css_first("base[href]")
        if base is not None:
            with suppress(BadUrl):
                self._base = join(url, _attribute(base, "href"))

    def pictures(self) -> tuple[dict[str, str], list[Rejected]]:
        """Return the title of each picture by its address, in order, and the broken addresses.

        Of several sizes of one picture only the largest is returned.
        """
        titles: dict[str, str] = {}
        rejected: list[Rejected] = []
        for address, title in self._picture_addresses():
            if address.strip().lower().startswith(_NO_ADDRESS):
                continue
            try:
                url = join(self._base, address)
            except BadUrl as error:
                rejected.append(rejection(address, error))
                continue
            titles[url] = titles.get(url) or clean(title)
        return titles, rejected

    def links(self) -> Iterator[str]:
        """Yield the addresses of the page's links, in order, without those marked nofollow."""
        for anchor in self._anchors():
            with suppress(BadUrl):
                yield join(self._base, _attribute(anchor, "href"))

    def directives(self, token: str) -> set[str]:
        """Return the directives of robots meta tags that apply to us."""
        return robots_directives(self._meta("robots", token), token)

    def opted_out(self, token: str) -> str | None:
        """Return the meta tag that keeps the page's pictures out of datasets, or None."""
        if excluded := EXCLUDING & self.directives(token):
            return f"meta robots: {min(excluded)}"
        if any(content.strip() == "1" for content in self._meta("tdm-reservation")):
            return "meta tdm-reservation: 1"
        return None

    def _meta(self, *names: str) -> list[str]:
        tags = self._tree.css("meta[name][content]")
        return [_attribute(t, "content") for t in tags if _attribute(t, "name").lower() in names]

    def _picture_addresses(self) -> Iterator[tuple[str, str]]:
        heading = self._tree.css_first("title")
        title = heading.text() if heading is not None else ""
        for tag in self._tree.css(META_PICTURES):
            yield _attribute(tag, "content"), title
        for tag in self._tree.css("link[rel~='image_src']"):
            yield _attribute(tag, "href"), title
        for image in self._tree.css("img"):
            address = _largest(image)
            if address:
                yield address, _attribute(image, "alt") or _attribute(image, "title")
        for anchor in self._anchors():
            address = _attribute(anchor, "href")
            if has_picture_suffix(address.partition("#")[0].strip()):
                inside = anchor.css_first("img[alt]")
                alt = _attribute(inside, "alt") if inside is not None else ""
                yield address, alt or anchor.text()

    def _anchors(self) -> Iterator["LexborNode"]:
        for anchor in self._tree.css("a[href], area[href]"):
            if "nofollow" not in _attribute(anchor, "rel").lower().split():
                yield anchor


def decoded(body: bytes, content_type: str) -> str:
    """Return the text of a page, in the encoding of its byte order mark, header or meta tag."""
    named = _HEADER_CHARSET.search(content_type)
    meta = _META_CHARSET.search(body[:4096])
    encoding = named[1] if named else meta[1].decode() if meta else "utf-8"
    if body.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return body.decode(encoding, "replace")
    except (LookupError, ValueError):
        return body.decode("utf-8", "replace")


def srcset(value: str) -> list[tuple[str, float, float]]:
    """Return the addresses of a srcset with their width and density (0 and 1 if not given).

    As in browsers an address ends at white space, so it may contain commas.
    """
    found: list[tuple[str, float, float]] = []
    place = 0
    while match := _SRCSET_URL.match(value, place):
        url, place = match[1], match.end()
        descriptors = ""
        if url.endswith(","):
            url = url.rstrip(",")
        else:
            end = value.find(",", place)
            descriptors = value[place : end if end >= 0 else len(value)]
            place += len(descriptors)
        sizes = {unit: float(number) for number, unit in _DESCRIPTOR.findall(descriptors)}
        if url:
            found.append((url, sizes.get("w", 0.0), sizes.get("x", 1.0)))
    return found


def _largest(image: "LexborNode") -> str:
    """Return the address of the largest rendering of an <img> and its <picture>'s <source>s."""
    plain = _lazy(image, LAZY_SOURCES, "src")
    choices = srcset(_lazy(image, LAZY_SRCSETS, "srcset"))
    parent = image.parent
    if parent is not None and parent.tag == "picture":
        for source in parent.css("source"):
            choices += srcset(_lazy(source, LAZY_SRCSETS, "srcset"))
    # The plain source comes first: it is taken unless a rendering says that it is larger.
    if plain:
        choices.insert(0, (plain, 0.0, 1.0))
    return max(choices, key=lambda choice: choice[1:])[0] if choices else ""


def _lazy(node: "LexborNode", lazy: tuple[str, ...], plain: str) -> str:
    """Return a lazy attribute if there is one, else the plain one, which may be a placeholder."""
    return next(filter(None, (_attribute(node, name) for name in lazy)), _attribute(node, plain))


def _attribute(node: "LexborNode", name: str) -> str:
    return node.attributes.get(name) or ""
