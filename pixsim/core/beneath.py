"""Open files below folders that must not be left, while somebody may change what is in them.

A path that was looked at is opened later, and any of its folders may be a link by then. So the links
are followed first, and what they lead to is opened from the allowed folder on, one component after
the other, following none.
"""

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

AnyPath = str | bytes | Path


class Outside(OSError):
    """The path leads to nothing below the allowed folders."""


class NotAFile(OSError):
    """There is a folder, a pipe or a device."""


def parts_below(path: AnyPath, roots: Iterable[AnyPath]) -> tuple[bytes, list[bytes]]:
    """Return the allowed folder that `path`, its links followed, lies in, and its parts from there.

    Raise Outside if there is none, ValueError for a path with NUL.
    """
    resolved = os.path.realpath(os.fsencode(path))
    for root in map(os.path.realpath, map(os.fsencode, roots)):
        if os.path.commonpath([root, resolved]) == root:
            return root, [part for part in resolved[len(root) :].split(b"/") if part]
    raise Outside(errno.EACCES, "outside the folders that may be read", os.fsdecode(path))


def open_parts(root: bytes, parts: Sequence[bytes], flags: int) -> int:
    """Return a descriptor of what `parts` name below `root`. Raise OSError if one of them is a link."""
    walking = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
    here = os.open(root, walking)
    try:
        for part in parts[:-1]:
            below = os.open(part, walking | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        last = parts[-1] if parts else b"."
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def open_beneath(path: AnyPath, roots: Iterable[AnyPath]) -> BinaryIO:
    """Open the file that `path` leads to, for reading.

    Raise Outside, NotAFile, another OSError, or ValueError for a path with NUL.
    """
    root, parts = parts_below(path, roots)
    # Opening a pipe must not wait for who writes to it.
    descriptor = open_parts(root, parts, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile(errno.EINVAL, "not a regular file", os.fsdecode(path))
    return open(descriptor, "rb")
