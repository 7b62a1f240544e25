"""Each row of the tables is run; docs/coming-from.md says what they say."""

from collections.abc import Callable

import pytest

from tests.seeds import page
from tests.seeds.conftest import Open
from tests.seeds.rows import GUIDES
from tests.seeds.table import FULFILLED, REFUSED, Guide, Row

ROWS = [
    pytest.param(guide, row, id=f"{guide.slug}-{number}")
    for guide in GUIDES
    for number, row in enumerate(guide.rows, 1)
]


@pytest.mark.long
@pytest.mark.parametrize(("guide", "row"), ROWS)
def test_a_row_is_as_it_says(
    guide: Guide, row: Row, place: Open, record_property: Callable[[str, object], None]
) -> None:
    record_property("guide", guide.slug)
    record_property("sentence", row.sentence)
    record_property("verdict", row.verdict.value)
    with place(row.check.on) as here:
        try:
            row.check.run(here)
        finally:
            record_property("ran", here.ran)
    assert here.ran, "nothing was run"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.slug)
def test_every_sentence_stands_once_in_its_guide(guide: Guide) -> None:
    sentences = [row.sentence for row in guide.rows]
    assert len(sentences) == len(set(sentences))


def test_what_misses_something_is_not_called_fulfilled() -> None:
    missing = [row for guide in GUIDES for row in guide.rows if row.missing]
    assert not [row.sentence for row in missing if row.verdict is FULFILLED]


def test_a_refusal_has_its_reason() -> None:
    refused = [row for guide in GUIDES for row in guide.rows if row.verdict is REFUSED]
    assert all(row.note for row in refused)


def test_the_page_is_fresh() -> None:
    assert page.FILE.read_text() == page.text(), "write it: make seeds WRITE=1"
