"""What the text of a statement says: the tables and columns that it names."""

import re
from collections.abc import Iterable, Sequence

import sqlparse

NAME = r'(?:"[^"]+"|[\w.]+)'
ALTER = rf"\s*ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?(?P<table>{NAME})\s.*?"
COLUMN = rf"(?P<column>{NAME})"
NEW_COLUMN = rf"ADD\s+COLUMN\s+(?:IF\s+NOT\s+EXISTS\s+)?{COLUMN}\s"
TABLE = re.compile(rf"TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:ONLY\s+)?(?P<table>{NAME})", re.I)


def split(said: Iterable[str]) -> list[str]:
    """Return single statements; raw SQL may hold several."""
    return [each for text in said for each in sqlparse.split(text) if each.strip(" ;\n")]


def bare(name: str) -> str:
    """Return a name without its quotes."""
    return name.strip('"')


def created_tables(statements: Sequence[str]) -> set[str]:
    """Return the tables that the statements make."""
    made = (TABLE.search(each) for each in statements if re.match(r"\s*CREATE\s+TABLE", each, re.I))
    return {bare(match["table"]) for match in made if match}
