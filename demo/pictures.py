"""Generated pictures: five styles, each picture the same for the same number on every machine."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Colours = NDArray[np.floating[Any]]
"""Red, green and blue from 0 to 1 in the last axis."""

PALETTES = tuple(
    np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in codes.split()], np.float32)
    / 255
    for codes in (
        "0b132b 1c2541 3a506b 5bc0be f4f1de",
        "2d142c 510a32 801336 c72c41 ee4540",
        "264653 2a9d8f e9c46a f4a261 e76f51",
        "03071e 6a040f d00000 f48c06 ffba08",
        "10002b 3c096c 7b2cbf c77dff ffc8dd",
        "081c15 1b4332 40916c 95d5b2 fefae0",
        "001219 005f73 94d2bd ee9b00 ae2012",
        "22223b 4a4e69 9a8c98 c9ada7 f2e9e4",
    )
)


def picture(style: str, number: int, *, width: int = 480, height: int = 360) -> Image.Image:
    """Picture `number` of a style, one of STYLES."""
    random = np.random.default_rng([list(STYLES).index(style), number])
    colours = STYLES[style](random, width, height)
    return Image.fromarray((np.clip(colours, 0, 1) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, *, quality: int = 88) -> bytes:
    """The picture as a file of the kind "jpeg", "png" or "webp"."""
    file = io.BytesIO()
    options = {"png": {"compress_level": 3}, "webp": {"quality": quality, "method": 1}}
    image.save(file, kind, **options.get(kind, {"quality": quality, "optimize": True}))
    return file.getvalue()


# Styles


def dunes(random: np.random.Generator, width: int, height: int) -> Colours:
    """Ranges of hills one behind the other, under a sky with a sun."""
    x, y = _grid(width, height)
    palette = _palette(random)
    sky = _blend(palette[::-1], y * random.uniform(0.5, 0.9))
    sun_x, sun_y, size = random.uniform(0.1, 0.9), random.uniform(0.1, 0.45), random.uniform(2, 9)
    glow = np.exp(-size * size * ((x - sun_x) ** 2 + (y - sun_y) ** 2) * 4)
    colours = sky + glow[..., None] * (1 - sky) * 0.9
    ranges = int(random.integers(3, 7))
    for place in range(ranges):
        depth = (place + 1) / ranges
        ridge = random.uniform(0.25, 0.5) + 0.45 * depth
        for wave in range(1, 6):
            ridge = ridge + random.normal(0, 0.09 / wave) * np.sin(
                2 * np.pi * (wave * random.uniform(0.5, 1.4) * x + random.uniform())
            )
        below = np.clip((y - ridge) * height / 2, 0, 1)[..., None]
        shade = _blend(palette, np.full_like(x, 1 - depth)) * (0.55 + 0.45 * (1 - y))[..., None]
        colours = colours * (1 - below) + shade * below
    return colours


def mosaics(random: np.random.Generator, width: int, height: int) -> Colours:
    """Leaded panes: every point has the colour of the nearest of some seeds."""
    x, y = _grid(width, height)
    count = int(random.integers(14, 60))
    seeds = random.uniform(0, 1, (count, 2)).astype(np.float32)
    tints = random.uniform(0, 1, count).astype(np.float32)
    nearest = np.full(x.shape, 9, np.float32)
    second = nearest.copy()
    tint = np.zeros_like(x)
    for (seed_x, seed_y), value in zip(seeds, tints, strict=True):
        away = np.hypot((x - seed_x) * width / height, y - seed_y)
        closer = away < nearest
        second = np.where(closer, nearest, np.minimum(second, away))
        nearest = np.where(closer, away, nearest)
        tint = np.where(closer, value, tint)
    lead = np.clip((second - nearest) * 60, 0, 1)[..., None]
    light = (1 - 0.9 * nearest)[..., None]
    return _blend(_palette(random), tint) * light * (0.15 + 0.85 * lead)  # type: ignore[no-any-return]


def ripples(random: np.random.Generator, width: int, height: int) -> Colours:
    """Waves from a few points, laid over each other."""
    x, y = _grid(width, height)
    total = np.zeros_like(x)
    for _ in range(int(random.integers(3, 7))):
        away = np.hypot(x - random.uniform(-0.3, 1.3), y - random.uniform(-0.3, 1.3))
        waves = random.uniform(6, 42)
        total += np.sin(waves * away + random.uniform(0, 7)) / (1 + 1.5 * away)
    return _blend(_palette(random), _stretch(total))


def nebulae(random: np.random.Generator, width: int, height: int) -> Colours:
    """Clouds with structure on every scale, and stars in front."""
    clouds = _stretch(_cloud(random, width, height, 1.7)) ** 1.3
    veil = _stretch(_cloud(random, width, height, 1.4))
    colours = _blend(_palette(random), clouds) * (0.25 + 0.75 * veil)[..., None]
    stars = np.zeros((height, width), np.float32)
    count = int(random.integers(60, 240))
    rows, columns = random.integers(0, height, count), random.integers(0, width, count)
    stars[rows, columns] = random.uniform(0.3, 1, count)
    blurred = Image.fromarray((stars * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    return colours + np.clip(np.asarray(blurred, np.float32) / 60, 0, 1)[..., None]


def bubbles(random: np.random.Generator, width: int, height: int) -> Colours:
    """Glass balls that float before a soft background."""
    x, y = _grid(width, height)
    palette = _palette(random)
    angle = random.uniform(0, 2 * np.pi)
    slope = _stretch(np.cos(angle) * x + np.sin(angle) * y)
    colours = _blend(palette, slope * 0.5)
    for _ in range(int(random.integers(8, 26))):
        at_x, at_y = random.uniform(-0.05, 1.05, 2) * (width / height, 1)
        size = random.uniform(0.04, 0.24)
        tint = palette[int(random.integers(1, len(palette)))]
        rows = slice(max(0, int((at_y - size) * height)), max(0, int((at_y + size) * height) + 2))
        columns = slice(
            max(0, int((at_x - size) * height)), max(0, int((at_x + size) * height) + 2)
        )
        across = (x[rows, columns] * (width / height) - at_x) / size
        down = (y[rows, columns] - at_y) / size
        away = np.hypot(across, down)
        inside = 0.85 * np.clip((1 - away) * size * height / 1.5, 0, 1)[..., None]
        shine = np.exp(-9 * ((across + 0.35) ** 2 + (down + 0.35) ** 2))[..., None]
        ball = tint * (0.35 + 0.5 * away**3)[..., None] + shine
        colours[rows, columns] += inside * (ball - colours[rows, columns])
    return colours


STYLES: dict[str, Callable[[np.random.Generator, int, int], Colours]] = {
    "dunes": dunes,
    "mosaics": mosaics,
    "ripples": ripples,
    "nebulae": nebulae,
    "bubbles": bubbles,
}


# What the styles are made of


def _grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The coordinates of every point, from 0 to 1 in each direction."""
    x = np.linspace(0, 1, width, dtype=np.float32)
    y = np.linspace(0, 1, height, dtype=np.float32)
    across, down = np.meshgrid(x, y)
    return across, down


def _palette(random: np.random.Generator) -> Colours:
    return PALETTES[int(random.integers(len(PALETTES)))]


def _blend(palette: Colours, place: NDArray[np.float32]) -> Colours:
    """The colour at each place from 0 (the palette's first) to 1 (its last)."""
    stops = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(place, stops, channel) for channel in palette.T], axis=-1)


def _stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values moved into the range from 0 to 1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low)  # type: ignore[no-any-return]


def _cloud(
    random: np.random.Generator, width: int, height: int, roughness: float
) -> NDArray[np.float32]:
    """Noise whose amplitude falls with frequency to the power of `roughness`."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    frequency = np.hypot(down * height, across * width)
    frequency[0, 0] = np.inf
    noise = random.normal(size=frequency.shape) + 1j * random.normal(size=frequency.shape)
    return np.fft.irfft2(noise / frequency**roughness, s=(height, width)).astype(np.float32)
