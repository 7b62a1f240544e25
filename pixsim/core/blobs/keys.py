"""Names of blobs: ours, made from the hash of the bytes, never from the remote side."""

import re

KEY = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}(?:\.[a-z0-9]{1,10})?")
SHA256 = re.compile(r"[0-9a-f]{64}")
SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,10})?")


def key_for(sha256: str, suffix: str) -> str:
    """`ab/abcd….jpg`: 256 folders. Two levels would make a folder for nearly every blob of a
    dataset, which costs more than writing the blob.

    `sha256` is the hex digest in lower case, `suffix` the extension with its dot, or nothing.
    Raises ValueError for anything else.
    """
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex")
    if not SUFFIX.fullmatch(suffix):
        raise ValueError(f"{suffix!r} is not a file extension like .jpg")
    return f"{sha256[:2]}/{sha256}{suffix}"


def is_key(name: str) -> bool:
    """Whether `name` could have been made by `key_for`."""
    return KEY.fullmatch(name) is not None
