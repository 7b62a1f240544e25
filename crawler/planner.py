"""The planner: split a job's [0, max_images) into contiguous chunks, without gap or overlap."""

from collections.abc import Iterator

MIN_CHUNK, MAX_CHUNK = 50, 250
CHUNKS_OF_A_LARGE_JOB = 40


def default_chunk_size(max_images: int) -> int:
    """Return the images per chunk of a job that names none: about forty chunks of 50 to 250 images."""
    return min(MAX_CHUNK, max(MIN_CHUNK, max_images // CHUNKS_OF_A_LARGE_JOB))


def chunk_ranges(max_images: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """Split [0, max_images) into half-open ranges of `chunk_size`; the last may be smaller.

    Deterministic: planning a job twice gives the same chunks.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, not {chunk_size}")
    for start in range(0, max_images, chunk_size):
        yield start, min(start + chunk_size, max_images)
