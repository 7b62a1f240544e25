"""Instruments made of sines and noise, and the room in which they play."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.adapters.local.music.composing import Note, Score

RATE = 44_100
"""Samples per second."""
ROOM_SECONDS = 1.4
LAST_SECONDS = 1.2
"""The time in which the end fades."""

LOUDNESS = 0.2
"""The root mean square of a whole song, before its peaks are rounded."""

Sound = NDArray[np.floating[Any]]

# Frequency (Hz), width and weight of what a mouth lets through, by vowel (Peterson and Barney, 1952).
FORMANTS = {
    "a": ((730, 90, 1.0), (1090, 110, 0.6), (2440, 170, 0.25)),
    "e": ((530, 70, 1.0), (1840, 120, 0.45), (2480, 170, 0.3)),
    "i": ((270, 60, 1.0), (2290, 130, 0.35), (3010, 190, 0.3)),
    "o": ((570, 70, 1.0), (840, 90, 0.65), (2410, 170, 0.12)),
    "u": ((300, 60, 1.0), (870, 90, 0.4), (2240, 170, 0.08)),
}
LEVELS = {
    "kick": 0.95, "snare": 0.42, "hat": 0.16, "bass": 0.5, "voice": 0.6, "pad": 0.2, "saw": 0.15,
    "drive": 0.16, "keys": 0.26, "bell": 0.28, "string": 0.34, "flute": 0.34, "horn": 0.3,
}  # fmt: skip
WET = {"kick": 0.02, "bass": 0.03, "hat": 0.1, "snare": 0.2, "voice": 0.35, "bell": 0.5, "pad": 0.5}


def performed(score: Score) -> Sound:
    """The song in stereo: samples from -1 to 1, of shape (count, 2)."""
    count = int(score.seconds * RATE)
    dry, wet = np.zeros((count, 2)), np.zeros((count, 2))
    for note in score.notes:
        start = int(note.start * RATE)
        sound = _played(note)[: count - start] * (note.loudness * LEVELS[note.instrument])
        sides = np.sqrt((1 + np.array([-note.pan, note.pan])) / 2)
        stereo = sound[:, None] * sides
        share = WET.get(note.instrument, 0.28)
        dry[start : start + len(sound)] += stereo * (1 - share)
        wet[start : start + len(sound)] += stereo * share
    song = dry + _in_a_room(wet)
    loudness = max(1e-6, float(np.sqrt((song**2).mean())))
    song = np.tanh(song * (LOUDNESS / loudness))
    fade = min(count, int(LAST_SECONDS * RATE))
    song[count - fade :] *= np.linspace(1, 0, fade)[:, None] ** 1.5
    return song * (0.89 / max(1e-6, float(np.abs(song).max())))


def as_wav(sound: Sound) -> bytes:
    """16-bit PCM."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(2)
        target.setsampwidth(2)
        target.setframerate(RATE)
        target.writeframes((sound * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _played(note: Note) -> Sound:
    return INSTRUMENTS[note.instrument](note)


# Instruments


def _kick(note: Note) -> Sound:
    t = _times(0.32)
    sweep = 48 * t + 4.2 * (1 - np.exp(-t * 26))
    return np.sin(2 * np.pi * sweep) * np.exp(-t * 9) + 0.3 * _noise(len(t)) * np.exp(-t * 220)


def _snare(note: Note) -> Sound:
    t = _times(0.24)
    tone = np.sin(2 * np.pi * 188 * t) * np.exp(-t * 26)
    return 0.9 * _noise(len(t)) * np.exp(-t * 19) + 0.7 * tone


def _hat(note: Note) -> Sound:
    t = _times(0.09)
    return np.diff(_noise(len(t) + 2), n=2) * 0.5 * np.exp(-t * 55)


def _bass(note: Note) -> Sound:
    t = _times(min(note.length, 1.6) + 0.05)
    body = _harmonics(t, note.pitch, (1.0, 0.45, 0.2, 0.1), decay=1.6)
    return body * _envelope(len(t), attack=0.008, release=0.05)


def _voice(note: Note) -> Sound:
    t = _times(note.length + 0.06)
    frequency = _hertz(note.pitch)
    vibrato = 0.006 * np.sin(2 * np.pi * 5.4 * t) * np.clip((t - 0.18) * 4, 0, 1)
    slide = -0.03 * np.exp(-t * 28)
    phase = 2 * np.pi * frequency * np.cumsum(1 + vibrato + slide) / RATE
    sound = np.zeros_like(t)
    for number in range(1, max(2, int(4200 / frequency))):
        strength = sum(
            weight * np.exp(-(((number * frequency - centre) / (width * 2.2)) ** 2))
            for centre, width, weight in FORMANTS[note.vowel or "a"]
        )
        strength += 0.12 / number
        if strength > 0.01:
            sound += strength * np.sin(number * phase)
    breath = 0.05 * _noise(len(t)) * np.exp(-t * 30)
    return (0.55 * sound + breath) * _envelope(len(t), attack=0.045, release=0.09)


def _pad(note: Note) -> Sound:
    t = _times(note.length + 0.5)
    sound = sum(
        _harmonics(t, note.pitch + detune, (1.0, 0.5, 0.3, 0.18, 0.1), decay=0)
        for detune in (-0.07, 0.06)
    )
    return sound * _envelope(len(t), attack=0.35, release=0.5)


def _saw(note: Note) -> Sound:
    t = _times(note.length + 0.12)
    strengths = tuple(1 / number for number in range(1, 15))
    sound = sum(
        _harmonics(t, note.pitch + detune, strengths, decay=1.2) for detune in (-0.09, 0.08)
    )
    return sound * _envelope(len(t), attack=0.006, release=0.12)


def _drive(note: Note) -> Sound:
    t = _times(note.length + 0.08)
    sound = _harmonics(t, note.pitch, (1.0, 0.6, 0.5, 0.3, 0.25, 0.15), decay=0.8)
    fifth = _harmonics(t, note.pitch - 12, (0.8, 0.4, 0.3), decay=0.8)
    return np.tanh(2.4 * (sound + fifth)) * _envelope(len(t), attack=0.004, release=0.08)


def _keys(note: Note) -> Sound:
    t = _times(min(note.length, 2.0) + 0.2)
    frequency = _hertz(note.pitch)
    bell = 1.6 * np.exp(-t * 5) * np.sin(2 * np.pi * frequency * 2 * t)
    sound = np.sin(2 * np.pi * frequency * t + bell) * np.exp(-t * 1.9)
    return sound * _envelope(len(t), attack=0.004, release=0.2)


def _bell(note: Note) -> Sound:
    t = _times(1.8)
    frequency = _hertz(note.pitch + 12)
    parts = ((1.0, 1.0, 3.2), (2.76, 0.35, 6.0), (5.4, 0.15, 10.0))
    sound = sum(
        weight * np.exp(-t * fall) * np.sin(2 * np.pi * frequency * ratio * t)
        for ratio, weight, fall in parts
    )
    return sound * _envelope(len(t), attack=0.003, release=0.2)


def _string(note: Note) -> Sound:
    t = _times(min(note.length, 2.2) + 0.1)
    strengths = tuple(abs(np.sin(np.pi * number * 0.21)) / number for number in range(1, 14))
    sound = _harmonics(t, note.pitch, strengths, decay=2.6)
    return 1.3 * sound * _envelope(len(t), attack=0.003, release=0.1)


def _flute(note: Note) -> Sound:
    t = _times(note.length + 0.08)
    vibrato = 0.9 * np.sin(2 * np.pi * 5 * t) * np.clip(t * 3, 0, 1)
    phase = 2 * np.pi * _hertz(note.pitch) * t + vibrato * 0.35
    sound = np.sin(phase) + 0.28 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase)
    breath = 0.04 * _noise(len(t))
    return (sound + breath) * _envelope(len(t), attack=0.06, release=0.08)


def _horn(note: Note) -> Sound:
    t = _times(note.length + 0.07)
    phase = 2 * np.pi * _hertz(note.pitch) * t + 0.2 * np.sin(2 * np.pi * 5.2 * t)
    brightness = 0.3 + 0.7 * np.clip(t * 9, 0, 1)
    sound = sum(brightness**number / number * np.sin(number * phase) for number in range(1, 9))
    return 0.8 * sound * _envelope(len(t), attack=0.03, release=0.07)


INSTRUMENTS: dict[str, Callable[[Note], Sound]] = {
    "kick": _kick,
    "snare": _snare,
    "hat": _hat,
    "bass": _bass,
    "voice": _voice,
    "pad": _pad,
    "saw": _saw,
    "drive": _drive,
    "keys": _keys,
    "bell": _bell,
    "string": _string,
    "flute": _flute,
    "horn": _horn,
}


# What instruments are made of


def _times(seconds: float) -> Sound:
    return np.arange(max(1, int(seconds * RATE))) / RATE


def _hertz(pitch: float) -> float:
    return float(440 * 2 ** ((pitch - 69) / 12))


def _harmonics(t: Sound, pitch: float, strengths: tuple[float, ...], *, decay: float) -> Sound:
    """Sines over a pitch; the higher, the sooner they fall silent."""
    frequency = _hertz(pitch)
    sound = np.zeros_like(t)
    for number, strength in enumerate(strengths, start=1):
        if number * frequency > RATE / 2:
            break
        sound += (
            strength * np.exp(-t * decay * number**0.7) * np.sin(2 * np.pi * number * frequency * t)
        )
    return sound


def _envelope(count: int, *, attack: float, release: float) -> Sound:
    place = np.arange(count)
    rise = np.clip(place / max(1, attack * RATE), 0, 1)
    return rise * np.clip((count - place) / max(1, release * RATE), 0, 1)


def _noise(count: int) -> Sound:
    return np.random.default_rng(count).uniform(-1, 1, count)


def _in_a_room(sound: Sound) -> Sound:
    """The sound with what the walls send back."""
    t = _times(ROOM_SECONDS)
    echo = np.stack([_noise(len(t)), _noise(len(t) + 1)[1:]], axis=1) * np.exp(-t * 4.5)[:, None]
    # Walls swallow what is high.
    echo = np.cumsum(echo, axis=0)
    echo = echo - np.stack([np.convolve(side, np.ones(64) / 64, "same") for side in echo.T], axis=1)
    echo *= 1.1 / np.sqrt((echo**2).sum(axis=0))
    size = 1 << int(np.ceil(np.log2(len(sound) + len(echo))))
    spectrum = np.fft.rfft(sound, size, axis=0) * np.fft.rfft(echo, size, axis=0)
    return sound * 0.6 + np.fft.irfft(spectrum, size, axis=0)[: len(sound)]
