"""Generated pictures: five styles, each picture the same for the same number on every machine."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from providers.adapters.local import drawing
from providers.adapters.local.drawing import SHADES, Colours, Scene

WIDTH, HEIGHT = 480, 360


def picture(style: str, number: int) -> Image.Image:
    """Picture `number` of a style, one of STYLES."""
    return drawing.as_image(STYLES[style](Scene.of(style, style, number, WIDTH, HEIGHT)))


def encoded(image: Image.Image, kind: str, *, quality: int = 88) -> bytes:
    """The picture as a file of the kind "jpeg", "png" or "webp"."""
    file = io.BytesIO()
    options = {"png": {"compress_level": 3}, "webp": {"quality": quality, "method": 1}}
    image.save(file, kind, **options.get(kind, {"quality": quality, "optimize": True}))
    return file.getvalue()


def mosaics(scene: Scene) -> Colours:
    """Leaded panes: every point has the colour of the nearest of some seeds."""
    x, y = scene.points()
    nearest = second = np.full_like(x, 9)
    tone = np.zeros_like(x)
    for _ in range(scene.random.integers(14, 60)):
        seed_x, seed_y, value = scene.random.uniform((-1.33, -1, 0), (1.33, 1, 1))
        away = np.hypot(x - seed_x, y - seed_y)
        closer = away < nearest
        second = np.where(closer, nearest, np.minimum(second, away))
        nearest = np.where(closer, away, nearest)
        tone = np.where(closer, value, tone)
    lead = np.clip((second - nearest) * 30, 0, 1)
    light = (1 - 0.45 * nearest) * (0.15 + 0.85 * lead)
    return scene.shade(tone) * light[..., None]


def bubbles(scene: Scene) -> Colours:
    """Glass balls that float before a soft background."""
    x, y = scene.points()
    angle = scene.random.uniform(0, 2 * np.pi)
    colours = scene.shade(0.25 + 0.15 * (np.cos(angle) * x + np.sin(angle) * y))
    for _ in range(scene.random.integers(8, 26)):
        at_x, at_y, size = scene.random.uniform((-1.4, -1.1, 0.08), (1.4, 1.1, 0.48))
        tint = scene.palette[scene.random.integers(SHADES // 5, SHADES)]
        across, down = (x - at_x) / size, (y - at_y) / size
        away = np.hypot(across, down)[..., None]
        inside = 0.85 * np.clip((1 - away) * size * HEIGHT / 3, 0, 1)
        shine = np.exp(-9 * ((across + 0.35) ** 2 + (down + 0.35) ** 2))[..., None]
        ball = tint * (0.35 + 0.5 * away**3) + shine
        colours = colours + inside * (ball - colours)
    return colours


STYLES: dict[str, Callable[[Scene], Colours]] = {
    "dunes": lambda scene: drawing.landscape(scene)(0.0),
    "mosaics": mosaics,
    "ripples": lambda scene: drawing.flow(scene)(0.0),
    "nebulae": lambda scene: drawing.nebula(scene)(0.0),
    "bubbles": bubbles,
}
