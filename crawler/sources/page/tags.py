"""The tags of an HTML text, one after the other, in time linear in its length.

No tree is built: how deep elements are nested has no meaning here, and costs nothing. What is read is
bounded: tags per page, characters per tag, attributes per tag.
"""

import html
from collections.abc import Iterator
from typing import NamedTuple

from pixsim.core.patterns import Match, pattern

MAX_CHARACTERS = 10 * 1024**2
MAX_TAGS = 100_000
MAX_TAG_CHARACTERS = 64 * 1024
MAX_ATTRIBUTES = 100

# What these contain is text, not tags.
RAW = ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")

# Where a tag begins, or (the first group) what is read as a comment.
_find_tag = pattern(
    r"<(?:([!?]|/(?![A-Za-z]))|/?[A-Za-z])", longest=MAX_CHARACTERS, method="search"
)
_match_tag = pattern(
    r"""<(/?)([A-Za-z][^\s/>]*+)((?:[\s/=]++|[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+))?+)*+)>""",
    longest=MAX_TAG_CHARACTERS,
    method="match",
)
_find_attributes = pattern(
    r"""([^\s/>=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"'][^\s>]*+)))?+""",
    longest=MAX_TAG_CHARACTERS,
    method="finditer",
)
_find_ends = {
    name: pattern(rf"(?i)</{name}(?=[\s/>])", longest=MAX_CHARACTERS, method="search")
    for name in RAW
}
# As browsers read an attribute: `&copy=1` in an address is no ©.
_unescape = pattern(
    r"&(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};"
    r"|(?:amp|lt|gt|quot)(?![=A-Za-z0-9]))",
    longest=MAX_CHARACTERS,
    method="sub",
)


class Tag(NamedTuple):
    """A tag. `name` is in lower case, of an end tag with / before it; `text` stood before it."""

    name: str
    text: str
    source: str
    """Its attributes as written."""

    def attributes(self) -> dict[str, str]:
        """Return the first MAX_ATTRIBUTES attributes; of equal ones the first counts."""
        found: dict[str, str] = {}
        for match, _ in zip(_find_attributes(self.source), range(MAX_ATTRIBUTES), strict=False):
            value = next(filter(None, match.groups()[1:]), "")
            found.setdefault(match[1].lower(), plain(value))
        return found


def tags(text: str) -> Iterator[Tag]:
    """Yield the tags of a page. `text` of an end tag of RAW is what the element contains."""
    text = text[:MAX_CHARACTERS]
    before = at = 0
    while begin := _find_tag(text, at):
        at = begin.start()
        if text.startswith("<!--", at):
            # `<!-->` is a whole comment. What is opened and never closed takes the rest along.
            at = _after(text, "-->", at + 2)
        elif begin[1]:
            at = _after(text, ">", at)
        elif found := _match_tag(text, at):
            name = found[1] + found[2].lower()
            yield Tag(name, text[before:at], found[3])
            at = before = found.end()
            if name in RAW:
                end = _find_ends[name](text, at)
                at = end.start() if end else len(text)
        else:
            at += MAX_TAG_CHARACTERS  # a tag that is too long, or that does not end


def plain(text: str) -> str:
    """Return a text with its character references resolved."""
    return _unescape(_character, text) if "&" in text else text


def _after(text: str, end: str, at: int) -> int:
    found = text.find(end, at)
    return found + len(end) if found >= 0 else len(text)


def _character(found: Match[str]) -> str:
    return html.unescape(found[0])
