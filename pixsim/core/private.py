"""Folders and files that other users of the machine cannot read, whatever the umask is."""

import os
from contextlib import suppress
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_folder(folder: str | os.PathLike[str], mode: int = FOLDER_MODE) -> Path:
    """Make a folder and the parents that are missing, all with this mode; return it."""
    path = Path(folder)
    if not path.parent.exists():
        make_folder(path.parent, mode)
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(mode)  # mkdir would take the umask off
    path.mkdir(exist_ok=True)  # raises if it is no folder
    return path


def close_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder of our own, or close one that an older version left open to others.

    Whatever the modes of its files are, nobody else reaches them then.
    """
    path = make_folder(folder)
    if os.name == "posix" and path.stat().st_uid == os.geteuid():
        path.chmod(FOLDER_MODE)
    return path


def opener(name: str, flags: int) -> int:
    """Open a file that is ours alone from its first moment on: for `open(…, opener=opener)`."""
    return os.open(name, flags, FILE_MODE)
