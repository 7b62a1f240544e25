"""Charts as inline SVG, drawn on the server. Colours and sizes are classes of pixsim/admin.css."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from pixsim.core.admin.display import bar

WIDTH, HEIGHT = 600, 170
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 8, 24


@dataclass(frozen=True)
class Column:
    """One column of a chart: (tone, value) from the ground up, and what it says when hovered."""

    parts: Sequence[tuple[str, float]]
    title: str = ""
    label: str = ""

    @property
    def total(self) -> float:
        return sum(value for _tone, value in self.parts)


@dataclass(frozen=True)
class Row:
    """One line of a list of bars; `text` is the value in words, `url` what the label leads to."""

    label: str
    value: float
    text: str
    tone: str = "busy"
    note: str = ""
    url: str = ""


def columns(items: Sequence[Column], *, label: str) -> SafeString:
    """Draw columns side by side over an axis from zero; those with a label have it below them."""
    top = nice_ceiling(max((item.total for item in items), default=0))
    ground, height = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT - RIGHT) / max(len(items), 1)
    gap = min(2.0, step * 0.2)
    drawn = []
    for place, item in enumerate(items):
        x, y = LEFT + place * step, float(ground)
        boxes = []
        for tone, value in item.parts:
            size = height * value / top
            y -= size
            box = {"x": x + gap / 2, "y": y, "width": step - gap, "height": size}
            boxes.append({"tone": tone} | _rounded(box))
        place_of = _rounded({"x": x, "middle": x + step / 2, "width": step, "height": height})
        drawn.append({"title": item.title, "label": item.label, "boxes": boxes} | place_of)
    ticks = [
        {"text": _short(top * part)} | _rounded({"y": ground - height * part})
        for part in (0, 0.5, 1)
    ]
    frame = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP}
    shown = {"label": label, "columns": drawn, "ticks": ticks}
    return render_to_string("admin/chart_columns.svg", frame | shown)


def bars(rows: Sequence[Row]) -> SafeString:
    """Draw a table of horizontal bars; the greatest value has the longest."""
    most = max((row.value for row in rows), default=0) or 1
    drawn = [
        (row, bar([(row.tone, row.value / most)], label=f"{row.label}: {row.text}")) for row in rows
    ]
    return render_to_string("admin/chart_bars.html", {"rows": drawn})


def nice_ceiling(value: float) -> float:
    """The next 1, 2 or 4 times a power of ten, at least 2: its half is a round number too."""
    if not 2 < value < float("inf"):
        return 2.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 10) if step * power >= value)


def _short(value: float) -> str:
    """A number for an axis: 1500 is 1.5k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _rounded(numbers: dict[str, float]) -> dict[str, str]:
    """Return coordinates without a dozen decimals."""
    return {name: f"{value:.2f}".rstrip("0").rstrip(".") for name, value in numbers.items()}
