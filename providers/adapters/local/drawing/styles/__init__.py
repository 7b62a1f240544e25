"""The styles in which pictures are drawn, and the words of a prompt that ask for one."""

from __future__ import annotations

from collections.abc import Callable

from providers.adapters.local.drawing.palettes import words_of
from providers.adapters.local.drawing.scene import Paint, Scene, random_for
from providers.adapters.local.drawing.styles.circles import circles
from providers.adapters.local.drawing.styles.flow import flow
from providers.adapters.local.drawing.styles.landscape import landscape
from providers.adapters.local.drawing.styles.mandala import mandala
from providers.adapters.local.drawing.styles.mosaic import mosaic
from providers.adapters.local.drawing.styles.nebula import nebula

STYLES: dict[str, Callable[[Scene], Paint]] = {
    "landscape": landscape,
    "mandala": mandala,
    "flow": flow,
    "mosaic": mosaic,
    "circles": circles,
    "nebula": nebula,
}

MOTIFS = {
    "landscape": "landscape mountain hill valley forest sea ocean lake beach island desert sunset "
    "sunrise river horizon field dusk dawn panda fox bear deer tree snow winter autumn meadow moon coast",
    "mandala": "mandala flower rose lotus kaleidoscope snowflake temple lace star ornament sun "
    "symmetry pattern blossom tile",
    "flow": "flow wind wave hair silk smoke stream current fur storm abstract river feather water "
    "grass music jazz",
    "mosaic": "mosaic glass window crystal church stained cathedral tiles city street house castle",
    "circles": "circle bubble ball dot planet marble fruit candy balloon pearl berry party coin",
    "nebula": "nebula galaxy space cosmos universe cosmic star comet dream magic cloud night",
}


def style_for(prompt: str, seed: int) -> str:
    """The style that the first telling word of a prompt asks for, else one by chance."""
    for word in words_of(prompt):
        fitting = [style for style, words in MOTIFS.items() if word in words.split()]
        if fitting:
            return fitting[seed % len(fitting)]
    return list(STYLES)[int(random_for("style", prompt, seed).integers(len(STYLES)))]
