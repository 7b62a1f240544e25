"""Blobs in a local folder."""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from pixsim.core.blobs import BlobStorageError, BlobStorageFull, is_key

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
FULL = (errno.ENOSPC, errno.EDQUOT)
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".", ".tmp"


class BlobStorage(FileSystemStorage):
    """Files that appear whole or not at all, whatever kills the process that writes them.

    Bytes go to a temporary name in the same folder and are renamed when complete. Saving a name
    again replaces the file. Only bytes, no text.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_overwrite": True, **options})

    # Mutators

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data` under `key` unless a file of the same size is there; that becomes young.

        The sweep of orphans spares young files, so one that is about to be referred to again
        stays. Raises BlobStorageFull or BlobStorageError.
        """
        path = self.path(key)
        try:
            os.utime(path)
            if os.stat(path).st_size == len(data):
                return
        except OSError:
            pass  # not there, or unreadable: writing will tell why
        self._write(path, [data])

    def _save(self, name: str, content: "File[Any]") -> str:
        self._write(self.path(name), content.chunks())
        return name.replace("\\", "/")

    def _write(self, path: str, chunks: Iterable[bytes]) -> None:
        folder, name = os.path.split(path)
        temporary = os.path.join(
            folder, f"{TEMPORARY_PREFIX}{name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}"
        )
        try:
            descriptor = self._create(temporary)
            try:
                try:
                    for chunk in chunks:
                        _write_all(descriptor, chunk)
                finally:
                    os.close(descriptor)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as exc:
            raise self._in_words(exc, name) from exc

    def _create(self, path: str) -> int:
        mode = self.file_permissions_mode or 0o666
        try:
            return os.open(path, CREATE, mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, CREATE, mode)

    def _in_words(self, exc: OSError, name: str) -> BlobStorageError:
        if exc.errno in FULL:
            return BlobStorageFull(
                f"No space left for blobs in {self.location}: {name} was not stored. "
                "What was stored before is intact. Free space there, or set PIXSIM_HOME or "
                "PIXSIM_STORAGE_URL to a larger place."
            )
        return BlobStorageError(f"Cannot store {name} in {self.location}: {exc.strerror or exc}")

    # Queries

    def iter_keys(self) -> Iterator[tuple[str, datetime]]:
        """Every blob and when it was last written, in the order of the keys."""
        for folder in _sorted_folders(os.fspath(self.location)):
            for entry in _sorted_entries(folder.path):
                key = f"{folder.name}/{entry.name}"
                if is_key(key):
                    with suppress(FileNotFoundError):
                        yield key, _modified_at(entry)

    def iter_temporaries(self, *, older_than: timedelta) -> Iterator[str]:
        """Names of unfinished files that nobody has written to for so long.

        They are what a killed process left behind.
        """
        limit = datetime.now(UTC) - older_than
        folders = [os.fspath(self.location)]
        while folders:
            for entry in _sorted_entries(folders.pop()):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif _is_temporary(entry.name):
                    with suppress(FileNotFoundError):
                        if _modified_at(entry) < limit:
                            yield os.path.relpath(entry.path, self.location).replace("\\", "/")


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


def _sorted_entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _sorted_folders(folder: str) -> list[os.DirEntry[str]]:
    return [entry for entry in _sorted_entries(folder) if entry.is_dir(follow_symlinks=False)]


def _modified_at(entry: os.DirEntry[str]) -> datetime:
    return datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
