"""What a verb says: tables and sentences for people, or one JSON object for machines."""

from __future__ import annotations

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
    """Writes to `out`. With `as_json` only the object given to `result` goes there, and what is
    said meanwhile goes to `err`, so that a script reads nothing but JSON."""

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
        """A line for people."""
        stream = self.err if self.as_json else self.out
        if self._above_bar and getattr(stream, "isatty", lambda: False)():
            self._above_bar(text)
        else:
            stream.write(text + "\n")

    def warn(self, text: str) -> None:
        """A line that must not be lost in a pipe."""
        self.err.write(f"Warning: {text}\n")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Columns as wide as they need; nothing at all without rows. Not shown with `as_json`."""
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        if self.as_json or not cells:
            return
        lines = [list(headings), *cells]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        for line in lines:
            text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.out.write(text.rstrip() + "\n")

    def result(self, answer: dict[str, Any]) -> None:
        """The verb's one object. Only shown with `as_json`."""
        if self.as_json:
            self.out.write(json.dumps(answer, cls=DjangoJSONEncoder) + "\n")

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """A bar on stderr, where a person looks at it; nothing anywhere else.

        Call what it gives with how much is done, of how much (None: nobody knows).
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
        """Return if the answer is yes, given by a person or by --yes.

        Raises Declined if it is no, or if nobody is there to be asked.
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
        """Return if exactly this word is typed; --yes does not stand for it.

        Raises Declined if it is not, or if nobody is there to type; `otherwise` tells a script
        what to say instead.
        """
        if not self._source.isatty():
            raise Declined(f"Nobody is here to type {word!r}: {otherwise}. Nothing was changed.")
        self.err.write(f"{question} ")
        self.err.flush()
        if self._source.readline().strip() != word:
            raise Declined(f"That is not {word!r}. Nothing was changed.")


def readable_size(size: int) -> str:
    """Bytes in words that people read, like 1.4 MB."""
    return filesizeformat(size).replace("\N{NO-BREAK SPACE}", " ")
