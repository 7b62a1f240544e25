"""Balls of all sizes, packed until no room is left."""

from __future__ import annotations

import numpy as np

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Noise, Paint, Scene

TRIES = 3200
GAP = 0.012
SMALLEST, LARGEST = 0.018, 0.3


def circles(scene: Scene) -> Paint:
    random = scene.random
    balls = _packed(scene)
    tone = Noise(random, 1.9)
    place = tone.at(
        balls[:, 0].astype(np.float32) * 0.2 + 0.4, balls[:, 1].astype(np.float32) * 0.2 + 0.1
    )
    place = (place - place.min()) / max(1e-6, float(np.ptp(place)))
    tints = np.clip(0.24 + 0.62 * place + random.normal(0, 0.07, len(balls)), 0.2, 0.93)
    stripes = random.choice([0, 0, 0, 3, 5], len(balls))
    offsets = random.uniform(0, 1, len(balls))
    x, y = scene.points()
    ground = scene.shade(np.clip(0.13 + 0.05 * (x - y) - 0.05 * np.hypot(x, y), 0.01, 1))

    def paint(moment: float) -> Colours:
        colours = ground.copy()
        sizes = balls[:, 2] * (1 - 0.12 * (1 - np.cos(2 * np.pi * (offsets - moment))))
        for (at_x, at_y, _), size in zip(balls, sizes, strict=True):
            _shadow(colours, scene, at_x + 0.25 * size, at_y + 0.35 * size, size)
        for (at_x, at_y, _), size, tint, rings in zip(balls, sizes, tints, stripes, strict=True):
            _ball(colours, scene, at_x, at_y, size, tint, int(rings))
        return colours

    return paint


def _packed(scene: Scene) -> Colours:
    """Place and size of balls that do not touch."""
    reach = np.array(scene.reach)
    places = scene.random.uniform(-1.05, 1.05, (TRIES, 2)) * reach
    limits = np.geomspace(LARGEST, SMALLEST * 1.5, TRIES)
    balls = np.empty((TRIES, 3))
    count = 0
    for place, limit in zip(places, limits, strict=True):
        kept = balls[:count]
        away = np.hypot(kept[:, 0] - place[0], kept[:, 1] - place[1]) - kept[:, 2] - GAP
        size = min(float(limit), float(away.min(initial=np.inf)))
        if size >= SMALLEST:
            balls[count] = (*place, size)
            count += 1
    return balls[:count]


def _part(
    scene: Scene, at_x: float, at_y: float, reach: float
) -> tuple[tuple[slice, slice], Colours, Colours]:
    """The points within `reach` of a place, and how far right and below of it each is."""
    across, down = scene.reach
    left, top = ((at + edge - reach) / scene.pixel for at, edge in ((at_x, across), (at_y, down)))
    side = int(2 * reach / scene.pixel) + 2
    columns = np.arange(max(0, int(left)), min(scene.width, max(0, int(left) + side)))
    rows = np.arange(max(0, int(top)), min(scene.height, max(0, int(top) + side)))
    area = (
        slice(rows[0], rows[-1] + 1) if len(rows) else slice(0, 0),
        slice(columns[0], columns[-1] + 1) if len(columns) else slice(0, 0),
    )
    x = (columns * scene.pixel - across - at_x).astype(np.float32)[None, :]
    y = (rows * scene.pixel - down - at_y).astype(np.float32)[:, None]
    return area, x, y


def _shadow(colours: Colours, scene: Scene, at_x: float, at_y: float, size: float) -> None:
    area, x, y = _part(scene, at_x, at_y, size * 1.35)
    dark = np.clip(1.35 - np.hypot(x, y) / np.float32(size), 0, 1) ** 1.3
    colours[area] *= (1 - 0.6 * np.clip(dark, 0, 1))[..., None]


def _ball(
    colours: Colours, scene: Scene, at_x: float, at_y: float, size: float, tint: float, rings: int
) -> None:
    area, x, y = _part(scene, at_x, at_y, size + scene.pixel)
    x, y = x / np.float32(size), y / np.float32(size)
    away = np.hypot(x, y)
    cover = np.clip((1 - away) * np.float32(size / scene.pixel) + 0.5, 0, 1)
    height = np.sqrt(np.clip(1 - away**2, 0, 1))
    light = np.clip(-0.5 * x - 0.6 * y + 0.62 * height, 0, 1)
    rim = np.clip(away - 0.7, 0, 1) ** 2
    tone = np.float32(tint) + 0.22 * (light - 0.55) - 0.25 * rim
    if rings:
        tone = tone + 0.07 * np.sign(np.sin(rings * np.pi * (y + 0.35 * x) + 0.4))
    shine = np.clip(1 - np.hypot(x + 0.36, y + 0.42) / 0.42, 0, 1) ** 2
    ball = scene.shade(np.clip(tone, 0.05, 1)) * (0.5 + 0.58 * light)[..., None]
    ball = ball + (0.55 * shine)[..., None]
    colours[area] += (ball - colours[area]) * cover[..., None]
