"""Child processes and signals: whatever ends the demo, what it started ends too."""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pixsim.processes import Process, start, stop


@contextmanager
def running(*words: str, log: IO[Any] | int, stdout: int | None = None) -> Iterator[Process]:
    """`python words …` while the block runs; what it prints goes to `log`, if not elsewhere."""
    process = start([sys.executable, *words], stdout=stdout or log, stderr=log)
    try:
        yield process
    finally:
        stop([process])
        if process.stdout is not None:
            process.stdout.close()


def announced_by(site: Process) -> dict[str, Any] | None:
    """What the demo's site says about itself once it can be asked; None if it ended instead."""
    line = site.stdout.readline() if site.stdout else ""
    return dict(json.loads(line)) if line else None


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
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int, _frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        _asked.append(number)
        check_not_ended()

    for each in signals:
        signal.signal(each, end)
    try:
        yield
    except Ended as ended:
        sys.exit(128 + ended.args[0])


class Ended(BaseException):
    """Somebody asked us to end. Not an Exception: no handler of failures may catch it."""


def short(path: Path) -> str:
    """As one would type it from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
