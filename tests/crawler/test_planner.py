"""The planner splits a job's indices into chunks, whatever the numbers are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.services.planning import MAX_CHUNK, MIN_CHUNK, chunk_ranges, default_chunk_size


@pytest.mark.parametrize(
    ("max_images", "chunk_size", "ranges"),
    [
        (0, 50, []),
        (1, 50, [(0, 1)]),
        (100, 50, [(0, 50), (50, 100)]),
        (101, 50, [(0, 50), (50, 100), (100, 101)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_the_ranges_of_known_jobs(
    max_images: int, chunk_size: int, ranges: list[tuple[int, int]]
) -> None:
    assert list(chunk_ranges(max_images, chunk_size)) == ranges


@given(st.integers(1, 20_000), st.integers(1, 3_000))
def test_chunks_cover_all_indices_without_gap_or_overlap_and_only_the_last_is_smaller(
    max_images: int, chunk_size: int
) -> None:
    ranges = list(chunk_ranges(max_images, chunk_size))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == max_images
    assert all(one[1] == following[0] for one, following in pairwise(ranges))
    assert all(end - start == chunk_size for start, end in ranges[:-1])
    assert 0 < ranges[-1][1] - ranges[-1][0] <= chunk_size
    assert ranges == list(chunk_ranges(max_images, chunk_size))


@given(st.integers(max_value=0))
def test_a_chunk_size_below_one_is_refused(chunk_size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        list(chunk_ranges(100, chunk_size))


@given(st.integers(0, 10_000_000))
def test_the_default_size_is_within_its_limits_and_never_falls_as_jobs_grow(
    max_images: int,
) -> None:
    size = default_chunk_size(max_images)
    assert MIN_CHUNK <= size <= MAX_CHUNK
    assert default_chunk_size(max_images + 1) >= size
