"""Perceptual hashes: copies are near, other pictures are far, and band look-ups miss nothing."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from crawler.fetch.examine import examine
from crawler.fetch.phash import BAND_SHIFTS, band_masks
from crawler.fetch.rules import Checks
from tests.crawler.pictures import distance, encode, photograph

CHECKS = Checks(50_000_000, 32, 20.0)
SEEDS = range(20)
hashes = st.integers(-(2**63), 2**63 - 1)


def bands(value: int) -> list[int]:
    """The four bands of a hash, as the database computes them."""
    return [(value >> shift) & 0xFFFF for shift in BAND_SHIFTS]


def hash_of(data: bytes) -> int:
    value = examine(data, CHECKS).phash
    assert value is not None
    return value


def copies(image: Image.Image) -> dict[str, bytes]:
    small = io.BytesIO(encode(image, quality=50))
    return {
        "worse quality": encode(image, quality=40),
        "half the size": encode(image.resize((image.width // 2, image.height // 2), 3)),
        "an odd size": encode(image.resize((501, 377), 1)),
        "twice the size": encode(image.resize((image.width * 2, image.height * 2), 3)),
        "another format": encode(image, "PNG"),
        "grey": encode(image.convert("L")),
        "a little brighter": encode(ImageEnhance.Brightness(image).enhance(1.1)),
        "saved twice": encode(Image.open(small), quality=80),
    }


@pytest.mark.long
def test_most_copies_are_within_distance_three_and_all_within_eight():
    distances = [
        distance(hash_of(encode(image)), hash_of(copy))
        for image in (photograph(640, 480, seed=seed) for seed in SEEDS)
        for copy in copies(image).values()
    ]
    assert sum(value <= 3 for value in distances) >= 0.9 * len(distances)
    assert max(distances) <= 8


def test_different_pictures_are_far_apart():
    values = [hash_of(encode(photograph(seed=seed))) for seed in SEEDS]
    pairs = [distance(a, b) for i, a in enumerate(values) for b in values[:i]]
    assert min(pairs) >= 14
    assert 28 <= sum(pairs) / len(pairs) <= 36


def test_a_hash_fits_a_signed_bigint_and_some_are_negative():
    values = [hash_of(encode(photograph(seed=seed))) for seed in SEEDS]
    assert all(-(2**63) <= value < 2**63 for value in values)
    assert min(values) < 0


@given(hashes)
def test_the_bands_are_the_hash(value):
    high, second, third, low = bands(value)
    assert all(0 <= band < 2**16 for band in bands(value))
    assert (high << 48 | second << 32 | third << 16 | low) == value & (2**64 - 1)


@given(hashes, st.sets(st.integers(0, 63), max_size=11), st.integers(0, 11))
def test_probing_the_bands_finds_every_hash_within_the_distance(value, flipped, within):
    other = value
    for bit in flipped:
        other ^= 1 << bit
    found = any(
        theirs in {ours ^ mask for mask in band_masks(within)}
        for theirs, ours in zip(bands(other), bands(value), strict=True)
    )
    assert found or len(flipped) > within


@given(hashes, st.sets(st.integers(0, 62)))
def test_distance_counts_the_bits_that_differ(value, flipped):
    other = value
    for bit in flipped:
        other ^= 1 << bit
    assert distance(value, other) == distance(other, value) == len(flipped)
    assert distance(value, ~value) == 64


@pytest.mark.parametrize(("within", "count"), [(0, 1), (3, 1), (4, 17), (7, 17), (8, 137)])
def test_masks_are_as_few_as_exact_recall_allows(within, count):
    assert len(set(band_masks(within))) == len(band_masks(within)) == count
