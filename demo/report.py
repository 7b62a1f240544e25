"""What the demo shows: progress while the crawl runs, and what came of it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

LINE_SECONDS = 2.0
"""Where no bar can be drawn, a line is printed so often."""

WORDS = {
    "stored": "new, checked, in the dataset",
    "duplicate": "the same bytes at another address",
    "near_duplicate": "resized or compressed anew",
    "robots": "robots.txt forbids it",
    "opted_out": "its answer says noai",
    "http_4xx": "gone",
    "http_5xx": "the server failed three times",
    "connect": "the server hangs up",
    "too_slow": "a byte now and then",
    "blocked_address": "a link into a private network",
    "too_many_redirects": "a redirect to itself",
    "not_an_image": "an HTML page named .jpg",
    "bad_format": "an SVG drawing",
    "truncated": "cut off on the way",
    "corrupt": "one bit flipped",
    "too_small": "an icon",
    "too_many_pixels": "a header claiming 1.2 gigapixels",
    "too_large": "beyond this crawl's 2 MiB",
    "aspect": "a banner, 30 to 1",
}


class Display:
    """The state of a crawl as a bar, or as lines where the output is no terminal."""

    def __init__(self, console: Console, bar: Progress | None, total: int) -> None:
        self._console = console
        self._bar = bar
        self._task = None if bar is None else bar.add_task("crawling", total=total, detail="")
        self._total = total
        self._began = self._printed = time.monotonic()

    def show(self, *, closed: int, stored: int, chunks: str) -> None:
        """`closed` candidates have ended, `stored` of them as pictures."""
        now = time.monotonic()
        rate = closed / max(now - self._began, 0.1)
        detail = f"{stored} stored, {closed - stored} refused, {rate:.0f}/s, {chunks}"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=closed, detail=detail)
        elif now - self._printed >= LINE_SECONDS:
            self._printed = now
            self._console.print(f"  {closed} of {self._total} addresses: {detail}", style="dim")


@contextmanager
def display(console: Console, *, total: int) -> Iterator[Display]:
    """A display of `total` addresses while the block runs."""
    if not console.is_terminal:
        yield Display(console, None, total)
        return
    columns = (
        TextColumn("  {task.completed}/{task.total}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        yield Display(console, bar, total)


def outcome_table(title: str, *, found: Mapping[str, int], expected: Mapping[str, int]) -> Table:
    """Each outcome with how often it came, and whether that is what the site has."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("outcome")
    table.add_column("found", justify="right")
    table.add_column("expected", justify="right")
    table.add_column("")
    for name in sorted({*found, *expected}, key=lambda one: -expected.get(one, 0)):
        is_right = found.get(name, 0) == expected.get(name, 0)
        table.add_row(
            name,
            str(found.get(name, 0)),
            str(expected.get(name, 0)),
            WORDS.get(name, "") if is_right else "not what the site has",
            style=None if is_right else "red",
        )
    table.add_section()
    table.add_row("in all", str(sum(found.values())), str(sum(expected.values())), "")
    return table


def differences(found: Mapping[str, Any], expected: Mapping[str, Any], *, what: str) -> list[str]:
    """In words, each name whose values differ."""
    return [
        f"{what} {name}: {found.get(name, 0)}, expected {expected.get(name, 0)}"
        for name in sorted({*found, *expected})
        if found.get(name, 0) != expected.get(name, 0)
    ]
