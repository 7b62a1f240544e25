"""Pictures in a folder of the worker's machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.sources.base import (
    MAX_LABEL,
    Cursor,
    Found,
    Source,
    Step,
    clean,
    provenance,
    rejection,
)
from crawler.sources.roots import local_path
from crawler.urls import file_url, has_picture_suffix


class FolderSource(Source):
    """Every picture file below a folder, by the bytes of its path.

    Option `labels`: "folder" takes the first sub-folder as class label. Hidden files and folders
    are left out. Links to files inside the folder are followed, links to folders are not.
    The cursor is the last path, so files that are added behind it are still found.
    """

    kind: ClassVar[str] = "folder"
    option_types = {"labels": str}

    def check(self) -> None:
        if self.options.get("labels", "folder") != "folder":
            raise SourceRefused("options.labels", 'the one value it takes is "folder"')
        root = local_path(self.location)
        if not root.is_dir():
            raise SourceRefused("location", f"{root} is not a folder on this machine")
        if not os.access(root, os.R_OK | os.X_OK):
            raise SourceRefused("location", f"{root} may not be read by the user of this process")

    def walk(self, cursor: Cursor | None) -> Iterator[Step]:
        self.check()
        root = os.fsencode(local_path(self.location))
        after = unquote_to_bytes(cursor["after"]).split(b"/") if cursor else []
        try:
            for parts, problem in _files_below(root, after):
                relative = b"/".join(parts)
                step = Step({"after": quote_from_bytes(relative)})
                if problem:
                    step.rejected.append(rejection(relative, problem))
                else:
                    step.found.append(self._found(root, parts))
                yield step
        except OSError as error:
            raise SourceUnavailable(f"{self.location} cannot be listed: {error}") from error

    def _found(self, root: bytes, parts: list[bytes]) -> Found:
        label = self.label
        if "labels" in self.options and len(parts) > 1:
            label = clean(parts[0], MAX_LABEL)
        return Found(
            url=file_url(Path(os.fsdecode(os.path.join(root, *parts)))),
            label=label,
            provenance=provenance(source=self.kind, source_id=b"/".join(parts)),
        )


def _files_below(root: bytes, after: list[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """The parts of each picture's path behind `after`, with what is wrong with it, if anything.

    Depth first; the folders above `after` are listed again, those before it are not.
    """
    # One listing per level, the next name last; `after` narrows only its own line of folders.
    levels: list[tuple[list[bytes], list[os.DirEntry[bytes]]]]
    levels = [([], _listing(root, after[:1]))]
    while levels:
        parts, entries = levels[-1]
        if not entries:
            levels.pop()
            continue
        entry = entries.pop()
        here = [*parts, entry.name]
        on_the_way = here == after[: len(here)]
        if entry.is_dir(follow_symlinks=False):
            try:
                rest = after[len(here) : len(here) + 1] if on_the_way else []
                levels.append((here, _listing(entry.path, rest)))
            except OSError as error:
                if here != after:
                    yield here, f"a folder that cannot be listed: {error.strerror}"
        elif not on_the_way and has_picture_suffix(os.fsdecode(entry.name)):
            yield here, _problem(root, entry)


def _listing(folder: bytes, not_before: list[bytes]) -> list[os.DirEntry[bytes]]:
    """The visible entries of a folder, last first. Raises OSError."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(b".")]
    if not_before:
        visible = [entry for entry in visible if entry.name >= not_before[0]]
    return sorted(visible, key=lambda entry: entry.name, reverse=True)


def _problem(root: bytes, entry: os.DirEntry[bytes]) -> str:
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if os.path.commonpath([root, target]) != root:
            return "a link that leaves the folder"
    return "" if entry.is_file() else "not a file"
