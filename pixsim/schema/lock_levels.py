"""The locks that statements take on tables, by their text, as a migration's docstring says them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pixsim.schema.sql_text import ALTER, NAME, bare, created_tables

INSTANT = "for an instant"
EXCLUSIVE, WRITERS, MAINTENANCE = (
    "ACCESS EXCLUSIVE",
    "SHARE ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
)
ROWS = "ROW EXCLUSIVE"
ORDER = (EXCLUSIVE, WRITERS, "SHARE", MAINTENANCE, ROWS)


@dataclass(frozen=True)
class TableLock:
    """A lock that a statement takes on a table."""

    mode: str
    table: str
    duration: str


@dataclass(frozen=True)
class _Level:
    pattern: re.Pattern[str]
    mode: str
    duration: str = INSTANT


def _level(pattern: str, mode: str, duration: str = INSTANT) -> _Level:
    return _Level(re.compile(pattern, re.I | re.S), mode, duration)


ON = rf".*?\sON\s+(?:ONLY\s+)?(?P<table>{NAME})"
LEVELS = (
    _level(
        rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY{ON}",
        MAINTENANCE,
        "while an index is built",
    ),
    _level(rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX{ON}", "SHARE", "while an index is built"),
    _level(rf"{ALTER}VALIDATE\s+CONSTRAINT", MAINTENANCE, "while its rows are checked"),
    _level(rf"{ALTER}ADD\s+CONSTRAINT\s+{NAME}\s+FOREIGN\s+KEY.*NOT\s+VALID", WRITERS),
    _level(
        rf"{ALTER}ADD\s+CONSTRAINT\s+{NAME}\s+FOREIGN\s+KEY", WRITERS, "while its rows are checked"
    ),
    _level(rf"\s*CREATE\s+(?:OR\s+REPLACE\s+)?TRIGGER{ON}", WRITERS),
    _level(rf"\s*(?:UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?(?P<table>{NAME})", ROWS),
    _level(rf"\s*DROP\s+TRIGGER{ON}", EXCLUSIVE),
    _level(rf"\s*DROP\s+(?:TABLE|VIEW)\s+(?:IF\s+EXISTS\s+)?(?P<table>{NAME})", EXCLUSIVE),
    _level(ALTER, EXCLUSIVE),
)
REFERENCES = re.compile(rf"REFERENCES\s+(?P<table>{NAME})", re.I)
BACKFILL = re.compile(rf"\s*DO\s+\$backfill\$.*?UPDATE\s+(?P<table>{NAME})", re.I | re.S)
DROP_FOREIGN_KEYS = re.compile(r"\s*DO\s+\$foreign_keys\$.*?'(?P<table>[^']+)'::regclass", re.S)


def locks(
    statements: Iterable[str], slow: Sequence[str] = (), more: Iterable[TableLock] = ()
) -> list[TableLock]:
    """Return the locks on tables that exist before, and `more` locks, the strongest first.

    `slow` are the statements among them that read or rewrite all rows under their lock.
    """
    said = list(statements)
    new = created_tables(said)
    found: dict[TableLock, None] = dict.fromkeys(more)
    for statement in said:
        for lock in _locks_of(statement, statement in slow):
            if lock.table not in new:
                found[lock] = None
    return sorted(found, key=lambda each: (ORDER.index(each.mode), each.table))


def paragraph(found: Sequence[TableLock]) -> str:
    """Return the locks as the paragraph of a docstring that begins with `Lock:`."""
    if not found:
        return "Lock: none on a table that exists."
    parts = []
    for mode, duration in dict.fromkeys((each.mode, each.duration) for each in found):
        tables = [each.table for each in found if (each.mode, each.duration) == (mode, duration)]
        text = f"{mode} on {_listed(list(dict.fromkeys(tables)))} {duration}"
        if mode == MAINTENANCE:
            text += " (others read and write meanwhile)"
        parts.append(text)
    return f"Lock: {'; '.join(parts)}."


def _locks_of(statement: str, is_slow: bool) -> Iterator[TableLock]:
    if match := BACKFILL.match(statement):
        yield TableLock(ROWS, bare(match["table"]), "on the rows of one range at a time")
        return
    if match := DROP_FOREIGN_KEYS.match(statement):
        yield TableLock(EXCLUSIVE, bare(match["table"]), INSTANT)
        return
    for level in LEVELS:
        match = level.pattern.match(statement)
        if not match:
            continue
        duration = level.duration
        if is_slow and duration == INSTANT:
            duration = "while all its rows are read or rewritten"
        yield TableLock(level.mode, bare(match["table"]), duration)
        break
    if re.search(r"FOREIGN\s+KEY|CREATE\s+TABLE|ADD\s+COLUMN", statement, re.I):
        for reference in REFERENCES.finditer(statement):
            yield TableLock(WRITERS, bare(reference["table"]), INSTANT)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
