"""Tables for a terminal."""

import io
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 160

Rows = Iterable[Sequence[object]]


def table(heads: Sequence[str], rows: Rows, *, title: str = "", texts: int = 1) -> RenderableType:
    """Return a table: the first `texts` columns are aligned left, the other ones, numbers, right.

    Without rows, return the title and "none".
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if not cells:
        return Text.assemble((title, "bold"), ": none")
    made = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, head in enumerate(heads):
        made.add_column(head, justify="left" if number < texts else "right", overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def render(*parts: RenderableType) -> str:
    """Return the parts as text, as wide as the terminal."""
    is_terminal = sys.stdout.isatty()
    # A console on the standard output would end the process itself where a pipe is closed.
    text = io.StringIO()
    width = None if is_terminal else WIDTH_OF_FILES
    Console(file=text, force_terminal=is_terminal, width=width).print(Group(*parts))
    return text.getvalue().rstrip()
