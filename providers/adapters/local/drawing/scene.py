"""What a style draws on: its size, its colours, its chances, and noise to make things of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from providers.adapters.local.drawing.palettes import SHADES, Colours, palette_for, words_of

Plane = NDArray[np.floating[Any]]
"""One number per point."""

Paint = Callable[[float], Colours]
"""The picture at a moment from 0 to 1; at 1 it is as at 0, so that an animation is a loop."""

NOISE_SIDE = 256


@dataclass(frozen=True)
class Scene:
    """A picture to be drawn. Equal prompt, style and seed make equal chances, whatever the size."""

    prompt: str
    words: frozenset[str]
    random: np.random.Generator
    palette: Colours
    width: int
    height: int

    @classmethod
    def of(cls, prompt: str, style: str, seed: int, width: int, height: int) -> Scene:
        random = random_for("scene", prompt, style, seed)
        palette = palette_for(prompt, random_for("palette", prompt, seed))
        return cls(prompt, frozenset(words_of(prompt)), random, palette, width, height)

    @property
    def pixel(self) -> float:
        """The side of a point in the units of `points`."""
        return 2 / min(self.width, self.height)

    @property
    def reach(self) -> tuple[float, float]:
        """How far `points` go from the middle, across and down; the shorter is 1."""
        short = min(self.width, self.height)
        return self.width / short, self.height / short

    def points(self) -> tuple[Plane, Plane]:
        """Every point's place from the middle, across and down."""
        across, down = self.reach
        x = np.linspace(-across, across, self.width, dtype=np.float32)
        y = np.linspace(-down, down, self.height, dtype=np.float32)
        return tuple(np.meshgrid(x, y))  # type: ignore[return-value]

    def shade(self, place: Plane | float) -> Colours:
        """The palette's colour at each place from 0 (dark) to 1 (light)."""
        index = np.clip(np.asarray(place) * (SHADES - 1), 0, SHADES - 1).astype(np.int32)
        return self.palette[index]

    def is_about(self, words: str) -> bool:
        """Whether the prompt has one of these words."""
        return not self.words.isdisjoint(words.split())


class Noise:
    """Smooth noise from 0 to 1 that repeats after 1 in both directions."""

    def __init__(self, random: np.random.Generator, roughness: float = 1.8) -> None:
        down = np.fft.fftfreq(NOISE_SIDE)[:, None] * NOISE_SIDE
        across = np.fft.rfftfreq(NOISE_SIDE)[None, :] * NOISE_SIDE
        frequency = np.hypot(down, across)
        frequency[0, 0] = np.inf
        waves = random.normal(size=frequency.shape) + 1j * random.normal(size=frequency.shape)
        plane = np.fft.irfft2(waves / frequency**roughness, s=(NOISE_SIDE, NOISE_SIDE))
        self._plane = ((plane - plane.min()) / np.ptp(plane)).astype(np.float32)

    def at(self, x: Plane, y: Plane) -> Plane:
        """The noise at each place, interpolated."""
        plane, last = self._plane, NOISE_SIDE - 1
        column, row = x * NOISE_SIDE, y * NOISE_SIDE
        left, top = np.floor(column), np.floor(row)
        across, down = _eased(column - left), _eased(row - top)
        left, top = left.astype(np.int32) & last, top.astype(np.int32) & last
        right, below = (left + 1) & last, (top + 1) & last
        upper = plane[top, left] * (1 - across) + plane[top, right] * across
        lower = plane[below, left] * (1 - across) + plane[below, right] * across
        return upper * (1 - down) + lower * down


def random_for(*parts: object) -> np.random.Generator:
    """Chances that depend on `parts` alone, the same on every machine."""
    text = "\x00".join(map(str, parts))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


def mixed(under: Colours, over: Colours, share: Plane) -> Colours:
    """`over` laid on `under`, with the share from 0 to 1 at each point."""
    return under + (over - under) * share[..., None]


def step(values: Plane, width: float) -> Plane:
    """0 below zero, 1 above, smooth within `width` around it."""
    return _eased(np.clip(values / width + 0.5, 0, 1))


def as_image(colours: Colours) -> Image.Image:
    """The colours as a picture."""
    return Image.fromarray((np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8))


def _eased(share: Plane) -> Plane:
    return share * share * (3 - 2 * share)
