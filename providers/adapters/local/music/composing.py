"""A song as a list of notes: a line of lyrics is two bars, and equal lines have equal tunes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from providers.adapters.local.drawing.scene import random_for
from providers.adapters.local.music.genres import GENRES, Genre

STEPS = 16
"""Steps in a bar of four beats."""
LINE_BARS = 2
TAIL_SECONDS = 1.5
MOST_SYLLABLES = 2 * (LINE_BARS * STEPS - 4) // 2
VOWELS = "aeiouyäöüáéíóúàèìòùâêîôû"
SILENT_E = re.compile(r"(?<=[^aeiouyl])e\b|(?<=[aeiouy]l)e\b")
"""Of moon-shine and whole, not of lit-tle."""
PLAIN_VOWELS = str.maketrans("yäöüáéíóúàèìòùâêîôû", "iaouaeiouaeiouaeiou")


@dataclass(frozen=True)
class Note:
    """A sound: start and length in seconds, pitch as a MIDI number, loudness from 0 to 1."""

    instrument: str
    start: float
    length: float
    pitch: float
    loudness: float
    pan: float = 0.0
    """From -1 (left) to 1 (right)."""
    vowel: str = ""
    """What is sung."""


@dataclass(frozen=True)
class Score:
    """A whole song."""

    seconds: float
    tempo: int
    notes: Sequence[Note]


@dataclass(frozen=True)
class _Line:
    """What is sung in one line; an interlude has no text."""

    text: str
    vowels: Sequence[str]


def composed(
    *,
    title: str,
    lyrics: str,
    genre: str,
    tempo: int | None,
    seconds: float | None,
    longest: float,
    seed: int,
) -> Score:
    """The song. Without `seconds` it is as long as its lyrics, at most `longest`."""
    style = GENRES[genre]
    random = random_for("song", title, genre, seed)
    tempo = tempo or int(random.integers(style.tempo[0], style.tempo[1] + 1))
    lines = _lines(title, lyrics)
    bar = 4 * 60 / tempo
    if seconds is None:
        seconds = min(longest, (2 + LINE_BARS * len(lines) + 1) * bar + TAIL_SECONDS)
    # The last bar is one chord; it begins at least TAIL_SECONDS before the end.
    bars = max(2, math.ceil((seconds - TAIL_SECONDS) / bar - 1e-6))
    song = _Song(
        style=style,
        step=bar / STEPS,
        root=int(random.integers(55, 63)),
        chords=style.progressions[int(random.integers(len(style.progressions)))],
        key=(title, genre, seed),
    )
    notes = [
        *song.backing(bars, random),
        *song.tune(lines, bars, sung=bool(lyrics.strip())),
        *song.close(bars),
    ]
    return Score(seconds, tempo, [note for note in notes if note.start < seconds])


class _Song:
    def __init__(
        self,
        *,
        style: Genre,
        step: float,
        root: int,
        chords: Sequence[int],
        key: tuple[object, ...],
    ) -> None:
        self._style = style
        self._step = step
        self._root = root
        self._chords = chords
        self._key = key

    def backing(self, bars: int, random: np.random.Generator) -> Iterator[Note]:
        """Drums, bass and chords of every bar but the last."""
        style, step = self._style, self._step
        for bar in range(bars - 1):
            chord = self._chord(bar)
            for place in range(STEPS):
                at = self._time(bar, place)
                human = float(random.uniform(0.85, 1))
                accent = human * (1.0 if place % 4 == 0 else 0.8)
                if bar > 0:
                    for drum, rhythm, pan in (
                        ("kick", style.kick, 0.0),
                        ("snare", style.snare, 0.05),
                        ("hat", style.hat, 0.3),
                    ):
                        if rhythm[place] != ".":
                            soft = 0.45 if rhythm[place] == "o" else 1.0
                            yield Note(drum, at, 0.3, 0, accent * soft, pan)
                if style.bass[place] != ".":
                    fifth = 7 if place == 8 and style.bass.count("x") < 5 else 0
                    yield Note(
                        "bass",
                        at,
                        self._until_next(style.bass, place),
                        chord[0] - 24 + fifth,
                        accent,
                    )
                if style.chords[place] != ".":
                    yield from self._strike(chord, at, place, accent)
        if bars > 2 and style.snare.strip("."):
            for place in (10, 12, 13, 14, 15):
                yield Note("snare", self._time(bars - 2, place), 2 * step, 0, 0.5, -0.2)

    def _strike(
        self, chord: Sequence[float], at: float, place: int, accent: float
    ) -> Iterator[Note]:
        style = self._style
        length = max(self._until_next(style.chords, place), 2 * self._step)
        if style.harmony in ("bell", "string") and style.chords.count("x") > 4:
            # Broken chords: one string after the other.
            order = (0, 2, 1, 2, 3, 2, 1, 2)
            number = style.chords[:place].count("x")
            pitches = [*chord[:3], chord[0] + 12]
            yield Note(style.harmony, at, length * 3, pitches[order[number % 8]], accent, -0.25)
            return
        for voice, pitch in enumerate(chord):
            pan = (voice - (len(chord) - 1) / 2) * 0.35
            yield Note(style.harmony, at + 0.008 * voice, length, pitch, 0.6 * accent, pan)

    def tune(self, lines: Sequence[_Line], bars: int, *, sung: bool) -> Iterator[Note]:
        """The lines one after the other, from the beginning again if there is time."""
        first = 2 if bars > 4 else 0
        for number, bar in enumerate(range(first, bars - 1, LINE_BARS)):
            line = lines[number % len(lines)]
            if line.vowels:
                instrument = "voice" if sung else self._style.lead
                yield from self._sung(line, bar, min(LINE_BARS, bars - 1 - bar), instrument)
            else:
                # Between two verses somebody plays what was sung before.
                before = lines[number % len(lines) - 1]
                yield from self._sung(before, bar, min(LINE_BARS, bars - 1 - bar), self._style.lead)

    def _sung(self, line: _Line, bar: int, room: int, instrument: str) -> Iterator[Note]:
        random = random_for("line", *self._key, line.text.lower())
        count = min(len(line.vowels), MOST_SYLLABLES)
        grid = 2 if count <= MOST_SYLLABLES // 2 else 1
        slots = (LINE_BARS * STEPS - 4) // grid
        pause = int(random.integers(0, 2)) if count < slots - 2 else 0
        places = (pause + np.floor(np.linspace(0, slots - pause, count, endpoint=False))).astype(
            int
        ) * grid
        degree = int(random.integers(5, 10))
        ends = [*places[1:], LINE_BARS * STEPS - 2]
        for number, (place, end) in enumerate(zip(places, ends, strict=True)):
            if place >= room * STEPS:
                return
            chord = self._degree(bar + place // STEPS)
            move = int(random.choice([-2, -1, -1, 0, 1, 1, 2]))
            degree += move + (1 if degree < 4 else -1 if degree > 11 else 0)
            if place % 8 == 0 or number == count - 1:
                degree = min(
                    (chord + inner + octave for inner in (0, 2, 4) for octave in (-7, 0, 7, 14)),
                    key=lambda tone: (abs(tone - degree), tone),
                )
            length = (end - place) * self._step * (0.96 if number < count - 1 else 1.0)
            accent = 0.9 if place % 4 == 0 else 0.75
            yield Note(
                instrument,
                self._time(bar, int(place)),
                min(length, 10 * self._step),
                self._pitch(degree),
                accent,
                0.0 if instrument == "voice" else 0.2,
                line.vowels[number],
            )

    def close(self, bars: int) -> Iterator[Note]:
        """The last bar: home."""
        at, length = (bars - 1) * STEPS * self._step, STEPS * self._step
        for voice, degree in enumerate((0, 2, 4, 7)):
            # Bells and strings fall silent soon; what lies under them lasts.
            for instrument, loudness in ((self._style.harmony, 0.7), ("pad", 0.6)):
                pan = 0.2 * voice - 0.3
                yield Note(
                    instrument, at + 0.02 * voice, length, self._pitch(degree), loudness, pan
                )
        yield Note("bass", at, length, self._pitch(0) - 24, 0.9)
        if self._style.kick.strip("."):
            yield Note("kick", at, 0.3, 0, 1.0)

    def _degree(self, bar: int) -> int:
        return self._chords[bar % len(self._chords)]

    def _chord(self, bar: int) -> list[float]:
        tones = (0, 2, 4, 6) if self._style.sevenths else (0, 2, 4)
        pitches = [self._pitch(self._degree(bar) + tone) for tone in tones]
        # Close to the root, so that chords follow each other without leaps.
        return sorted(pitch - 12 if pitch > self._root + 9 else pitch for pitch in pitches)

    def _pitch(self, degree: int) -> float:
        octave, place = divmod(degree, len(self._style.scale))
        return self._root + 12 * octave + self._style.scale[place]

    def _time(self, bar: int, place: int) -> float:
        late = self._style.swing if place % 4 in (1, 2, 3) and place % 2 == 0 else 0.0
        return (bar * STEPS + place + late) * self._step

    def _until_next(self, rhythm: str, place: int) -> float:
        """How long until the next stroke of a bar."""
        following = rhythm.find("x", place + 1)
        return ((following if following > 0 else STEPS) - place) * self._step


def _lines(title: str, lyrics: str) -> list[_Line]:
    """The lines to be sung, with an interlude between verses; without lyrics the title's tune."""
    if not lyrics.strip():
        vowels = (syllables(title) or ["a"]) * 9
        # A tune, another one, the first again, and an end.
        return [
            _Line(part, vowels[:count]) for part, count in zip("ABAC", (7, 9, 7, 6), strict=True)
        ]
    lines: list[_Line] = []
    for text in lyrics.strip().splitlines():
        vowels = syllables(text)
        if vowels or (lines and lines[-1].vowels):
            lines.append(_Line(text.strip(), vowels))
    return lines or [_Line(title, ["a"] * 5)]


def syllables(text: str) -> list[str]:
    """The vowel of each syllable, one of a, e, i, o, u; of a script without them one per letter."""
    found: list[str] = []
    for word in re.findall(r"[^\W\d_]+", text.lower()):
        if word.isascii():
            word = SILENT_E.sub("", word) if len(word) > 3 else word
        groups = re.findall(f"[{VOWELS}]+", word)
        if not groups and not word.isascii():
            groups = ["aeiou"[ord(letter) % 5] for letter in word]
        found += [group[0].translate(PLAIN_VOWELS) for group in groups or ["e"]]
    return found
