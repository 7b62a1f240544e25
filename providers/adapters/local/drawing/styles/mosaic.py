"""Stained glass: a smaller picture in panes with lead between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Paint, Plane, Scene, step
from providers.adapters.local.drawing.styles.landscape import landscape

MODEL_SIDE = 96

Seeds = NDArray[np.int32]
"""The number of a seed per point."""


def mosaic(scene: Scene) -> Paint:
    small = max(1.0, min(scene.width, scene.height) / MODEL_SIDE)
    model = landscape(
        Scene(
            scene.prompt,
            scene.words,
            scene.random,
            scene.palette,
            max(2, round(scene.width / small)),
            max(2, round(scene.height / small)),
        )
    )(0.0)
    return panes(scene, model, across=int(scene.random.integers(11, 18)))


def panes(scene: Scene, model: Colours, *, across: int) -> Paint:
    """The colours of `model`, which is of any size, in about `across` panes over the short side."""
    cells = _Cells(scene, across)

    def paint(moment: float) -> Colours:
        nearest, edge, at_x, at_y = cells.nearest(moment)
        rows = np.clip((at_y + cells.down) / (2 * cells.down), 0, 1) * (model.shape[0] - 1)
        columns = np.clip((at_x + cells.across) / (2 * cells.across), 0, 1) * (model.shape[1] - 1)
        glass = model[rows.astype(np.int32), columns.astype(np.int32)]
        size = np.float32(2 / across)
        glow = np.clip(edge / (0.45 * size), 0, 1)
        light = 0.72 + 0.34 * glow + cells.tone(nearest)
        lead = step(edge - 0.055 * size, scene.pixel * 2.5)
        return glass * (light * (0.1 + 0.9 * lead))[..., None]

    return paint


class _Cells:
    """Seeds on a jittered grid; a point's nearest seed is in its cell or one of those around."""

    def __init__(self, scene: Scene, across: int) -> None:
        self.across, self.down = scene.reach
        self._side = np.float32(2 / across)
        self._columns = int(np.ceil(self.across * across)) + 4
        rows = int(np.ceil(self.down * across)) + 4
        shape = (rows, self._columns)
        self._jitter = scene.random.uniform(0.12, 0.88, (2, *shape)).astype(np.float32)
        self._swing = scene.random.uniform(0, 2 * np.pi, shape).astype(np.float32)
        self._tones = scene.random.normal(0, 0.085, shape).astype(np.float32).ravel()
        self._x, self._y = scene.points()

    def tone(self, seeds: Seeds) -> Plane:
        """How much lighter than its colour each pane is."""
        return self._tones[seeds]

    def nearest(self, moment: float) -> tuple[Seeds, Plane, Plane, Plane]:
        """For every point: its seed, how far the pane's edge is, and the seed's place."""
        turn = np.float32(2 * np.pi * moment)
        rows, columns = np.indices(self._swing.shape, np.float32)
        seed_x = (columns - 2 + self._jitter[0] + 0.12 * np.cos(self._swing + turn)) * self._side
        seed_y = (rows - 2 + self._jitter[1] + 0.12 * np.sin(self._swing + turn)) * self._side
        seed_x, seed_y = (seed_x - self.across).ravel(), (seed_y - self.down).ravel()
        column = ((self._x + self.across) / self._side).astype(np.int32) + 2
        row = ((self._y + self.down) / self._side).astype(np.int32) + 2
        home = np.clip(row, 2, self._swing.shape[0] - 3) * self._columns + np.clip(
            column, 2, self._columns - 3
        )
        around = [
            i * self._columns + j for i in range(-2, 3) for j in range(-2, 3) if abs(i * j) < 4
        ]
        best = np.full(home.shape, np.inf, np.float32)
        seed = home
        for offset in around:
            other = home + offset
            away = (self._x - seed_x[other]) ** 2 + (self._y - seed_y[other]) ** 2
            closer = away < best
            best = np.where(closer, away, best)
            seed = np.where(closer, other, seed)
        at_x, at_y = seed_x[seed], seed_y[seed]
        edge: Plane = np.full(home.shape, np.inf, np.float32)
        for offset in around:
            # How far the line is that halves the way from this pane's seed to the other.
            other = home + offset
            to_x, to_y = seed_x[other] - at_x, seed_y[other] - at_y
            length = np.hypot(to_x, to_y)
            middle_x, middle_y = (seed_x[other] + at_x) / 2, (seed_y[other] + at_y) / 2
            away = (middle_x - self._x) * to_x + (middle_y - self._y) * to_y
            away = np.where(other == seed, np.inf, away / np.maximum(length, 1e-6))
            edge = np.minimum(edge, away)
        return seed, edge, at_x, at_y
