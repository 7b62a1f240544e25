"""Threads that follow a current."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Noise, Paint, Scene

THREADS = 2600
STEPS = 64
STEP = 0.011
FINE_PIXELS = 4_000_000
"""Up to this size lines are drawn at twice the size, which makes them smooth."""


def flow(scene: Scene) -> Paint:
    random = scene.random
    current, tone = Noise(random, 2.0), Noise(random, 1.8)
    base, turns = random.uniform(0, 2 * np.pi), random.uniform(1.2, 2.4)
    reach = np.array(scene.reach, np.float32) * 1.15
    start = random.uniform(-1, 1, (THREADS, 2)).astype(np.float32) * reach
    paths = traced(start, current, base=base, turns=turns, steps=STEPS, length=STEP)
    colour = tone.at(start[:, 0] * 0.16 + 0.3, start[:, 1] * 0.16 + 0.6)
    colour = (colour - colour.min()) / np.ptp(colour) + random.normal(0, 0.1, THREADS)
    widths = random.choice([1.0, 1.6, 2.4, 4.2], THREADS, p=[0.35, 0.35, 0.2, 0.1])
    offsets = random.uniform(0, 1, THREADS)
    shades = scene.shade(np.clip(0.12 + 0.86 * colour, 0.1, 1))
    x, y = scene.points()
    ground = scene.shade(np.clip(0.1 - 0.04 * np.hypot(x, y), 0.01, 1))

    def paint(moment: float) -> Colours:
        # A light runs along each thread once in a loop.
        place = np.cos(2 * np.pi * (offsets - moment))
        lights = 0.78 + 0.22 * place
        return drawn(scene, ground, paths, shades * lights[:, None], widths)

    return paint


def traced(
    start: Colours, current: Noise, *, base: float, turns: float, steps: int, length: float
) -> Colours:
    """The way of each start point along the current: points in order, (count, steps, 2)."""
    places = start
    ways = [places]
    for _ in range(steps - 1):
        angle = base + turns * 2 * np.pi * current.at(places[:, 0] * 0.13, places[:, 1] * 0.13)
        places = places + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * np.float32(length)
        ways.append(places)
    return np.stack(ways, axis=1)


def drawn(
    scene: Scene, ground: Colours, paths: Colours, colours: Colours, widths: Colours
) -> Colours:
    """Lines over the ground, the first at the bottom; widths in thousandths of the short side/2."""
    size = scene.width, scene.height
    finer = 2 if scene.width * scene.height <= FINE_PIXELS else 1
    sheet = Image.new("RGBA", (size[0] * finer, size[1] * finer), (0, 0, 0, 0))
    draw = ImageDraw.Draw(sheet)
    pixels = (paths + np.array(scene.reach, np.float32)) * (finer / scene.pixel)
    inks = (np.clip(colours, 0, 1) * 255).astype(int)
    lines = np.maximum(1, np.round(widths * 0.002 * finer / scene.pixel)).astype(int)
    for path, ink, line in zip(pixels, inks.tolist(), lines.tolist(), strict=True):
        draw.line(path.ravel().tolist(), fill=(*ink, 255), width=line, joint="curve")
    if finer > 1:
        sheet = sheet.reduce(finer)
    layer = np.asarray(sheet, np.float32) / 255
    # Where nothing was drawn the sheet is black, so its colours are already weighted.
    return ground * (1 - layer[..., 3:]) + layer[..., :3]
