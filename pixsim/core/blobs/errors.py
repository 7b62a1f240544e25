"""What can go wrong with stored bytes."""


class BlobStorageError(Exception):
    """The bytes could not be stored; the message says where and why."""


class BlobStorageFull(BlobStorageError):
    """There is no room for more bytes. Everything stored before is intact."""
