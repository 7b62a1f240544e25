"""What the demo's site has, and how a crawl of each item must end."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo import answers, pictures
from demo.answers import Answer
from providers.adapters.local import drawing

HOSTS = ("site", "slow", "failing", "broken", "busy")
"""The demo's servers. Only "site" has pages."""

PER_STYLE = 62
"""Pictures drawn in each style. ADDRESSES says what becomes of which."""

MAX_BYTES = 2 * 1024**2
"""The crawl's cap per file: one item is above it."""

Files = dict[tuple[str, int], bytes]
"""The file of each picture by style and number."""


@dataclass(frozen=True)
class Item:
    """A picture address of the site, and how a crawl of it ends: a value of crawler.models.Outcome."""

    label: str
    host: str
    path: str
    """All of the address where `host` is empty: elsewhere."""
    outcome: str
    """Empty for what no page names, since only a redirect leads there."""
    answer: Answer | None = None
    """None: nothing answers there."""


def drawn_pictures(cache: Path) -> Files:
    """All pictures as files, drawn at first use and kept in a folder of `cache`."""
    sources = [Path(each) for each in (drawing.__file__, pictures.__file__, __file__)]
    version = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    folder = cache / version
    wanted = [(style, number) for style in pictures.STYLES for number in range(PER_STYLE)]
    missing = [(folder, *one) for one in wanted if not _path(folder, *one).exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor() as pool:
            list(pool.map(_draw, missing, chunksize=8))
    return {one: _path(folder, *one).read_bytes() for one in wanted}


def suffix(number: int) -> str:
    """The kind of file of a picture: most are JPEG; what is spoiled or compressed anew must be."""
    return {3: "png", 8: "webp"}.get(number % 10, "jpg") if number < 50 else "jpg"


# What becomes of which picture


def _compressed_anew(body: bytes, *, scale: float, quality: int) -> bytes:
    image = Image.open(io.BytesIO(body)).convert("RGB")
    size = (round(image.width * scale), round(image.height * scale))
    return pictures.encoded(image.resize(size, Image.Resampling.LANCZOS), "jpeg", quality=quality)


def _late(body: bytes, kind: str) -> Answer:
    return answers.file(body, kind, seconds=0.4)


def _moved(body: bytes, kind: str) -> Answer:
    return answers.status(302, Location=f"moved.{kind}")


def _second_time(body: bytes, kind: str) -> Answer:
    return answers.in_turn(answers.status(500), answers.file(body, kind))


def _recompressed(body: bytes, kind: str) -> Answer:
    return answers.file(_compressed_anew(body, scale=1.0, quality=55), "jpg")


def _resized(body: bytes, kind: str) -> Answer:
    return answers.file(_compressed_anew(body, scale=2 / 3, quality=80), "jpg")


def _reserved(body: bytes, kind: str) -> Answer:
    return answers.file(body, kind, headers={"X-Robots-Tag": "noai, noimageai"})


def _truncated(body: bytes, kind: str) -> Answer:
    return answers.file(body[: len(body) * 6 // 10], kind)


def _flipped(body: bytes, kind: str) -> Answer:
    """The picture as PNG with one bit of its pixels flipped."""
    png = bytearray(pictures.encoded(Image.open(io.BytesIO(body)), "png"))
    png[len(png) // 2] ^= 1
    return answers.file(bytes(png), "png")


_busy = answers.BusyServer(busy_seconds=1.5, retry_after=2)
ADDRESSES: list[tuple[range, str, str, str, Callable[[bytes, str], Answer]]] = [
    (range(50), "site", "/pictures/{name}.{kind}", "stored", answers.file),
    (range(50, 53), "slow", "/pictures/{name}.{kind}", "stored", _late),
    # Its new address is on no page, so that it is found through the old one alone.
    (range(53, 54), "site", "/old/{name}.{kind}", "stored", _moved),
    (range(53, 54), "site", "/old/{style}/moved.{kind}", "", answers.file),
    (range(54, 55), "failing", "/pictures/{name}.{kind}", "stored", _second_time),
    (range(55, 57), "busy", "/pictures/{name}.{kind}", "stored", _busy.file),
    (range(5), "site", "/mirror/{name}.{kind}", "duplicate", answers.file),
    (range(5, 9), "site", "/preview/{name}.jpg", "near_duplicate", _recompressed),
    (range(9, 11), "site", "/small/{name}.jpg", "near_duplicate", _resized),
    (range(57, 58), "site", "/private/{style}.jpg", "robots", answers.file),
    (range(58, 59), "site", "/reserved/{style}.jpg", "opted_out", _reserved),
    (range(59, 60), "site", "/broken/{style}-cut.jpg", "truncated", _truncated),
    (range(60, 61), "site", "/broken/{style}-flipped.png", "corrupt", _flipped),
]
"""Of the pictures with these numbers: host and path, outcome, and the answer made of file and kind."""


def items(files: Files) -> list[Item]:
    """Everything that the site has or names."""
    found = []
    for numbers, host, path, outcome, answer in ADDRESSES:
        for (style, number), body in files.items():
            if number in numbers:
                kind = suffix(number)
                address = path.format(style=style, name=f"{style}/{number:03}", kind=kind)
                found.append(Item(style, host, address, outcome, answer(body, kind)))
    return [*found, *_odd(files)]


def _odd(files: Files) -> Iterator[Item]:
    """One or two of everything else."""
    styles = list(pictures.STYLES)
    stalled = files[styles[0], 61]
    error_page = answers.file("<!DOCTYPE html><title>Please log in</title>", "html")
    loop = answers.status(302, Location="loop.jpg")
    drawing = answers.file('<svg xmlns="http://www.w3.org/2000/svg"/>', "svg")
    giant = answers.file(_png_header(40_000, 30_000), "png")
    heavy = answers.file(bytes(MAX_BYTES + 1), "jpg")
    icon = answers.file(_plain_png(16, 16), "png")
    banner = answers.file(_plain_png(1200, 40), "png")
    yield Item(styles[0], "site", "/odd/login.jpg", "not_an_image", error_page)
    yield Item(styles[1], "site", "/odd/login.jpg?again", "not_an_image", error_page)
    yield Item(styles[2], "site", "/odd/drawing.svg", "bad_format", drawing)
    yield Item(styles[0], "site", "/odd/giant.png", "too_many_pixels", giant)
    yield Item(styles[3], "site", "/odd/heavy.jpg", "too_large", heavy)
    yield Item(styles[1], "site", "/odd/icon.png", "too_small", icon)
    yield Item(styles[2], "site", "/odd/banner.png", "aspect", banner)
    yield Item(styles[4], "site", "/odd/loop.jpg", "too_many_redirects", loop)
    for style in styles:
        yield Item(style, "site", f"/gone/{style}.jpg", "http_4xx", answers.status(404))
    # All in the first style, so that their long ways to an end begin early.
    for name in ("one", "two", "three"):
        yield Item(styles[0], "failing", f"/{name}.jpg", "http_5xx", answers.status(500))
    for name in ("one", "two"):
        yield Item(styles[0], "broken", f"/{name}.jpg", "connect", answers.dropped())
    yield Item(styles[0], "slow", "/stalled.jpg", "too_slow", answers.dribbled(stalled, "jpg"))
    inside = "http://169.254.169.254/latest/meta-data/picture.jpg"
    yield Item(styles[3], "", inside, "blocked_address")


# Making files


def _path(folder: Path, style: str, number: int) -> Path:
    return folder / f"{style}-{number:03}.{suffix(number)}"


def _draw(wanted: tuple[Path, str, int]) -> None:
    folder, style, number = wanted
    path = _path(folder, style, number)
    kind = {"jpg": "jpeg"}.get(path.suffix[1:], path.suffix[1:])
    draft = path.with_suffix(".draft")
    draft.write_bytes(pictures.encoded(pictures.picture(style, number), kind))
    draft.rename(path)


def _plain_png(width: int, height: int) -> bytes:
    return pictures.encoded(Image.new("RGB", (width, height), "#2a9d8f"), "png")


def _png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be of that size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, b"IDAT" + zlib.compress(bytes(100)), end)
    )
