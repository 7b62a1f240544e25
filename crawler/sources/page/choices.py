"""Of the addresses that an element names for one picture, the best: what looks like none is left out."""

from collections.abc import Iterator, Mapping
from typing import Any

from crawler.fetch.rules import FORMATS
from crawler.urls import has_picture_suffix, join
from pixsim.core.media.format_names import canonical_format
from pixsim.core.patterns import pattern
from pixsim.core.text import read_json
from pixsim.core.urls import BadUrl

# Where pages put the address of a picture that is loaded when it scrolls into view.
LAZY_SRCSETS = (
    "data-srcset", "data-lazy-srcset", "data-flickity-lazyload-srcset", "data-original-set",
    "nitro-lazy-srcset",
)  # fmt: skip
LAZY_SOURCES = (
    "data-src", "data-original", "data-lazy-src", "data-lazy", "data-lazyload",
    "data-flickity-lazyload", "data-flickity-lazyload-src", "nitro-lazy-src", "data-cfsrc",
    "data-ezsrc", "data-echo",
)  # fmt: skip
BACKGROUNDS = (
    "data-bg", "data-bgset", "data-background", "data-background-image", "data-lazy-bg",
    "data-flickity-bg-lazyload",
)  # fmt: skip

MAX_SRCSET_CHARACTERS = 16 * 1024
_NO_ADDRESS = ("data:", "blob:", "about:", "javascript:", "#")
_WORDS = frozenset(["true", "false", "lazy", "auto", "none", "null", "undefined", "nan"])
_TEMPLATES = ("%7B%7B", "%7b%7b", "${", "<%", "{%", "[[")
_ABSOLUTE = ("/", "./", "../", "http://", "https://")

_match_srcset_url = pattern(r"[\s,]*+(\S++)", longest=MAX_SRCSET_CHARACTERS, method="match")
_match_descriptor = pattern(r"(\d{1,9}(?:\.\d{1,9})?)([wx])", longest=20, method="fullmatch")
# An address may hold the likes of {6F9619FF-8B86-D011-B42D-00CF4FC964FF}; other braces wait for a script.
_find_template = pattern(
    r"\{(?![0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27}\})", longest=MAX_SRCSET_CHARACTERS, method="search"
)

Choice = tuple[str, float, float]
"""An address with its width and density."""


class Choices:
    """What one or several elements name for a picture.

    Where an attribute of lazy loading has an address, the plain attributes hold placeholders.
    """

    def __init__(self) -> None:
        self.lazy: list[Choice] = []
        self.plain: list[Choice] = []

    def add(self, attributes: Mapping[str, str]) -> None:
        """Add what an <img> names. Its plain sources come before its renderings."""
        lazy = next(_lazy_addresses(attributes, LAZY_SOURCES), "")
        self.lazy += [(lazy, 0.0, 1.0)] if lazy else []
        source = attributes.get("src", "")
        self.plain += [(source, 0.0, 1.0)] if is_address(source) else []
        self.add_renderings(attributes)

    def add_renderings(self, attributes: Mapping[str, str]) -> None:
        """Add what a srcset names, unless its <source> is of a type that we do not read."""
        kind = attributes.get("type", "").partition(";")[0]
        if kind.strip() and canonical_format(kind) not in FORMATS:
            return
        self.lazy += next(filter(None, (srcset(attributes.get(n, "")) for n in LAZY_SRCSETS)), [])
        self.plain += srcset(attributes.get("srcset", ""))

    def extend(self, others: "Choices") -> None:
        self.lazy += others.lazy
        self.plain += others.plain

    def best(self) -> str:
        """Return the address that is taken: of the largest rendering, the first of equal ones."""
        choices = self.lazy + self.plain
        if len(choices) > 1:
            lazy = [choice for choice in self.lazy if _may_be_fetched(choice[0])]
            plain = [choice for choice in self.plain if _may_be_fetched(choice[0])]
            choices = lazy or plain or choices
        return max(choices, key=lambda choice: choice[1:], default=("",))[0]


def srcset(value: str) -> list[Choice]:
    """Return the addresses of a srcset with their width and density (0 and 1 if not given).

    As in browsers an address ends at white space, so it may contain commas; what looks like a
    picture's name only with the words after it is one name all the same. Nothing is read of a
    value longer than MAX_SRCSET_CHARACTERS.
    """
    found: list[Choice] = []
    place = 0
    if len(value) > MAX_SRCSET_CHARACTERS:
        return found
    while match := _match_srcset_url(value, place):
        url, place = match[1], match.end()
        descriptors = ""
        if url.endswith(","):
            url = url.rstrip(",")
        else:
            end = value.find(",", place)
            descriptors = value[place : end if end >= 0 else len(value)]
            place += len(descriptors)
        words = descriptors.split()
        if not has_picture_suffix(url):
            named = [n for n, word in enumerate(words, 1) if has_picture_suffix(word)]
            rest = named[-1] if named else 0
            url, words = " ".join([url, *words[:rest]]), words[rest:]
        sizes = {m[2]: float(m[1]) for m in map(_match_descriptor, words) if m}
        if is_address(url):
            found.append((url, sizes.get("w", 0.0), sizes.get("x", 1.0)))
    return found


def is_address(value: str) -> bool:
    """Return whether a browser could load a picture from this value of `src`, without a script."""
    text = value.strip()
    return not (
        not text
        or text[:20].lower().startswith(_NO_ADDRESS)
        or text.lower() in _WORDS
        or any(mark in text for mark in _TEMPLATES)
        or _find_template(text)
    )


def _may_be_fetched(address: str) -> bool:
    """Return whether it is an address of the web, and not of an SVG, which is a placeholder beside others."""
    try:
        return not join("http://e.com/", address).partition("?")[0].lower().endswith(".svg")
    except BadUrl:
        return False


def background(attributes: Mapping[str, str]) -> str:
    """Return the address of a background that is loaded by a script, or nothing."""
    if renderings := srcset(attributes.get("data-bgset", "").replace("|", ",")):
        return max(renderings, key=lambda choice: choice[1:])[0]
    return next(_lazy_addresses(attributes, BACKGROUNDS), "")


def _lazy_addresses(attributes: Mapping[str, str], names: tuple[str, ...]) -> Iterator[str]:
    values = (value for name in names if (value := attributes.get(name, "").strip()))
    yield from (text for value in values for text in _texts(value) if _is_surely_address(text))


def _is_surely_address(text: str) -> bool:
    """Return whether the value of an attribute that may mean anything is the address of a picture."""
    if not is_address(text) or not text.strip("./"):
        return False
    if has_picture_suffix(text) or text.lower().startswith(_ABSOLUTE):
        return True
    has_path = any(mark in text for mark in "/?") and any(map(str.isalpha, text))
    return has_path and not any(map(str.isspace, text))


def _texts(value: str) -> Iterator[str]:
    """Yield the texts of a value: itself, or what JSON or `url(…)` holds."""
    if value[:1] in ("{", "[") and len(value) <= MAX_SRCSET_CHARACTERS:
        try:
            level: list[Any] = [read_json(value)]
        except ValueError:
            return
        while level:
            yield from (one.strip() for one in level if isinstance(one, str))
            level = [inner for one in level for inner in _inside(one)]
    elif value[:4].lower() == "url(":
        yield value[4:].partition(")")[0].strip(" \t\n\"'")
    else:
        yield value


def _inside(value: Any) -> list[Any]:
    return (
        [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    )
