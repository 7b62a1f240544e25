"""Look again at the pictures of earlier releases, which did not turn them upright.

Each is decoded in the crawler's confined decoder. A near duplicate stays one: what was resembled when it
was stored is no question of today's hash. Pictures that come are compared with the new one.
"""

from functools import cache

from django.conf import settings
from django.db.backends.utils import CursorWrapper

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import GOOD
from crawler.fetch.rules import Checks
from jobs.backfills import FEW_FILES, require_files, stored_file
from pixsim.core.confined import Unavailable
from pixsim.core.db.backfill import Backfill, BackfillRefused

NOT_LOOKED_AT = "is_upright IS NULL AND storage_url IS NOT NULL"
READ = f"""
SELECT id, storage_url FROM images WHERE id BETWEEN %s AND %s AND {NOT_LOOKED_AT} ORDER BY id
"""
WRITE = """
UPDATE images SET is_upright = true, width = new.width, height = new.height, phash = new.phash
FROM unnest(%s::int[], %s::int[], %s::int[], %s::bigint[]) AS new (id, width, height, phash)
WHERE images.id = new.id
"""
ANY_ASPECT = 1e9


def set_upright(cursor: CursorWrapper, first: int, last: int) -> int:
    """Set what the decoder finds; a row whose file is missing or refused by now stays as it is."""
    checks = Checks(settings.CRAWL_MAX_PIXELS, min_side=1, max_aspect=ANY_ASPECT)
    cursor.execute(READ, [first, last])
    found = []
    for image, key in cursor.fetchall():
        data = stored_file(key)
        if data is None:
            continue
        try:
            [verdict] = _decoder().examine([(data, checks)])
        except Unavailable as error:
            raise BackfillRefused(f"{error} What was looked at before stays.") from error
        if verdict.outcome == GOOD:
            found.append((image, verdict.width, verdict.height, verdict.phash))
    if found:
        cursor.execute(WRITE, [list(column) for column in zip(*found, strict=True)])
    return len(found)


@cache
def _decoder() -> Decoder:
    """One for all ranges of rows: it ends with this process."""
    return Decoder(max_pixels=settings.CRAWL_MAX_PIXELS)


UPRIGHT_IMAGES = Backfill(
    name="upright-images",
    help="Images of earlier releases get the width, height and hash of the upright picture.",
    table="images",
    pending=NOT_LOOKED_AT,
    change=set_upright,
    check=require_files,
    batch_size=FEW_FILES,
)
