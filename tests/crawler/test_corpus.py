"""The test images of Pillow's source distribution, judged by our decoder as Pillow judges them.

They come from the package index as pip is set up, checked against the hashes of requirements.txt, and
are kept in pytest's cache. The test is skipped where they cannot be had.
"""

import json
import subprocess
import sys
import tarfile
from itertools import takewhile
from pathlib import Path

import pytest
import simplejpeg

from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import sniff
from crawler.fetch.rules import FORMATS, Checks
from pixsim.core.confined.process import PROJECT
from tests.browser import a_browser

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

CHECKS = Checks(max_pixels=100_000_000, min_side=1, max_aspect=1e6)
MOST_EXCEPTIONS = 0.02
SHOWN = {
    "png_decompression_dos.png": "its text is beyond Pillow's limit; all pixels are there",
    "unknown_compression_method.png": "its text is packed in an unknown way; all pixels are there",
    "truncated_end_chunk.png": "it ends in a chunk behind the pixels, which are all there",
}
"""Exceptions that are kept, and Chromium shows them too."""
DAMAGED = {"hopper_bad_exif.jpg": "its restart intervals hold more than their blocks: torn rows"}
"""Exceptions that are refused, and TurboJPEG warns of lost data too; Pillow hears no warnings."""

PILLOW = """
import json, resource, sys, warnings
from PIL import Image, ImageFile
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
warnings.simplefilter("ignore")
assert not ImageFile.LOAD_TRUNCATED_IMAGES
found = {}
for path in json.load(sys.stdin):
    try:
        with Image.open(path) as image:
            image.load()
            found[path] = "JPEG" if image.format == "MPO" else image.format
    except Exception as error:
        found[path] = f"{type(error).__name__}: {error}"
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def corpus(pytestconfig) -> list[Path]:
    """The files of the corpus whose first bytes are those of a format that we read."""
    folder = Path(pytestconfig.cache.mkdir("pillow-images"))
    if not (folder / "complete").exists():
        lines = (PROJECT / "requirements.txt").read_text().splitlines()
        begin = next(number for number, line in enumerate(lines) if line.startswith("pillow=="))
        hashes = takewhile(lambda line: "--hash" in line, lines[begin + 1 :])
        wanted = folder / "requirements.txt"
        wanted.write_text("\n".join([lines[begin], *hashes]).rstrip("\\ \n") + "\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "pillow", "--require-hashes", "-r", wanted, "-d", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"Pillow's source distribution cannot be had: {done.stderr[-300:]}")
        with tarfile.open(next(folder.glob("pillow-*.tar.gz"))) as archive:
            members = [one for one in archive if "/Tests/images/" in one.name and one.isfile()]
            archive.extractall(folder, members, filter="data")
        (folder / "complete").touch()
    files = sorted(path for path in folder.glob("*/Tests/images/**/*") if path.is_file())
    return [path for path in files if sniff(path.read_bytes()) in FORMATS]


def test_every_picture_is_judged_as_pillow_judges_it(corpus):
    asked = json.dumps([str(path) for path in corpus])
    answer = subprocess.run(
        [sys.executable, "-c", PILLOW], input=asked, capture_output=True, text=True, check=True
    )
    by_pillow = json.loads(answer.stdout)
    decoder = Decoder(max_pixels=CHECKS.max_pixels)
    try:
        verdicts = {path: decoder.examine([(path.read_bytes(), CHECKS)])[0] for path in corpus}
    finally:
        decoder.close()
    differing = {
        path.name: (verdict.outcome, verdict.detail, by_pillow[str(path)])
        for path, verdict in verdicts.items()
        if (verdict.outcome == "") != (by_pillow[str(path)].lower() in FORMATS)
    }
    kept = sum(verdict.outcome == "" for verdict in verdicts.values())
    print(f"{len(corpus)} pictures, {kept} kept, {len(differing)} exceptions")
    assert kept > 400
    assert set(differing) == {*SHOWN, *DAMAGED}, differing
    assert len(differing) <= MOST_EXCEPTIONS * len(corpus)
    assert {name for name, (outcome, *_) in differing.items() if outcome == ""} == set(SHOWN)


def test_a_second_decoder_agrees_on_the_exceptions(corpus, tmp_path):
    by_name = {path.name: path for path in corpus}
    for name in DAMAGED:
        with pytest.raises(ValueError, match="Corrupt JPEG data"):
            simplejpeg.decode_jpeg(by_name[name].read_bytes(), strict=True)
    page = tmp_path / "page.html"
    images = "".join(f'<img src="{by_name[name].as_uri()}">' for name in SHOWN)
    page.write_text(
        f"<body>{images}<script>onload = () => "
        "Array.from(document.images, (one) => one.decode().then(() => 'shown', () => 'broken')"
        ".then((word) => { const text = document.createElement('p'); text.textContent = word;"
        " document.body.append(text); }))</script>"
    )
    with a_browser() as browser:
        browser.open(page.as_uri())
        browser.wait_for(f"p:nth-of-type({len(SHOWN)})")
        assert browser.texts("p") == ["shown"] * len(SHOWN)
