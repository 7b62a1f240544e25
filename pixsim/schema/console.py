"""The output of a verb: tables and sentences for people, or one JSON object for machines."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TextIO

from django.core.serializers.json import DjangoJSONEncoder
from django.template.defaultfilters import filesizeformat

from pixsim.schema.errors import Declined


class Stream(Protocol):
    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


class Console:
    """Write to `out`. With `as_json` only the object given to `result` goes to `out`, and all other
    lines go to `err`, so that a script reads nothing but JSON."""

    def __init__(
        self,
        *,
        out: Stream,
        err: Stream,
        source: TextIO,
        as_json: bool = False,
        yes: bool = False,
    ) -> None:
        self.out = out
        self.err = err
        self.as_json = as_json
        self._source = source
        self._yes = yes
        self._above_bar: Callable[[str], None] | None = None

    def say(self, text: str = "") -> None:
        """Write a line for people."""
        stream = self.err if self.as_json else self.out
        if self._above_bar and getattr(stream, "isatty", lambda: False)():
            self._above_bar(text)
        else:
            stream.write(text + "\n")

    def warn(self, text: str) -> None:
        """Write a line that is seen even if `out` is a pipe."""
        self.err.write(f"Warning: {text}\n")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write a table with columns as wide as needed; nothing without rows or with `as_json`."""
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        if self.as_json or not cells:
            return
        lines = [list(headings), *cells]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        for line in lines:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.out.write(text.rstrip() + "\n")

    def result(self, answer: dict[str, Any]) -> None:
        """Write the verb's one object, with `as_json` only."""
        if self.as_json:
            self.out.write(json.dumps(answer, cls=DjangoJSONEncoder) + "\n")

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show a bar on stderr if that is a terminal; else show nothing.

        Call the yielded function with how much is done, and of how much (None: unknown).
        """
        if not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console as Terminal
        from rich.progress import Progress, TimeElapsedColumn

        columns = (*Progress.get_default_columns(), TimeElapsedColumn())
        with Progress(*columns, console=Terminal(stderr=True)) as bar:
            task = bar.add_task(title, total=None)
            self._above_bar = partial(bar.console.out, highlight=False)
            try:
                yield lambda done, total: bar.update(task, completed=done, total=total)
            finally:
                self._above_bar = None

    def confirm(self, question: str) -> None:
        """Return if a person, or --yes, answers yes.

        Raise Declined if the answer is no, or if there is no terminal to ask.
        """
        if self._yes:
            return
        if not self._source.isatty():
            raise Declined(f"{question} Nobody is here to answer: say --yes. Nothing was changed.")
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        if self._source.readline().strip().lower() not in ("y", "yes"):
            raise Declined("Nothing was changed.")

    def ask_for(self, word: str, question: str, *, otherwise: str) -> None:
        """Return if a person types exactly this word; --yes is not enough.

        Raise Declined for another word, or if there is no terminal; `otherwise` tells a script what
        to do.
        """
        if not self._source.isatty():
            raise Declined(f"Nobody is here to type {word!r}: {otherwise}. Nothing was changed.")
        self.err.write(f"{question} ")
        self.err.flush()
        if self._source.readline().strip() != word:
            raise Declined(f"That is not {word!r}. Nothing was changed.")


def readable_size(size: int) -> str:
    """Return a number of bytes as text, like 1.4 MB."""
    return filesizeformat(size).replace("\N{NO-BREAK SPACE}", " ")
