"""The orientation that a file says in its metadata, and the smallest metadata that says it again.

Read as Pillow reads it, since loaders turn pictures by that. Strict programs, as browsers, know less: only
one SHORT in the first directory of the EXIF block. So an orientation is written as a SHORT if it was one,
and as a LONG if it was said in another way, which those who are strict pass over as they did before: no
program shows a file without its metadata in another way than the file.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pixsim.core.patterns import pattern

EXIF_NAME = b"Exif\0\0"
_TAG, _SHORT, _LONG = 0x0112, 3, 4
_ORDERS: Mapping[bytes, str] = {b"II*\0": "<", b"MM\0*": ">", b"II\0*": "<", b"MM*\0": ">"}
_PLAIN_BEGINS = (b"II*\0", b"MM\0*")
_NUMBERS: Mapping[int, str] = {
    3: "H", 4: "I", 5: "II", 6: "b", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I", 16: "Q",
}  # fmt: skip
_UNITS = {kind: struct.calcsize(f"<{layout}") for kind, layout in _NUMBERS.items()}
_UNITS |= dict.fromkeys((1, 2, 7), 1)
"""Bytes of one value, by type (TIFF 6.0, page 15); 1, 2 and 7 are bytes and text, and no numbers here."""
_MAX_XMP = 16 * 1024**2
_find_in_xmp = pattern(rb'tiff:Orientation(?:="|>)([0-9])', longest=_MAX_XMP, method="search")


class _Said(NamedTuple):
    """What an EXIF block says: any number, and whether strict programs read it, too."""

    value: float
    is_plain: bool


class _Entry(NamedTuple):
    kind: int
    values: int
    value: bytes


def minimal_exif(exif: bytes | None, xmp: bytes | None = None, *, is_plain: bool = True) -> bytes:
    """Return an EXIF block with the orientation that these say alone; no bytes if it is upright.

    `exif` is what follows its name, and may begin with the name once more. Only if it says nothing
    `xmp` counts. With `is_plain` False strict programs do not find `exif` where it is.
    """
    said = _in_exif(exif or b"")
    if said is None:
        said = _in_xmp(xmp or b"")
    if said.value not in range(2, 9):
        return b""
    value = int(said.value)
    if is_plain and said.is_plain:
        entry = struct.pack(">HHIHH", _TAG, _SHORT, 1, value, 0)
    else:
        entry = struct.pack(">HHII", _TAG, _LONG, 1, value)
    return struct.pack(">2sHIH", b"MM", 42, 8, 1) + entry + bytes(4)


def _in_xmp(packet: bytes) -> _Said:
    found = _find_in_xmp(packet)
    return _Said(int(found[1]) if found else 0, is_plain=False)


def _in_exif(block: bytes) -> _Said | None:
    """Return what the block says; None if it can be read and does not say it."""
    tiff = block.removeprefix(EXIF_NAME)
    if not tiff:
        return None
    order = _ORDERS.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return _Said(0, is_plain=False)
    entry = _entry(tiff, order)
    if entry is None:
        return None
    is_plain = block[:4] in _PLAIN_BEGINS and (entry.kind, entry.values) == (_SHORT, 1)
    return _Said(_number(entry, order), is_plain)


def _entry(tiff: bytes, order: str) -> _Entry | None:
    """Return the first entry of the tag that Pillow reads (`ImageFileDirectory_v2.load`)."""
    read: set[int] = set()
    size_of_values = 0
    for tag, kind, count, value in _entries(tiff, order):
        size = _UNITS.get(kind, 0) * count
        if tag in read or not size:
            continue
        if size > 4:
            size_of_values += size
            if size_of_values > len(tiff):
                continue
            (at,) = struct.unpack(f"{order}I", value)
            value = tiff[at : at + size]
            if len(value) < size:
                return None  # it reads no further
        read.add(tag)
        if tag == _TAG:
            return _Entry(kind, count, value)
    return None


def _entries(tiff: bytes, order: str) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield tag, type, count and value (or its place) of the first directory, as far as it goes."""
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    if directory + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(f"{order}H", tiff, directory)
    for at in range(directory + 2, min(directory + 2 + 12 * count, len(tiff) - 11), 12):
        yield struct.unpack_from(f"{order}HHI4s", tiff, at)


def _number(entry: _Entry, order: str) -> float:
    layout = _NUMBERS.get(entry.kind)
    if layout is None:
        return 0
    first, *second = struct.unpack_from(order + layout, entry.value)
    if not second:
        return float(first)
    return first / second[0] if second[0] else 0
