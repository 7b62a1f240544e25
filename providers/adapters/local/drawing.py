"""Pictures and animations from words, the same for the same prompt, style and seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pixsim.core.patterns import pattern

Plane = NDArray[np.floating[Any]]
"""One number per pixel; a tone is from 0 (dark) to 1 (light)."""
Colours = NDArray[np.floating[Any]]
"""Red, green and blue from 0 to 1 in the last axis."""
Paint = Callable[[float], Colours]
"""The picture at a moment from 0 to 1; at 1 it is as at 0, so that an animation is a loop."""

SHADES = 256
EFFECTS = ("duotone", "mosaic", "paint")
MOTIONS = ("zoom", "pan", "ripple")
NOISE_SIDE = 256
LONGEST_TEXT = 10_000  # characters of a prompt or of lyrics that are read
TURN = 2 * np.pi

# Six colours from dark to light each, and the words of a prompt that ask for them.
THEMES = {
    "1b1035 5b1a63 b5305b f26b3c fdb94e fff0c2": "sunset dusk evening orange summer tropical",
    "021b33 06406b 0f7b9e 3bb6c4 a5e5dc f6fbe9": "ocean sea water lake wave blue river rain",
    "07160d 12351f 2a6138 5f9647 b3ca6b f3efc4": "forest green tree jungle leaf garden frog",
    "050818 10183f 2b2f78 5a55b0 a79ade f4ecff": "night moon space star dream indigo galaxy",
    "2b0f0e 6e2a1c b9572b e39a4c f4cf8a fff3d6": "desert sand canyon panda fox autumn brown",
    "140303 5a0a08 b61e0d f0630f fdb827 fff5c9": "fire red lava volcano dragon flame phoenix",
    "06152b 14406b 3f85b8 8fc5e0 d3ecf5 ffffff": "ice snow winter white frost glacier cold",
    "23071b 65143f b03060 e56b8b f7b2bd fff0ee": "rose pink heart flower spring cherry love",
    "1a1205 4d3409 8f6412 cf9a26 f2cf63 fff8d8": "gold golden yellow honey sun bee wheat",
    "0b0b0d 2c2d31 5b5d63 95979c cfd0d2 fafafa": "black grey gray silver ink fog shadow noir",
}
MOTIFS = {
    "landscape": "landscape mountain hill forest sea ocean lake beach desert sunset field dusk panda",
    "flow": "flow wind wave silk smoke fur storm abstract river water music jazz pattern flower",
    "nebula": "nebula galaxy space cosmos universe star dream cloud night planet",
}


@dataclass(frozen=True)
class Scene:
    """What a picture is drawn from. The random numbers do not depend on its size."""

    random: np.random.Generator
    palette: Colours
    width: int
    height: int

    @classmethod
    def of(cls, prompt: str, style: str, seed: int, width: int, height: int) -> Scene:
        random = random_for("scene", prompt, style, seed)
        return cls(random, _palette(prompt, seed), width, height)

    def points(self) -> tuple[Plane, Plane]:
        """Return each pixel's distance from the middle, right and down; the shorter side ends at 1."""
        short = min(self.width, self.height)
        x = np.linspace(-self.width / short, self.width / short, self.width, dtype=np.float32)
        y = np.linspace(-self.height / short, self.height / short, self.height, dtype=np.float32)
        right, down = np.meshgrid(x, y)
        return right, down

    def shade(self, tone: Plane) -> Colours:
        """Return the palette's colour of each tone."""
        return self.palette[np.clip(tone * (SHADES - 1), 0, SHADES - 1).astype(np.int32)]


def painted(prompt: str, style: str, seed: int, width: int, height: int) -> Paint:
    """Return a picture that moves in a loop; the style is one of STYLES or `auto`."""
    if style == "auto":
        style = _asked_for(prompt, MOTIFS) or _any_of(MOTIFS, prompt, seed)
    return STYLES[style](Scene.of(prompt, style, seed, width, height))


