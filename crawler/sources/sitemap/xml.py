"""Parses the entries of a sitemap or sitemap index, however careless its XML is.

Its tags are read one after the other, in time linear in its length and in bounded memory. No tree is
built and no entity expanded. What is no sound XML costs no more than itself: text before the document,
bare ampersands, wrong encodings, tags in upper case, without a namespace or not closed.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import NoReturn

from crawler.sources.page.tags import plain
from pixsim.core.inflate import GZIP_MAGIC, CutOff, Damaged, blocks, gather, inflate
from pixsim.core.patterns import pattern
from pixsim.core.text import web_encoding

MAX_BYTES = 50 * 1024**2
MAX_ELEMENT_BYTES = 32 * 1024
MAX_TAG_BYTES = 64 * 1024
MAX_IMAGES = 50
BLOCK_BYTES = 64 * 1024
LONGEST_HEAD = 4096

# (parent, element) → the field for its text. Prefixes are ignored: sites mix them up.
FIELDS = {
    ("sitemap", "loc"): "sitemap",
    ("url", "loc"): "page",
    ("image", "loc"): "image",
    ("image", "title"): "title",
    ("image", "caption"): "caption",
    ("image", "license"): "licence_url",
    ("video", "thumbnail_loc"): "image",
    ("video", "title"): "title",
}
ADDRESSES = ("sitemap", "page", "image")
ROOTS = {"urlset": "url", "sitemapindex": "sitemap"}
# What ends a text whose own end tag is missing; other tags inside of a text are ignored.
_ENDS_TEXT = frozenset(
    [*ROOTS, *(name for pair in FIELDS for name in pair), "lastmod", "changefreq", "priority"]
)
_OTHER_DOCUMENTS = {
    "html": "an HTML page", "head": "an HTML page", "body": "an HTML page",
    "rss": "an RSS feed", "rdf": "an RSS feed", "feed": "an Atom feed",
}  # fmt: skip

_find_declared = pattern(
    rb"<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_:. -]{1,40})",
    longest=LONGEST_HEAD,
    method="search",
)
# The end of the data may cut what begins there.
_find_markup = pattern(
    rb"<(?=[A-Za-z/!?]|\Z)", longest=MAX_TAG_BYTES + 4 * BLOCK_BYTES, method="search"
)
_SKIPPED = ((b"<![CDATA[", b"]]>"), (b"<!--", b"-->"))
_BOMS = (
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)
# Which of the first four bytes are zero says the encoding of Latin text without a byte order mark.
_BY_ZEROS = {"x.x.": "utf_16_le", ".x.x": "utf_16_be",
             "x...": "utf_32_le", "...x": "utf_32_be"}  # fmt: skip
# In these the bytes of tags have other meanings, too: they are recoded before tags are looked for.
_RECODED = ("utf_16", "utf_32", "iso2022", "johab")


class BrokenXml(Exception):
    """A document that cannot be read on, or that uses what is refused. The message says where."""


@dataclass(slots=True)
class Entry:
    """A child sitemap, or a page with the fields of its pictures; addresses as written.

    A page with more than MAX_IMAGES pictures comes as several entries.
    """

    sitemap: str = ""
    page: str = ""
    images: list[dict[str, str]] = field(default_factory=list)


def entries(body: bytes) -> Iterator[Entry]:
    """Yield the entries in order, of a text its addresses and the `Sitemap:` lines of robots.txt.

    Raise BrokenXml where the document breaks off.
    """
    blocks = _unpacked(body)
    head = next(blocks, b"")
    mark, encoding = _encoding(head)
    blocks = chain([head[len(mark) :]], blocks)
    if encoding.startswith(_RECODED):
        blocks, encoding = _recoded(blocks, encoding), "utf_8"
        head = next(blocks, b"")
        blocks = chain([head], blocks)
    reader = _Reader(encoding) if b"<" in head else _Lines(encoding)
    try:
        for block in blocks:
            yield from reader.feed(block)
    except BrokenXml as error:
        yield from reader.rest()
        raise BrokenXml(f"{error}{reader.where()}") from None
    yield from reader.rest()
    if problem := reader.problem():
        raise BrokenXml(problem)


class _Lines:
    """Reads a text: each line with an address is an entry."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._line = b""
        self._is_empty = True
        self._count = 0

    def feed(self, block: bytes) -> Iterator[Entry]:
        self._is_empty = self._is_empty and not block.strip()
        *lines, self._line = (self._line + block.replace(b"\r", b"\n")).split(b"\n")
        self._line = self._line[:MAX_ELEMENT_BYTES]
        for line in lines:
            yield from self._entry(line)

    def rest(self) -> Iterator[Entry]:
        yield from self._entry(self._line)

    def where(self) -> str:
        return f", after {self._count:,} entries"

    def problem(self) -> str:
        if self._count:
            return ""
        what = "is empty" if self._is_empty else "is no sitemap: it has neither tags nor addresses"
        return f"it {what}"

    def _entry(self, line: bytes) -> Iterator[Entry]:
        text = _decoded(line, self._encoding).strip()
        name, _, rest = text.partition(":")
        if name.lower() == "sitemap":
            entry = Entry(sitemap=rest.strip())
        elif name.lower() in ("http", "https"):
            entry = Entry(page=text)
        else:
            return
        self._count += 1
        yield entry


