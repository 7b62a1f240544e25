"""Files inside an address (RFC 2397, the `data:` scheme); only base64 is supported."""

import base64
import binascii
from typing import Any


def inline_bytes(url: Any) -> tuple[str, bytes] | None:
    """Return type and content of a data address, None for other addresses. Raise ValueError."""
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, _, text = url.removeprefix("data:").partition(",")
    kind, _, encoding = head.rpartition(";")
    if encoding != "base64":
        raise ValueError("only base64 is understood in a data address")
    try:
        return kind or "application/octet-stream", base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the data address is not base64") from error
