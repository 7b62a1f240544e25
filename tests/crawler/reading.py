"""Read a source to its end, as discovery does: the bookmark goes through JSON each time."""

import json
from collections.abc import Callable

from crawler.sources.base import Found, Source


def read_all(
    source: Source | Callable[[], Source], *, limit: int = 1000
) -> tuple[list[Found], list[tuple[str, str]]]:
    """All that is found and rejected. A callable makes a new source for every page."""
    found: list[Found] = []
    rejected: list[tuple[str, str]] = []
    cursor = None
    while True:
        reader = source if isinstance(source, Source) else source()
        try:
            page = reader.read(cursor, limit=limit)
        finally:
            if not isinstance(source, Source):
                reader.close()
        found += page.found
        rejected += page.rejected
        if page.cursor is None:
            reader.close()
            return found, rejected
        text = json.dumps(page.cursor)
        assert "\\u0000" not in text
        assert "\\ud" not in text
        cursor = json.loads(text)
