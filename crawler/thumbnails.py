"""Small pictures of stored images, decoded in confined children only (`pixsim.core.media`).

The admin's are made when first viewed, and kept beside the image's file: the same name with another
ending, so the sweep of orphan blobs removes them with it. One without bytes says that none can be made.
"""

import logging
from contextlib import suppress
from pathlib import PurePosixPath

from django.db import OperationalError, connection, transaction

from crawler.fetch.containers import Malformed
from crawler.fetch.metadata import strip_metadata
from pixsim.core import blobs, media

SIDES = {"small": 160, "large": 640}
"""Pixels of the longer side, by the ending of the file's name."""
QUALITY = 80
SECONDS = 30.0
"""How long decoding one may take, by the clock, and how long to wait for somebody who makes the same."""
GREY = "#808080"
"""What shows through where an image is transparent: it goes with light and dark pages."""

ONE_MAKER = "SELECT pg_advisory_xact_lock(hashtext('crawler.thumbnails'), hashtext(%s))"

logger = logging.getLogger(__name__)


def thumbnail(key: str | None, *, size: str) -> bytes | None:
    """Return the JPEG of a stored image in one of SIDES; None if there is none at the moment.

    Never made twice at once, whichever processes are asked for it.
    """
    if not blobs.is_key(key or ""):
        return None
    key = key or ""
    name = blobs.key_for(PurePosixPath(key).stem, f".{size}")
    kept = _kept(name)
    if kept is None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{SECONDS:.0f}s"])
                cursor.execute(ONE_MAKER, [name])
                kept = _kept(name)
                if kept is None:
                    kept = _made(key, name, side=SIDES[size])
        except OperationalError as error:
            logger.warning("A thumbnail of %s was not made: %s", key, error)
    return kept or None


def small_picture(key: str | None, *, side: int) -> media.Pixels | None:
    """Return a stored image at most `side` pixels wide and high; None if its file is not here.

    Raise media.Undecodable or media.Unavailable.
    """
    data = _kept(key) if key and blobs.is_key(key) else None
    if data is None:
        return None
    with suppress(Malformed):  # what the crawl's decoder could read is shown
        data = strip_metadata(data)
    medium = media.examine(data, side=side, background=GREY, is_still=True, seconds=SECONDS)
    return medium.small


def _kept(name: str) -> bytes | None:
    try:
        with blobs.open_blob(name) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def _made(key: str, name: str, *, side: int) -> bytes | None:
    """Make and keep the JPEG; return it, no bytes if it never can be made, None if not now."""
    try:
        pixels = small_picture(key, side=side)
        if pixels is None:
            return None
        jpeg = pixels.as_jpeg(quality=QUALITY)
    except media.Undecodable as error:
        logger.warning("No thumbnail of %s can be made: %s", key, error)
        if not error.is_certain:
            return None
        jpeg = b""
    except media.Unavailable as error:
        logger.error("A thumbnail of %s cannot be made: %s", key, error)
        return None
    path = PurePosixPath(name)
    try:
        blobs.put(jpeg, suffix=path.suffix, sha256=path.stem)
    except blobs.BlobStorageError as error:
        logger.warning("A thumbnail is not kept: %s", error)
    return jpeg
