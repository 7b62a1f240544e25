"""Backfill the params of jobs from the payloads that were sent for them, and the sizes of assets."""

from itertools import islice

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.core import blobs, media
from pixsim.core.db.backfill import Backfill, BackfillRefused

# The first payload, since later attempts may have been changed to get through.
FILL = """
    UPDATE jobs AS job SET params = first.payload, params_source = 'payload'
    FROM (
        SELECT DISTINCT ON (submission.job_id) submission.job_id, submission.payload
        FROM provider_submissions AS submission JOIN jobs AS empty ON empty.id = submission.job_id
        WHERE empty.id BETWEEN %s AND %s AND empty.params = '{}'
            AND jsonb_typeof(submission.payload) = 'object' AND submission.payload <> '{}'
        ORDER BY submission.job_id, submission.submitted_at, submission.id
    ) AS first
    WHERE job.id = first.job_id AND job.params = '{}'
"""

EMPTY = """
    UPDATE jobs SET params = '{}', params_source = NULL
    WHERE id BETWEEN %s AND %s AND params_source = 'payload'
"""

PARAMS_FROM_PAYLOADS_UNDO = Backfill(
    name="params-from-payloads-undo",
    help="What params-from-payloads filled is emptied again.",
    table="jobs",
    pending="params_source = 'payload'",
    change=EMPTY,
)

PARAMS_FROM_PAYLOADS = Backfill(
    name="params-from-payloads",
    help="Jobs without params get the payload of their first submission, marked as such.",
    table="jobs",
    pending="params = '{}'",
    change=FILL,
    undo=PARAMS_FROM_PAYLOADS_UNDO,
)


# Sizes of assets, from their files

NOT_LOOKED_AT = "is_upright IS NULL AND starts_with(mime_type, 'image/') AND local_path IS NOT NULL"
READ_FILES = f"""
    SELECT id, local_path FROM assets WHERE id BETWEEN %s AND %s AND {NOT_LOOKED_AT} ORDER BY id
"""
WRITE_SIZES = """
    UPDATE assets SET is_upright = true, width = new.width, height = new.height
    FROM unnest(%s::int[], %s::int[], %s::int[]) AS new (id, width, height)
    WHERE assets.id = new.id
"""
FEW_FILES = 10
"""Rows of a first range: reading a file from a bucket takes long."""


def require_files(_connection: BaseDatabaseWrapper) -> None:
    """Raise BackfillRefused if the storage cannot be read, or is empty: then it is not there."""
    try:
        is_empty = not list(islice(blobs.iter_keys(), 1))
    except Exception as error:  # the client of a bucket raises errors of its own
        raise BackfillRefused(f"The storage of files cannot be read: {error}.") from error
    if is_empty:
        raise BackfillRefused(
            "The storage of files is empty, so it is not the one of this database, or it is not "
            "mounted. No row was changed."
        )


def stored_file(key: str) -> bytes | None:
    """Return the bytes of a blob; None if it is missing. Raise BackfillRefused if nobody can tell."""
    try:
        return blobs.read(key) if blobs.is_key(key) else None
    except FileNotFoundError:
        return None
    except blobs.BlobStorageError as error:
        raise BackfillRefused(
            f"{error} What was looked at before stays; run this again to go on."
        ) from error


def set_upright_sizes(cursor: CursorWrapper, first: int, last: int) -> int:
    """Set what the decoder finds; a row whose file is missing or damaged stays as it is."""
    cursor.execute(READ_FILES, [first, last])
    found = []
    for asset, key in cursor.fetchall():
        data = stored_file(key)
        if data is None:
            continue
        try:
            medium = media.examine(data, side=1, is_still=True)
        except media.Undecodable:
            continue
        except media.Unavailable as error:
            raise BackfillRefused(f"{error} What was looked at before stays.") from error
        found.append((asset, medium.width, medium.height))
    if found:
        cursor.execute(WRITE_SIZES, [list(column) for column in zip(*found, strict=True)])
    return len(found)


UPRIGHT_ASSETS = Backfill(
    name="upright-assets",
    help="Pictures that earlier releases stored as assets get the size of the upright picture.",
    table="assets",
    pending=NOT_LOOKED_AT,
    change=set_upright_sizes,
    check=require_files,
    batch_size=FEW_FILES,
)
