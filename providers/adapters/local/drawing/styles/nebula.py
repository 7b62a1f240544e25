"""Clouds in space, folded into each other, with stars in front."""

from __future__ import annotations

import numpy as np

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Noise, Paint, Scene


def nebula(scene: Scene) -> Paint:
    random = scene.random
    x, y = (plane * np.float32(0.17) for plane in scene.points())
    folds, clouds, dust = Noise(random, 1.9), Noise(random, 1.55), Noise(random, 1.4)
    reach_x, reach_y = scene.reach
    stars = random.uniform(0, 1, (260, 4))
    stars[:, :2] = (2 * stars[:, :2] - 1) * (reach_x, reach_y)
    tilt = random.uniform(0, np.pi)

    def paint(moment: float) -> Colours:
        turn_x = np.float32(0.02 * np.cos(2 * np.pi * moment))
        turn_y = np.float32(0.02 * np.sin(2 * np.pi * moment))
        fold_x = folds.at(x + turn_x, y + turn_y) - 0.5
        fold_y = folds.at(x + 0.31 + turn_y, y + 0.73 - turn_x) - 0.5
        body = clouds.at(x + 0.55 * fold_x, y + 0.55 * fold_y)
        detail = dust.at(2.7 * x + 0.5 * fold_y, 2.7 * y + 0.5 * fold_x)
        across = x * np.cos(tilt) + y * np.sin(tilt) + 0.25 * fold_x
        band = np.exp(-((across / 0.12) ** 2))
        body = (body - body.min()) / max(1e-6, float(np.ptp(body)))
        light = body * (0.4 + 0.6 * band) + 0.35 * band * detail
        lanes = np.clip((detail - 0.5) * 3.2, 0, 1) * band
        light = np.clip(light * (1 - 0.5 * lanes) * (0.75 + 0.5 * detail), 0, 1)
        colours = scene.shade(0.96 * light**1.15) * (0.18 + 0.82 * light**0.6)[..., None]
        for star in stars:
            _shine(colours, scene, star, moment)
        return colours

    return paint


def _shine(colours: Colours, scene: Scene, star: Colours, moment: float) -> None:
    """Add one star: a bright core, a glow, and for the few big ones a cross of rays."""
    at_x, at_y, size, offset = star
    size = size**9
    glow = 0.004 + 0.016 * size + scene.pixel * 0.6
    reach = glow * (9 if size > 0.35 else 3)
    across, down = scene.reach
    left, right = (int((at_x + across + side * reach) / scene.pixel) for side in (-1, 1))
    top, bottom = (int((at_y + down + side * reach) / scene.pixel) for side in (-1, 1))
    columns = slice(max(0, left), min(scene.width, right + 1))
    rows = slice(max(0, top), min(scene.height, bottom + 1))
    x = (np.arange(columns.start, columns.stop) * scene.pixel - across - at_x)[None, :]
    y = (np.arange(rows.start, rows.stop) * scene.pixel - down - at_y)[:, None]
    light = np.exp(-(x**2 + y**2) / (glow * 0.6) ** 2)
    if size > 0.35:
        rays = np.exp(-np.abs(x) / (glow * 2.4) - np.abs(y) / (glow * 0.16))
        light = light + rays + np.exp(-np.abs(y) / (glow * 2.4) - np.abs(x) / (glow * 0.16))
    twinkle = 0.8 + 0.2 * np.cos(2 * np.pi * (moment + offset))
    share = np.clip(light * twinkle * (0.35 + 0.65 * size**0.3), 0, 1)
    part = colours[rows, columns]
    part += (np.float32(1) - part) * share[..., None].astype(np.float32)
