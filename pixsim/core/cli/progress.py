"""Progress in the terminal: a bar, or lines where there is no terminal, and waiting for an end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from django.core.management.base import OutputWrapper
from django.db import InterfaceError, OperationalError, connection

from pixsim.core.formats import first_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

POLL_SECONDS = 0.2

T = TypeVar("T")


class Display:
    """Where progress goes. This class itself prints nothing."""

    def show(self, state: str, done: float = 0, total: float | None = None) -> None:
        """Replace the state that is shown; without `total` nobody knows how much there is to do."""

    def say(self, message: str) -> None:
        """Print a message that stays."""


@contextmanager
def display_on(
    stream: OutputWrapper, *, line_seconds: float = 0, quiet: bool = False
) -> Iterator[Display]:
    """Return a bar if `stream` is a terminal; else each new state is a line; nothing if `quiet`.

    Lines are at least `line_seconds` apart, but the last state is always printed.
    """
    if quiet:
        yield Display()
    elif stream.isatty():
        with _bar() as display:
            yield display
    else:
        lines = _Lines(stream, line_seconds)
        try:
            yield lines
        finally:
            lines.flush()


def wait_until_ended(
    look: Callable[[], T], *, ended: Callable[[T], bool], display: Display, timeout: float | None
) -> T:
    """Call `look` until `ended` is true of its result or `timeout` seconds are over; return the result.

    Keep trying while the database does not answer, and say so once for each outage.
    """
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    connected = True
    while True:
        try:
            found = look()
            if ended(found) or time.monotonic() >= deadline:
                return found
            connected = True
        except (OperationalError, InterfaceError) as error:
            if connected:
                display.say(f"The database does not answer; trying on. {first_line(error)}")
            connected = False
            connection.close()
        time.sleep(POLL_SECONDS)


class _Lines(Display):
    def __init__(self, stream: OutputWrapper, line_seconds: float) -> None:
        self._stream = stream
        self._line_seconds = line_seconds
        self._printed_at = float("-inf")
        self._state = self._printed = ""

    def show(self, state: str, done: float = 0, total: float | None = None) -> None:
        self._state = state
        if time.monotonic() - self._printed_at >= self._line_seconds:
            self.flush()

    def flush(self) -> None:
        if self._state != self._printed:
            self.say(self._state)
            self._printed, self._printed_at = self._state, time.monotonic()

    def say(self, message: str) -> None:
        self._stream.write(message[:1].upper() + message[1:], style_func=str)


class _Bar(Display):
    def __init__(self, progress: "Progress", task: "TaskID") -> None:
        self._progress = progress
        self._task = task

    def show(self, state: str, done: float = 0, total: float | None = None) -> None:
        self._progress.update(self._task, description=state, completed=done, total=total)

    def say(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False)


@contextmanager
def _bar() -> Iterator[Display]:
    from rich.console import Console  # takes a while to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = BarColumn(bar_width=30), TimeElapsedColumn(), text
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress, progress.add_task("", total=None))
