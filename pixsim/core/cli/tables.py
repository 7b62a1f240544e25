"""Tables for a terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 160


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = ""
) -> RenderableType:
    """Return a table whose first column is left-aligned; of no rows, its title and "none"."""
    rows = list(rows)
    if not rows:
        return Text.assemble((title, "bold"), ": none")
    made = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, head in enumerate(heads):
        made.add_column(head, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def render(*parts: RenderableType) -> str:
    """Return the parts as text, as wide as the terminal."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
    with console.capture() as capture:
        console.print(Group(*parts))
    return capture.get().rstrip()
