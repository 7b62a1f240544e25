"""Which files of this machine sources may read: those inside CRAWL_FOLDER_ROOTS."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from crawler.errors import SourceRefused
from crawler.urls import file_url, path_of
from pixsim.core.beneath import open_beneath
from pixsim.core.text import path_text
from pixsim.core.urls import BadUrl


def inside_roots(path: Path) -> bool:
    """Return whether an absolute path, with all links followed, lies in an allowed folder."""
    resolved = path.resolve()
    return any(
        resolved.is_relative_to(Path(root).resolve()) for root in settings.CRAWL_FOLDER_ROOTS
    )


def storable_location(location: str) -> str:
    """Return a location as a column of texts holds it: a path of other bytes is its file:/// address."""
    is_text = not any("\ud800" <= each <= "\udfff" for each in location)
    return location if is_text else file_url(Path(location))


def location_of(path: Path) -> str:
    """Return an absolute path as a location: its file:/// address if text would not keep its name."""
    text = str(path)
    return text if text.isprintable() and text == text.strip() else file_url(path)


def local_path(location: str) -> Path:
    """Return the resolved path of a location: an absolute path or a file:/// address.

    Raise SourceRefused for anything else. A path outside the roots is refused before it is
    looked at.
    """
    try:
        path = path_of(location) if location[:7].lower() == "file://" else Path(location)
    except BadUrl as error:
        raise SourceRefused("location", str(error)) from None
    if "\0" in location or not path.is_absolute():
        what = (
            "no address that is read (https://…)" if "://" in location else "no address (https://…)"
        )
        raise SourceRefused("location", f"{location!r:.200} is {what} and not an absolute path")
    if not inside_roots(path):
        roots = ", ".join(map(path_text, settings.CRAWL_FOLDER_ROOTS))
        raise SourceRefused(
            "location",
            f"{path_text(path)} is outside the folders that may be read ({roots}); an operator can add its "
            "folder to CRAWL_FOLDER_ROOTS"
            if roots
            else "no local folders may be read here; an operator can name some in "
            "CRAWL_FOLDER_ROOTS",
        )
    return path.resolve()


@contextmanager
def local_file(location: str) -> Iterator[Path]:
    """Open a file at a location, and yield a path at which that same file is read while it is open.

    Raise SourceRefused as `local_path` does, and for what is no file.
    """
    path = local_path(location)
    try:
        file = open_beneath(path, settings.CRAWL_FOLDER_ROOTS)
    except OSError as error:
        why = f"there is no file {path_text(path)} on this machine ({error.strerror})"
        raise SourceRefused("location", why) from error
    with file:
        yield Path(f"/dev/fd/{file.fileno()}")
