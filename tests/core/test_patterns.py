"""Every regular expression that meets untrusted text takes time in proportion to the text."""

import importlib
import math
import pkgutil
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from re import _constants as code
from re import _parser
from typing import Any

import pytest

import accounts
import crawler
import jobs
import pixsim
import providers
from pixsim.core.patterns import MADE, Made, pattern

SHORTEST_TEXT = 256
LONGEST_TEXT = 1 << 18
STEEPEST = 2.5
MEASURED_SECONDS = 0.0003
TRIES = 40
PAUSE = 0.02
DEADLINE = 10
REPEATS = (code.MAX_REPEAT, code.MIN_REPEAT, code.POSSESSIVE_REPEAT)
SKIPPED = {"migrations", "schema", "adoption", "celery"}

for package in (accounts, crawler, jobs, pixsim, providers):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not SKIPPED & set(module.name.split(".")):
            importlib.import_module(module.name)
OURS = list(MADE)


class TooSlow(Exception):
    pass


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TooSlow inside a regular expression that runs for longer; `re` looks for signals."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


ALPHABETS = [
    [*range(97, 123), *range(256)],
    [*range(33, 256), *range(33)],
    [*range(255, -1, -1)],
]
"""Orders in which characters are tried where an expression has a choice."""


class Examples:
    """Texts that a parsed expression matches, of the first fitting characters of an alphabet."""

    def __init__(self, alphabet: list[int]) -> None:
        self._alphabet = alphabet

    def hard_texts(self, parsed: Any) -> set[tuple[str, str]]:
        """Return (start, repeated): each repeat, after what leads to it and alone, and the whole."""
        whole = self._text(parsed)
        found = {("", whole), ("", whole[:-1]), ("", whole[:1]), ("", whole[-1:])}
        self._collect(parsed, "", found)
        return {(start, repeated) for start, repeated in found if repeated}

    def _collect(self, items: Any, start: str, found: set[tuple[str, str]]) -> None:
        for operator, argument in items:
            if operator in REPEATS:
                body = self._text(argument[2])
                found |= {(start, body), ("", body), ("", start + body)}
                found |= {(start, body[:1]), (start, body[:-1])}
            for inner in self._inner(operator, argument):
                self._collect(inner, start, found)
            start += self._one(operator, argument)

    def _text(self, items: Any) -> str:
        return "".join(self._one(operator, argument) for operator, argument in items)

    def _one(self, operator: Any, argument: Any) -> str:
        if operator is code.LITERAL:
            return chr(argument)
        if operator in (code.NOT_LITERAL, code.ANY):
            return chr(next(one for one in self._alphabet if one != argument))
        if operator is code.IN:
            regex = re.compile("[" + "".join(map(_spelled, argument)) + "]")
            return next(c for c in map(chr, self._alphabet) if regex.match(c))
        inner = self._inner(operator, argument)
        repeated = max(1, argument[0]) if operator in REPEATS else 1
        return self._text(inner[0]) * repeated if inner else ""

    @staticmethod
    def _inner(operator: Any, argument: Any) -> list[Any]:
        if operator in REPEATS:
            return [argument[2]]
        if operator is code.SUBPATTERN:
            return [argument[-1]]
        if operator is code.ATOMIC_GROUP:
            return [argument]
        return list(argument[1]) if operator is code.BRANCH else []


def _spelled(member: tuple[Any, Any]) -> str:
    match member:
        case (code.NEGATE, _):
            return "^"
        case (code.LITERAL, one):
            return f"\\U{one:08x}"
        case (code.RANGE, (first, last)):
            return f"\\U{first:08x}-\\U{last:08x}"
        case (code.CATEGORY, name):
            letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[str(name).rpartition("_")[2]]
            return "\\" + (letter.upper() if "_NOT_" in str(name) else letter)
    raise AssertionError(member)


def hard_texts(made: Made) -> list[tuple[str, str, str]]:
    """Return texts as (start, repeated, end), where the end keeps the text from matching."""
    parsed = _parser.parse(made.compiled.pattern)
    found = set().union(*(Examples(alphabet).hard_texts(parsed) for alphabet in ALPHABETS))
    found |= {("", each) for each in ("a", " ", "0", "a-", "\0", "\xff")}
    return sorted((*parts, end) for parts in found for end in ("", "\0", "~ "))


