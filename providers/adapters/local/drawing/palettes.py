"""Colours that suit a prompt: from its own words where they name any, else by its hash."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.floating[Any]]
"""Red, green and blue from 0 to 1 in the last axis."""

SHADES = 512

# Six colours from dark to light each, and the words that ask for them.
THEMES = {
    "1b1035 5b1a63 b5305b f26b3c fdb94e fff0c2": "sunset dusk evening orange love summer tropical",
    "021b33 06406b 0f7b9e 3bb6c4 a5e5dc f6fbe9": "ocean sea water lake wave blue fish river rain",
    "07160d 12351f 2a6138 5f9647 b3ca6b f3efc4": "forest green tree jungle leaf garden frog moss",
    "050818 10183f 2b2f78 5a55b0 a79ade f4ecff": "night moon space star dream indigo midnight",
    "2b0f0e 6e2a1c b9572b e39a4c f4cf8a fff3d6": "desert sand canyon clay lion camel africa mars",
    "140303 5a0a08 b61e0d f0630f fdb827 fff5c9": "fire red lava volcano dragon flame phoenix blood",
    "06152b 14406b 3f85b8 8fc5e0 d3ecf5 ffffff": "ice snow winter white frost glacier cold polar",
    "1f0d0a 5c1f12 a8431a d9822b efbf5a faeec5": "autumn fall brown fox panda wood coffee bear",
    "12302a 2f6b4f 7bb661 f4a6b7 f9d2d0 fffbe8": "spring flower blossom meadow cherry morning",
    "23071b 65143f b03060 e56b8b f7b2bd fff0ee": "rose pink heart candy ballet flamingo wedding",
    "160b2e 3d2372 7148ad a985d4 d9c2ee fbf5ff": "lavender purple violet magic wizard amethyst",
    "1a1205 4d3409 8f6412 cf9a26 f2cf63 fff8d8": "gold golden yellow honey sun bee treasure wheat",
    "0a0220 3a0ca3 8a12b8 f72585 4cc9f0 f5f0ff": "neon cyberpunk city robot future techno electric",
    "081d24 0f4c5c 2a9d8f 8ac6a4 e9c46a fdf3d7": "teal turquoise island lagoon mermaid peacock",
    "0b0b0d 2c2d31 5b5d63 95979c cfd0d2 fafafa": "black grey gray silver ink fog mist shadow noir",
    "264653 2a9d8f 8ab17d e9c46a f4a261 e76f51": "retro vintage circus carnival party rainbow",
}
WORDS = {word: codes for codes, words in THEMES.items() for word in words.split()}


def words_of(prompt: str) -> list[str]:
    """The words of a prompt in lower case, each also without a plural's s."""
    found = re.findall(r"[^\W\d_]+", prompt.lower())
    return [form for word in found for form in dict.fromkeys((word, word.removesuffix("s")))]


def palette_for(prompt: str, random: np.random.Generator) -> Colours:
    """Shades from dark to light, SHADES of them.

    A prompt of several colours gets the lights of the first and the darks of the last.
    """
    named = [WORDS[word] for word in words_of(prompt) if word in WORDS]
    chance = list(THEMES)[int(random.integers(len(THEMES)))]
    first, last = (named[0], named[-1]) if named else (chance, chance)
    stops = np.concatenate([_colours(last)[:3], _colours(first)[3:]])
    return _from_oklab(_spread(_to_oklab(stops)))


def _colours(codes: str) -> Colours:
    return np.array(
        [[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes.split()], np.float64
    )


def _spread(stops: Colours) -> Colours:
    places = np.linspace(0, 1, len(stops))
    shades = np.linspace(0, 1, SHADES)
    return np.stack([np.interp(shades, places, channel) for channel in stops.T], axis=-1)


# Oklab (Björn Ottosson, 2020): mixtures there look as even as they are, without grey middles.

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _to_oklab(colours: Colours) -> Colours:
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def _from_oklab(lab: Colours) -> Colours:
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    linear = np.clip(linear, 0, 1)
    curved = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved.astype(np.float32)
