"""What a confined process runs.

    python -m pixsim.core.confined.child MODULE MEMORY_BYTES OPTIONS

MODULE has `prepare(**options)`, which imports and warms up all that is needed (no file can be opened
later), and returns `serve`. That is called with the header of each request and a reader of its
body, and yields answers: a header and a body of bytes.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from pixsim.core.confined import frames, sandbox

Read = Callable[[int], bytes]
"""Return the next bytes of a request's body."""
Serve = Callable[[Any, Read], Iterable[tuple[Any, bytes]]]


def main(arguments: Sequence[str]) -> None:
    module, memory_bytes, options = arguments
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
                for answer, data in serve(header, body):
                    _write(answers, frames.head(answer, len(data)) + data)


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


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
