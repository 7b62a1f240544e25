"""Rings of petals around a middle."""

from __future__ import annotations

import numpy as np

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Paint, Plane, Scene, mixed, step


def mandala(scene: Scene) -> Paint:
    random = scene.random
    x, y = scene.points()
    away = np.hypot(x, y)
    angle = np.arctan2(y, x)
    fold = int(random.choice([6, 8, 10, 12, 14]))
    count = int(random.integers(6, 9))
    sizes = 1.02 * (1 - np.arange(count) / count) ** 0.9
    rings = [
        _Ring(
            size=float(size),
            inner=float(sizes[place + 1]) if place + 1 < count else 0.0,
            petals=fold * (2 if size > 0.55 and random.uniform() < 0.5 else 1),
            turn=0.5 * (place % 2),
            sharpness=float(random.uniform(0.35, 1.6)),
            depth=float(random.uniform(0.16, 0.4)),
            tints=tuple(sorted(random.uniform(0.12, 0.86, 2), reverse=bool(place % 2))),
            has_dots=bool(random.uniform() < 0.65),
            way=1 if place % 2 else -1,
        )
        for place, size in enumerate(sizes)
    ]
    ground = scene.shade(np.clip(0.2 - 0.12 * away, 0.02, 1))
    rays = 0.5 + 0.5 * np.cos(fold * 2 * angle)
    ground = mixed(ground, scene.shade(0.3), 0.35 * rays * np.clip(1.6 - away, 0, 1))

    def paint(moment: float) -> Colours:
        colours = ground
        for ring in rings:
            colours = ring.on(colours, scene, away, angle, moment)
        heart = step(0.055 - away, scene.pixel * 2)
        return mixed(colours, scene.shade(0.98), heart)

    return paint


class _Ring:
    """One ring of petals."""

    def __init__(
        self,
        *,
        size: float,
        inner: float,
        petals: int,
        turn: float,
        sharpness: float,
        depth: float,
        tints: tuple[float, ...],
        has_dots: bool,
        way: int,
    ) -> None:
        self.size = size
        self.inner = inner
        self.petals = petals
        self.turn = turn
        self.sharpness = sharpness
        self.depth = depth
        self.tints = tints
        self.has_dots = has_dots
        self.way = way

    def on(
        self, colours: Colours, scene: Scene, away: Plane, angle: Plane, moment: float
    ) -> Colours:
        """The colours with this ring over them; in one loop it turns on by one petal."""
        pixel = scene.pixel
        place = angle * np.float32(self.petals / (2 * np.pi)) + self.turn + self.way * moment
        across = np.abs(place - np.floor(place) - 0.5) * 2
        petal = 1 - across**2 if self.sharpness < 0.6 else np.clip(1 - across, 0, 1)
        edge = self.size * (1 - self.depth + self.depth * petal**self.sharpness)
        inside = edge - away
        shadow = np.exp(-np.clip(-inside, 0, None) / (0.06 * self.size + 0.01))
        colours = colours * (1 - 0.45 * shadow[..., None])
        rise = np.clip((away - self.inner * 0.8) / (edge - self.inner * 0.8 + 1e-6), 0, 1)
        low, high = self.tints
        body = scene.shade(low + (high - low) * rise)
        vein = np.exp(-((across * self.size * 9) ** 2)) * np.clip(rise * 1.4 - 0.2, 0, 1)
        body = mixed(body, scene.shade(min(1, high + 0.3)), 0.5 * vein)
        colours = mixed(colours, body, step(inside, pixel * 2.5))
        line = 0.0035 + pixel
        colours = mixed(colours, scene.shade(0.96), np.exp(-((inside / line) ** 2)))
        echo = inside - 0.055 * self.size - 0.01
        colours = mixed(colours, scene.shade(0.08), 0.55 * np.exp(-((echo / line) ** 2)))
        if self.has_dots:
            colours = self._dotted(colours, scene, away, across)
        return colours

    def _dotted(self, colours: Colours, scene: Scene, away: Plane, across: Plane) -> Colours:
        """With a pearl near the tip of each petal."""
        centre = self.size * (1 - 0.42 * self.depth - 0.1)
        side = np.sin(np.clip(across * np.pi / self.petals, 0, np.pi / 2)) * away
        size = min(0.035, 0.8 * self.size / self.petals)
        from_centre = np.hypot(away - centre, side)
        colours = mixed(colours, scene.shade(0.1), step(size * 1.35 - from_centre, scene.pixel * 2))
        return mixed(colours, scene.shade(0.93), step(size - from_centre, scene.pixel * 2))
