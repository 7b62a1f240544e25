"""Child processes that end with the block that started them, however that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from pixsim.embedded.servers import end_with_parent

STOP_SECONDS = 15
"""A worker finishes or gives back its work within ten."""
PROJECT = Path(__file__).resolve().parent.parent


@contextmanager
def running(
    *words: str, output: IO[Any] | int, errors: IO[Any] | int
) -> Iterator[subprocess.Popen[str]]:
    """`python words …` in a session of its own, so that Ctrl-C reaches us alone."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        text=True,
        start_new_session=True,
        preexec_fn=partial(end_with_parent, signal.SIGTERM),
    )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process and what it started, gently first."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()


_asked: list[int] = []
"""The signal that asked us to end, once it came."""


def check_not_ended() -> None:
    """Raise Ended if a signal asked us to end. Long waits call this: what a signal's handler raises
    can be lost, when the signal comes inside a library that swallows every exception.
    """
    if _asked:
        raise Ended(_asked[0])


@contextmanager
def orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the block as Ctrl-C does. While it unwinds, none is heard again."""

    def end(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        _asked.append(number)
        check_not_ended()

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)
    try:
        yield
    except Ended as ended:
        sys.exit(128 + ended.number)


class Ended(BaseException):
    """Somebody asked us to end. Not an Exception: no handler of failures may catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
