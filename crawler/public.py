"""Addresses as people see them and as datasets name them: no credentials, no path of this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crawler.urls import path_of
from pixsim.core.redaction import redact
from pixsim.core.text import path_text
from pixsim.core.urls import BadUrl


def shown_address(address: str, provenance: Any = None) -> str:
    """Return an address without credentials; a local file's path inside its folder, or its name."""
    if address[:5].lower() != "file:":
        return redact(address)
    known = provenance if isinstance(provenance, Mapping) else {}
    if known.get("source") == "folder" and known.get("source_id"):
        return str(known["source_id"])  # its path inside the folder
    try:
        return path_text(path_of(address).name)
    except BadUrl:
        return "a local file"


def shown_location(location: str) -> str:
    """Return a source's location, an address or a path, in the same way."""
    is_path = location.startswith("/")
    return path_text(Path(location).name) if is_path else shown_address(location)
