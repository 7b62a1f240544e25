"""What a genre sounds like: its tempo, harmony, rhythm and instruments."""

from __future__ import annotations

from dataclasses import dataclass

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)


@dataclass(frozen=True)
class Genre:
    """Rhythms are one bar of sixteen steps: a letter is a stroke, a dot is none."""

    tempo: tuple[int, int]
    """Beats per minute, from and to."""
    scale: tuple[int, ...]
    progressions: tuple[tuple[int, ...], ...]
    """Chords, one per bar, as steps of the scale from 0."""
    kick: str
    snare: str
    hat: str
    bass: str
    chords: str
    harmony: str
    """The instrument of the chords, and below of the tune where nobody sings."""
    lead: str
    sevenths: bool = False
    swing: float = 0.0
    """How much later the second of two steps comes, in steps."""


GENRES = {
    "pop": Genre(
        (96, 118), MAJOR, ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4)),
        kick="x...x...x...x...", snare="....x.......x...", hat="x.x.x.x.x.x.x.x.",
        bass="x..x..x.x..x..x.", chords="x...............", harmony="pad", lead="bell",
    ),
    "rock": Genre(
        (112, 138), MIXOLYDIAN, ((0, 6, 3, 0), (0, 3, 4, 3), (0, 0, 6, 3)),
        kick="x.....x.x.x.....", snare="....x.......x..x", hat="x.x.x.x.x.x.x.x.",
        bass="x.x.x.x.x.x.x.x.", chords="x..x..x.x..x..x.", harmony="drive", lead="drive",
    ),
    "electronic": Genre(
        (120, 132), MINOR, ((0, 5, 2, 6), (0, 0, 5, 6), (0, 3, 5, 4)),
        kick="x...x...x...x...", snare="....x.......x...", hat="..x...x...x...x.",
        bass="..x.x.x...x.x.x.", chords="x..x..x...x..x..", harmony="saw", lead="saw",
    ),
    "hiphop": Genre(
        (82, 94), DORIAN, ((0, 0, 3, 0), (0, 5, 3, 4), (0, 6, 5, 6)),
        kick="x.....x..x......", snare="....x.......x...", hat="x.xxx.x.x.x.xxx.",
        bass="x.....x..x....x.", chords="x.......x.......", harmony="keys", lead="keys",
        sevenths=True, swing=0.3,
    ),
    "jazz": Genre(
        (104, 150), MAJOR, ((1, 4, 0, 5), (0, 5, 1, 4), (2, 5, 1, 4)),
        kick="x...............", snare=".......o......o.", hat="x...x.x.x...x.x.",
        bass="x...x...x...x...", chords="x.....x...x.....", harmony="keys", lead="horn",
        sevenths=True, swing=0.6,
    ),
    "folk": Genre(
        (88, 116), MAJOR, ((0, 3, 0, 4), (0, 4, 5, 3), (0, 0, 3, 4)),
        kick="x.......x.......", snare="....o.......o...", hat="................",
        bass="x.......x.......", chords="x.x.xx.xx.x.xx.x", harmony="string", lead="flute",
    ),
    "lullaby": Genre(
        (60, 74), MAJOR, ((0, 3, 0, 4), (0, 5, 3, 4), (0, 4, 3, 0)),
        kick="................", snare="................", hat="................",
        bass="x.......x.......", chords="x.x.x.x.x.x.x.x.", harmony="bell", lead="flute",
    ),
    "ambient": Genre(
        (56, 70), DORIAN, ((0, 3, 6, 3), (0, 4, 3, 3), (0, 6, 5, 6)),
        kick="................", snare="................", hat="................",
        bass="x...............", chords="x...............", harmony="pad", lead="bell",
        sevenths=True,
    ),
}  # fmt: skip
