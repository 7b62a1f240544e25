"""What a row of the tables is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.seeds.place import Place


class Verdict(StrEnum):
    """What became of a sentence."""

    FULFILLED = "fulfilled"
    TRANSLATED = "translated"
    REFUSED = "refused"


FULFILLED, TRANSLATED, REFUSED = Verdict.FULFILLED, Verdict.TRANSLATED, Verdict.REFUSED


class On(StrEnum):
    """The database that a check needs."""

    HEAD = "head"
    """At the head of the migrations, with the sample rows. All checks share it: read only."""
    COPY = "copy"
    """A copy of it, of this check alone."""
    EMPTY = "empty"
    """Without a table."""


Run = Callable[[Place], None]


@dataclass(frozen=True)
class Check:
    """`run` fails with AssertionError if what the row says is not so."""

    run: Run
    on: On = On.HEAD


@dataclass(frozen=True)
class Row:
    """One sentence of a guide, and what there is here."""

    sentence: str
    """Close to the guide's words, in Markdown."""
    verdict: Verdict
    here: str
    """The command, query or place here that does it, in Markdown."""
    check: Check
    note: str = ""
    """What to know, or why it is refused."""
    missing: str = ""
    """What of the sentence is not there yet. Such a row is not called fulfilled."""


@dataclass(frozen=True)
class Guide:
    """One of the older guides."""

    slug: str
    title: str
    about: str
    rows: tuple[Row, ...]
