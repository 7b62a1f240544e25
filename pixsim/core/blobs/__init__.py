"""Content-addressed storage: bytes under their sha256, on a local disk or in a bucket.

Names of blobs are ours, made from the hash of the bytes, never from the remote side.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import storages

from pixsim.core.patterns import pattern

match_key = pattern(
    r"([0-9a-f]{2})/\1[0-9a-f]{62}(?:\.[a-z0-9]{1,10})?", longest=78, method="fullmatch"
)
match_sha256 = pattern(r"[0-9a-f]{64}", longest=64, method="fullmatch")
match_suffix = pattern(r"(?:\.[a-z0-9]{1,10})?", longest=11, method="fullmatch")
STALE_AFTER = timedelta(hours=1)


class BlobStorageError(Exception):
    """The bytes could not be stored; the message says where and why."""


class BlobStorageFull(BlobStorageError):
    """There is no room for more bytes. Everything stored before is intact."""


def key_for(sha256: str, suffix: str) -> str:
    """Return `ab/abcd….jpg`. Raise ValueError for a hash or a suffix of another form.

    256 folders: two levels would make a folder for nearly every blob of a dataset, which costs
    more than writing the blob.
    """
    if not match_sha256(sha256):
        raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex")
    if not match_suffix(suffix):
        raise ValueError(f"{suffix!r} is not a file extension like .jpg")
    return f"{sha256[:2]}/{sha256}{suffix}"


def is_key(name: str) -> bool:
    """Return whether `name` could have been made by `key_for`."""
    return match_key(name) is not None


def put(data: bytes, *, suffix: str, sha256: str | None = None) -> str:
    """Store `data` and return its key; bytes that are there already are not written again.

    `sha256` spares the hashing when the caller has the hex digest. Raise BlobStorageFull when
    there is no room, BlobStorageError for any other failure; nothing is half stored then.
    """
    key = key_for(sha256 or hashlib.sha256(data).hexdigest(), suffix)
    _storage().put_bytes(key, data)
    return key


def open_blob(key: str) -> "File[Any]":
    """Return the blob, open for reading bytes. Raise FileNotFoundError."""
    blob: File[Any] = _storage().open(key, "rb")
    return blob


def read(key: str) -> bytes:
    """Return the bytes. Raise FileNotFoundError, or BlobStorageError if the storage fails."""
    try:
        with open_blob(key) as file:
            return bytes(file.read())
    except FileNotFoundError:
        raise
    except Exception as error:  # the client of a bucket raises errors of its own
        raise BlobStorageError(f"{key} cannot be read: {error}.") from error


def exists(key: str) -> bool:
    return bool(_storage().exists(key))


def delete(key: str) -> None:
    """Remove the blob if it is there."""
    _storage().delete(key)


def size(key: str) -> int:
    """Return its bytes. Raise FileNotFoundError."""
    return int(_storage().size(key))


def iter_keys() -> Iterator[tuple[str, datetime]]:
    """Yield every blob and when it was last written, in the order of the keys."""
    yield from _storage().iter_keys()


def local_path(key: str) -> Path | None:
    """Return where the blob is on this machine's disk; None if the storage is elsewhere."""
    try:
        return Path(_storage().path(key))
    except NotImplementedError:
        return None


def iter_stale_temporaries(*, older_than: timedelta = STALE_AFTER) -> Iterator[str]:
    """Yield the names of what killed processes left unfinished."""
    yield from _storage().iter_temporaries(older_than=older_than)


def sweep_temporaries(*, older_than: timedelta = STALE_AFTER) -> int:
    """Remove what killed processes left unfinished, and return how many files that were."""
    count = 0
    for name in iter_stale_temporaries(older_than=older_than):
        _storage().delete(name)
        count += 1
    return count


def _storage() -> Any:
    return storages["blobs"]
