"""Pictures in a folder of the worker's machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from django.conf import settings

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.labels import LabelTooLong
from crawler.sources.base import (
    Cursor,
    Found,
    Option,
    Page,
    Source,
    label_of,
    provenance,
    rejection,
)
from crawler.sources.roots import local_path
from crawler.sources.web import is_web
from crawler.urls import file_url, is_picture_name
from pixsim.core.beneath import open_beneath, open_parts, parts_below
from pixsim.core.text import path_text

HEAD_BYTES = 16
BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"II+\0", b"MM\0*", b"MM\0+"),
)
BRANDS = (b"avi", b"mif", b"msf", b"hei", b"hev")
LONGEST_EXTENSION = 5


class FolderSource(Source):
    """Every picture file below a folder, ordered by the bytes of its path.

    The extension says what is a picture file; of a file without one, the first bytes do. Hidden files
    and folders are left out. Links to files inside the folder are followed, links to folders are not.
    The cursor is the last path, so files that are added behind it are still found.
    """

    kind = "folder"
    title = "folder on the worker's machine"
    place = "a folder on the worker's machine"
    takes_path = True
    known_options = (
        Option("labels", str, "folder: the first sub-folder is the label", choices=("folder",)),
    )

    @classmethod
    def fit(cls, location: str) -> int:
        return 0 if is_web(location) else 1

    def check(self) -> None:
        root = local_path(self.location)
        try:
            is_folder = root.is_dir()
        except OSError as error:
            raise SourceRefused("location", f"{path_text(root)}: {error.strerror}") from error
        if not is_folder:
            raise SourceRefused("location", f"{path_text(root)} is not a folder on this machine")
        if not os.access(root, os.R_OK | os.X_OK):
            why = f"{path_text(root)} may not be read by the user of this process"
            raise SourceRefused("location", why)

    def walk(self, cursor: Cursor | None) -> Iterator[Page]:
        self.check()
        after = unquote_to_bytes(cursor["after"]).split(b"/") if cursor else []
        try:
            folder = _Folder(local_path(self.location))
            for parts, problem in folder.files_after(after):
                relative = b"/".join(parts)
                step = Page({"after": quote_from_bytes(relative)})
                try:
                    if problem:
                        step.rejected.append(rejection(path_text(relative), problem))
                    else:
                        step.found.append(self._found(folder.path, parts))
                except LabelTooLong as error:
                    step.rejected.append(rejection(path_text(relative), error))
                yield step
        except OSError as error:
            raise SourceUnavailable(f"{self.location} cannot be listed: {error}") from error

    def _found(self, root: bytes, parts: list[bytes]) -> Found:
        by_folder = self.options["labels"] and len(parts) > 1
        return Found(
            url=file_url(Path(os.fsdecode(os.path.join(root, *parts)))),
            label=label_of(path_text(parts[0])) if by_folder else self.label,
            provenance=provenance(source=self.kind, source_id=path_text(b"/".join(parts))),
        )


class _Folder:
    """A folder inside CRAWL_FOLDER_ROOTS whose sub-folders are listed without following a link."""

    def __init__(self, path: Path) -> None:
        self.path = os.fsencode(path)
        self._root, self._parts = parts_below(path, settings.CRAWL_FOLDER_ROOTS)

    def files_after(self, after: list[bytes]) -> Iterator[tuple[list[bytes], str]]:
        """Yield the parts of each picture's path after `after`, and why it is unusable, if it is.

        Depth first; the folders above `after` are listed again, those before it are not.
        """
        # One listing per level, the next name last; `after` narrows only the folders above it.
        levels = [(list[bytes](), self._listing([], after[:1]))]
        while levels:
            parts, entries = levels[-1]
            if not entries:
                levels.pop()
                continue
            name, is_folder = entries.pop()
            here = [*parts, name]
            is_above = here == after[: len(here)]
            if is_folder:
                try:
                    not_before = after[len(here) : len(here) + 1] if is_above else []
                    levels.append((here, self._listing(here, not_before)))
                except OSError as error:
                    if here != after:
                        yield here, f"a folder that cannot be listed: {error.strerror}"
            elif not is_above and is_picture_name(os.fsdecode(name)):
                yield here, self._problem(here)
            elif not (is_above or _has_extension(name) or self._is_folder(here)):
                yield here, self._problem(here) or self._problem_of_bytes(here)

    def _listing(self, parts: list[bytes], not_before: list[bytes]) -> list[tuple[bytes, bool]]:
        """Return the names in a sub-folder, the last first, and whether each is a folder."""
        flags = os.O_RDONLY | os.O_DIRECTORY
        descriptor = open_parts(self._root, [*self._parts, *parts], flags)
        try:
            with os.scandir(descriptor) as entries:
                found = [
                    (os.fsencode(entry.name), entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if not entry.name.startswith(".")
                ]
        finally:
            os.close(descriptor)
        if not_before:
            found = [entry for entry in found if entry[0] >= not_before[0]]
        return sorted(found, reverse=True)

    def _problem(self, parts: list[bytes]) -> str:
        """Return why a picture is unusable, for people: the checker decides when it opens it."""
        path = os.path.join(self.path, *parts)
        resolved = os.path.realpath(path)
        if os.path.islink(path) and os.path.commonpath([self.path, resolved]) != self.path:
            return "a link that leaves the folder"
        return "" if os.path.isfile(path) else "not a file"

    def _is_folder(self, parts: list[bytes]) -> bool:
        return os.path.isdir(os.path.join(self.path, *parts))  # of a link, too

    def _problem_of_bytes(self, parts: list[bytes]) -> str:
        """Return why a file is not a candidate. Its first bytes are read only; the decoder decides."""
        try:
            path = os.path.join(self.path, *parts)
            with open_beneath(path, settings.CRAWL_FOLDER_ROOTS) as file:
                head = file.read(HEAD_BYTES)
        except OSError as error:
            return f"a file without an extension that cannot be read: {error.strerror}"
        return (
            ""
            if _begins_like_a_picture(head)
            else "no extension, and no picture by its first bytes"
        )


def _has_extension(name: bytes) -> bool:
    """Return whether a name ends like `.txt`; `a.1`, `2020.05.01 party` and `a.jpg_large` do not."""
    stem, _, extension = name.rpartition(b".")
    is_word = extension[:1].isalpha() and extension.isalnum()
    return bool(stem) and is_word and len(extension) <= LONGEST_EXTENSION


def _begins_like_a_picture(head: bytes) -> bool:
    return (
        head.startswith(BEGINNINGS)
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:11] in BRANDS)
    )
