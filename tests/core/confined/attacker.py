"""A module for a confined process that does what a taken-over parser would try."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pixsim.core.confined.sandbox import allow_cpu

LIBC = ctypes.CDLL(None, use_errno=True)
# All that an attempt needs is imported before the process is confined.
_ = subprocess.Popen


def _system_call(number: int, *arguments: Any) -> None:
    if LIBC.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _read_memory(pid: int) -> None:
    """process_vm_readv(2) of the parent."""
    local, remote = (ctypes.c_void_p * 2)(), (ctypes.c_void_p * 2)()
    _system_call(310, pid, local, 1, remote, 1, 0)


def _execute_written_code() -> None:
    import mmap

    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def attempts(parent: int, blob: str, folder: str) -> dict[str, Callable[[], Any]]:
    """Return what is tried, by name."""
    return {
        "read a file": lambda: open(blob, "rb").read(),
        "read the parent's environment": lambda: open(f"/proc/{parent}/environ", "rb").read(),
        "read the parent's memory as a file": lambda: open(f"/proc/{parent}/mem", "rb"),
        "read the parent's memory": lambda: _read_memory(parent),
        "trace the parent": lambda: _system_call(101, 16, parent, 0, 0),
        "take the parent's files": lambda: _system_call(438, _system_call(434, parent, 0), 0, 0),
        "kill the parent": lambda: os.kill(parent, signal.SIGTERM),
        "limit the parent": lambda: __import__("resource").prlimit(parent, 7, (0, 0)),
        "list a folder": lambda: os.listdir(folder),
        "see a file": lambda: os.stat(blob),
        "make a file": lambda: os.open(os.path.join(folder, "new"), os.O_CREAT | os.O_WRONLY),
        "delete a blob": lambda: os.unlink(blob),
        "rename a blob": lambda: os.rename(blob, blob + "-gone"),
        "change a blob's mode": lambda: os.chmod(blob, 0o777),
        "cut a blob": lambda: os.truncate(blob, 0),
        "link a blob": lambda: os.link(blob, os.path.join(folder, "link")),
        "make a folder": lambda: os.mkdir(os.path.join(folder, "folder")),
        "change the folder": lambda: os.chdir("/"),
        "fork": os.fork,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "run a program": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
        "make a socket": lambda: socket.socket(socket.AF_INET),
        "make a local socket": lambda: socket.socket(socket.AF_UNIX),
        "make a pipe": os.pipe,
        "load code": _execute_written_code,
        "raise a limit": lambda: __import__("resource").setrlimit(9, (-1, -1)),
        "become another user": lambda: os.setuid(1),
        "enter a namespace": lambda: _system_call(272, 0x10000000),
        "use io_uring": lambda: _system_call(425, 1, 0),
        "load a kernel program": lambda: _system_call(321, 0, 0, 0),
        "mount": lambda: _system_call(165, 0, 0, 0, 0, 0),
        "wait for ever": lambda: time.sleep(600),
    }


def prepare(**places: Any) -> Callable[..., Iterator[tuple[Any, bytes]]]:
    import mmap
    import resource

    _loaded = mmap, resource
    tries = attempts(**places) if places else {}

    def serve(header: Any, read: Callable[[int], bytes]) -> Iterator[tuple[Any, bytes]]:
        match header:
            case ["try", name]:
                yield _outcome(tries[name]), b""
            case ["names"]:
                yield list(tries), b""
            case ["environment"]:
                yield dict(os.environ), b""
            case ["files"]:
                yield [number for number in range(64) if _is_open(number)], b""
            case ["threads"]:
                yield threading.active_count(), b""
            case ["echo", size]:
                yield "echo", read(size)
            case ["ignore the body"]:
                yield "ignored", b""
            case ["memory", size]:
                yield len(bytearray(size)), b""
            case ["compute", cpu]:
                allow_cpu(cpu)
                while True:
                    pass
            case ["count", most]:
                yield from ((number, b"") for number in range(most))
            case ["crash at", place]:
                for number in range(place):
                    yield number, b""
                ctypes.string_at(0)
            case ["flood"]:
                while True:
                    os.write(_answers(), bytes(65536))
            case ["raw", text]:
                os.write(_answers(), text.encode("latin-1"))

    return serve


def _outcome(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "DONE"


def _is_open(number: int) -> bool:
    try:
        os.lseek(number, 0, os.SEEK_CUR)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


def _answers() -> int:
    """The descriptor of the answers: the first one beyond the standard ones."""
    return 3
