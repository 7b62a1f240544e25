"""Pictures from words: drawn by numpy and Pillow, the same for the same prompt, style and seed."""

from __future__ import annotations

from PIL import Image

from providers.adapters.local.drawing import effects
from providers.adapters.local.drawing.palettes import words_of
from providers.adapters.local.drawing.scene import Scene, as_image, random_for
from providers.adapters.local.drawing.styles import STYLES, style_for

EFFECT_WORDS = {
    "duotone": "duotone poster print colour color retro vintage mono",
    "mosaic": "mosaic glass window tile church stained crystal",
    "paint": "paint painting painted oil brush canvas impressionist watercolour watercolor",
    "kaleidoscope": "kaleidoscope mandala mirror symmetry symmetric pattern",
}
MOTION_WORDS = {
    "zoom": "zoom closer near approach in",
    "pan": "pan around swing left right move camera",
    "ripple": "ripple water wave sea underwater swim wind float",
    "kaleidoscope": "kaleidoscope turn spin rotate mirror",
}


def picture(*, prompt: str, style: str, seed: int, width: int, height: int) -> Image.Image:
    """A picture; the style is one of STYLES or `auto`."""
    style = style_for(prompt, seed) if style == "auto" else style
    return as_image(STYLES[style](Scene.of(prompt, style, seed, width, height))(0.0))


def frames(
    *, prompt: str, style: str, seed: int, width: int, height: int, count: int
) -> list[Image.Image]:
    """The frames of a picture that moves in a loop."""
    style = style_for(prompt, seed) if style == "auto" else style
    paint = STYLES[style](Scene.of(prompt, style, seed, width, height))
    return [as_image(paint(number / count)) for number in range(count)]


def edited(
    source: Image.Image, *, prompt: str, effect: str, seed: int, strength: float
) -> Image.Image:
    """A given picture with an effect, one of effects.EFFECTS or `auto`."""
    if effect == "auto":
        effect = _asked_for(prompt, EFFECT_WORDS, seed)
    return effects.edited(effect, Scene.of(prompt, effect, seed, *source.size), source, strength)


def moving(
    source: Image.Image, *, prompt: str, motion: str, seed: int, count: int
) -> list[Image.Image]:
    """The frames of a given picture set in motion, one of effects.MOTIONS or `auto`."""
    if motion == "auto":
        motion = _asked_for(prompt, MOTION_WORDS, seed)
    paint = effects.MOTIONS[motion](Scene.of(prompt, motion, seed, *source.size), source)
    return [as_image(paint(number / count)) for number in range(count)]


def _asked_for(prompt: str, words: dict[str, str], seed: int) -> str:
    for word in words_of(prompt):
        for name, meant in words.items():
            if word in meant.split():
                return name
    return list(words)[int(random_for("choice", prompt, seed).integers(len(words)))]
