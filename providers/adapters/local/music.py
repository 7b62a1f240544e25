"""Songs from a title and lyrics, the same for the same seed: a line of lyrics is two bars."""

import io
import math
import wave
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixsim.core.patterns import pattern
from providers.adapters.local.drawing import LONGEST_TEXT, find_words, random_for

MAX_SECONDS = 60
RATE = 44_100  # samples per second
TAIL_SECONDS = 1.5  # in which the last chord fades
LINE_BEATS = 8
MOST_SYLLABLES = 24
find_vowels = pattern("[aeiou]++", longest=LONGEST_TEXT, method="findall")
# The last e of `come` and `whole` is silent, that of `little` and `the` is not.
remove_silent_e = pattern(
    r"(?<=[aeiou][^aeioul])e$|(?<=[aeiou]l)e$", longest=LONGEST_TEXT, method="sub"
)
VOWELS = str.maketrans("yäöüáéíóúàèìòùâêîôû", "iaouaeiouaeiouaeiou")

Sound = NDArray[np.floating[Any]]
Pitch = Callable[[int], float]  # of a degree of the song's scale, as a MIDI number


class Genre(NamedTuple):
    """Drums are a bar of sixteen steps: k(ick), s(nare), h(at) or nothing (.)."""

    tempo: tuple[int, int]  # beats per minute, from and to
    scale: tuple[int, ...]
    chords: tuple[int, ...]  # one per bar, as steps of the scale
    drums: str
    instrument: str


MAJOR, MINOR, DORIAN = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10)
GENRES = {
    "pop": Genre((96, 118), MAJOR, (0, 4, 5, 3), "k.h.s.h.k.h.s.h.", "pad"),
    "rock": Genre((112, 138), MAJOR, (0, 3, 4, 3), "k.h.s.k.k.h.s.hs", "saw"),
    "electronic": Genre((120, 132), MINOR, (0, 5, 2, 6), "k.h.k.h.k.h.k.h.", "saw"),
    "hiphop": Genre((82, 94), DORIAN, (0, 0, 3, 4), "k.hhs.k.h.k.s.hh", "keys"),
    "jazz": Genre((104, 150), MAJOR, (1, 4, 0, 5), "k...h..hh...s.h.", "keys"),
    "folk": Genre((88, 116), MAJOR, (0, 3, 0, 4), "k...s...k...s...", "string"),
    "lullaby": Genre((60, 74), MAJOR, (0, 3, 0, 4), "." * 16, "bell"),
    "ambient": Genre((56, 70), DORIAN, (0, 3, 6, 3), "." * 16, "pad"),
}


# Strengths of the harmonics; seconds of attack and release; how fast the sound decays.
INSTRUMENTS = {
    "bass": ((0.5, 0.25, 0.12), 0.01, 0.08, 1.5),
    "voice": ((0.45, 0.3, 0.25, 0.2, 0.1, 0.05), 0.05, 0.09, 0.0),
    "flute": ((0.34, 0.1, 0.03), 0.06, 0.08, 0.0),
    "pad": ((0.2, 0.1, 0.06, 0.04), 0.2, 0.5, 0.0),
    "saw": ((0.15, 0.08, 0.05, 0.04, 0.03, 0.02), 0.01, 0.12, 1.0),
    "keys": ((0.26, 0.1, 0.03, 0.05), 0.005, 0.2, 1.9),
    "bell": ((0.28, 0.0, 0.1, 0.0, 0.04), 0.003, 0.3, 2.5),
    "string": ((0.34, 0.24, 0.17, 0.12, 0.08), 0.003, 0.1, 2.5),
}
DRUMS = {"k": ("kick", 0.9), "s": ("snare", 0.4), "h": ("hat", 0.15)}


class Note(NamedTuple):
    """Start and length in seconds, pitch as a MIDI number, the vowel that is sung."""

    instrument: str
    start: float
    length: float
    pitch: float
    vowel: str = ""
    loudness: float = 1.0


class Score(NamedTuple):
    """A whole song."""

    seconds: float
    tempo: int
    notes: Sequence[Note]


