"""Pictures that say how they must be turned: width, height and hash are those of the upright one."""

import pytest
from PIL import Image, ImageOps

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import GOOD
from crawler.fetch.rules import Checks
from pixsim.core import media
from tests.crawler.oriented import TAG, cases, opened, orientation_shown
from tests.crawler.pictures import distance, encode, photograph

CHECKS = Checks(max_pixels=4_000_000, min_side=1, max_aspect=20.0)
CASES = cases()

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(max_pixels=CHECKS.max_pixels)
    yield decoder
    decoder.close()


def test_the_table_says_what_pillow_does():
    shown = {
        one.name: orientation_shown(ImageOps.exif_transpose(opened(one.data))) for one in CASES
    }
    assert shown == {one.name: one.pillow for one in CASES}


def test_the_size_is_that_of_the_upright_picture(decoder):
    verdicts = decoder.examine([(one.data, CHECKS) for one in CASES])
    found = {
        one.name: (verdict.outcome, (verdict.width, verdict.height))
        for one, verdict in zip(CASES, verdicts, strict=True)
    }
    assert found == {
        one.name: (GOOD, ImageOps.exif_transpose(opened(one.data)).size) for one in CASES
    }


def test_so_is_the_size_of_what_was_generated_or_given():
    found = {}
    for one in CASES:
        medium = media.examine(one.data, side=16, is_still=True)
        found[one.name] = (medium.width, medium.height), medium.small and medium.small.width > 8
    expected = {one.name: ImageOps.exif_transpose(opened(one.data)).size for one in CASES}
    assert found == {name: (size, size[0] > size[1]) for name, size in expected.items()}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_hash_is_that_of_the_upright_picture(decoder, kind):
    pictures = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[TAG] = orientation
        turned = encode(photograph(197, 131), kind, exif=exif.tobytes())
        upright = ImageOps.exif_transpose(opened(turned))
        upright.info.clear()
        pictures += [turned, encode(upright, "PNG")]
    hashes = [one.phash for one in decoder.examine([(data, CHECKS) for data in pictures])]
    distances = [distance(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
    assert max(distances) <= (2 if kind == "JPEG" else 0), distances
    assert len(set(hashes[1::2])) == 8