def edited(source: Image.Image, prompt: str, effect: str, seed: int) -> Image.Image:
    """Return the picture with an effect, one of EFFECTS or `auto`."""
    effect = _any_of(EFFECTS, prompt, seed) if effect == "auto" else effect
    if effect == "duotone":
        return as_image(Scene.of(prompt, effect, seed, 1, 1).shade(_colours(source).mean(axis=2)))
    if effect == "mosaic":
        small = source.resize((max(1, source.width // 16), max(1, source.height // 16)))
        return small.resize(source.size, Image.Resampling.NEAREST)
    return source.filter(ImageFilter.ModeFilter(9))


def moving(source: Image.Image, prompt: str, motion: str, seed: int) -> Paint:
    """Return the picture in motion, one of MOTIONS or `auto`."""
    motion = _any_of(MOTIONS, prompt, seed) if motion == "auto" else motion
    colours, short = _colours(source), min(source.size)
    rows, columns = np.indices((source.height, source.width), dtype=np.float32)

    def paint(moment: float) -> Colours:
        turn = TURN * moment
        match motion:
            case "zoom":
                scale = 0.9 - 0.09 * np.cos(turn)
                at_x = source.width / 2 + (columns - source.width / 2) * scale
                at_y = source.height / 2 + (rows - source.height / 2) * scale
            case "pan":
                at_x, at_y = columns + 0.15 * short * np.sin(turn), rows
            case "ripple":
                at_x = columns + 0.014 * short * np.sin(rows * (14 / short) + turn)
                at_y = rows + 0.010 * short * np.cos(columns * (11 / short) - turn)
        return _sampled(colours, at_x, at_y)

    return paint


def as_image(colours: Colours) -> Image.Image:
    """Return the colours as a picture."""
    return Image.fromarray((np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8))


def random_for(*parts: object) -> np.random.Generator:
    """Return random numbers that depend on `parts` alone, the same on every machine."""
    text = "\x00".join(map(str, parts))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(np.frombuffer(digest, "<u4"))


# Styles


def landscape(scene: Scene) -> Paint:
    """Draw hills one behind the other, under a sky with a sun."""
    random, waves = scene.random, np.arange(1, 25)
    u = np.linspace(0, 1, scene.width, dtype=np.float32)[None, :]
    v = np.linspace(0, 1, scene.height, dtype=np.float32)[:, None]
    sun_x, sun_y, radius = random.uniform((0.2, 0.12, 0.05), (0.8, 0.35, 0.1))
    hills = [
        (random.normal(0, 1, len(waves)) / waves**1.5, random.uniform(0, TURN, len(waves)))
        for _ in range(5)
    ]

    def paint(moment: float) -> Colours:
        away = np.hypot((u - sun_x) * scene.width / scene.height, v - sun_y)
        tone = 0.4 + 0.35 * v + 0.4 * np.exp(-6 * away)
        tone = _covered(tone, 1.0, (radius - away) * scene.height)
        for place, (heights, phases) in enumerate(hills):
            # Nearer hills pass faster; whole numbers, so that the loop closes.
            angle = TURN * (u[0] + moment * (place // 2))
            ridge = (
                0.48
                + 0.11 * place
                - 0.07 * (heights @ np.sin(np.outer(waves, angle) + phases[:, None]))
            )
            tone = _covered(tone, 0.66 - 0.15 * place, (v - ridge[None, :]) * scene.height)
        return scene.shade(tone)

    return paint


def flow(scene: Scene) -> Paint:
    """Draw bands that follow smooth noise."""
    x, y = scene.points()
    field, bands = _at(_noise(scene.random), x * 0.2, y * 0.2), scene.random.uniform(5, 9)
    return lambda moment: scene.shade(0.5 + 0.45 * np.sin(TURN * (bands * field - moment)))


def nebula(scene: Scene) -> Paint:
    """Draw clouds of noise, with stars."""
    x, y = scene.points()
    clouds, warp = _noise(scene.random), 0.35 * _at(_noise(scene.random), x * 0.15, y * 0.15)
    stars = scene.random.uniform(0, 1, x.shape) > 0.998

    def paint(moment: float) -> Colours:
        shift = 0.06 * np.cos(TURN * moment), 0.06 * np.sin(TURN * moment)
        tone = _at(clouds, x * 0.12 + warp + shift[0], y * 0.12 + shift[1])
        return scene.shade(np.where(stars, 1.0, (tone - 0.25) * 1.7))

    return paint


STYLES: dict[str, Callable[[Scene], Paint]] = {
    each.__name__: each for each in (landscape, flow, nebula)
}


find_words = pattern(r"[^\W\d_]++", longest=LONGEST_TEXT, method="findall")


def _any_of(names: Iterable[str], prompt: str, seed: int) -> str:
    return str(random_for("choice", prompt, seed).choice(list(names)))


def _asked_for(prompt: str, table: Mapping[str, str]) -> str | None:
    """Return the entry that the first fitting word of the prompt asks for, if any."""
    found = find_words(prompt.lower())
    forms = [form for word in found for form in (word, word.removesuffix("s"))]
    return next((name for form in forms for name in table if form in table[name].split()), None)


def _palette(prompt: str, seed: int) -> Colours:
    """Return SHADES colours from dark to light, of the theme that the prompt's words ask for."""
    codes = _asked_for(prompt, THEMES) or _any_of(THEMES, prompt, seed)
    stops = np.array([list(bytes.fromhex(code)) for code in codes.split()]) / 255
    at = np.linspace(0, len(stops) - 1, SHADES)
    return np.stack(
        [np.interp(at, range(len(stops)), one) for one in stops.T], axis=-1, dtype=np.float32
    )


def _noise(random: np.random.Generator) -> Plane:
    """Return a plane of smooth noise from 0 to 1 whose edges fit each other."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(NOISE_SIDE) * NOISE_SIDE] * 2))
    frequency[0, 0] = np.inf
    waves = np.fft.fft2(random.normal(size=frequency.shape)) / frequency**1.9
    plane = np.fft.ifft2(waves).real.astype(np.float32)
    return (plane - plane.min()) / np.ptp(plane)  # type: ignore[no-any-return]


def _at(noise: Plane, x: Plane, y: Plane) -> Plane:
    """Return the noise at each place; it repeats after 1 in both directions."""
    return _sampled(noise, x * NOISE_SIDE, y * NOISE_SIDE, cv2.BORDER_WRAP)


def _sampled(
    values: Plane, columns: Plane, rows: Plane, border: int = cv2.BORDER_REFLECT_101
) -> Plane:
    """Return the values at places between the pixels; beyond the edges they are mirrored."""
    at = columns.astype(np.float32), rows.astype(np.float32)
    return np.asarray(cv2.remap(values, *at, cv2.INTER_LINEAR, borderMode=border), np.float32)


def _covered(under: Plane, over: Plane | float, inside: Plane) -> Plane:
    """Lay one tone over another where `inside`, in pixels from the edge, is above 0."""
    return under + (over - under) * np.clip(inside + 0.5, 0, 1)  # type: ignore[no-any-return]


def _colours(image: Image.Image) -> Colours:
    return np.asarray(image.convert("RGB"), np.float32) / 255
