"""Rows of the CSV files that people open: no spreadsheet takes a part of a cell for a formula."""

import codecs
from collections.abc import Iterable
from typing import Any
from unicodedata import category, normalize

FORMULA = "=+-@"
"""What begins a formula; some programs take full-width and small forms of these for the same."""
SEPARATORS = ";,|\t\r\n"
"""A program that separates cells otherwise than by commas splits ours, quoted or not."""
QUOTED = ',"\r\n'
QUOTED_WITH_FORMULA = ";|"


def csv_head(names: Iterable[str]) -> bytes:
    """Return the first line of a CSV file.

    A byte order mark stands before it: without, spreadsheets take UTF-8 for the system's old encoding.
    """
    return codecs.BOM_UTF8 + csv_row(names)


def csv_row(cells: Iterable[Any]) -> bytes:
    """Return a line of a CSV file, each cell guarded by `safe_cell` and quoted where that is needed."""
    return (",".join(map(_quoted, cells)) + "\n").encode()


def safe_cell(value: Any) -> str:
    """Return the text of a value. If it has a formula, an apostrophe stands before the text.

    Another stands before a formula that begins within the text, behind what separates cells. White
    space, quotes and characters that nobody sees do not hide a beginning.
    """
    text = "" if value is None else str(value)
    guarded, begins, is_first, has_formula = "", True, True, False
    for each in text:
        if begins and normalize("NFKC", each)[0] in FORMULA:
            has_formula = True
            guarded += "" if is_first else "'"
        is_skipped = each.isspace() or each in "'\"" or category(each) in ("Cc", "Cf")
        begins = each in SEPARATORS or (begins and is_skipped)
        is_first = is_first and is_skipped and each not in "\r\n"
        guarded += each
    return f"'{guarded}" if has_formula else text


def _quoted(value: Any) -> str:
    text = safe_cell(value)
    special = QUOTED + (QUOTED_WITH_FORMULA if text.startswith("'") else "")
    if any(each in text for each in special):
        return '"' + text.replace('"', '""') + '"'
    return text
