"""What the demo's site has, and how a crawl of each item must end."""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from demo import answers, pictures
from demo.answers import Answer

HOSTS = ("site", "slow", "failing", "broken", "busy")
"""The demo's servers. Only "site" has pages."""

PER_STYLE = 62
"""Pictures drawn in each style. The numbers below say what becomes of which."""
PLAIN = range(50)
MIRRORED = range(5)
RECOMPRESSED = range(5, 9)
RESIZED = range(9, 11)
LATE = range(50, 53)
MOVED = range(53, 54)
SECOND_TIME = range(54, 55)
BUSY = range(55, 57)
PRIVATE = range(57, 58)
RESERVED = range(58, 59)
TRUNCATED = range(59, 60)
CORRUPT = range(60, 61)
STALLED = range(61, 62)

MAX_BYTES = 2 * 1024**2
"""The crawl's cap per file: one item is above it."""

Files = dict[tuple[str, int], bytes]
"""The file of each picture by style and number."""


@dataclass(frozen=True)
class Item:
    """A picture address of the site. `outcome` is a value of crawler.models.Outcome."""

    label: str
    host: str
    path: str
    outcome: str
    answer: Answer | None = None
    """None: nothing answers there."""
    url: str = ""
    """Where it is if not on one of HOSTS."""


def drawn_pictures(cache: Path) -> Files:
    """All pictures as files, drawn at first use and kept in a folder of `cache`."""
    sources = (Path(pictures.__file__), Path(__file__))
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
    if number >= LATE.start:
        return "jpg"
    return {3: "png", 8: "webp"}.get(number % 10, "jpg")


def items(files: Files) -> list[Item]:
    """Everything that the site's pages, sitemaps and lists name."""
    return [*_good(files), *_copies(files), *_refused(files), *_spoiled(files), *_odd(files)]


# Pictures that end in the dataset


def _good(files: Files) -> Iterator[Item]:
    busy = answers.Patience(busy_seconds=1.5, retry_after=2)
    for (style, number), body in files.items():
        kind = suffix(number)
        path = f"/pictures/{style}/{number:03}.{kind}"
        if number in PLAIN:
            yield Item(style, "site", path, "stored", answers.file(body, kind))
        elif number in LATE:
            late = answers.late_file(body, kind, seconds=0.4)
            yield Item(style, "slow", path, "stored", late)
        elif number in MOVED:
            # Its new address is on no page, so that it is found through the old one alone.
            old = f"/old/{style}/{number:03}.{kind}"
            yield Item(style, "site", old, "stored", answers.moved(f"/moved/{style}.{kind}"))
        elif number in SECOND_TIME:
            answer = answers.second_time_file(body, kind)
            yield Item(style, "failing", path, "stored", answer)
        elif number in BUSY:
            yield Item(style, "busy", path, "stored", busy.file(body, kind))


def unlisted(files: Files) -> dict[str, Answer]:
    """What the site answers at addresses that nothing but its own redirects name."""
    return {
        f"/moved/{style}.{suffix(number)}": answers.file(body, suffix(number))
        for (style, number), body in files.items()
        if number in MOVED
    }


# Pictures that the site has already


def _copies(files: Files) -> Iterator[Item]:
    for (style, number), body in files.items():
        path = f"/{{}}/{style}/{number:03}.{{}}"
        if number in MIRRORED:
            kind = suffix(number)
            copy = answers.file(body, kind)
            yield Item(style, "site", path.format("mirror", kind), "duplicate", copy)
        elif number in RECOMPRESSED:
            worse = _compressed_anew(body, scale=1.0, quality=55)
            similar = answers.file(worse, "jpg")
            yield Item(style, "site", path.format("preview", "jpg"), "near_duplicate", similar)
        elif number in RESIZED:
            smaller = _compressed_anew(body, scale=2 / 3, quality=80)
            similar = answers.file(smaller, "jpg")
            yield Item(style, "site", path.format("small", "jpg"), "near_duplicate", similar)


# Pictures that the site does not want in a dataset


def _refused(files: Files) -> Iterator[Item]:
    for (style, number), body in files.items():
        if number in PRIVATE:
            answer = answers.file(body, "jpg")
            yield Item(style, "site", f"/private/{style}.jpg", "robots", answer)
        elif number in RESERVED:
            answer = answers.file(body, "jpg", **{"X-Robots-Tag": "noai, noimageai"})
            yield Item(style, "site", f"/reserved/{style}.jpg", "opted_out", answer)


# Files that are broken


def _spoiled(files: Files) -> Iterator[Item]:
    for (style, number), body in files.items():
        if number in TRUNCATED:
            cut = answers.file(body[: len(body) * 6 // 10], "jpg")
            yield Item(style, "site", f"/broken/{style}-cut.jpg", "truncated", cut)
        elif number in CORRUPT:
            flipped = answers.file(_flipped_png(body), "png")
            yield Item(style, "site", f"/broken/{style}-flipped.png", "corrupt", flipped)


# One or two of everything else


def _odd(files: Files) -> Iterator[Item]:
    styles = list(pictures.STYLES)
    stalled = files[styles[0], STALLED.start]
    error_page = answers.file("<!DOCTYPE html><title>Please log in</title>", "html")
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
    yield Item(styles[4], "site", "/odd/loop.jpg", "too_many_redirects", answers.moved("loop.jpg"))
    for style in styles:
        yield Item(style, "site", f"/gone/{style}.jpg", "http_4xx", answers.status(404))
    # All in the first style, so that their long ways to an end begin early.
    for name in ("one", "two", "three"):
        yield Item(styles[0], "failing", f"/{name}.jpg", "http_5xx", answers.status(500))
    for name in ("one", "two"):
        yield Item(styles[0], "broken", f"/{name}.jpg", "connect", answers.dropped())
    yield Item(styles[0], "slow", "/stalled.jpg", "too_slow", answers.dribbled(stalled, "jpg"))
    inside = "http://169.254.169.254/latest/meta-data/picture.jpg"
    yield Item(styles[3], "", "", "blocked_address", url=inside)


# Making and spoiling files


def _path(folder: Path, style: str, number: int) -> Path:
    return folder / f"{style}-{number:03}.{suffix(number)}"


def _draw(wanted: tuple[Path, str, int]) -> None:
    folder, style, number = wanted
    path = _path(folder, style, number)
    kind = {"jpg": "jpeg"}.get(path.suffix[1:], path.suffix[1:])
    draft = path.with_suffix(".draft")
    draft.write_bytes(pictures.encoded(pictures.picture(style, number), kind))
    draft.rename(path)


def _compressed_anew(body: bytes, *, scale: float, quality: int) -> bytes:
    image = Image.open(io.BytesIO(body)).convert("RGB")
    size = (round(image.width * scale), round(image.height * scale))
    return pictures.encoded(image.resize(size, Image.Resampling.LANCZOS), "jpeg", quality=quality)


def _flipped_png(body: bytes) -> bytes:
    """The picture as PNG with one bit of its pixels flipped."""
    png = bytearray(pictures.encoded(Image.open(io.BytesIO(body)), "png"))
    png[len(png) // 2] ^= 1
    return bytes(png)


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
