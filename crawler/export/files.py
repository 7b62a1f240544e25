"""Names of exported files, and files that appear whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.utils.text import slugify

MAX_SLUG = 50
"""Characters; of four bytes each, with what is added, still a valid file name."""

# Device names on Windows, which no folder can have.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{name}{n}" for name in ("com", "lpt") for n in range(10)]
)


def slug_of(text: str) -> str:
    """Return lower-case letters, digits, dashes and underscores of any script; maybe nothing."""
    slug = slugify(text, allow_unicode=True)[:MAX_SLUG].strip("-_")
    return f"{slug}-" if slug in _RESERVED else slug


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; its file replaces `path` when the block succeeds.

    When the block fails, what was written is removed and what was at `path` stays.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
