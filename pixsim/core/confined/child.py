"""What a confined process runs.

    python -m pixsim.core.confined.child MODULE MEMORY_BYTES OPTIONS PROGRESS

MODULE has `prepare(**options)`, which imports and warms up all that is needed (no file can be opened
later), and returns `serve`. That is called with the header of each request and a reader of its
body, and yields answers: a header and a body of bytes.

Answers are sent together, so that the parent is not woken for each. Before each the process writes a
byte to the descriptor PROGRESS: when it dies, its parent knows how many it had begun.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from pixsim.core.confined import frames, sandbox

Read = Callable[[int], bytes]
"""Return the next bytes of a request's body."""
SENT_BYTES, SENT_SECONDS = 32 * 1024, 0.02
"""Answers are sent when they are so many bytes, or so old."""
BEGUN = b"."
Serve = Callable[[Any, Read], Iterable[tuple[Any, bytes]]]


def main(arguments: Sequence[str]) -> None:
    module, memory_bytes, options, progress = arguments
    serve: Serve = importlib.import_module(module).prepare(**json.loads(options))
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # What libraries print must not get between the answers.
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    with open(0, "rb", 1 << 16, closefd=False) as requests:
        missing = sandbox.confine(int(memory_bytes))
        _write(answers, frames.head({"missing": missing}))
        # Each of these errors means that the parent is gone.
        with suppress(EOFError, BrokenPipeError):
            for header, body in _requests(requests):
                _answer(serve(header, body), answers, int(progress))


def _answer(found: Iterable[tuple[Any, bytes]], file: int, progress: int) -> None:
    """Send the answers of one request."""
    waiting, sent_at = bytearray(), time.monotonic()
    os.write(progress, BEGUN)
    for answer, data in found:
        waiting += frames.head(answer, len(data)) + data
        # Before the answer: whoever has all answers of a request also knows all that was begun.
        os.write(progress, BEGUN)
        now = time.monotonic()
        if len(waiting) > SENT_BYTES or now - sent_at > SENT_SECONDS:
            _write(file, waiting)
            waiting, sent_at = bytearray(), now
    if waiting:
        _write(file, waiting)


def _requests(pipe: BinaryIO) -> Iterator[tuple[Any, Read]]:
    def read(size: int) -> bytes:
        data = pipe.read(size)
        if len(data) < size:
            raise EOFError
        return data

    while True:
        header, left = frames.read_head(read)

        def read_body(size: int) -> bytes:
            nonlocal left
            if size > left:
                raise ValueError("the body is shorter")
            left -= size
            return read(size)

        yield header, read_body
        while left:
            read_body(min(left, 1 << 16))


def _write(file: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
