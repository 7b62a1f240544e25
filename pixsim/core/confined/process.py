"""The parent's end of a confined process: starts it, asks it, ends it."""

import json
import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pixsim.core.confined import frames, sandbox

PROJECT = Path(__file__).resolve().parent.parent.parent.parent
CHILD = "pixsim.core.confined.child"
START_SECONDS = 30.0
PIPE_BYTES = 1024**2
MAX_ANSWER_BYTES = 2 * 1024**2
READ_BYTES = 64 * 1024
MAX_EARLY_BYTES = 8 * 1024**2
"""What may come before a request is sent."""
ENVIRONMENT = {
    # Where Python itself may need to look.
    **{k: v for k, v in os.environ.items() if k in ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")},
    "LC_ALL": "C.UTF-8",
    # No thread may be started later, and one is enough for small matrices.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
# Sent by somebody else, not by a limit or a defect.
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)
_warned: set[str] = set()


class Unavailable(Exception):
    """The process does not start. The message says what to look at."""


class Died(Exception):
    """The process ended, or was ended, over a request; the message says how.

    `is_certain` is whether what it had in hand is to blame; otherwise it may have been killed by
    somebody else, or kept from computing. `begun` is how many answers it had begun: it had the
    last of these in hand, and those that did not come before that are lost.
    """

    def __init__(self, how: str, *, is_certain: bool = True) -> None:
        super().__init__(how)
        self.is_certain = is_certain
        self.begun = 0

    def in_hand(self, *, received: int, asked: int) -> int:
        """Return which of the answers it had in hand, of so many received and asked for."""
        return min(max(received, self.begun - 1), asked - 1)


class Confined:
    """One confined process of a module, started when first needed. For one thread.

    `memory_bytes` is what it may use beyond its libraries; `files` are descriptors that it
    inherits under their numbers. See `child` for what a module offers.
    """

    def __init__(
        self,
        module: str,
        *,
        memory_bytes: int,
        options: Mapping[str, Any] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        self._arguments = [module, str(memory_bytes), json.dumps(options or {})]
        self._files = files
        self._process: subprocess.Popen[bytes] | None = None
        # Descriptors of this end of its pipes, and what came and was not asked for yet.
        self._input = self._output = self._progress = -1
        self._buffer = bytearray()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def ask(
        self,
        header: Any,
        body: Sequence[bytes] = (),
        *,
        answers: int = 1,
        seconds: float,
        check: Callable[[Any, bytes], Answer],
        max_bytes: int = MAX_ANSWER_BYTES,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Iterator[Answer]:
        """Send a request and yield what `check` makes of each answer's header and body.

        `check` raises ValueError or TypeError for what is no answer. Each has `seconds` and a body
        of at most `max_bytes`. `meanwhile` is called when the request is sent. Raise Died or
        Unavailable.
        """
        process = self._started()
        try:
            deadline = time.monotonic() + seconds
            head = frames.head(header, sum(map(len, body)))
            self._send([head, *body], deadline)
            meanwhile()
            for _ in range(answers):
                # What took long may have been the work meanwhile, or the caller's between answers.
                deadline = time.monotonic() + seconds
                receive = partial(self._receive, by=deadline)
                answer, size = frames.read_head(receive, max_body=max_bytes)
                yield check(answer, receive(size))
            self._begun()
        except TimeoutError:
            raise self._died(Died(f"no answer within {seconds:g} s", is_certain=False)) from None
        except EOFError:
            raise self._died(_how_it_ended(process)) from None
        except (ValueError, TypeError) as error:
            raise self._died(Died(f"a wrong answer: {error}")) from None
        except BaseException:
            self.close()  # answers that nobody reads would be taken for those of the next request
            raise

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
            self._buffer.clear()
            os.close(self._progress)

    # Steps

    def _died(self, died: Died) -> Died:
        died.begun = self._begun()
        self.close()
        return died

    def _begun(self) -> int:
        """Return how many answers were begun since this was asked last."""
        with suppress(BlockingIOError):
            return len(os.read(self._progress, READ_BYTES))
        return 0

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it died when it had nothing in hand
        return self._process or self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", CHILD, *self._arguments]
        process = None
        try:
            process = self._process = self._run(command)
            by = time.monotonic() + START_SECONDS
            ready, _ = frames.read_head(partial(self._receive, by=by))
        except (OSError, EOFError, ValueError) as error:
            how = _how_it_ended(process) if process and isinstance(error, EOFError) else error
            self.close()
            by_hand = shlex.join([*command, "2"])  # its progress to stderr
            raise Unavailable(
                f"A confined process does not start ({how}). Try: {by_hand}"
            ) from None
        _warn(ready["missing"])
        return process

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start the process with its pipes. Raise OSError."""
        sandbox.hide_memory()
        self._progress, progress = os.pipe()
        try:
            process = subprocess.Popen(
                [*command, str(progress)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=PROJECT,
                env=ENVIRONMENT,
                pass_fds=(*self._files, progress),
                # Ctrl-C and signals to the parent's group are not for it: it ends with its input.
                start_new_session=True,
            )
        except OSError:
            os.close(self._progress)
            raise
        finally:
            os.close(progress)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - types
        self._input, self._output = process.stdin.fileno(), process.stdout.fileno()
        for pipe in (self._input, self._output, self._progress):
            os.set_blocking(pipe, False)
        _widen(self._input)
        return process

    def _send(self, parts: Iterable[bytes], by: float) -> None:
        """Send a request. Answers are read meanwhile, since the child may wait for that."""
        for part in parts:
            view = memoryview(part)
            while view:
                try:
                    view = view[os.write(self._input, view) :]
                except BlockingIOError:
                    self._wait(by, sending=True)
                    if len(self._buffer) > MAX_EARLY_BYTES:
                        raise ValueError("more than it was asked for") from None
                except BrokenPipeError:
                    return  # the answers end, too, which says how

    def _receive(self, count: int, *, by: float) -> bytes:
        while len(self._buffer) < count:
            self._wait(by)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _wait(self, by: float, *, sending: bool = False) -> None:
        """Wait until something can be sent, or was received into the buffer."""
        waiting = select.poll()
        waiting.register(self._output, select.POLLIN)
        if sending:
            waiting.register(self._input, select.POLLOUT)
        left = by - time.monotonic()
        if left <= 0 or not (events := waiting.poll(left * 1000)):
            raise TimeoutError("no answer in time")
        if any(file == self._output for file, _ in events):
            data = os.read(self._output, READ_BYTES)
            if not data:
                raise EOFError
            self._buffer += data


def _widen(pipe: int) -> None:
    if sys.platform.startswith("linux"):
        import fcntl

        # Refused to a user who has many pipes already; a small one only costs time.
        with suppress(PermissionError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _how_it_ended(process: subprocess.Popen[bytes]) -> Died:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return Died("it closed its pipes")
    if code >= 0:
        return Died(f"it ended with exit code {code}")
    name = signal.Signals(-code).name
    if name == "SIGPROF":
        return Died("it used more processor time than allowed")
    return Died(f"it ended by signal {-code}", is_certain=name not in FROM_OUTSIDE)


def _warn(missing: Sequence[str]) -> None:
    """Say once per process what the kernel does not have."""
    for name in sorted({*map(str, missing)} - _warned):
        _warned.add(name)
        logger.warning(
            "Pictures and pages are parsed without %s, which this system does not have: a file that "
            "takes over its parser could do more than it should.",
            name,
        )
