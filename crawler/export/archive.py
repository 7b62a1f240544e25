"""A zip archive whose bytes depend on its content alone."""

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Self

CHECKSUMS = "checksums.sha256"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX, _PLAIN_FILE = 3, 0o100644 << 16


class Archive:
    """Stores files in the order in which they are added, all with the same time and permissions.

    Nothing is compressed, since pictures do not shrink and compressors differ. The checksum of each
    file goes to CHECKSUMS, as `sha256sum --check` reads it. Text that grows while pictures are
    added is written to a spool beside the archive.
    """

    def __init__(self, file: zipfile.ZipFile, folder: Path, spools: ExitStack) -> None:
        self._zip = file
        self._folder = folder
        self._spools = spools
        self._checksums = self.spool()

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Self]:
        """Yield a new archive; its checksums are added when the block succeeds."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file, ExitStack() as spools:
            archive = cls(file, path.parent, spools)
            yield archive
            archive._copy(CHECKSUMS, archive._checksums)

    def spool(self) -> IO[bytes]:
        """Return a temporary file for what will be added later; closing the archive removes it."""
        return self._spools.enter_context(tempfile.TemporaryFile(dir=self._folder))

    def add(self, name: str, data: bytes) -> str:
        """Store a file and return the hex sha256 of its bytes."""
        self._zip.writestr(_entry(name, len(data)), data)
        return self._note(name, hashlib.sha256(data).hexdigest())

    def add_spool(self, name: str, spool: IO[bytes]) -> None:
        """Store the content of a spool."""
        spool.seek(0)
        self._note(name, hashlib.file_digest(spool, "sha256").hexdigest())  # type: ignore[arg-type]
        self._copy(name, spool)

    def _copy(self, name: str, spool: IO[bytes]) -> None:
        size = spool.seek(0, os.SEEK_END)
        spool.seek(0)
        with self._zip.open(_entry(name, size), "w") as target:
            shutil.copyfileobj(spool, target)

    def _note(self, name: str, digest: str) -> str:
        self._checksums.write(f"{digest}  {name}\n".encode())
        return digest


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system = _UNIX  # the same on every system
    entry.external_attr = _PLAIN_FILE
    entry.file_size = size  # tells zipfile beforehand whether the long form is needed
    return entry