def steepest(made: Made, parts: tuple[str, str, str]) -> float:
    """Return by how much the CPU grows at most where the text becomes twice as long.

    It stops at the first length that shows too much, before a quadratic expression takes minutes.
    """
    longest = min(made.longest, LONGEST_TEXT)
    worst, length = 0.0, longest
    lengths = [longest]
    while (length := length // 16) > SHORTEST_TEXT:
        lengths.append(length)
    for length in reversed(lengths):
        half, whole = (_text(made, *parts, each) for each in (length // 2, length))
        worst = max(worst, _growth(made, half, whole))
        if worst > STEEPEST:
            break
    return worst


def _growth(made: Made, half: str | bytes, whole: str | bytes) -> float:
    """Return the least ratio of some tries: another process may slow down one of the two."""
    least = math.inf
    for _ in range(TRIES):
        short = _seconds(made, half)
        if (least := min(least, _seconds(made, whole) / short)) <= STEEPEST:
            break
        time.sleep(PAUSE)
    return least


def _text(made: Made, start: str, body: str, end: str, length: int) -> str | bytes:
    middle = length - len(start) - len(end)
    text = (start + (body * (middle // len(body) + 1))[: max(0, middle)] + end)[:length]
    return text.encode("latin-1", "replace") if isinstance(made.compiled.pattern, bytes) else text


def _seconds(made: Made, text: str | bytes) -> float:
    times, began = 0, time.thread_time()
    while (spent := time.thread_time() - began) < MEASURED_SECONDS:
        made.run(text)
        times += 1
    return spent / times


@pytest.mark.parametrize("made", OURS, ids=lambda made: str(made.compiled.pattern)[:40])
def test_twice_the_text_takes_at_most_two_and_a_half_times_the_time(made: Made) -> None:
    with deadline(DEADLINE):
        for parts in hard_texts(made):
            assert steepest(made, parts) <= STEEPEST, parts


@pytest.mark.parametrize(
    "regex",
    [
        r"\b[\w-]*token",  # the log redactor's, before
        r"[?&][^=&\s]*token[^=&\s]*=",  # the masking's, before
        r"\s*(.*?)\s*(?:#.*)?:",  # a line of robots.txt, before
        r"\s*(?:<!--.*?-->\s*)*<svg",  # an SVG's beginning, before
    ],
)
def test_the_measure_finds_what_grows_faster(regex: str) -> None:
    pattern(regex, longest=LONGEST_TEXT, method="search")
    slow = MADE.pop()
    try:
        with deadline(DEADLINE):
            assert any(steepest(slow, parts) > STEEPEST for parts in hard_texts(slow))
    except TooSlow:
        pass  # it grows so fast that it does not end


def test_a_longer_text_is_cut_and_does_not_match_fully() -> None:
    made = {
        method: pattern("a+", longest=3, method=method)
        for method in ("fullmatch", "match", "search", "findall", "sub")
    }
    del MADE[-len(made) :]
    assert made["fullmatch"]("aaa")
    assert made["fullmatch"]("aaaa") is None
    assert made["match"]("aaaa")[0] == made["search"]("aaaa")[0] == "aaa"
    assert made["search"]("bbba") is None
    assert made["search"]("bbba", 1)[0] == "a"
    assert made["findall"]("ababa") == ["a", "a"]
    assert made["sub"]("x", "aabaa") == "xb"


@pytest.mark.parametrize(
    "file",
    ["accounts/tiers.py", "crawler/urls.py", "jobs/queue/api.py", "providers/adapters/http.py"],
)
def test_the_linter_refuses_any_other_way(file: str) -> None:
    linter = [sys.executable, "-m", "ruff", "check", "--stdin-filename", file, "-"]
    for line in ("import re\n", "from re import compile\n"):
        found = subprocess.run(linter, input=line, capture_output=True, text=True, timeout=60)
        assert "TID251" in found.stdout, found
