"""Parses the entries of a sitemap or sitemap index."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from pixsim.core.text import text_encoding

MAX_BYTES = 50 * 1024**2
MAX_ELEMENT_CHARACTERS = 8192
MAX_DEPTH = 100
# A tag, comment or instruction that is longer: expat would read it anew with each block.
MAX_TOKEN_BYTES = 256 * 1024
MAX_IMAGES = 50
BLOCK_BYTES = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"

# (parent, element) → the field for its text. Prefixes are ignored: sites mix them up.
FIELDS = {
    ("sitemap", "loc"): "sitemap",
    ("url", "loc"): "page",
    ("image", "loc"): "image",
    ("image", "title"): "title",
    ("image", "caption"): "caption",
    ("image", "license"): "licence_url",
}


class BrokenXml(Exception):
    """XML that cannot be read on, or that uses what is refused."""


@dataclass(slots=True)
class Entry:
    """A child sitemap, or a page with the fields of its pictures; addresses as written.

    A page with more than MAX_IMAGES pictures comes as several entries.
    """

    sitemap: str = ""
    page: str = ""
    images: list[dict[str, str]] = field(default_factory=list)


def entries(body: bytes) -> Iterator[Entry]:
    """Yield the entries in order. Raise BrokenXml where the document breaks off."""
    reader = _Reader()
    for block in _unpacked(body):
        yield from reader.feed(block)
    yield from reader.feed(b"", final=True)


class _Reader:
    """Feeds expat. Declarations inside of the document are refused: XML bombs are made of them."""

    def __init__(self) -> None:
        self._fed = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.XmlDeclHandler = self._declaration
        self._open: list[str] = []
        self._entry = Entry()
        self._text: list[str] | None = None
        self._length = 0
        self._done: list[Entry] = []

    def feed(self, block: bytes, *, final: bool = False) -> Iterator[Entry]:
        error: Exception | None = None
        try:
            self._parser.Parse(block, final)
            self._fed += len(block)
            if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES:
                raise BrokenXml(f"one of its tags is longer than {MAX_TOKEN_BYTES // 1024} KiB")
        except (expat.ExpatError, BrokenXml) as broken:
            error = broken
        done, self._done = self._done, []
        yield from done
        if isinstance(error, expat.ExpatError):
            raise BrokenXml(f"its XML breaks off: {error}")
        if error is not None:
            raise error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        if not self._open and name not in ("urlset", "sitemapindex"):
            raise BrokenXml(f"it is no sitemap: it begins with <{name[:50]}>")
        if name in ("url", "sitemap"):
            self._entry = Entry()
        elif name == "image":
            if len(self._entry.images) == MAX_IMAGES:
                self._done.append(self._entry)
                self._entry = Entry(page=self._entry.page)
            self._entry.images.append({})
        parent = self._open[-1] if self._open else ""
        self._text, self._length = [] if (parent, name) in FIELDS else None, 0
        self._open.append(name)
        if len(self._open) > MAX_DEPTH:
            raise BrokenXml(f"its elements are nested more than {MAX_DEPTH} deep")

    def _end(self, tag: str) -> None:
        name = self._open.pop()
        parent = self._open[-1] if self._open else ""
        if self._text is not None:
            self._set(FIELDS[parent, name], "".join(self._text).strip())
            self._text = None
        elif name in ("url", "sitemap") and len(self._open) == 1:
            self._done.append(self._entry)

    def _set(self, field: str, text: str) -> None:
        if field in ("sitemap", "page"):
            setattr(self._entry, field, text)
        elif self._entry.images:
            self._entry.images[-1][field] = text

    def _characters(self, text: str) -> None:
        if self._text is not None and self._length < MAX_ELEMENT_CHARACTERS:
            self._text.append(text)
            self._length += len(text)

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding and text_encoding(encoding) is None:
            raise BrokenXml(f"its encoding {encoding[:50]!r} is not known")

    def _doctype(self, name: str, system: object, public: object, has_declarations: bool) -> None:
        if has_declarations:
            raise BrokenXml("it declares XML entities or attributes, which are not read")


def _unpacked(body: bytes) -> Iterator[bytes]:
    """Yield the document in blocks, unpacked if it is gzip, at most MAX_BYTES of it."""
    if not body.startswith(GZIP_MAGIC):
        yield from (body[i : i + BLOCK_BYTES] for i in range(0, len(body), BLOCK_BYTES))
        return
    unzip = zlib.decompressobj(wbits=31)
    total = 0
    try:
        while not unzip.eof:
            block = unzip.decompress(body, BLOCK_BYTES)
            body = unzip.unconsumed_tail
            if not block and not body:
                raise BrokenXml("its gzip data breaks off")
            total += len(block)
            if total > MAX_BYTES:
                raise BrokenXml(f"it is larger than {MAX_BYTES // 1024**2} MiB unpacked")
            yield block
    except zlib.error as error:
        raise BrokenXml(f"its gzip data is damaged: {error}") from None
