"""Every parser in its process, with damaged files: a minute in `make test-long`, longer in `make fuzz`.

No damage may end the parent, be answered later than the limits allow, or let the parent's memory
grow. The files of a run depend on FUZZ_SEED alone; a failure names the seed and keeps the file.
"""

import gzip
import io
import json
import os
import random
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from crawler.errors import CrawlError
from crawler.fetch.decoder_client import Decoder
from crawler.fetch.examine import LATER, OUTCOMES
from crawler.fetch.rules import Checks
from crawler.parsing.documents import Documents
from crawler.sources.sitemap.xml import BrokenXml
from crawler.sources.urls.confined_list import ConfinedList
from pixsim.core.media.client import Undecodable, examine
from tests.crawler.pictures import encode, photograph
from tests.fuzz.damage import damaged

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
SLOWEST = 15.0
"""Seconds by the clock of one file: several times its processor time, since machines are busy."""
GROWTH = 48 * 1024**2
CHECKS = Checks(50_000_000, 32, 20.0)
URL = "https://example.com/a/b.html"
ANIMATED = ("GIF", "WEBP", "PNG")
MP4 = bytes.fromhex("00000018667479706d703432000000006d70343269736f6d") + (
    b"\0\0\0\x74moov\0\0\0\x6cmvhd" + bytes(12) + b"\0\0\x03\xe8\0\0\x27\x10" + bytes(80)
)
PAGE = b"""<!doctype html><html><head><meta charset=utf-8><base href=/x/><title>A page</title>
<meta name=robots content="noai, nofollow"><meta property=og:image content=/og.jpg></head><body>
<picture><source srcset="a.webp 2x, b.webp 100w"><img src=a.jpg alt="words &amp; more"></picture>
<img data-src='b.png' srcset="c.jpg 1x, d.jpg 2.5x"><a href="e.jpg">f</a><a rel=nofollow href=g>h</a>
<!-- comment --><script>var x = "<img src=no.jpg>";</script></body></html>"""
SITEMAP = b"""<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/x"
 xmlns:image="http://www.google.com/y"><url><loc>https://example.com/1</loc><image:image>
<image:loc>https://example.com/1.jpg</image:loc><image:title>T &lt; U</image:title></image:image>
</url><url><loc>https://example.com/2.jpg</loc></url></urlset>"""
ROBOTS = b"""User-agent: *\nDisallow: /private*$\nAllow: /\nCrawl-delay: 2
User-agent: pixsim\nUser-agent: other\nContent-Signal: ai-train=no\nRequest-rate: 1/5\n# x"""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

Run = Callable[[bytes], None]


@contextmanager
def pictures(folder: Path) -> Iterator[tuple[list[bytes], Run]]:
    scene = photograph(96, 72)
    seeds = [encode(scene, kind) for kind in FORMATS]
    seeds += [encode(scene, progressive=True), encode(scene.convert("P"), "PNG")]
    seeds += [encode(scene, "GIF", save_all=True, append_images=[scene, scene])]
    seeds += [encode(scene, "TIFF", compression=name) for name in ("jpeg", "tiff_lzw")]
    seeds += [encode(Image.new("I;16", (64, 64), 900), "PNG")]
    decoders = [Decoder(max_pixels=CHECKS.max_pixels, quick=quick) for quick in (True, False)]

    def run(data: bytes) -> None:
        for decoder in decoders:
            [verdict] = decoder.examine([(data, CHECKS)])
            assert verdict.outcome in (*OUTCOMES, LATER)
            if verdict.outcome != LATER:
                return

    yield seeds, run
    for decoder in decoders:
        decoder.close()


@contextmanager
def lists(folder: Path) -> Iterator[tuple[list[bytes], Run]]:
    urls = [f"https://example.com/{number}.jpg" for number in range(50)]
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"url": urls, "width": list(range(50))}), buffer)
    text = "\n".join(urls)
    by_format = {
        "parquet": buffer.getvalue(),
        "txt": text.encode(),
        "csv": ("url,caption\n" + "\n".join(f'{url},"a, ""b"""' for url in urls)).encode(),
        "tsv": ("url\tcaption\n" + "\n".join(f"{url}\tx" for url in urls)).encode(),
        "jsonl": "\n".join(json.dumps({"url": url, "n": [1]}) for url in urls).encode(),
    }
    names = list(by_format)
    packed = {name: gzip.compress(data) for name, data in by_format.items()}
    seeds = [*by_format.values(), *packed.values()]
    path = folder / "list"
    turn = 0

    def run(data: bytes) -> None:
        nonlocal turn
        turn += 1
        path.write_bytes(data)
        options = {"format": names[turn % len(names)], "encoding": "utf-8", "delimiter": ""}
        with suppress(CrawlError), ConfinedList(path, **options) as one:
            look = one.look()
            if look.is_plain:
                for row in one.rows(None, look.columns[:2]):
                    assert row.number >= 0
            else:
                for _block in one.blocks():
                    pass

    yield seeds, run


@contextmanager
def media(folder: Path) -> Iterator[tuple[list[bytes], Run]]:
    scene = photograph(96, 72)
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(4000))
    seeds = [encode(scene, kind) for kind in FORMATS]
    seeds += [encode(scene, kind, save_all=True, append_images=[scene] * 3) for kind in ANIMATED]
    turn = 0

    def run(data: bytes) -> None:
        nonlocal turn
        turn += 1
        kinds = ("image/*", "image/*", "audio/wav", "video/mp4")
        with suppress(Undecodable):
            examine(data, mime_type=kinds[turn % len(kinds)], side=64)

    yield [*seeds, sound.getvalue(), MP4], run


@contextmanager
def documents(folder: Path) -> Iterator[tuple[list[bytes], Run]]:
    seeds = [PAGE, SITEMAP, gzip.compress(SITEMAP), ROBOTS]
    parsers = Documents()

    def run(data: bytes) -> None:
        with suppress(CrawlError, BrokenXml):
            for _row in parsers.page(data, "text/html", URL, token="pixsim", wants_links=True):
                pass
        with suppress(CrawlError, BrokenXml):
            for _entry in parsers.entries(data, 0):
                pass
        assert len(parsers.robots([data, data[::-1]], "pixsim")) == 2
        parsers.ended = 0

    yield seeds, run
    parsers.close()


PARSERS = {"pictures": pictures, "lists": lists, "media": media, "documents": documents}


@pytest.mark.parametrize("name", PARSERS)
def test_no_damage_ends_the_parent_or_is_answered_late(name: str, tmp_path: Path) -> None:
    with PARSERS[name](tmp_path) as (seeds, run):
        for data in seeds:
            run(data)
        before = psutil.Process().memory_info().rss
        slowest, count = 0.0, 0
        ends = time.monotonic() + SECONDS / len(PARSERS)
        while time.monotonic() < ends:
            dice = random.Random(f"{SEED} {name} {count}")
            data = damaged(dice.choice(seeds), seeds, dice)
            begun = time.monotonic()
            try:
                run(data)
            except Exception:
                kept = tmp_path / "damaged"
                kept.write_bytes(data)
                print(f"FUZZ_SEED={SEED}, file {count} of {name}, kept as {kept}")
                raise
            slowest = max(slowest, time.monotonic() - begun)
            assert slowest < SLOWEST, f"FUZZ_SEED={SEED}: file {count} of {name}: {slowest:.1f} s"
            count += 1
        growth = psutil.Process().memory_info().rss - before
    print(f"{name}: {count} files, the slowest {slowest:.2f} s, {growth / 1024**2:+.1f} MiB")
    assert count > 20
    assert growth < GROWTH
