"""No cell of a CSV file that we write begins a formula, however a program separates cells."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.export.csv_rows import csv_row, safe_cell

ODD = [
    "=1+1", "a;=1+1", "\n=1", "\t=1", "\r=1", "  =1", "\u00a0=1", "\u200b=1", "\ufeff=1", "\x00=1", "＝1",
    "﹦1", "＋1", "－1", "＠a", "@a", "+1", "-1", '"=1', "'=1", 'a";"=1', "a,=1", "a\t=1", "a|=1", "a; =1",
    "a\n=1", "a;\u200b＝1", "\u202e=1", ";=1", "=cmd|' /C calc'!A0", "a\n;=1",
]  # fmt: skip
PLAIN = [
    "",
    "Ada Lovelace",
    "https://x.org/a?b=1&c=-2",
    "1990-01-02",
    "a@x.org",
    "日本；語",
    "a\nb",
]
ALPHABET = st.one_of(st.characters(codec="utf-8"), st.sampled_from("=+-@;,|'\" \t\n\r＝"))


def begins_a_formula(cell: str) -> bool:
    text = unicodedata.normalize("NFKC", cell)
    text = "".join(each for each in text if unicodedata.category(each) not in ("Cc", "Cf"))
    return text.strip(' "').startswith(("=", "+", "-", "@"))


def read(row: bytes, separator: str = ",") -> list[str]:
    """The cells of the row, as a program sees them that separates by this character."""
    lines = io.StringIO(row.decode(), newline="")
    return [cell for cells in csv.reader(lines, delimiter=separator) for cell in cells]


@pytest.mark.parametrize("text", ODD)
def test_what_looks_like_a_formula_is_guarded(text: str) -> None:
    row = csv_row(["x", text, "y"])
    assert read(row)[1].startswith("'")
    for separator in (",", ";", "|"):
        assert not any(map(begins_a_formula, read(row, separator)))


def test_a_part_that_another_program_takes_for_a_cell_is_guarded_and_the_cell_is_quoted() -> None:
    assert csv_row(["a;=1+1", "b|@c"]) == b"\"'a;'=1+1\",\"'b|'@c\"\n"


@given(st.lists(st.text(alphabet=ALPHABET), min_size=1))
def test_no_text_at_all_begins_a_formula(texts: list[str]) -> None:
    row = csv_row(texts)
    assert read(row) == list(map(safe_cell, texts)) or texts == [""]
    assert not any(map(begins_a_formula, read(row)))
    for text in texts:
        for separator in ";|,\n":
            parts = safe_cell(text).split(separator)
            assert not any(map(begins_a_formula, parts[1:] if text[:1].isspace() else parts))


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert read(csv_row(["x", text])) == ["x", text]


def test_values_that_are_no_text() -> None:
    assert csv_row([None, 5, -5, 1.5]) == b",5,'-5,1.5\n"
