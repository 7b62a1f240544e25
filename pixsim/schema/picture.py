"""A picture of the tables: a box each, with its keys and what they refer to, as plain SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from pixsim.schema.catalog import Constraint, Schema, Table
from pixsim.schema.ownership import own_apps
from pixsim.schema.writing import ELSEWHERE, About, in_order, keys_of

WIDTH, GUTTER, MARGIN = 360, 96, 56
"""Of a box, between two columns of boxes, and around all, in pixels."""
LINE, PADDING, GAP = 17, 12, 22
HEAD, SECTION = 30, 34
SENTENCE_CHARACTERS, COLUMN_CHARACTERS = 50, 50
"""How much fits into a line of a box."""

STYLE = """
    .page { fill: #ffffff; stroke: #d8dee6; }
    text { font: 12px ui-monospace, "SF Mono", Menlo, Consolas, monospace; fill: #1f2933; }
    .app { font: 600 17px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    .name { font-weight: 600; font-size: 14px; }
    .says { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #52606d; }
    .key { fill: #2b6cb0; }
    .rest { font-size: 11px; fill: #52606d; }
    .box { fill: #f5f7fa; stroke: #9aa5b1; }
    .head { fill: #e8f2fd; stroke: #9aa5b1; }
    .line { fill: none; stroke: #2b6cb0; stroke-width: 1.3; opacity: 0.55; }
    .tip { fill: #2b6cb0; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #14181f; stroke: #2d3748; }
      text { fill: #e4e7eb; }
      .says, .rest { fill: #a9b4c0; }
      .key { fill: #7db8f0; }
      .box { fill: #1f2733; stroke: #5a6b7f; }
      .head { fill: #14283f; stroke: #5a6b7f; }
      .line { stroke: #5aa2e6; }
      .tip { fill: #5aa2e6; }
    }
"""


@dataclass
class _Box:
    table: Table
    sentence: list[str]
    keys: list[Constraint]
    rest: list[str]
    """The other columns, wrapped."""
    column: int = 0
    x: int = 0
    y: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    """Where each key stands, by its name."""

    @property
    def height(self) -> int:
        lines = len(self.sentence) + len(self.keys) + len(self.rest)
        return HEAD + 2 * PADDING + LINE * lines


def as_svg(schema: Schema, about: Mapping[str, About], *, title: str) -> str:
    """The tables of the project's own apps, and those that they refer to, column by column.

    A line leads from a key to what it refers to, if that is in the same column or in the next.
    """
    groups = _groups(schema, about)
    height = _place(groups)
    boxes = {box.table.name: box for boxes in groups.values() for box in boxes}
    columns = 1 + max((box.column for box in boxes.values()), default=0)
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GUTTER
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="title description">',
        f'  <title id="title">{escape(title)}</title>',
        f'  <desc id="description">{escape(_description(groups))}</desc>',
        f"  <style>{STYLE}  </style>",
        "  <defs>",
        '    <marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto-start-reverse">',
        '      <path class="tip" d="M0 1 L9 5 L0 9 z"/>',
        "    </marker>",
        "  </defs>",
        f'  <rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
    ]
    for app, group in groups.items():
        drawn.append(f'  <text class="app" x="{group[0].x}" y="{group[0].y - 14}">{app}</text>')
        for box in group:
            drawn += _draw(box)
    for box in boxes.values():
        drawn += _lines(box, boxes)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _groups(schema: Schema, about: Mapping[str, About]) -> dict[str, list[_Box]]:
    """What is drawn, by app: first what others than ours own, then ours from the bottom up."""
    ours = own_apps()
    order = in_order(schema, about)
    wanted = {
        key.to_table
        for app, tables in order.items()
        if app in ours
        for table in tables
        for key in keys_of(table)
    }
    theirs = {
        app: [table for table in tables if table.name in wanted]
        for app, tables in order.items()
        if app not in ours and app != ELSEWHERE
    }
    own = {app: tables for app, tables in order.items() if app in ours}
    return {
        app: [_box(table, about.get(table.name, About())) for table in tables]
        for app, tables in (theirs | own).items()
        if tables
    }


def _box(table: Table, about: About) -> _Box:
    keys = keys_of(table)
    shown = {name for key in keys for name in key.columns}
    rest = ", ".join(name for name in table.columns if name not in shown)
    return _Box(
        table,
        sentence=textwrap.wrap(about.sentence.replace("`", ""), SENTENCE_CHARACTERS),
        keys=keys,
        rest=textwrap.wrap(rest, COLUMN_CHARACTERS, break_on_hyphens=False),
    )


def _place(groups: Mapping[str, list[_Box]]) -> int:
    """Put the groups into columns, none longer than the longest group; the height of all."""
    longest = max(_length(group) for group in groups.values()) if groups else 0
    column, used, height = 0, 0, 0
    for group in groups.values():
        if used and used + _length(group) > longest * 1.25:
            column, used = column + 1, 0
        y = MARGIN // 2 + used + SECTION
        for box in group:
            box.column, box.x, box.y = column, MARGIN + column * (WIDTH + GUTTER), y
            y += box.height + GAP
        used += _length(group)
        height = max(height, y)
    return height + MARGIN // 2 - GAP


def _length(group: list[_Box]) -> int:
    return SECTION + sum(box.height + GAP for box in group)


def _draw(box: _Box) -> Iterator[str]:
    x, y = box.x, box.y
    yield f'  <rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{box.height}" rx="6"/>'
    yield (
        f'  <path class="head" d="M{x} {y + HEAD} V{y + 6} q0 -6 6 -6 H{x + WIDTH - 6} '
        f'q6 0 6 6 V{y + HEAD} z"/>'
    )
    yield f'  <text class="name" x="{x + PADDING}" y="{y + 20}">{escape(box.table.name)}</text>'
    y += HEAD + PADDING
    for line in box.sentence:
        y += LINE
        yield f'  <text class="says" x="{x + PADDING}" y="{y - 4}">{escape(line)}</text>'
    for key in box.keys:
        y += LINE
        box.rows[key.name] = y - 8
        text = f"{', '.join(key.columns)} → {key.to_table}"
        yield f'  <text class="key" x="{x + PADDING}" y="{y - 4}">{escape(text)}</text>'
    for line in box.rest:
        y += LINE
        yield f'  <text class="rest" x="{x + PADDING}" y="{y - 4}">{escape(line)}</text>'


def _lines(box: _Box, boxes: Mapping[str, _Box]) -> Iterator[str]:
    for place, key in enumerate(box.keys):
        target = boxes.get(key.to_table)
        if target is None or abs(target.column - box.column) > 1:
            continue
        y, to = box.rows[key.name], target.y + HEAD // 2
        if target.column == box.column:
            # Round the left side, the further the longer.
            bend = min(12 + 7 * place + abs(to - y) // 40, MARGIN - 8)
            path = f"M{box.x} {y} C{box.x - bend} {y}, {box.x - bend} {to}, {box.x - 2} {to}"
        else:
            out = box.x if target.column < box.column else box.x + WIDTH
            into = target.x + WIDTH + 2 if target.column < box.column else target.x - 2
            middle = (out + into) // 2
            path = f"M{out} {y} C{middle} {y}, {middle} {to}, {into} {to}"
        yield f'  <path class="line" d="{path}" marker-end="url(#tip)"/>'


def _description(groups: Mapping[str, list[_Box]]) -> str:
    return " ".join(
        f"{app}: {', '.join(box.table.name for box in group)}." for app, group in groups.items()
    )
