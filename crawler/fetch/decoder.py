"""The decoder: examines pictures in a confined process (see `pixsim.core.confined`).

A request is the length and the Checks of each picture of a batch, and the bytes of all pictures.
Each picture is answered by its Verdict as soon as it is examined, so the first one without an
answer is the one that the decoder had in hand when it died. It knows neither Django nor the network.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from crawler.fetch.examine import LATER, OUTCOMES, Verdict, examine
from crawler.fetch.phash import GRID
from crawler.fetch.rules import FORMATS, Checks
from pixsim.core.confined.sandbox import allow_cpu

MAX_DETAIL = 500
QUICK_CPU_SECONDS, CPU_SECONDS = 2.0, 4.0
"""What a picture may cost. 50 million pixels take at most about 2 s in the most costly formats."""


def encode_checks(pictures: Sequence[tuple[bytes, Checks]]) -> list[Any]:
    """Return the header of a batch."""
    return [(len(data), *checks) for data, checks in pictures]


def checked(answer: Any, _body: bytes) -> Verdict:
    """Return a verdict. Raise ValueError or TypeError for what is none.

    A picture may have taken over the decoder: each value is checked.
    """
    outcome, detail, format, width, height, phash = answer
    is_sound = (
        outcome in (*OUTCOMES, LATER)
        and isinstance(detail, str)
        and format in ("", *FORMATS)
        and type(width) is type(height) is int
        and 0 <= min(width, height) <= max(width, height) < 2**31
        and (phash is None or (type(phash) is int and -(2**63) <= phash < 2**63))
    )
    if not is_sound:
        raise ValueError("not a verdict")
    text = detail[:MAX_DETAIL].encode(errors="replace").decode()
    return Verdict(outcome, text, format, width, height, phash)


def prepare(cpu_seconds: float, quick: bool) -> Callable[..., Iterator[tuple[Any, bytes]]]:
    """Import and warm up everything; return what examines batches (`quick`: see `examine`)."""
    import numpy as np
    import simplejpeg
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    warnings.simplefilter("ignore")
    picture = np.arange(GRID * GRID * 3, dtype=np.uint8).reshape(GRID, GRID, 3)
    checks = Checks(GRID * GRID, 1, 1.0)
    examine(simplejpeg.encode_jpeg(picture), checks)
    for kind in ("png", "tiff", "webp", "avif", "gif", "bmp"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, kind)
        examine(buffer.getvalue(), checks)

    def serve(header: Sequence[tuple[Any, ...]], read: Callable[[int], bytes]) -> Iterator[Any]:
        for size, *checks in header:
            data = read(size)
            allow_cpu(cpu_seconds)
            verdict = examine(data, Checks(*checks), quick=quick)
            if verdict.format not in FORMATS:
                verdict = verdict._replace(format="")
            yield verdict._replace(detail=verdict.detail[:MAX_DETAIL]), b""

    return serve
