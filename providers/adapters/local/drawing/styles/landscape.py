"""Ranges of hills one behind the other, under a sky with a sun or moon; a lake if the words say."""

from __future__ import annotations

import numpy as np

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Noise, Paint, Plane, Scene, mixed, step

WATER = "ocean sea water lake river wave island lagoon beach coast harbour harbor bay fish"
TREES = "forest tree wood jungle panda bear fox deer owl autumn pine"
NIGHT = "night moon star midnight space dream"
WAVES = 40


def landscape(scene: Scene) -> Paint:
    random = scene.random
    width, height = scene.width, scene.height
    u = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    v = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    ratio = width / height
    is_night = scene.is_about(NIGHT)
    has_trees = scene.is_about(TREES) or random.uniform() < 0.35
    water = 0.72 if scene.is_about(WATER) else 1.0
    horizon = random.uniform(0.42, 0.56)
    sun = random.uniform(0.2, 0.8), random.uniform(0.35, 0.8) * horizon, random.uniform(0.04, 0.09)
    clouds = Noise(random, 1.9)
    stars = random.uniform(0, 1, (170, 3))
    count = int(random.integers(4, 7))
    ranges = [_range(random, place, count, horizon, water) for place in range(count)]
    trees = random.uniform(0.35, 1, 256)

    def sky(moment: float) -> Colours:
        place = (0.16 if is_night else 0.3) + (0.5 if is_night else 0.55) * (v / horizon) ** 1.3
        colours = scene.shade(np.broadcast_to(np.clip(place, 0, 0.92), (height, width)))
        across, down = (u - sun[0]) * ratio, v - sun[1]
        away = np.sqrt(across**2 + down**2)
        if is_night:
            _scatter(colours, stars, moment)
        colours = mixed(colours, scene.shade(0.97), 0.75 * np.exp(-away * 5))
        colours = mixed(colours, scene.shade(1.0), step(sun[2] - away, 3 / height))
        cloud = clouds.at(u * 1.0 + moment + 0 * v, v * 2.2 + 0 * u)
        veil = np.clip((cloud - 0.52) * 4, 0, 1) * np.clip(1.3 - v / horizon, 0, 1)
        return mixed(colours, scene.shade(0.9), 0.6 * veil)

    def paint(moment: float) -> Colours:
        colours = sky(moment)
        for place, (base, size, waves) in enumerate(ranges):
            depth = (place + 1) / count
            # Nearer hills pass faster; whole numbers, so that the loop closes.
            shift = moment * (place // 2)
            ridge = base - size * _profile(waves, u + shift)
            if has_trees and place >= count - 2:
                ridge = ridge - _conifers(trees, u + shift, 30 + 26 * (count - place))
            ridge = np.minimum(ridge, water)
            cover = step((v - ridge) * height, 2)
            tint = 0.72 * (1 - depth) ** 0.8 + 0.04
            mist = np.clip((v - base + 0.8 * size) * 2.2 * (1.25 - depth), 0, 0.75)
            mist = np.broadcast_to(mist, (height, width))
            hill = mixed(
                np.broadcast_to(scene.shade(tint), (height, width, 3)), scene.shade(0.84), mist
            )
            colours = mixed(colours, hill, cover * (v <= water))
        return _mirrored(scene, colours, water, moment) if water < 1 else colours

    return paint


def _range(
    random: np.random.Generator, place: int, count: int, horizon: float, water: float
) -> tuple[float, float, Colours]:
    """The foot line, the height, and the amplitude and phase of each wave of a range of hills."""
    depth = (place + 1) / count
    base = horizon + 0.06 + (min(water, 0.95) - horizon) * depth
    size = random.uniform(0.12, 0.3) * (1.15 - 0.6 * depth)
    number = np.arange(1, WAVES + 1)
    # Far ranges are craggy, near ones round.
    fall = 1.15 + 0.8 * depth
    amplitude = random.normal(0, 1, WAVES) / number**fall
    return base, size, np.stack([amplitude, random.uniform(0, 2 * np.pi, WAVES)])


def _profile(waves: Colours, u: Plane) -> Plane:
    """The ridge's height over the foot line, about 0 to 1; it repeats after 1."""
    total = np.zeros_like(u)
    for number, (amplitude, phase) in enumerate(waves.T, start=1):
        total = total + np.float32(amplitude) * np.sin(2 * np.pi * number * u + phase)
    return 0.5 + 0.45 * total


def _conifers(heights: Colours, u: Plane, count: int) -> Plane:
    """The outline of a row of pointed trees."""
    total = np.zeros_like(u)
    for row, offset in enumerate((0.0, 0.37)):
        place = u * count + offset
        tree = np.floor(place).astype(np.int32)
        across = np.abs(place - tree - 0.5) * 2
        size = heights[((tree % count) * 7 + row * 31) % len(heights)].astype(np.float32)
        notches = 0.82 + 0.18 * np.abs(np.modf(across * 5)[0] * 2 - 1)
        total = np.maximum(total, size * np.clip(1 - across * 1.5, 0, 1) * notches)
    return total * np.float32(2.6 / count)


def _scatter(colours: Colours, stars: Colours, moment: float) -> None:
    height, width, _ = colours.shape
    side = max(1, round(min(width, height) / 500))
    for x, y, size in stars:
        light = 0.35 + 0.6 * size * (0.75 + 0.25 * np.cos(2 * np.pi * (moment + size * 7)))
        row, column = int(y * 0.6 * height), int(x * width)
        part = colours[row : row + side, column : column + side]
        part += (1 - part) * np.float32(light)


def _mirrored(scene: Scene, colours: Colours, water: float, moment: float) -> Colours:
    """The picture with everything under the water line as its own reflection, in ripples."""
    height, width, _ = colours.shape
    line = int(water * height)
    depth = np.arange(height - line)
    share = (depth / max(1, height - line)).astype(np.float32)
    wave = np.sin(2 * np.pi * (14 * share**0.6 - 2 * moment)) * (0.3 + share)
    rows = np.clip(line - 1 - (depth * 1.35 + wave * 0.012 * height).astype(int), 0, line - 1)
    columns = np.arange(width)[None, :] + (
        np.sin(2 * np.pi * (31 * share**0.7 + moment))[:, None]
        * 0.006
        * width
        * (0.4 + share)[:, None]
    )
    mirror = colours[rows[:, None], np.clip(columns.astype(int), 0, width - 1)]
    glitter = np.clip(wave, 0, 1)[:, None] * 0.12 + 0.12 * (1 - share)[:, None]
    dark = mirror * (0.86 - 0.25 * share)[:, None, None]
    below = mixed(dark, scene.shade(0.8), np.broadcast_to(glitter, mirror.shape[:2]))
    return np.concatenate([colours[:line], below.astype(colours.dtype)])