def composed(song: Any, seed: int) -> Score:
    """Return the notes. Without `seconds` the song is as long as its lyrics."""
    style, random = GENRES[song.genre], random_for("song", song.title, song.genre, seed)
    title, seconds = song.title, song.seconds
    lyrics = song.lyrics.strip() if syllables(song.lyrics) else ""
    tempo = song.tempo or int(random.integers(style.tempo[0], style.tempo[1] + 1))
    beat, root = 60 / tempo, int(random.integers(55, 63))

    def pitch(degree: int) -> float:
        octave, place = divmod(degree, len(style.scale))
        return root + 12 * octave + style.scale[place]

    # Without lyrics a flute plays the tune of the title.
    lines = lyrics.splitlines() if lyrics else [title, title[::-1]]
    if seconds is None:
        seconds = min(MAX_SECONDS, (LINE_BEATS * (len(lines) + 1) + 4) * beat + TAIL_SECONDS)
    bars = max(2, math.ceil((seconds - TAIL_SECONDS) / (4 * beat) - 1e-6))
    notes = [*_backing(style, pitch, bars, beat)]
    first = 1 if bars > 4 else 0
    for place in range(first, (bars - 1) // 2 + 1):
        text = lines[(place - first) % len(lines)]
        lead = "voice" if lyrics else "flute"
        tune = random_for(title, seed, text.lower())  # equal lines have equal tunes
        notes += _line(text, lead, pitch, beat, LINE_BEATS * beat * place, tune)
    end = 4 * beat * (bars - 1)
    return Score(seconds, tempo, [note for note in notes if note.start <= min(end, seconds)])


def syllables(text: str) -> list[str]:
    """Return the vowel of each syllable; of a script without vowels one per letter."""
    found: list[str] = []
    for word in find_words(text.lower()):
        plain = word.translate(VOWELS)
        plain = remove_silent_e("", plain)
        groups = find_vowels(plain)
        if not groups:
            groups = ["e"] if word.isascii() else ["aeiou"[ord(letter) % 5] for letter in word]
        found += [group[0] for group in groups]
    return found


def performed(score: Score) -> Sound:
    """Return the song in stereo: samples from -1 to 1, of shape (count, 2)."""
    mono = np.zeros(int(score.seconds * RATE))
    for note in score.notes:
        start = int(note.start * RATE)
        sound = _played(note)[: len(mono) - start]
        mono[start : start + len(sound)] += sound * note.loudness
    # Each side has an echo of its own.
    song = np.stack([mono, mono], axis=1)
    for side, delay in enumerate((0.067, 0.093)):
        song[int(delay * RATE) :, side] += 0.4 * mono[: -int(delay * RATE)]
    song = np.tanh(song * 0.2 / max(1e-6, float(np.sqrt((song**2).mean()))))
    fade = min(len(song), int(TAIL_SECONDS * RATE))
    song[-fade:] *= np.linspace(1, 0, fade)[:, None] ** 1.5
    return song * (0.89 / max(1e-6, float(np.abs(song).max())))


def as_wav(sound: Sound) -> bytes:
    """Return the samples as a file: WAV, 16-bit PCM."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(2)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes((sound * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _backing(style: Genre, pitch: Pitch, bars: int, beat: float) -> Iterator[Note]:
    """Return drums, bass and chords; the last bar is one long chord."""
    for bar in range(bars):
        is_last, at = bar == bars - 1, 4 * beat * bar
        degree = 0 if is_last else style.chords[bar % len(style.chords)]
        length = (4 if is_last else 2) * beat
        for start in [at] if is_last else [at, at + length]:
            yield Note("bass", start, length, pitch(degree) - 24)
            for tone in (0, 2, 4):
                # Plucked sounds end too soon for the last chord.
                chord = "pad" if is_last else style.instrument
                yield Note(chord, start, length, pitch(degree + tone))
        for place, letter in enumerate("" if is_last else style.drums):
            if letter != ".":
                drum, loudness = DRUMS[letter]
                yield Note(drum, at + beat * place / 4, 0.3, 0, loudness=loudness)


def _line(
    text: str, lead: str, pitch: Pitch, beat: float, start: float, random: np.random.Generator
) -> list[Note]:
    """Return the notes of one line, one per syllable."""
    vowels = syllables(text)[:MOST_SYLLABLES] or (["a"] * 5 if lead == "flute" else [])
    length = (LINE_BEATS - 1) * beat / max(1, len(vowels))
    degrees = 7 + np.cumsum(random.choice([-2, -1, -1, 0, 1, 1, 2], len(vowels)))
    return [
        Note(lead, start + number * length, length, pitch(int(degree) % 12), vowel)
        for number, (degree, vowel) in enumerate(zip(degrees, vowels, strict=True))
    ]


def _played(note: Note) -> Sound:
    """Return the samples of one note."""
    if note.instrument not in INSTRUMENTS:
        t = np.arange(int(0.25 * RATE)) / RATE
        if note.instrument == "kick":
            return np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-30 * t)))) * np.exp(-12 * t)  # type: ignore[no-any-return]
        noise = np.random.default_rng(1).uniform(-1, 1, len(t))
        return noise * np.exp(-t * (60 if note.instrument == "hat" else 20))
    harmonics, attack, release, decay = INSTRUMENTS[note.instrument]
    t = np.arange(max(1, int((note.length + release) * RATE))) / RATE
    frequency = 440 * 2 ** ((note.pitch - 69) / 12)
    number = np.arange(1, len(harmonics) + 1)[:, None]
    sound = harmonics @ (np.sin(2 * np.pi * frequency * number * t) * np.exp(-decay * number * t))
    rise, fall = np.clip(t / attack, 0, 1), np.clip((t[-1] - t) / release, 0, 1)
    return np.asarray(sound * rise * fall)