class _Reader:
    """Reads tags, and the texts of those in FIELDS."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._data = b""
        self._place = 0
        """How many bytes were read, or where reading ended."""
        self._skipped_to = b""
        """What ends the comment or CDATA section that is being read."""
        self._first = ""
        """The tag that says what document this is if it is no sitemap."""
        self._root = ""
        self._is_open = False
        self._cut = ""
        """The element that the document's end leaves open."""
        self._kind = ""
        """The element of the entry that is open."""
        self._entry = Entry()
        self._holder = ""
        self._image: dict[str, str] = {}
        self._field: str | None = None
        self._pieces: list[bytes] = []
        self._length = 0
        self._count = 0
        self._done: list[Entry] = []

    def feed(self, block: bytes) -> Iterator[Entry]:
        error: BrokenXml | None = None
        self._data += block
        self._place += len(block)
        try:
            self._data = self._data[self._read(self._data) :]
        except BrokenXml as broken:
            error = broken
        yield from self._taken()
        if error is not None:
            raise error

    def rest(self) -> Iterator[Entry]:
        """Yield the entry that the document's end cuts, without a text that is cut."""
        self._cut = self._kind or (self._root if self._is_open else "")
        if self._entry.images and "image" not in self._entry.images[-1]:
            self._entry.images.pop()
        if self._entry.page or self._entry.sitemap or self._entry.images:
            self._push()
        yield from self._taken()

    def where(self) -> str:
        return f", after {self._count:,} entries (near byte {self._place:,})"

    def problem(self) -> str:
        """Return what is wrong with the document, now that it has ended."""
        if not (self._root or self._count):
            return _no_sitemap(self._first)
        return f"it is cut short: it ends without </{self._cut}>{self.where()}" if self._cut else ""

    def _taken(self) -> list[Entry]:
        done, self._done = self._done, []
        return done

    def _read(self, data: bytes) -> int:
        """Read as far as tags are whole; return how many bytes were read."""
        at = 0
        while at < len(data):
            if self._skipped_to:
                end = data.find(self._skipped_to, at)
                # The mark itself may go on in the next block.
                until = end if end >= 0 else max(at, len(data) - len(self._skipped_to) + 1)
                if self._skipped_to == b"]]>":
                    self._characters(data[at:until].replace(b"&", b"&amp;"))
                if end < 0:
                    return until
                at, self._skipped_to = end + len(self._skipped_to), b""
            found = _find_markup(data, at)
            begin = found.start() if found else len(data)
            self._characters(data[at:begin])
            if not found:
                return begin
            at = self._markup(data, begin)
            if at < 0:
                if len(data) - begin <= MAX_TAG_BYTES:
                    return begin
                if self._root:
                    self._refuse(
                        f"one of its tags is longer than {MAX_TAG_BYTES // 1024} KiB", begin
                    )
                at = len(data)
        return at

    def _markup(self, data: bytes, begin: int) -> int:
        """Read what begins at `begin` with <; return where it ends, -1 if that is not there yet."""
        first = data[begin + 1 : begin + 2]
        for mark, end_mark in _SKIPPED if first == b"!" else ():
            seen = data[begin : begin + len(mark)]
            if seen == mark:
                self._skipped_to = end_mark
                return begin + len(mark)
            if mark.startswith(seen):
                return -1
        end = data.find(b">", begin)
        if end < 0:
            return -1
        stray = data.rfind(b"<", begin + 1, end)
        if stray >= 0:
            self._characters(data[begin:stray])
            return stray
        if first == b"!" and data[begin + 2 : begin + 8].upper() in (b"ENTITY", b"ATTLIS"):
            self._refuse("it declares XML entities or attributes, which are not read", begin)
        if first not in b"!?":
            self._tag(data[begin + 1 : end].strip())
        return end + 1

    def _refuse(self, why: str, begin: int) -> NoReturn:
        self._place += begin - len(self._data)
        raise BrokenXml(why)

    def _tag(self, tag: bytes) -> None:
        prefix, name = _named((tag.strip(b"/").split(None, 1) or [b""])[0][:200])
        if self._field is not None:
            if not prefix and name not in _ENDS_TEXT:
                return
            self._end_text()
        if not tag.startswith(b"/"):
            self._start(name)
        if tag.startswith(b"/") or tag.endswith(b"/"):
            self._end(name)

    def _start(self, name: str) -> None:
        if name in ROOTS:
            self._root, self._is_open = name, True
        elif not self._first or (name in _OTHER_DOCUMENTS and self._first not in _OTHER_DOCUMENTS):
            self._first = name
        if name in ROOTS.values():
            self._push()
            self._kind = "sitemap" if self._root == "sitemapindex" else name
        elif name in ("image", "video"):
            self._holder, self._image = name, {}
            if name == "image":
                self._add_image()
        field = FIELDS.get((self._holder or self._kind or ROOTS.get(self._root, ""), name))
        if field is not None:
            self._field, self._pieces, self._length = field, [], 0

    def _end(self, name: str) -> None:
        if name in ROOTS:
            self._is_open = False
        if name in ROOTS or name in ROOTS.values():
            self._push()
        elif name == self._holder:
            self._holder = ""

    def _push(self) -> None:
        """End the entry that is open, if one is."""
        said = self._entry.page or self._entry.sitemap
        if said or (self._root and (self._kind or self._entry.images)):
            self._done.append(self._entry)
            self._count += 1
        self._entry, self._kind, self._holder = Entry(), "", ""

    def _add_image(self) -> None:
        if len(self._entry.images) == MAX_IMAGES:
            page, kind, holder = self._entry.page, self._kind, self._holder
            self._push()
            self._entry, self._kind, self._holder = Entry(page=page), kind, holder
        self._entry.images.append(self._image)

    def _end_text(self) -> None:
        field, self._field = self._field, None
        text = plain(_decoded(b"".join(self._pieces), self._encoding)).strip()
        if field in ADDRESSES:
            text = "".join(map(str.strip, text.splitlines()))
        match field:
            case "page" | "sitemap":
                # It has two addresses if its end tag is missing.
                if getattr(self._entry, field):
                    kind = self._kind
                    self._push()
                    self._kind = kind
                setattr(self._entry, field, text)
            case "image":
                if field in self._image:
                    self._image = {}
                self._image[field] = text
                if not any(self._image is image for image in self._entry.images[-1:]):
                    self._add_image()
            case str():
                self._image[field] = text

    def _characters(self, text: bytes) -> None:
        if self._field is not None and self._length < MAX_ELEMENT_BYTES:
            self._pieces.append(text[:MAX_ELEMENT_BYTES])
            self._length += len(text)


