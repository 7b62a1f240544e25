"""Differences told apart: those that were accepted, and those that are drift.

A difference is accepted under its kind and name, together with its definition: what the migrations make
and what is there. If either becomes another, it is drift again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema import accepted
from pixsim.schema.accepted import Row
from pixsim.schema.drift import Difference
from pixsim.schema.errors import UsageError
from pixsim.schema.target_parsing import listed


@dataclass(frozen=True)
class Known:
    """A difference that was accepted."""

    difference: Difference
    row: Row

    def __str__(self) -> str:
        before = named(self.row)
        moved = f" as {before}" if before != self.difference.what else ""
        return f"Known: {self.difference} (accepted{moved} {told(self.row)})"


@dataclass
class Judged:
    """The differences of a database, as `db verify` names them."""

    open: list[Difference] = field(default_factory=list)
    """Drift: nobody accepted it, or not as it is."""
    known: list[Known] = field(default_factory=list)
    changed: dict[str, Row] = field(default_factory=dict)
    """By name, what was accepted and is another difference now."""
    gone: list[Row] = field(default_factory=list)
    """Accepted, and no difference any more."""


def judge(
    connection: BaseDatabaseWrapper, differences: Iterable[Difference], *, tables: Iterable[str]
) -> Judged:
    """Tell the differences of a database with these `tables` apart."""
    rows = {named(row): row for row in accepted.read(connection)}
    left, judged = dict(rows), Judged()
    for what, those in _by_name(differences):
        row = left.pop(what, None) or _before_renaming(those, left, set(tables))
        if row and row.sha256 == accepted.digest(definition(those)):
            left.pop(named(row), None)
            judged.known += [Known(each, row) for each in those]
            continue
        judged.open += those
        if row:
            judged.changed[what] = row
    judged.gone = list(left.values())
    return judged


def accept(connection: BaseDatabaseWrapper, differences: Iterable[Difference], *, why: str) -> None:
    """Accept the differences as they are now."""
    for _, those in _by_name(differences):
        one = those[0]
        accepted.write(connection, one.kind, one.table, one.name, definition(those), why=why)


def definition(those: Sequence[Difference]) -> str:
    """Return what is expected and found under one name, in one line."""
    return "; ".join(str(each).removeprefix(f"{each.what}: ") for each in those)


def named(row: Row) -> str:
    """Return the name of what was accepted, as `db verify` says it."""
    return Difference(row.kind, row.table, row.name, "", "").what


def told(row: Row) -> str:
    """Return who accepted it, when and why."""
    return f"{row.at:%Y-%m-%d} by {row.by}" + (f": {row.why}" if row.why else "")


def choose(words: Sequence[str], among: Iterable[Difference | Row], *, otherwise: str) -> list[str]:
    """Return the names that `words` mean: with their kind, with their table, or alone.

    Raise UsageError for a word that means none of them, with `otherwise` in the message, or several.
    """
    meant: dict[str, dict[str, None]] = {}
    for each in among:
        what = named(each) if isinstance(each, Row) else each.what
        for word in {what, each.name, f"{each.table}.{each.name}"}:
            meant.setdefault(word, {})[what] = None
    if (whole := " ".join(words)) in meant:  # not quoted
        words = [whole]
    chosen: dict[str, None] = {}
    for word in (word.rstrip(":") for word in words):
        found = list(meant.get(word, ()))
        if not found:
            raise UsageError(f"{word}: {otherwise}")
        if len(found) > 1:
            raise UsageError(
                f"{word} may mean {listed(found)}. Nothing was changed. Say which, in quotes."
            )
        chosen[found[0]] = None
    return list(chosen)


def _by_name(differences: Iterable[Difference]) -> list[tuple[str, list[Difference]]]:
    """Return the differences of each name. A table may differ in several ways."""
    ordered = sorted(differences, key=lambda each: (each.table, each.what))
    return [(what, list(those)) for what, those in groupby(ordered, lambda each: each.what)]


def _before_renaming(
    those: Sequence[Difference], rows: dict[str, Row], tables: set[str]
) -> Row | None:
    """Return what was accepted of a table that has another name now."""
    for row in rows.values():
        is_gone = row.table and row.table not in tables
        is_its = replace(those[0], table=row.table).what == named(row)
        if is_gone and is_its and row.sha256 == accepted.digest(definition(those)):
            return row
    return None
