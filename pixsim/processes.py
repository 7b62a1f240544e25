"""Child processes that end with us. Each has a session of its own, so that Ctrl-C reaches us alone."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 15
"""A worker finishes or gives back its work within ten."""

Process = subprocess.Popen[str]


def start(command: Sequence[str], **options: Any) -> Process:
    """Start a command in the project's folder, with these options of Popen."""
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=partial(end_with_parent, signal.SIGTERM) if os.name == "posix" else None,
        **options,
    )


def stop(processes: Collection[Process]) -> None:
    """End the processes and what they started: SIGTERM first, SIGKILL for what is left."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end_with_parent(number: signal.Signals) -> None:
    """For a child before its exec: on Linux, get signal `number` when the parent dies.

    Elsewhere a killed supervisor leaves its servers running until the next start stops them.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)
