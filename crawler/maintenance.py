"""Regular maintenance of the crawler: remove blobs and files without a row (`queue maintain`)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import PurePosixPath

from django.conf import settings
from django.core.files.storage import storages

from jobs.queue.kinds import Options, Result, Tick
from pixsim.core import blobs
from pixsim.core.db.sql import fetch

BATCH = 1000
LEAST_SAMPLE = 20
"""Fewer blobs than this are too few to judge a storage by."""

# Rows refer to a blob by the sha256 that it is named after.
REFERRED_TO = """
SELECT sha256 FROM images WHERE sha256 = ANY(%(hashes)s)
UNION ALL
SELECT sha256 FROM assets WHERE sha256 = ANY(%(hashes)s)
UNION ALL
SELECT thumbnail_sha256 FROM assets WHERE thumbnail_sha256 = ANY(%(hashes)s)
"""


def sweep_orphans(options: Options, tick: Tick) -> Result:
    """Remove blobs that no row refers to and that are older than the grace.

    Bytes are stored before their row, so a young blob may be about to get one; storing a blob
    again makes it young again. Blobs are sorted by hash, so the first batch is a random sample: if
    most of its blobs are orphans, this is probably the storage of another database, and nothing
    is removed without `force`.
    """
    before = datetime.now(UTC) - options.grace
    looked_at = count = size = 0
    old = (key for key, written_at in blobs.iter_keys() if written_at < before)
    while batch := list(islice(old, BATCH)):
        orphans = find_orphans(batch)
        doubtful = len(batch) >= LEAST_SAMPLE and 2 * len(orphans) > len(batch)
        if doubtful and not looked_at and not options.force:
            return Result(
                0,
                "none removed",
                problem=f"Of {len(batch):,} old blobs no row refers to {len(orphans):,}. If this "
                "is the right database for this storage, use --force.",
            )
        for key in orphans:
            freed = remove_orphan(key, before=before, dry_run=options.dry_run)
            if freed is not None:
                count, size = count + 1, size + freed
        looked_at += len(batch)
        tick(looked_at)
    verb = "would be removed" if options.dry_run else "removed"
    return Result(count, f"{count:,} of {looked_at:,} old blobs {verb}, {size:,} bytes")


def find_orphans(keys: Sequence[str]) -> list[str]:
    """Return those of `keys` that no image or asset refers to."""
    hashes = [PurePosixPath(key).stem for key in keys]
    known = {sha256 for (sha256,) in fetch(REFERRED_TO, {"hashes": hashes}, plan_anew=True)}
    return [key for key, sha256 in zip(keys, hashes, strict=True) if sha256 not in known]


def remove_orphan(key: str, *, before: datetime, dry_run: bool = False) -> int | None:
    """Remove a blob unless it was written after `before`; return its size, or None if it was kept.

    The time is read again: since the blob was listed, a worker may have stored the same bytes
    again, and be about to commit their row.
    """
    storage = storages[settings.PIXSIM_BLOB_STORAGE]
    try:
        if storage.get_modified_time(key) >= before:
            return None
        size = blobs.size(key)
    except FileNotFoundError:
        return None
    if not dry_run:
        blobs.delete(key)
    return size


def sweep_temporaries(options: Options, tick: Tick) -> Result:
    """Remove unfinished files that killed processes left in the blob storage."""
    if options.dry_run:
        count = sum(1 for _name in blobs.iter_stale_temporaries(older_than=options.grace))
        return Result(count, f"{count:,} would be removed")
    count = blobs.sweep_temporaries(older_than=options.grace)
    return Result(count, f"{count:,} removed")
