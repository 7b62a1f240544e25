"""Damage to a file: what a defect of a parser is usually found with."""

import random
import struct

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def damaged(data: bytes, others: list[bytes], dice: random.Random) -> bytes:
    """Return the file with one to eight changes. The same dice give the same file."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 8))):
        dice.choice(CHANGES)(changed, others, dice)
    return bytes(changed[:2_000_000])


def _place(data: bytearray, dice: random.Random) -> int:
    # Headers are at the front, and decide most.
    return dice.randrange(min(len(data), dice.choice((64, 512, len(data) or 1))) or 1)


def _set_bytes(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    data[at : at + 1] = bytes([dice.randrange(256)])


def _set_number(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    at, form = _place(data, dice), dice.choice(("<I", ">I", "<H", ">H"))
    number = dice.choice(EXTREMES) & (0xFFFF if form[1] == "H" else 0xFFFFFFFF)
    data[at : at + struct.calcsize(form)] = struct.pack(form, number)


def _cut(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    del data[_place(data, dice) :]


def _remove(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    del data[at : at + dice.randrange(1, 200)]


def _repeat(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    part = bytes(data[at : at + dice.randrange(1, 64)])
    data[at:at] = part * dice.choice((2, 20, 2000))


def _insert(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    at = _place(data, dice)
    data[at:at] = dice.randbytes(dice.randrange(1, 100))


def _splice(data: bytearray, others: list[bytes], dice: random.Random) -> None:
    other = dice.choice(others)
    data[_place(data, dice) :] = other[dice.randrange(len(other) or 1) :]


CHANGES = (
    _set_bytes,
    _set_bytes,
    _set_number,
    _set_number,
    _cut,
    _remove,
    _repeat,
    _insert,
    _splice,
)
