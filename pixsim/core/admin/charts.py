"""Charts as inline SVG, drawn on the server. Colours and sizes are classes of pixsim/admin.css."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
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


def columns(items: Sequence[Column], *, label: str, unit: str = "") -> SafeString:
    """Columns side by side over an axis from zero; those with a label have it below them."""
    top = nice_ceiling(max((item.total for item in items), default=0))
    ground, height = HEIGHT - BOTTOM, HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT - RIGHT) / max(len(items), 1)
    gap = min(2.0, step * 0.2)
    drawn, labels = [], []
    for place, item in enumerate(items):
        x, y = LEFT + place * step, float(ground)
        boxes = []
        for tone, value in item.parts:
            size = height * value / top
            y -= size
            boxes.append((tone, _n(x + gap / 2), _n(y), _n(step - gap), _n(size)))
        drawn.append(
            (
                item.title,
                _n(x),
                TOP,
                _n(step),
                height,
                format_html_join(
                    "", '<rect class="px-{}" x="{}" y="{}" width="{}" height="{}"/>', boxes
                ),
            )
        )
        if item.label:
            labels.append((_n(x + step / 2), HEIGHT - 6, item.label))
    ticks = [
        (LEFT, _n(ground - height * part), WIDTH - RIGHT, LEFT - 6, _short(top * part))
        for part in (0, 0.5, 1)
    ]
    return format_html(
        '<svg class="px-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>',
        WIDTH,
        HEIGHT,
        label,
        format_html_join(
            "",
            '<line class="px-grid-line" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>'
            '<text class="px-axis px-axis-y" x="{3}" y="{1}">{4}</text>',
            ticks,
        ),
        format_html_join(
            "",
            '<g class="px-column"><title>{}</title>'
            '<rect class="px-hover" x="{}" y="{}" width="{}" height="{}"/>{}</g>',
            drawn,
        ),
        format_html_join("", '<text class="px-axis px-axis-x" x="{}" y="{}">{}</text>', labels),
        format_html('<text class="px-axis" x="{}" y="{}">{}</text>', LEFT + 4, TOP + 8, unit),
    )


def bars(rows: Sequence[Row], *, most: float | None = None) -> SafeString:
    """A table of horizontal bars; the longest is as long as `most`, or as the greatest value."""
    most = most or max((row.value for row in rows), default=0) or 1
    return format_html(
        '<table class="px-bars">{}</table>',
        format_html_join(
            "",
            '<tr><th scope="row">{}</th><td>{}</td><td class="px-number">{}</td>'
            '<td class="px-number px-quiet-text">{}</td></tr>',
            (
                (
                    format_html('<a href="{}">{}</a>', row.url, row.label)
                    if row.url
                    else row.label,
                    bar([(row.tone, row.value / most)], label=f"{row.label}: {row.text}"),
                    row.text,
                    row.note,
                )
                for row in rows
            ),
        ),
    )


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


def _n(value: float) -> str:
    """A coordinate without a dozen decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
