"""Content-addressed storage: bytes under their sha256, on a local disk or in a bucket."""

from pixsim.core.blobs.errors import BlobStorageError, BlobStorageFull
from pixsim.core.blobs.keys import key_for
from pixsim.core.blobs.local import BlobStorage
from pixsim.core.blobs.store import (
    delete,
    exists,
    iter_keys,
    iter_stale_temporaries,
    local_path,
    open_blob,
    put,
    size,
    sweep_temporaries,
)

__all__ = [
    "BlobStorage",
    "BlobStorageError",
    "BlobStorageFull",
    "delete",
    "exists",
    "iter_keys",
    "iter_stale_temporaries",
    "key_for",
    "local_path",
    "open_blob",
    "put",
    "size",
    "sweep_temporaries",
]
