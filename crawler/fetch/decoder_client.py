"""The worker's end of the decoder: starts it, sends it batches, replaces it when it dies."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from crawler.fetch.decoder import READY, decode_verdicts, encode_checks
from crawler.fetch.examine import Verdict
from crawler.fetch.rules import Checks

PROJECT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 30.0
CPU_SECONDS = 20
# What a decoder may use beyond its libraries: the widest picture several times over, and its file.
BYTES_PER_PIXEL = 12
SPARE_BYTES = 256 * 1024**2
PIPE_BYTES = 1024**2
MAX_ANSWER_BYTES = 1024**2


class DecoderUnavailable(Exception):
    """The decoder process does not start. The message says what to look at."""


class _Died(Exception):
    """The decoder process ended or was ended over a batch; the message says how."""


class Decoder:
    """One decoder process, started when first needed. For one thread.

    `seconds` is how long a batch may take by the clock; the processor time of each picture is
    limited by the process itself.
    """

    def __init__(self, *, max_pixels: int, seconds: float = 60.0) -> None:
        self._limits = [str(max_pixels * BYTES_PER_PIXEL + SPARE_BYTES), str(CPU_SECONDS)]
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def examine(
        self, pictures: Sequence[tuple[bytes, Checks]], meanwhile: Callable[[], None] = lambda: None
    ) -> list[Verdict]:
        """Return the verdicts of a batch, in order. Call `meanwhile` while the decoder works.

        When the decoder dies over a batch, each picture is examined again alone; one that ends
        the decoder again is a decoder_crash. Raise DecoderUnavailable.
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
        if self._process is None:
            self._process = self._start()
        process = self._process
        try:
            with _killed_after(self._seconds, process):
                assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
                with suppress(BrokenPipeError):  # then there will be no answer
                    process.stdin.write(encode_checks(pictures))
                    process.stdin.writelines(data for data, _ in pictures)
                    process.stdin.flush()
                meanwhile()
                answer = process.stdout.readline(MAX_ANSWER_BYTES)
            if not answer:
                raise _Died(_how_it_ended(process))
            verdicts = decode_verdicts(answer)
            if len(verdicts) != len(pictures) or process.poll() is not None:
                raise ValueError
        except (_Died, ValueError) as error:
            self.close()
            raise _Died(str(error) or "the decoder gave a wrong answer") from None
        return verdicts

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "crawler.fetch.decoder", *self._limits]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            # One thread is enough for small matrices, and each costs memory.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            # Ctrl-C and signals to the worker's group are not the decoder's: it ends with stdin.
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            # Refused to a user who has many pipes already; a small one only costs time.
            with suppress(PermissionError):
                fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with _killed_after(START_SECONDS, process):
            is_ready = process.stdout.readline() == READY
        if not is_ready:
            how = _how_it_ended(process)
            process.kill()
            process.communicate()
            raise DecoderUnavailable(
                f"The picture decoder does not start ({how}). Try: {' '.join(command)}"
            )
        return process


@contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill the process, which ends all waiting for it, unless the block ends in time."""
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "the decoder closed its pipes"
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return f"the decoder died ({how})"
