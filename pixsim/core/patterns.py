"""Regular expressions for untrusted text.

`pattern` makes each of them: it says how much text is looked at. The linter refuses `import re` in code
that meets such text, and tests/core/test_patterns.py measures that every pattern made here takes
time in proportion to its text. What makes one so: no two neighbouring repeats that can match the same
characters, unless the first is possessive (`*+`) or in an atomic group (`(?>…)`); and for what is
searched, a lookbehind that lets a long run be tried only at its first character.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, AnyStr, Literal, Protocol, overload

Match = re.Match


class Find(Protocol[AnyStr]):
    def __call__(self, text: AnyStr, at: int = 0) -> re.Match[AnyStr] | None: ...


Replacement = Callable[[re.Match[AnyStr]], AnyStr]


class Sub(Protocol[AnyStr]):
    def __call__(self, by: AnyStr | Replacement[AnyStr], text: AnyStr) -> AnyStr: ...


@dataclass(frozen=True)
class Made:
    """One pattern of this process, for the test that measures all of them."""

    compiled: re.Pattern[Any]
    longest: int
    method: str
    call: Callable[..., Any]

    def run(self, text: str | bytes) -> None:
        """Apply it to `text`, to its end, as its module does."""
        result = self.call(text[:0], text) if self.method == "sub" else self.call(text)
        if self.method == "finditer":
            deque(result, maxlen=0)


MADE: list[Made] = []


@overload
def pattern(
    regex: AnyStr, *, longest: int, method: Literal["fullmatch", "match", "search"]
) -> Find[AnyStr]: ...
@overload
def pattern(
    regex: AnyStr, *, longest: int, method: Literal["finditer"]
) -> Callable[[AnyStr], Iterator[re.Match[AnyStr]]]: ...
@overload
def pattern(
    regex: AnyStr, *, longest: int, method: Literal["findall"]
) -> Callable[[AnyStr], list[Any]]: ...
@overload
def pattern(regex: AnyStr, *, longest: int, method: Literal["sub"]) -> Sub[AnyStr]: ...
def pattern(regex: Any, *, longest: int, method: str) -> Any:
    """Return a function that applies `regex` by `method` of `re` to at most `longest` characters.

    - fullmatch: a longer text does not match.
    - match, search, findall, finditer: what follows the first `longest` characters (from `at`) is not
      looked at, as if the text ended there.
    - sub: what follows the first `longest` characters is left out of the result.
    """
    compiled = re.compile(regex)
    call = _METHODS[method](compiled, longest)
    MADE.append(Made(compiled, longest, method, call))
    return call


def _fullmatch(compiled: re.Pattern[AnyStr], longest: int) -> Find[AnyStr]:
    def fullmatch(text: AnyStr, at: int = 0) -> re.Match[AnyStr] | None:
        return compiled.fullmatch(text, at) if len(text) - at <= longest else None

    return fullmatch


def _match(compiled: re.Pattern[AnyStr], longest: int) -> Find[AnyStr]:
    return lambda text, at=0: compiled.match(text, at, at + longest)


def _search(compiled: re.Pattern[AnyStr], longest: int) -> Find[AnyStr]:
    return lambda text, at=0: compiled.search(text, at, at + longest)


def _findall(compiled: re.Pattern[AnyStr], longest: int) -> Callable[[AnyStr], list[Any]]:
    return lambda text: compiled.findall(text, 0, longest)


def _finditer(
    compiled: re.Pattern[AnyStr], longest: int
) -> Callable[[AnyStr], Iterator[re.Match[AnyStr]]]:
    return lambda text: compiled.finditer(text, 0, longest)


def _sub(compiled: re.Pattern[AnyStr], longest: int) -> Sub[AnyStr]:
    return lambda by, text: compiled.sub(by, text[:longest])


_METHODS: dict[str, Callable[[re.Pattern[Any], int], Any]] = {
    "fullmatch": _fullmatch,
    "match": _match,
    "search": _search,
    "findall": _findall,
    "finditer": _finditer,
    "sub": _sub,
}
