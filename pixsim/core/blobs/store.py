"""Content-addressed storage: bytes under the hash of the bytes, by any backend of ours."""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import storages

from pixsim.core.blobs.keys import key_for

STALE_AFTER = timedelta(hours=1)


def put(data: bytes, *, suffix: str, sha256: str | None = None) -> str:
    """Store `data` and return its key; bytes that are there already are not written again.

    `sha256` spares the hashing when the caller has the hex digest. Raises BlobStorageFull when
    there is no room, BlobStorageError for any other failure; nothing is half stored then.
    """
    key = key_for(sha256 or hashlib.sha256(data).hexdigest(), suffix)
    _storage().put_bytes(key, data)
    return key


def open_blob(key: str) -> "File[Any]":
    """The blob, open for reading bytes. Raises FileNotFoundError."""
    blob: File[Any] = _storage().open(key, "rb")
    return blob


def exists(key: str) -> bool:
    return bool(_storage().exists(key))


def delete(key: str) -> None:
    """Remove the blob if it is there."""
    _storage().delete(key)


def size(key: str) -> int:
    """Its bytes. Raises FileNotFoundError."""
    return int(_storage().size(key))


def iter_keys() -> Iterator[tuple[str, datetime]]:
    """Every blob and when it was last written, in the order of the keys."""
    keys: Iterator[tuple[str, datetime]] = _storage().iter_keys()
    return keys


def local_path(key: str) -> Path | None:
    """Where the blob lies on this machine's disk, or None when the storage is elsewhere."""
    try:
        return Path(_storage().path(key))
    except NotImplementedError:
        return None


def iter_stale_temporaries(*, older_than: timedelta = STALE_AFTER) -> Iterator[str]:
    """Names of what killed processes left unfinished."""
    names: Iterator[str] = _storage().iter_temporaries(older_than=older_than)
    return names


def sweep_temporaries(*, older_than: timedelta = STALE_AFTER) -> int:
    """Remove what killed processes left unfinished, and return how many files that were."""
    count = 0
    for name in iter_stale_temporaries(older_than=older_than):
        _storage().delete(name)
        count += 1
    return count


def _storage() -> Any:
    return storages["blobs"]
