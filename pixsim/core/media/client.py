"""The parent's end: has a file examined by a confined child, and checks what that answers."""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from pixsim.core.confined import Confined, Died
from pixsim.core.media import decoder
from pixsim.core.text import storable

AT_ONCE = 2
"""Children of one process: their memory is what bounds this."""
BYTES_PER_PIXEL = 20
"""A transparent WebP, which is decoded onto two canvases, needs the most."""
LARGEST_FILE = 512 * 1024**2
SPARE_BYTES = 128 * 1024**2
LONGEST_SIDE, LONGEST_SECONDS = 2**31 - 1, 1e9


class Undecodable(Exception):
    """A file is damaged, too costly, or ended its decoder. The message is a sentence for people.

    `is_certain`: it would be so again.
    """

    def __init__(self, why: str, *, is_certain: bool = True) -> None:
        super().__init__(why)
        self.is_certain = is_certain


class Pixels(NamedTuple):
    """A picture in RGB. What an attacker may have chosen is its colours, nothing else."""

    width: int
    height: int
    rgb: bytes

    def as_jpeg(self, *, quality: int) -> bytes:
        from PIL import Image

        file = io.BytesIO()
        picture = Image.frombytes("RGB", (self.width, self.height), self.rgb)
        picture.save(file, "JPEG", quality=quality)
        return file.getvalue()


class Medium(NamedTuple):
    """What was found out; None where a file does not say, or has no picture."""

    width: int | None
    height: int | None
    duration_sec: float | None
    small: Pixels | None


def max_pixels() -> int:
    """Return the most pixels of a picture: what a crawl accepts can be looked at, too."""
    # Imported here: confined children import this package, and no Django.
    from django.conf import settings

    return max(decoder.MAX_PIXELS, settings.CRAWL_MAX_PIXELS)


def examine(
    data: bytes,
    *,
    mime_type: str = "image/*",
    side: int = 0,
    background: str = "white",
    is_still: bool = False,
    seconds: float = 60.0,
) -> Medium:
    """Return what a picture (of any mime type), an `audio/wav` or a `video/mp4` is.

    `side` is the longer side of the small picture, `background` what shows through where it is
    transparent; `is_still` spares looking beyond the first frame. At most AT_ONCE files are examined
    at once; the others wait. Raise Undecodable, or Unavailable if no child can be started.
    """
    if len(data) > LARGEST_FILE:
        raise Undecodable(f"It has more than {LARGEST_FILE // 1024**2} MiB.")
    request = decoder.Request(len(data), mime_type, side, background, is_still, max_pixels())
    with _child() as child:
        try:
            return _ask(child, request, data, seconds)
        except Died as died:
            if died.is_certain:
                raise Undecodable(f"Its decoder was ended: {died}.") from None
        try:  # once more: it may have been killed by somebody else, or kept from computing
            return _ask(child, request, data, seconds)
        except Died as died:
            text = f"Its decoder was ended: {died}."
            raise Undecodable(text, is_certain=died.is_certain) from None


def _ask(child: Confined, request: decoder.Request, data: bytes, seconds: float) -> Medium:
    [answer] = child.ask(
        request,
        [data],
        seconds=seconds,
        check=partial(_checked, side=request.side),
        max_bytes=3 * request.side**2,
    )
    if isinstance(answer, str):
        raise Undecodable(answer)
    return answer


def _checked(answer: Any, body: bytes, *, side: int) -> Medium | str:
    """Return the answer. Raise ValueError or TypeError for what is none.

    A file may have taken over its decoder: each value is checked.
    """
    if isinstance(answer, str):
        return storable(answer, longest=decoder.MAX_REASON)
    width, height, duration, small_width, small_height = answer
    is_sound = (
        all(one is None or _is_whole(one, LONGEST_SIDE) for one in (width, height))
        and (duration is None or _is_duration(duration))
        and _is_whole(small_width, side)
        and _is_whole(small_height, side)
        and len(body) == 3 * small_width * small_height
    )
    if not is_sound:
        raise ValueError("not what a medium is")
    small = Pixels(small_width, small_height, body) if body else None
    return Medium(width, height, duration, small)


def _is_whole(value: Any, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= LONGEST_SECONDS


# The children of this process

_idle: list[Confined] = []
_turns = threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def _child() -> Iterator[Confined]:
    with _turns:
        try:
            child = _idle.pop()
        except IndexError:
            child = Confined(
                "pixsim.core.media.decoder",
                memory_bytes=max_pixels() * BYTES_PER_PIXEL + LARGEST_FILE + SPARE_BYTES,
            )
        try:
            yield child
        finally:
            _idle.append(child)


def _forget() -> None:
    """A forked process must not speak with the children of its parent."""
    global _turns
    _idle.clear()
    _turns = threading.BoundedSemaphore(AT_ONCE)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
