"""The worker's end of the decoder: starts it, feeds it batches, replaces it when it dies."""

import fcntl
import os
import select
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from crawler.fetch.decoder import COUNT, READY, Verdict, decode_answers, encode_request
from crawler.fetch.tasks import Checks

PROJECT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30.0
CPU_SECONDS = 20
# What a decoder may use beyond its libraries: the widest picture several times over, and its file.
BYTES_PER_PIXEL = 12
SPARE_BYTES = 256 * 1024**2
PIPE_BYTES = 1024**2
BUFFERS_PER_WRITE = 64


class DecoderUnavailable(Exception):
    """The decoder process does not start. The message says what to look at."""


class _Died(Exception):
    """The decoder process ended or was ended over a batch; the message says how."""


class Decoder:
    """One decoder process, started when first needed. For one thread.

    `seconds` is how long a batch may take by the clock; the processor time of each picture is
    limited by the process itself (`cpu_seconds`).
    """

    def __init__(
        self, *, max_pixels: int, cpu_seconds: int = CPU_SECONDS, seconds: float = 60.0
    ) -> None:
        self._memory = max_pixels * BYTES_PER_PIXEL + SPARE_BYTES
        self._cpu_seconds = cpu_seconds
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def examine(
        self,
        pictures: Sequence[tuple[bytes, Checks]],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Verdict]:
        """The verdicts of a batch, in order. `meanwhile` is called while the decoder works.

        When the decoder dies over a batch, each picture is examined again alone; one that ends
        the decoder again is a decoder_crash. Raises DecoderUnavailable.
        """
        try:
            return self._exchange(pictures, meanwhile)
        except _Died:
            return [self._examine_alone(picture) for picture in pictures]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _examine_alone(self, picture: tuple[bytes, Checks]) -> Verdict:
        try:
            return self._exchange([picture], lambda: None)[0]
        except _Died as died:
            return Verdict("decoder_crash", str(died))

    def _exchange(
        self, pictures: Sequence[tuple[bytes, Checks]], meanwhile: Callable[[], None]
    ) -> list[Verdict]:
        buffers: deque[bytes | memoryview] = deque([COUNT.pack(len(pictures))])
        for data, checks in pictures:
            buffers.append(encode_request(data, checks))
            buffers.append(data)
        deadline = time.monotonic() + self._seconds
        try:
            process = self._running()
            self._send(process, buffers, deadline)
            meanwhile()
            size = COUNT.unpack(self._receive(process, COUNT.size, deadline))[0]
            verdicts = decode_answers(self._receive(process, size, deadline))
        except _Died:
            self.close()
            raise
        if len(verdicts) != len(pictures):
            self.close()
            raise _Died("the decoder gave a wrong answer")
        return verdicts

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = self._start()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "crawler.fetch.decoder",
                str(self._memory),
                str(self._cpu_seconds),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            # One thread is enough for small matrices, and each costs memory.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            bufsize=0,
            # Ctrl-C and signals to the worker's group are not the decoder's: it ends with stdin.
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - for the type checker
        os.set_blocking(process.stdin.fileno(), False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Refused to a user who has many pipes already; a small one only costs time.
            with suppress(PermissionError):
                fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        try:
            self._receive(process, len(READY), time.monotonic() + START_SECONDS)
        except _Died as died:
            process.kill()
            process.communicate()
            raise DecoderUnavailable(
                f"The picture decoder does not start ({died}). "
                f"Try: {sys.executable} -m crawler.fetch.decoder {self._memory} {self._cpu_seconds}"
            ) from died
        return process

    @staticmethod
    def _send(
        process: subprocess.Popen[bytes], buffers: deque[bytes | memoryview], deadline: float
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        file = process.stdin.fileno()
        while buffers:
            try:
                written = os.writev(file, [*buffers][:BUFFERS_PER_WRITE])
            except BlockingIOError:
                _wait(file, select.POLLOUT, deadline)
                continue
            except BrokenPipeError:
                raise _died(process) from None
            while buffers and written >= len(buffers[0]):
                written -= len(buffers.popleft())
            if written:
                buffers[0] = memoryview(buffers[0])[written:]

    @staticmethod
    def _receive(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        file = process.stdout.fileno()
        received = b""
        while len(received) < size:
            _wait(file, select.POLLIN, deadline)
            chunk = os.read(file, size - len(received))
            if not chunk:
                raise _died(process)
            received += chunk
        return received


def _wait(file: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(file, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _Died("the decoder did not answer in time")


def _died(process: subprocess.Popen[bytes]) -> _Died:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return _Died("the decoder closed its pipes")
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return _Died(f"the decoder died ({how})")
