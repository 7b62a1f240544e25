"""Perceptual hashes: 64 bits that stay nearly the same when a picture is resized or recompressed.

A hash is a signed 64-bit integer, as PostgreSQL's bigint keeps it. Near duplicates differ in few
bits. They are found through four 16-bit bands: two hashes within distance d differ in at most
d // 4 bits in at least one band, so looking up all band values within that radius misses nothing.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

from pixsim.core.media.upright import FIRST_SIDEWAYS, UPRIGHT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRID = 32  # The picture is averaged down to GRID x GRID cells ...
KEPT = 8  # ... of whose cosine transform the KEPT x KEPT lowest frequencies make the hash.
BAND_SHIFTS = (48, 32, 16, 0)

_SIGNS = (1, -1) * (KEPT // 2)

# Standard deviation of the low frequencies, in grey levels. Below it a picture is a plain surface
# whose bits are compression noise: it has no hash, or all white pictures would be duplicates.
FLAT = 2.0


MIRRORED_COLUMNS, MIRRORED_ROWS = (2, 3, 6, 7), (3, 4, 7, 8)
"""Orientations of which the order of the columns or rows is reversed, those from 5 on when rows and
columns have changed places."""


def phash(
    grey: NDArray[np.uint8], size: tuple[int, int] | None = None, orientation: int = UPRIGHT
) -> int | None:
    """Return the hash of a grey picture (rows x columns), or None for a flat one.

    `size` is the width and height of the picture from which a JPEG decoder made `grey` at some
    eighths of the size. The hash is that of the upright picture: `orientation` says how `grey`
    must be turned. Its transform is turned instead, since a sample may cover the picture in part.
    """
    import numpy as np

    height, width = grey.shape
    whole_width, whole_height = size or (width, height)
    rows = _low_frequencies(height, _extent(height, whole_height))
    columns = _low_frequencies(width, _extent(width, whole_width))
    cosines = rows @ grey.astype(np.float32) @ columns.T
    values = _turned(cosines, orientation).ravel()
    if float(np.linalg.norm(values[1:])) < FLAT * GRID:
        return None
    middle = np.sort(values)
    median = (middle[31] + middle[32]) / 2
    return int.from_bytes(np.packbits(values > median).tobytes(), "big", signed=True)


@lru_cache
def band_masks(within: int) -> tuple[int, ...]:
    """Return masks: of two hashes at most `within` bits apart a band is equal after a mask's XOR."""
    radius = within // len(BAND_SHIFTS)
    return tuple(
        sum(1 << bit for bit in chosen)
        for count in range(radius + 1)
        for chosen in combinations(range(16), count)
    )


def _turned(cosines: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return the transform of the upright picture: mirrored, odd frequencies have the other sign."""
    if orientation >= FIRST_SIDEWAYS:
        cosines = cosines.T
    if orientation in MIRRORED_COLUMNS:
        cosines = cosines * _SIGNS
    if orientation in MIRRORED_ROWS:
        cosines = (cosines.T * _SIGNS).T
    return cosines


def _extent(samples: int, whole: int) -> float:
    """Return how many of the samples the picture covers: the last one often only in part."""
    exact = whole * round(8 * samples / whole) / 8
    return exact if samples - 1 < exact <= samples else samples


@lru_cache(maxsize=512)
def _low_frequencies(size: int, extent: float) -> NDArray[np.float32]:
    """Return a KEPT x size matrix: averages `extent` samples to GRID cells, then transforms them.

    Averaging and transform are both linear, so one small product per side does the work of a
    resize and a transform.
    """
    import numpy as np

    edges = np.arange(GRID + 1) * (extent / GRID)
    samples = np.arange(size)
    overlap = np.minimum(edges[1:, None], samples + 1) - np.maximum(edges[:-1, None], samples)
    average = np.clip(overlap, 0, None) * (GRID / extent)
    frequency = np.arange(KEPT)[:, None]
    cosine = np.cos(np.pi * frequency * (2 * np.arange(GRID) + 1) / (2 * GRID))
    cosine *= np.sqrt(np.where(frequency == 0, 1, 2) / GRID)
    return (cosine @ average).astype(np.float32)  # type: ignore[no-any-return]
