"""The pictures and links of an HTML page."""

import codecs
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from crawler.directives import EXCLUDING, robots_directives
from crawler.sources.base import MAX_TEXT, Rejected, clean, rejection
from crawler.sources.page.choices import BACKGROUNDS, Choices, background, is_address
from crawler.sources.page.tags import MAX_TAGS, Tag, plain, tags
from crawler.urls import has_picture_suffix, join
from pixsim.core.patterns import pattern
from pixsim.core.text import web_encoding
from pixsim.core.urls import BadUrl

META_PICTURES = {
    (attribute, name)
    for attribute in ("property", "name")
    for name in ("og:image", "og:image:url", "og:image:secure_url", "twitter:image")
}

MAX_PICTURES = 10_000
MAX_LINKS = 5_000
CHARSET_BYTES = 4096

_find_meta_charset = pattern(
    rb"(?i)<meta[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_:.-]{1,40})",
    longest=CHARSET_BYTES,
    method="search",
)
_find_header_charset = pattern(
    r"(?i)charset\s{0,9}=\s{0,9}\"?([A-Za-z0-9_:.-]{1,40})", longest=1000, method="search"
)


class HtmlPage:
    """What is read of a page. Addresses are sendable, and relative to its <base>."""

    def __init__(self, body: bytes, content_type: str, url: str) -> None:
        self._base = url
        self._read = _Reader()
        encoding = encoding_of(body, content_type)
        # Browsers send queries in the page's encoding, but never in UTF-16 or UTF-32.
        self._encoding = "utf-8" if encoding.startswith("utf") else encoding
        for number, tag in enumerate(tags(body.decode(encoding, "replace"))):
            if number == MAX_TAGS:
                self._read.problem = f"only its first {MAX_TAGS:,} tags are read"
                break
            self._read.take(tag)
        if self._read.base is not None:
            with suppress(BadUrl):
                self._base = join(url, self._read.base)

    def pictures(self) -> tuple[dict[str, str], list[Rejected]]:
        """Return the title of each picture by its address, in order, and the broken addresses.

        Of several sizes of one picture only the largest is returned. What is beyond MAX_TAGS tags or
        MAX_PICTURES pictures is left out, which one of the broken addresses says.
        """
        titles: dict[str, str] = {}
        rejected: list[Rejected] = []
        if self._read.problem:
            rejected.append(rejection(self._base, self._read.problem))
        named = ((a, title) for a, title in self._read.addresses() if is_address(a))
        for number, (address, title) in enumerate(named):
            if number == MAX_PICTURES:
                problem = f"only its first {MAX_PICTURES:,} pictures are read"
                rejected.append(rejection(self._base, problem))
                break
            try:
                url = join(self._base, address, self._encoding)
            except BadUrl as error:
                rejected.append(rejection(address, error))
                continue
            titles[url] = titles.get(url) or clean(title)
        return titles, rejected

    def links(self) -> Iterator[str]:
        """Yield the addresses of the page's first MAX_LINKS links, without those marked nofollow."""
        for link in islice(self._read.links, MAX_LINKS):
            with suppress(BadUrl):
                yield join(self._base, link.address, self._encoding)

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
        return [content for name, content in self._read.meta if name in names]


# Most tags of a page are others.
_READ = frozenset([
    "/title", "base", "picture", "/picture", "/a", "meta", "link", "source", "img", "amp-img", "a", "area",
])  # fmt: skip


class _Link:
    """A link, and what it shows: the description of its first picture that has one, and its text."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.description = ""
        self.text = ""


class _Reader:
    """Takes the tags of a page and keeps what they say of pictures and links."""

    def __init__(self) -> None:
        self.base: str | None = None
        self.problem = ""
        self.meta: list[tuple[str, str]] = []
        self.links: list[_Link] = []
        self._title: str | None = None
        self._named: list[str] = []
        self._linked: list[str] = []
        self._shown: list[tuple[str, str]] = []
        self._more: list[str] = []
        """What is preloaded, and backgrounds that are loaded by scripts."""
        self._open: _Link | None = None
        self._in_picture = False
        self._sources = Choices()
        """The <source>s of the <picture> that is open, if there is one."""

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield the pictures' addresses as written, with their titles; a linked one before its preview."""
        title = plain(self._title or "")
        yield from ((address, title) for address in self._named + self._linked)
        for link in self.links:
            if has_picture_suffix(link.address.partition("#")[0].strip()):
                yield link.address, link.description or plain(link.text)
        yield from self._shown
        yield from ((address, title) for address in self._more)

    def take(self, tag: Tag) -> None:
        if self._open is not None and len(self._open.text) < MAX_TEXT:
            self._open.text += tag.text[:MAX_TEXT]
        if any(name in tag.source for name in BACKGROUNDS):
            self._more.append(background(tag.attributes()))
        if tag.name not in _READ:
            return
        match tag.name:
            case "/title" if self._title is None:
                self._title = tag.text[:MAX_TEXT]
            case "base" if self.base is None:
                self.base = tag.attributes().get("href")
            case "picture" | "/picture":
                self._in_picture, self._sources = tag.name == "picture", Choices()
            case "/a":
                self._open = None
            case "meta":
                self._take_meta(tag.attributes())
            case "link":
                self._take_link(tag.attributes())
            case "source" if self._in_picture:
                self._sources.add_renderings(tag.attributes())
            case "img" | "amp-img":
                self._take_image(tag.attributes())
            case "a" | "area":
                self._take_anchor(tag)

    def _take_meta(self, attributes: dict[str, str]) -> None:
        content = attributes.get("content")
        if content is None:
            return
        self.meta.append((attributes.get("name", "").lower(), content))
        if not META_PICTURES.isdisjoint(attributes.items()):
            self._named.append(content)

    def _take_link(self, attributes: dict[str, str]) -> None:
        relations = attributes.get("rel", "").lower().split()
        if "image_src" in relations:
            self._linked.append(attributes.get("href", ""))
        if "preload" in relations and attributes.get("as", "").lower() == "image":
            preloaded = Choices()
            preloaded.add(
                {"src": attributes.get("href", ""), "srcset": attributes.get("imagesrcset", "")}
            )
            self._more.append(preloaded.best())

    def _take_image(self, attributes: dict[str, str]) -> None:
        """Keep the largest rendering of an <img> and its <picture>'s <source>s."""
        if self._open is not None and not self._open.description:
            self._open.description = attributes.get("alt", "")
        choices = Choices()
        choices.add(attributes)
        choices.extend(self._sources)
        title = attributes.get("alt") or attributes.get("title", "")
        self._shown.append((choices.best(), title))

    def _take_anchor(self, tag: Tag) -> None:
        attributes = tag.attributes()
        self._open = None
        if "href" in attributes and "nofollow" not in attributes.get("rel", "").lower().split():
            self.links.append(_Link(attributes["href"]))
            if tag.name == "a":
                self._open = self.links[-1]


def encoding_of(body: bytes, content_type: str) -> str:
    """Return the encoding of a page, by its byte order mark, header or meta tag."""
    named = _find_header_charset(content_type)
    meta = _find_meta_charset(body)
    encoding = named[1] if named else meta[1].decode() if meta else "utf-8"
    if not named and (web_encoding(encoding) or "").startswith(("utf_16", "utf_32")):
        encoding = "utf-8"  # in these the meta tag could not have been found
    if body.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    elif body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    return web_encoding(encoding) or "utf-8"
