"""A command whose reader has left, as in `manage.py db history | head`, ends quietly."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

CLOSED_PIPE = 141
"""What a shell shows of a program that SIGPIPE ended: 128 + 13."""


class QuietOnClosedPipe:
    """A mixin of commands, before BaseCommand."""

    def run_from_argv(self, argv: list[str]) -> None:
        with quiet_on_closed_pipe():
            super().run_from_argv(argv)  # type: ignore[misc]


@contextmanager
def quiet_on_closed_pipe() -> Iterator[None]:
    """End the process with CLOSED_PIPE and without a word when its output is read no more.

    SIGPIPE stays ignored, as Python leaves it: it would also end a worker whose broker hangs up.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, since at the interpreter's end nobody could catch the error
    except BrokenPipeError:
        if not output_is_closed():
            raise
        _discard_output()
        sys.exit(CLOSED_PIPE)


def output_is_closed() -> bool:
    """Return whether nobody reads the standard output or the standard error any more."""
    return any(map(_is_closed, (sys.stdout, sys.stderr)))


def _is_closed(stream: Any) -> bool:
    if not hasattr(select, "poll"):  # Windows, where only pipes raise BrokenPipeError
        return True
    poll = select.poll()
    with suppress(OSError, ValueError, AttributeError):  # a stream of a test has no descriptor
        poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_output() -> None:
    """Send what is still in the buffers to nowhere, so that the interpreter's end is quiet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if _is_closed(stream):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
