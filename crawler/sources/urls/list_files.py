"""Lists as plain files: downloaded, unpacked or recoded once, kept in PIXSIM_HOME/cache/lists.

A plain file can be read from any byte on, so that reading ten million rows can be resumed.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO

from django.conf import settings

from crawler.errors import SourceRefused, SourceUnavailable
from crawler.sources.web import source_error
from pixsim.core.patterns import pattern
from pixsim.core.private import close_folder

MAX_LIST_BYTES = 4 * 1024**3
PART_BYTES = 16 * 1024**2
# A server that sends no parts sends everything at once, and that is held in memory.
MAX_UNDIVIDED_BYTES = 128 * 1024**2
KEPT_SECONDS = 3 * 24 * 3600
BLOCK_BYTES = 1024**2
MAX_LINE_BYTES = 1024**2

Progress = Callable[[], None]

_match_content_range = pattern(
    r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", longest=80, method="fullmatch"
)


def kept(key: str) -> Path | None:
    """Return the file kept under a content key, if this machine still has it."""
    path = _folder() / key
    with suppress(FileNotFoundError):
        os.utime(path)
        return path
    return None


def download(url: str, *, progress: Progress) -> tuple[Path, str]:
    """Fetch a list and keep it; return its path and content key.

    It is fetched in parts if the server can, else at once, up to MAX_UNDIVIDED_BYTES. One that is sent
    as gzip is kept so, for who reads it unpacks it.
    Raise SourceRefused or SourceUnavailable.
    """
    with _new_file() as file:
        asyncio.run(_download(url, file, progress))
        file.seek(0)
        digest = sha256()
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            progress()
        return _keep(file, digest.hexdigest()), digest.hexdigest()


def plain(
    file: IO[bytes], blocks: Iterable[bytes], *, encoding: str, progress: Progress
) -> tuple[Path, str]:
    """Return a file with the text of the list in `file`, which `blocks` yield unless it is kept.

    `encoding` is what it was read with. Where the blocks break off the text ends, with its last whole
    line, and the reason is returned, too; else an empty one. Raise SourceRefused if they break off at once.
    """
    stat = os.fstat(file.fileno())
    file_id = f"{stat.st_dev} {stat.st_ino} {stat.st_ctime_ns}"
    origin = f"{file_id} {stat.st_size} {stat.st_mtime_ns} {encoding}"
    key = sha256(origin.encode()).hexdigest()
    known, reason = kept(key), kept(f"{key}.broken")
    if known is not None:
        return known, reason.read_text() if reason else ""
    coming, broken = iter(blocks), ""
    with _new_file() as unpacked:
        while block := _next(coming):
            if isinstance(block, SourceRefused):
                _end_with_a_line(unpacked, block)
                broken = block.message
                break
            _write(unpacked, block)
            progress()
        if broken:  # before the text is kept: it must not be taken for whole
            with _new_file() as told:
                told.write(broken.encode())
                _keep(told, f"{key}.broken")
        return _keep(unpacked, key), broken


def _next(blocks: Iterator[bytes]) -> bytes | SourceRefused:
    """Return the next block, nothing at the end, or why there is none."""
    try:
        return next(blocks, b"")
    except SourceRefused as error:
        return error


def _end_with_a_line(file: IO[bytes], broken: SourceRefused) -> None:
    """Take the last line away unless it is whole. Raise `broken` if no line is left."""
    end = file.tell()
    file.seek(max(0, end - MAX_LINE_BYTES))
    begin = file.tell()
    whole = file.read().rfind(b"\n") + 1
    if not whole:
        raise broken
    file.truncate(begin + whole)


async def _download(url: str, file: IO[bytes], progress: Progress) -> None:
    from pixsim.core.net import Client, FetchError, Limits
    from pixsim.core.net.encodings import codings

    limits = replace(Limits.from_settings(), max_bytes=MAX_UNDIVIDED_BYTES)
    validator: dict[str, str] = {}
    begin, total = 0, 1
    async with Client(limits=limits) as client:
        while begin < total:
            wanted = {"Range": f"bytes={begin}-{begin + PART_BYTES - 1}", **validator}
            try:
                answer = await client.fetch(
                    url, headers=wanted, on_bytes=lambda count: progress(), as_sent=True
                )
                if not begin and codings(answer.headers) not in ([], ["gzip"]):
                    answer = await client.fetch(url, on_bytes=lambda count: progress())
            except FetchError as error:
                raise source_error(error, url) from error
            if answer.status != 206:
                if begin:
                    raise SourceUnavailable(f"{url} changed while it was being downloaded")
                _write(file, answer.body)
                return
            first, last, total = _content_range(answer.headers.get("Content-Range", ""), url)
            if first != begin or not 0 < last - first + 1 == len(answer.body):
                raise SourceUnavailable(f"{url} answered with a part that was not asked for")
            _write(file, answer.body)
            begin = last + 1
            etag = answer.headers.get("ETag")
            is_strong = etag and not etag.startswith("W/")
            version = etag if is_strong else answer.headers.get("Last-Modified")
            if version and version.isascii() and version.isprintable():
                validator = {"If-Range": version}


def _content_range(value: str, url: str) -> tuple[int, int, int]:
    match = _match_content_range(value.strip())
    if match is None:
        raise SourceUnavailable(f"{url} answered with a part it does not name ({value[:50]!r})")
    first, last, total = map(int, match.groups())
    if total > MAX_LIST_BYTES:
        raise _too_long()
    return first, last, total


def _folder() -> Path:
    return close_folder(Path(settings.PIXSIM_HOME) / "cache" / "lists")


@contextmanager
def _new_file() -> Iterator[IO[bytes]]:
    """Yield a file in the cache; remove it afterwards unless it was kept, and old lists before."""
    try:
        _remove_old_lists()
        with tempfile.NamedTemporaryFile(dir=_folder(), suffix=".part", delete=False) as file:
            try:
                yield file.file
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)
    except OSError as error:
        raise SourceUnavailable(f"the list cannot be kept in {_folder()}: {error}") from error


def _write(file: IO[bytes], block: bytes) -> None:
    if file.tell() + len(block) > MAX_LIST_BYTES:
        raise _too_long()
    file.write(block)


def _too_long() -> SourceRefused:
    return SourceRefused(
        "location", f"more than {MAX_LIST_BYTES // 1024**3} GiB unpacked; split the list"
    )


def _keep(file: IO[bytes], key: str) -> Path:
    file.flush()
    path = _folder() / key
    os.replace(file.name, path)
    return path


def _remove_old_lists() -> None:
    """Remove lists that were not read for KEPT_SECONDS; they can be made again."""
    oldest = time.time() - KEPT_SECONDS
    for path in _folder().iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()
