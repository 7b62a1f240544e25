"""What can be made of a given picture: another picture, or one that moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from providers.adapters.local.drawing.palettes import Colours
from providers.adapters.local.drawing.scene import Noise, Paint, Scene, as_image, mixed
from providers.adapters.local.drawing.styles.flow import drawn, traced
from providers.adapters.local.drawing.styles.mosaic import panes

CLOSER = 1.18
"""How much nearer than the whole a moving camera is, so that it has room to move."""
STROKES = ((700, 26.0, 7), (2600, 11.0, 5), (7000, 5.0, 4))
"""Count, width and steps of each layer of brush strokes, coarse to fine."""


# Effects


def duotone(scene: Scene, source: Image.Image) -> Colours:
    """Printed in the prompt's colours."""
    return scene.shade(np.asarray(source.convert("L"), np.float32) / 255)


def mosaic(scene: Scene, source: Image.Image) -> Colours:
    """In panes of glass."""
    soft = source.filter(ImageFilter.GaussianBlur(min(source.size) / 60))
    return panes(scene, _colours(soft), across=30)(0.0)


def paint(scene: Scene, source: Image.Image) -> Colours:
    """In strokes of a brush."""
    soft = _colours(source.filter(ImageFilter.GaussianBlur(min(source.size) / 300)))
    colours = _colours(source.filter(ImageFilter.GaussianBlur(min(source.size) / 40)))
    current = Noise(scene.random, 2.0)
    reach = np.array(scene.reach, np.float32)
    for count, width, steps in STROKES:
        start = scene.random.uniform(-1, 1, (count, 2)).astype(np.float32) * reach
        paths = traced(start, current, base=0.6, turns=1.6, steps=steps, length=width * 0.0016)
        place = (start + reach) / (2 * reach) * (scene.width - 1, scene.height - 1)
        columns, rows = place.astype(np.int32).T
        inks = soft[rows, columns] + scene.random.normal(0, 0.025, (count, 1))
        colours = drawn(scene, colours, paths, inks, np.full(count, width))
    return colours


def kaleidoscope(scene: Scene, source: Image.Image) -> Colours:
    """Mirrored around the middle."""
    return _turning(scene, source)(0.0)


EFFECTS: dict[str, Callable[[Scene, Image.Image], Colours]] = {
    "duotone": duotone,
    "mosaic": mosaic,
    "paint": paint,
    "kaleidoscope": kaleidoscope,
}


def edited(effect: str, scene: Scene, source: Image.Image, strength: float) -> Image.Image:
    """The picture with an effect, one of EFFECTS; a strength of 0 leaves it as it is."""
    changed = as_image(EFFECTS[effect](scene, source))
    return Image.blend(source, changed, strength)


# Motions


def zoom(scene: Scene, source: Image.Image) -> Paint:
    """The camera comes nearer and goes back."""
    return _camera(scene, source, lambda moment: (0, 0, 1.3 - 0.3 * np.cos(2 * np.pi * moment)))


def pan(scene: Scene, source: Image.Image) -> Paint:
    """The camera swings around the middle."""
    room = 1 - 1 / CLOSER

    def place(moment: float) -> tuple[float, float, float]:
        turn = 2 * np.pi * moment
        return room * np.cos(turn), room * 0.7 * np.sin(turn), CLOSER

    return _camera(scene, source, place)


def ripple(scene: Scene, source: Image.Image) -> Paint:
    """As if under water."""
    colours = _colours(source)
    rows = np.arange(scene.height, dtype=np.float32)[:, None]
    columns = np.arange(scene.width, dtype=np.float32)[None, :]
    short = min(scene.width, scene.height)

    def frame(moment: float) -> Colours:
        turn = 2 * np.pi * moment
        shift_x = 0.014 * short * np.sin(rows * (14 / short) + turn)
        shift_y = 0.010 * short * np.cos(columns * (11 / short) - turn)
        return _sampled(colours, columns + shift_x, rows + shift_y)

    return frame


def turn(scene: Scene, source: Image.Image) -> Paint:
    """A turning kaleidoscope."""
    return _turning(scene, source)


MOTIONS: dict[str, Callable[[Scene, Image.Image], Paint]] = {
    "zoom": zoom,
    "pan": pan,
    "ripple": ripple,
    "kaleidoscope": turn,
}


def _camera(
    scene: Scene, source: Image.Image, place: Callable[[float], tuple[float, float, float]]
) -> Paint:
    """The part of the picture that the camera sees: where its middle is, from -1 to 1, and how near."""

    def frame(moment: float) -> Colours:
        at_x, at_y, near = place(moment)
        width, height = scene.width / near, scene.height / near
        left = np.clip((scene.width * (1 + at_x) - width) / 2, 0, scene.width - width)
        top = np.clip((scene.height * (1 + at_y) - height) / 2, 0, scene.height - height)
        seen = source.resize(
            source.size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
        )
        return _colours(seen)

    return frame


def _turning(scene: Scene, source: Image.Image) -> Paint:
    colours = _colours(source)
    x, y = scene.points()
    away, angle = np.hypot(x, y), np.arctan2(y, x)
    wedge = np.float32(np.pi / scene.random.choice([4, 5, 6]))
    reach_x, reach_y = scene.reach

    def frame(moment: float) -> Colours:
        folded = np.abs((angle + wedge * 2 * moment) % (2 * wedge) - wedge)
        # The wedge is cut out of the picture along its long side, mirrored where it ends.
        far = np.abs((away * 0.8 + 1) % 2 - 1)
        at_x = far * np.cos(folded) * reach_x
        at_y = far * np.sin(folded) * reach_y
        columns = (at_x / reach_x + 1) / 2 * (scene.width - 1)
        rows = (at_y / reach_y + 1) / 2 * (scene.height - 1)
        return _sampled(colours, columns, rows)

    return frame


def _sampled(colours: Colours, columns: Colours, rows: Colours) -> Colours:
    """The colours at places between the points."""
    height, width, _ = colours.shape
    columns, rows = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
    columns, rows = np.broadcast_arrays(columns, rows)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = columns - left, rows - top
    upper = mixed(colours[top, left], colours[top, right], across)
    return mixed(upper, mixed(colours[below, left], colours[below, right], across), down)


def _colours(image: Image.Image) -> Colours:
    return np.asarray(image.convert("RGB"), np.float32) / 255
