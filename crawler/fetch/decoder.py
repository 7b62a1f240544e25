"""The decoder: a process of its own that examines pictures.

    python -m crawler.fetch.decoder MEMORY_BYTES CPU_SECONDS

Pictures are untrusted and image libraries have bugs, so they are opened only here, under limits:
memory, processor time per picture, no files. The process reads batches from stdin, answers each on
stdout, and ends when stdin closes, so it cannot outlive its worker, not even one that was killed.
It knows neither Django nor the network.

A batch is a line of JSON with the length and the Checks of each picture, followed by the bytes of
all pictures. Its answer is a line of JSON with the Verdict of each.
"""

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from crawler.fetch.examine import OUTCOMES, Verdict, examine
from crawler.fetch.phash import GRID
from crawler.fetch.rules import FORMATS, Checks

READY = b"ready\n"
MAX_DETAIL = 500


def encode_checks(pictures: Iterable[tuple[bytes, Checks]]) -> bytes:
    """Return the line that comes before the bytes of a batch."""
    return json.dumps([(len(data), *checks) for data, checks in pictures]).encode() + b"\n"


def decode_verdicts(answer: bytes) -> list[Verdict]:
    """Return the verdicts of a batch. Raise ValueError for what is no answer.

    A picture may have taken over the decoder: each value is checked.
    """
    try:
        return [_checked(*fields) for fields in json.loads(answer)]
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _checked(
    outcome: Any, detail: Any, format: Any, width: Any, height: Any, phash: Any
) -> Verdict:
    is_sound = (
        outcome in OUTCOMES
        and isinstance(detail, str)
        and format in ("", *FORMATS)
        and type(width) is type(height) is int
        and 0 <= min(width, height) <= max(width, height) < 2**31
        and (phash is None or (type(phash) is int and -(2**63) <= phash < 2**63))
    )
    if not is_sound:
        raise ValueError("not a verdict")
    text = detail[:MAX_DETAIL].encode(errors="replace").decode()
    return Verdict(outcome, text, format, width, height, phash)


def _serve(requests: BinaryIO, answers: int, cpu_seconds: int) -> None:
    while line := requests.readline():
        verdicts = []
        for size, *checks in json.loads(line):
            data = requests.read(size)
            if len(data) < size:
                raise EOFError
            _allow_cpu(cpu_seconds)
            verdict = examine(data, Checks(*checks))
            if verdict.format not in FORMATS:
                verdict = verdict._replace(format="")
            verdicts.append(verdict._replace(detail=verdict.detail[:MAX_DETAIL]))
        _write(answers, json.dumps(verdicts).encode() + b"\n")


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _allow_cpu(seconds: int) -> None:
    """Have the kernel end this process when it uses more than `seconds` from now."""
    import resource

    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, resource.RLIM_INFINITY))


def _confine(memory_bytes: int) -> None:
    """Forbid what no picture needs: memory beyond `memory_bytes`, files, core dumps."""
    import resource

    with open("/proc/self/statm", "rb") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _load_libraries() -> None:
    """Import and warm up everything now: no file can be opened later."""
    import numpy as np
    import simplejpeg
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.simplefilter("ignore")
    picture = np.arange(GRID * GRID * 3, dtype=np.uint8).reshape(GRID, GRID, 3)
    checks = Checks(GRID * GRID, 1, 1.0)
    examine(simplejpeg.encode_jpeg(picture), checks)
    for kind in ("png", "tiff"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        examine(buffer.getvalue(), checks)


def main(arguments: Iterable[str]) -> None:
    memory_bytes, cpu_seconds = map(int, arguments)
    _load_libraries()
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # What image libraries print must not get between the answers.
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _confine(memory_bytes)
    _write(answers, READY)
    # Each of these errors means that the worker is gone.
    with (
        suppress(EOFError, BrokenPipeError, ValueError),
        open(0, "rb", 1 << 16, closefd=False) as requests,
    ):
        _serve(requests, answers, cpu_seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
