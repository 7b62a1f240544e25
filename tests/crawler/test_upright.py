"""Pictures that say how they must be turned: width, height and hash are those of the upright one.

And no program shows a file without its metadata turned in another way than the file.
"""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import GOOD
from crawler.fetch.metadata import STRIPPED_FORMATS, strip_metadata
from crawler.fetch.orientation import minimal_exif
from crawler.fetch.rules import Checks
from pixsim.core import media
from tests.browser import a_browser
from tests.crawler.oriented import (
    FORMATS,
    NAME,
    SIX,
    TAG,
    cases,
    entry,
    exif,
    opened,
    orientation_seen,
    orientation_shown,
    read_by_chromium_alone,
    xmp,
)
from tests.crawler.pictures import distance, encode, photograph

CHECKS = Checks(max_pixels=4_000_000, min_side=1, max_aspect=20.0)
CASES = cases()
ALONE = read_by_chromium_alone()

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


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_damaged_block_says_nothing_and_is_no_damage_of_the_picture(decoder, kind, mode):
    data = encode(photograph(96, 64).convert(mode), kind, exif=NAME + b"no EXIF at all")
    [verdict] = decoder.examine([(data, CHECKS)])
    assert (verdict.outcome, verdict.width, verdict.height) == (GOOD, 96, 64)
    medium = media.examine(data, side=16)
    assert (medium.width, medium.height) == (96, 64)
    stripped = strip_metadata(data)
    assert ImageOps.exif_transpose(opened(stripped)).size == (96, 64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_hash_is_that_of_the_upright_picture(decoder, kind):
    pictures = []
    for orientation in range(1, 9):
        block = NAME + exif(entry(orientation))
        turned = encode(photograph(197, 131), kind, exif=block)
        upright = ImageOps.exif_transpose(opened(turned))
        upright.info.clear()
        pictures += [turned, encode(upright, "PNG")]
    hashes = [one.phash for one in decoder.examine([(data, CHECKS) for data in pictures])]
    distances = [distance(*pair) for pair in zip(hashes[::2], hashes[1::2], strict=True)]
    assert max(distances) <= (2 if kind == "JPEG" else 0), distances
    assert len(set(hashes[1::2])) == 8


def test_without_metadata_pillow_turns_them_in_the_same_way_and_nothing_else_is_left():
    for one in CASES + ALONE:
        stripped = strip_metadata(one.data)
        before, after = (ImageOps.exif_transpose(opened(data)) for data in (one.data, stripped))
        assert (after.size, after.tobytes()) == (before.size, before.tobytes()), one.name
        if one.format in STRIPPED_FORMATS:
            left = {} if one.pillow == 1 else {TAG: one.pillow}
            assert dict(opened(stripped).getexif()) == left, one.name
            assert not {"xmp", "XML:com.adobe.xmp"} & set(after.info), one.name
        assert strip_metadata(stripped) == stripped, one.name


SHOWN = """
const done = arguments[arguments.length - 1];
Promise.all(arguments[0].map(async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const canvas = new OffscreenCanvas(width, height).getContext("2d");
    canvas.drawImage(image, 0, 0, width, height);
    const pixel = (x, y) =>
        Array.from(canvas.getImageData(x * width >> 2, y * height >> 2, 1, 1).data).slice(0, 3);
    return [pixel(1, 1), pixel(3, 1), pixel(1, 3), pixel(3, 3)];
})).then(done);
"""


def test_nor_does_chromium_show_them_in_another_way():
    shown = [one for one in CASES if one.chromium is not None] + ALONE
    files = [data for one in shown for data in (one.data, strip_metadata(one.data))]
    kinds = [one.format for one in shown for _ in range(2)]
    addresses = [
        f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
        for kind, data in zip(kinds, files, strict=True)
    ]
    with a_browser() as browser:
        browser.open("about:blank")
        seen = [orientation_seen(pixels) for pixels in browser.run(SHOWN, addresses)]
    found = dict(
        zip([one.name for one in shown], zip(seen[::2], seen[1::2], strict=True), strict=True)
    )
    expected = {one.name: (one.chromium, one.chromium) for one in shown}
    # One file cannot be shown in two ways without what is wrong in it: Pillow's is kept.
    assert found == expected | {one.name: (one.chromium, one.pillow) for one in ALONE}


@st.composite
def blocks(draw) -> bytes:
    """EXIF blocks with some entries, of which any byte may be wrong."""
    order = draw(st.sampled_from("<>"))
    kinds = st.sampled_from(sorted(FORMATS))
    values = st.sampled_from([1, 3, 6, 9])
    counts = st.sampled_from([0, 1, 1, 1, 2, 500])
    entries = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(kinds)
        tag = draw(st.sampled_from([TAG, TAG, TAG - 2, TAG + 9]))
        value = SIX.get(kind) or (draw(values),)
        entries.append(entry(*value, kind=kind, order=order, tag=tag, count=draw(counts)))
    block = bytearray(exif(*entries, order=order, at=draw(st.sampled_from([8, 9, 20]))))
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=2)
    ):
        block[place % len(block)] = byte
    return bytes(block[: draw(st.integers(0, 200))])


def orientation_read(**info: bytes) -> int:
    image = Image.new("RGB", (1, 1))
    image.info.update(info)
    try:
        value = image.getexif().get(TAG, 1)
    except Exception:
        return 1
    return int(value) if value in range(1, 9) else 1


@given(block=blocks(), packet=st.sampled_from([None, xmp(3), xmp(0)]))
def test_a_block_is_read_as_pillow_reads_it(block, packet):
    kept = minimal_exif(block, packet)
    whole = {"exif": NAME + block} | ({"xmp": packet} if packet else {})
    assert (orientation_read(exif=NAME + kept) if kept else 1) == orientation_read(**whole)
