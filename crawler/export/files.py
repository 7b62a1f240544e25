"""Exported files: their names, files that appear whole or not at all, and zip archives."""

import hashlib
import os
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Self

from django.utils.text import slugify

from pixsim.core.patterns import pattern
from pixsim.core.private import FILE_MODE

MAX_SLUG = 50
"""Characters; of four bytes each, with what is added, still a valid file name."""

# Device names on Windows, which no folder can have.
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{name}{n}" for name in ("com", "lpt") for n in range(10)]
)

DIGEST_LENGTH = 8
_between_digits = pattern(r"(?<=\d)[.,:/](?=\d)", longest=1000, method="sub")
# The words, and what may stand beside them, by which Hugging Face's `datasets` takes a folder for a
# split of the data; it leaves all other folders out then (SPLIT_KEYWORDS, NON_WORDS_CHARS there).
_split_words = pattern(
    r"(?<![^-._ 0-9])(?:train|training|validation|valid|dev|val|test|testing|eval|evaluation)"
    r"(?![^-._ 0-9])",
    longest=1000,
    method="sub",
)

CHECKSUMS = "checksums.sha256"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
_UNIX, _PLAIN_FILE = 3, 0o100644 << 16


def slug_of(text: str) -> str:
    """Return lower-case letters, digits, dashes and underscores of any script; maybe nothing.

    What separates two digits is a dash: 1.5 is not 15.
    """
    text = _between_digits(lambda _: "-", text)
    slug = slugify(text, allow_unicode=True)[:MAX_SLUG].strip("-_")
    return f"{slug}-" if slug in _RESERVED else slug


def class_folder(label: str) -> str:
    """Return the name of a class's folder. It depends on the label alone, and no other label has it.

    Lower-case words between single spaces are the name, with dashes. Every other label loses
    something in its slug (`C#` and `C++` are both `c`), so the start of its sha256 follows. A word
    that stands for a split of the data is changed: `test` is in `testclass-9f86d081`.
    """
    slug = _split_words(lambda word: f"{word[0]}class", slug_of(label))
    if slug.replace("-", " ") == label and not _ends_like_a_digest(slug):
        return slug
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug.strip('-') or 'class'}-{digest[:DIGEST_LENGTH]}"


def _ends_like_a_digest(slug: str) -> bool:
    _, dash, end = slug.rpartition("-")
    return bool(dash) and len(end) == DIGEST_LENGTH and set(end) <= set("0123456789abcdef")


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield an empty file of our own beside `path`, which it replaces when the block succeeds.

    When the block fails, what was written is removed and what was at `path` stays.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        aside.touch(FILE_MODE)
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()


class Archive:
    """A zip archive whose bytes depend on its content alone.

    It stores files in the order in which they are added, with the same time and permissions.

    Nothing is compressed, since pictures do not shrink and compressors differ. The checksum of each
    file goes to CHECKSUMS, as `sha256sum --check` reads it. Text that grows while pictures are
    added is written to a spool beside the archive.
    """

    def __init__(self, file: zipfile.ZipFile, folder: Path, spools: ExitStack) -> None:
        self._zip = file
        self._folder = folder
        self._spools = spools
        self._checksums = self.spool()

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[Self]:
        """Yield a new archive; its checksums are added when the block succeeds."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file, ExitStack() as spools:
            archive = cls(file, path.parent, spools)
            yield archive
            archive._copy(CHECKSUMS, archive._checksums)

    def spool(self) -> IO[bytes]:
        """Return a temporary file for what will be added later; closing the archive removes it."""
        return self._spools.enter_context(tempfile.TemporaryFile(dir=self._folder))

    def add(self, name: str, data: bytes) -> str:
        """Store a file and return the hex sha256 of its bytes."""
        self._zip.writestr(_entry(name, len(data)), data)
        return self._note(name, hashlib.sha256(data).hexdigest())

    def add_spool(self, name: str, spool: IO[bytes]) -> None:
        """Store the content of a spool."""
        spool.seek(0)
        self._note(name, hashlib.file_digest(spool, "sha256").hexdigest())  # type: ignore[arg-type]
        self._copy(name, spool)

    def _copy(self, name: str, spool: IO[bytes]) -> None:
        size = spool.seek(0, os.SEEK_END)
        spool.seek(0)
        with self._zip.open(_entry(name, size), "w") as target:
            shutil.copyfileobj(spool, target)

    def _note(self, name: str, digest: str) -> str:
        self._checksums.write(f"{digest}  {name}\n".encode())
        return digest


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system = _UNIX  # the same on every system
    entry.external_attr = _PLAIN_FILE
    entry.file_size = size  # tells zipfile beforehand whether the long form is needed
    return entry
