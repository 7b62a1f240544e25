"""Secrets in texts and in JSON: the names under which they are written, and their removal.

One list serves log lines and the pages that show what providers were sent and what they answered. The
names of our own secret settings, encrypted fields and adapters' headers come from where they are
defined, by `declare`. What sounds like a secret is hidden, even if it sometimes is none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any

from pixsim.core.patterns import Match, Sub, pattern

LONGEST = 64 * 1024
LONGEST_NAME = 200
DEEPEST = 50
MOST_VALUES = 5_000
MOST_CHARACTERS = 512 * 1024
MASK = "***"
LEFT_OUT = "…"

# Anywhere in a name, whose punctuation does not count: "token" in "X-Amz-Security-Token".
PARTS = (
    "accesskey", "apikey", "authorization", "bearer", "cookie", "credential", "oauth", "passphrase",
    "passw", "privatekey", "secret", "sessionid", "sessionkey", "signature", "signingkey", "token",
)  # fmt: skip
# Whole words of a name: "auth" in "x-auth", not in "author".
WORDS = frozenset({"auth", "hmac", "jwt", "otp", "pass", "pwd", "session", "sid", "sig"})
LAST_WORDS = frozenset({"key", "keys"})
# Numbers of tokens that a model read or wrote are no secrets.
COUNTED = "tokens"

_declared: set[str] = set()


def declare(*names: str) -> None:
    """Add names of secrets: of a setting, a field or a header."""
    _declared.update(_joined(name) for name in names)
    _sounds_secret.cache_clear()


def declared() -> frozenset[str]:
    """Return the names that were declared, in lower case and without punctuation."""
    return frozenset(_declared)


def is_secret(name: str, value: Any = "") -> bool:
    """Return whether `value` under this name is a secret: a text, a list or an object."""
    if value is None or isinstance(value, bool | int | float) or not _sounds_secret(name):
        return False
    if COUNTED in name.lower() and not _sounds_secret(name.lower().replace(COUNTED, "")):
        return not (isinstance(value, Mapping) or str(value).isdigit())
    return True


@lru_cache(maxsize=4096)
def _sounds_secret(name: str) -> bool:
    joined = _joined(name)
    if joined in _declared or any(part in joined for part in PARTS):
        return True
    words = _split_words(r"_\g<0>", name[-LONGEST_NAME:]).lower().translate(_TO_WORDS).split("_")
    return words[-1] in LAST_WORDS or not WORDS.isdisjoint(words)


def _joined(name: str) -> str:
    return name.lower().translate(_TO_LETTERS)


_split_words = pattern(r"(?<=[a-z0-9])[A-Z]", longest=LONGEST_NAME, method="sub")
_TO_WORDS = {ord(mark): "_" for mark in "-. "}
_TO_LETTERS = {ord(mark): None for mark in "-._ "}

# A name, then what stands between it and its value, also where a URL or JSON is inside of JSON.
_find_names = pattern(
    r"(?<![\w-])(?:(--[\w-]++)[ =]|((?:[\w-]|%5[Ff]|%2[Dd])++)"
    r"(?:\[\d{0,9}\]|%5[Bb]\d{0,9}%5[Dd])?+(?:[\]\"'\\]|%5[Dd]|%2[27]){0,4}+"
    r"\s{0,4}(?:=>?+|:|>|%3[AaDd]|,(?=\s{0,4}b?\\?[\"']))\s{0,4}(?:b(?=[\"']))?+)",
    longest=LONGEST,
    method="finditer",
)
_SCHEME = r"(?i:basic|bearer|bot|digest|key|negotiate|token)(?:[ +]|%20)"
# In quotes, as a list or an object (hidden to the end of its line), or up to what ends a word.
_match_value = pattern(
    r"(\\[\"'])(?:[^\\\n]|\\(?![\"']))++|(\")(?:[^\"\\\n]|\\.)++|(')(?:[^'\\\n]|\\.)++"
    rf"|[\[{{(][^\n]++|({_SCHEME})?+(?:[^\s\"'\\,;&)}}\]<>]|,(?=[^\s\"']))++",
    longest=LONGEST,
    method="match",
)
# The value of a header: the rest of the line.
_match_line = pattern(rf"({_SCHEME})?+[^\s\"'\\\[{{(][^\n\"']*+", longest=LONGEST, method="match")

# A word with an @, which may be a URL with a password, also one inside of a URL.
_find_at = pattern(
    r"(?<![^\s'\"])(?:[^\s'\"@%]|%(?!40))*+(?:@|%40)[^\s'\"]*+", longest=LONGEST, method="sub"
)
_match_user = pattern(r"[^:/@?#]*+", longest=LONGEST, method="match")

# What is a secret by its form. Its first group stays.
_FORMS: tuple[Sub[str], ...] = tuple(
    pattern(regex, longest=LONGEST, method="sub")
    for regex in (
        r"(?i)(?<![\w-])(bearer(?:[ \t+]|%20){1,4}+)[\w.~+/=%-]++",
        r"(?<![\w-])([Bb]asic )(?=[a-z]*+[A-Z0-9+/=])[A-Za-z0-9+/]{6,}+={0,2}",
        r"(?<![\w-])((?:whsec|pxs|sk|rk|pk|r8|gh[oprsu]|github_pat|glpat|xox[abeoprs]|hf|npm)[_-])"
        r"(?=[a-z_-]*+[\dA-Z+/=])[\w+/=-]++",
        r"(?<![\w-])(whsec_)[\w+/=-]++",
        r"(?<![\w-])(AIza|ya29\.)[\w-]{10,}+",
        r"(?<![\w-])(eyJ)[\w-]++\.[\w.-]++",
        r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)[^-]++",
    )
)


def redact(text: str, mask: str = MASK) -> str:
    """Return the first LONGEST characters of `text` with `mask` for each secret.

    Hidden are the passwords of URLs, the values of names that sound like secrets, and what is a
    secret by its form, such as `Bearer …` and `whsec_…`.
    """
    text = _find_at(lambda found: _without_password(found[0], mask), text)
    for hide in _FORMS:
        text = hide(rf"\g<1>{mask}", text)
    kept: list[str] = []
    at = 0
    for found in _find_names(text):
        if found.start() < at or not (value := _value(text, found, mask)):
            continue
        shown = next(filter(None, value.groups()), "")
        kept += text[at : found.end()], shown, mask
        at = value.end()
    return "".join(kept) + text[at:]


def _without_password(word: str, mask: str) -> str:
    """Return a word that contains an @ or %40 with `mask` between `://user:` and the last of them."""
    last = word.rfind("@")
    at = 0
    while (at := word.find("://", at, max(0, last))) >= 0:
        at += 3
        end = _match_user(word, at).end()  # type: ignore[union-attr]
        if word[end] == ":":
            return word[: end + 1] + mask + word[last:]
        if word[end] == "@":
            return word[:at] + mask + word[end:]
        at = end
    plain = word.lower()
    begin, last = plain.find("%3a%2f%2f"), plain.rfind("%40")
    return word[: begin + 9] + mask + word[last:] if 0 <= begin < last else word


def _value(text: str, found: Match[str], mask: str) -> Match[str] | None:
    """Return the secret that the name `found` announces."""
    name = found[1] or found[2]
    if text[found.start() - 1 : found.start()] == "%":
        name = name[2:]  # the digits of an escape
    if not _sounds_secret(name) or text.startswith(mask, found.end()):
        return None
    is_header = ":" in found[0] and ("cookie" in name.lower() or "authorization" in name.lower())
    value = (is_header and _match_line(text, found.end())) or _match_value(text, found.end())
    return value if value and is_secret(name, value[0]) else None


def redacted(value: Any, *, mask: str = MASK, text: Callable[[str], str] = redact) -> Any:
    """Return `value`, as JSON has it, with `mask` under names of secrets and its texts by `text`.

    LEFT_OUT stands for what is more than DEEPEST levels deep, and for what comes after the first
    MOST_VALUES values or MOST_CHARACTERS characters.
    """
    return _Redaction(mask, text).of(value)


class _Redaction:
    """The redaction of one document, and how much of it may still be read."""

    def __init__(self, mask: str, text: Callable[[str], str]) -> None:
        self._mask = mask
        self._text = text
        self._values = MOST_VALUES
        self._characters = MOST_CHARACTERS

    def of(self, value: Any, depth: int = 0) -> Any:
        self._values -= 1
        is_nested = isinstance(value, Mapping | list | tuple)
        if self._values < 0 or self._characters < 0 or (is_nested and depth == DEEPEST):
            return LEFT_OUT
        if isinstance(value, str):
            self._characters -= min(len(value), LONGEST)  # a picture is read no further
            return self._text(value)
        if not is_nested:
            return value
        if isinstance(value, Mapping):
            return dict(self._pair(name, value[name], depth) for name in self._while_any(value))
        return [self.of(each, depth + 1) for each in self._while_any(value)]

    def _while_any(self, values: Iterable[Any]) -> Iterator[Any]:
        return takewhile(lambda _: self._values >= 0 and self._characters >= 0, values)

    def _pair(self, named: Any, value: Any, depth: int) -> tuple[str, Any]:
        name = str(named)
        self._characters -= len(name)
        if value and is_secret(name, value):
            value = self._mask
        return name[:LONGEST_NAME], self.of(value, depth + 1)
