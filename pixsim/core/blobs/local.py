"""Blobs in a local folder."""

import errno
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from pixsim.core.blobs import BlobStorageError, BlobStorageFull, is_key
from pixsim.core.private import FILE_MODE, FOLDER_MODE, close_folder, make_folder

FULL = (errno.ENOSPC, errno.EDQUOT)
TEMPORARY_PREFIX, TEMPORARY_SUFFIX = ".", ".tmp"


class BlobStorage(FileSystemStorage):
    """Files that appear whole or not at all, whatever kills the process that writes them.

    Bytes go to a temporary name in the same folder and are renamed when complete. Saving a name
    again replaces the file. Only bytes, no text.
    """

    def __init__(self, **options: Any) -> None:
        private = {"file_permissions_mode": FILE_MODE, "directory_permissions_mode": FOLDER_MODE}
        super().__init__(**{"allow_overwrite": True, **private, **options})
        if self.directory_permissions_mode == FOLDER_MODE and os.path.isdir(self.location):
            close_folder(self.location)  # blobs of an older version are readable by all

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
        create = partial(os.open, mode=self.file_permissions_mode or FILE_MODE)
        try:
            make_folder(folder, self.directory_permissions_mode or FOLDER_MODE)
            try:
                with open(temporary, "xb", opener=create) as file:
                    file.writelines(chunks)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as exc:
            raise self._in_words(exc, name) from exc

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
        """Yield every blob and when it was last written, in the order of the keys."""
        for folder in _sorted_entries(self.location):
            for entry in (
                _sorted_entries(folder.path) if folder.is_dir(follow_symlinks=False) else ()
            ):
                key = f"{folder.name}/{entry.name}"
                if is_key(key):
                    with suppress(FileNotFoundError):
                        written = entry.stat(follow_symlinks=False).st_mtime
                        yield key, datetime.fromtimestamp(written, UTC)

    def iter_temporaries(self, *, older_than: timedelta) -> Iterator[str]:
        """Yield the names of unfinished files that nobody has written to for so long.

        They are what a killed process left behind.
        """
        limit = time.time() - older_than.total_seconds()
        for folder, _, names in os.walk(self.location):
            for name in names:
                if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
                    path = os.path.join(folder, name)
                    with suppress(FileNotFoundError):
                        if os.lstat(path).st_mtime < limit:
                            yield os.path.relpath(path, self.location).replace("\\", "/")


def _sorted_entries(folder: "str | os.PathLike[str]") -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