@lru_cache(maxsize=256)
def _named(written: bytes) -> tuple[str, str]:
    """Return the prefix and the name of a tag."""
    prefix, _, name = written.decode("latin_1").lower().rpartition(":")
    return prefix, name


def _no_sitemap(first: str) -> str:
    if what := _OTHER_DOCUMENTS.get(first):
        return f"it is no sitemap but {what}"
    return (
        f"it is no sitemap: it begins with <{first[:50]}>"
        if first
        else "it is no sitemap: it has no tags"
    )


def _encoding(head: bytes) -> tuple[bytes, str]:
    """Return the byte order mark of a document, and its encoding.

    What its bytes show counts before what it says: many sites declare another encoding than they use.
    """
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return mark, encoding
    zeros = "".join(".x"[byte != 0] for byte in head[:4])
    if shown := _BY_ZEROS.get(zeros):
        return b"", shown
    declared = _find_declared(head)
    encoding = (web_encoding(declared[1].decode()) if declared else None) or "utf_8"
    if encoding.startswith(("utf_16", "utf_32")) or (not head.isascii() and _is_utf_8(head)):
        return b"", "utf_8"
    return b"", encoding


def _is_utf_8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf_8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _recoded(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in blocks:
        yield decoder.decode(block).encode("utf_8", "replace")


def _decoded(text: bytes, encoding: str) -> str:
    """Return a text in the document's encoding, or in the one that it has all the same."""
    if text.isascii():
        return text.decode("ascii")
    is_whole = len(text) < MAX_ELEMENT_BYTES
    for known in (encoding, "utf_8", "cp1252"):
        try:
            return codecs.getincrementaldecoder(known)().decode(text, is_whole)
        except UnicodeDecodeError:
            continue
    return text.decode("latin_1")


def _unpacked(body: bytes) -> Iterator[bytes]:
    """Yield the document in blocks, unpacked if it is gzip, at most MAX_BYTES of it."""
    if not body.startswith(GZIP_MAGIC):
        yield from (body[i : i + BLOCK_BYTES] for i in range(0, len(body), BLOCK_BYTES))
        return
    total = 0
    try:
        for block in gather(inflate(blocks(body)), BLOCK_BYTES):
            total += len(block)
            if total > MAX_BYTES:
                raise BrokenXml(f"it is larger than {MAX_BYTES // 1024**2} MiB unpacked")
            yield block
    except CutOff:
        raise BrokenXml("its gzip data breaks off") from None
    except Damaged as error:
        raise BrokenXml(f"its gzip data is damaged: {error}") from None
