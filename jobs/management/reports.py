"""The queue's figures in words and tables, for a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from jobs.queue.ops.maintenance import Tick
from jobs.queue.ops.status import KindStatus
from pixsim.core.invariants import Finding


def status_tables(status: KindStatus) -> str:
    """One kind's figures as tables."""
    parts: list[RenderableType] = [
        Text(f"{status.kind}, {status.taken_at:%Y-%m-%d %H:%M:%S %Z}", style="bold"),
        *(Text(note) for note in status.notes),
        _table("Items", ["state", "items"], [(s, str(c)) for s, c in status.counts.items()]),
        _table("Oldest", ["of", "age"], _ages(status)),
        _table("Last hour", ["figure", ""], _recent(status)),
        _table("Retries", ["retries", "finished", "waiting for the next"], _retries(status)),
        _table(
            "Open items by tier", ["tier", "items"], [(t, str(c)) for t, c in status.tiers.items()]
        ),
        _table(
            "Ended leases not yet taken back",
            ["item", "task", "retries", "overdue"],
            _stuck(status),
        ),
        _table(
            "Indexes",
            ["index", "scans", "rows read", "size"],
            [(i.name, f"{i.scans:,}", f"{i.rows_read:,}", _size(i.bytes)) for i in status.indexes],
        ),
    ]
    if status.table:
        table = status.table
        row = (
            f"{table.live_rows:,}",
            f"{table.dead_rows:,}",
            _size(table.table_bytes),
            _size(table.index_bytes),
            _ago(table.vacuumed_at, status.taken_at),
            _ago(table.analyzed_at, status.taken_at),
        )
        heads = ["live rows", "dead rows", "size", "indexes", "vacuumed", "analyzed"]
        parts.append(_table("Table", heads, [row]))
    return _render(Group(*parts))


def finding_lines(finding: Finding) -> str:
    """One line for an invariant that holds; for a broken one the rows follow."""
    verdict = "ok    " if finding.holds else "BROKEN"
    lines = [f"{verdict} {finding.invariant.subject}: {finding.name}: {finding.invariant.sentence}"]
    lines += [f"         {row}" for row in finding.row_texts()]
    if finding.more:
        lines.append("         … and more")
    return "\n".join(lines)


def finding_dict(finding: Finding) -> dict[str, Any]:
    """For JSON."""
    return {
        "kind": finding.invariant.subject,
        "name": finding.name,
        "sentence": finding.invariant.sentence,
        "holds": finding.holds,
        "rows": finding.rows,
        "count": finding.count,
        "more": finding.more,
        "seconds": finding.seconds,
    }


@contextmanager
def progress() -> Iterator[Callable[[str], Tick]]:
    """Shows on a terminal what is going on: name a step, then call what comes back with its count."""
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("")

        def show(name: str) -> Tick:
            bar.update(task, description=name)
            return lambda count: bar.update(task, description=f"{name}: {count:,}")

        yield show


def _ages(status: KindStatus) -> list[tuple[str, ...]]:
    ages = status.ages
    by_priority = [
        (f"ready, priority {priority}", _duration(age))
        for priority, age in ages.ready_by_priority.items()
    ]
    return [
        ("ready", _duration(ages.ready)),
        *by_priority,
        (f"waiting for a window ({status.waiting_owners} owners)", _duration(ages.waiting)),
        ("processing", _duration(ages.processing)),
    ]


def _recent(status: KindStatus) -> list[tuple[str, ...]]:
    recent = status.recent
    rates = [
        (f"finished per minute, last {minutes} min", f"{rate:,.1f}")
        for minutes, rate in recent.per_minute.items()
    ]
    failed = "-" if recent.failed_percent is None else f"{recent.failed_percent:.1f} %"
    return [
        ("finished", f"{recent.finished:,}"),
        *rates,
        ("failed", failed),
        ("processing time, median", _duration(recent.seconds_p50)),
        ("processing time, 95 %", _duration(recent.seconds_p95)),
        ("processing time, longest", _duration(recent.seconds_max)),
    ]


def _retries(status: KindStatus) -> list[tuple[str, ...]]:
    finished, retrying = status.recent.retries, status.retrying
    return [
        (str(count), f"{finished.get(count, 0):,}", f"{retrying.get(count, 0):,}")
        for count in sorted({*finished, *retrying})
    ]


def _stuck(status: KindStatus) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (str(one.id), one.task_id or "-", str(one.retry_count), _duration(one.overdue_seconds))
        for one in status.stuck
    ]
    if status.stuck_count > len(rows):
        rows.append((f"{status.stuck_count:,} in all", "", "", ""))
    return rows


def _table(title: str, heads: list[str], rows: list[tuple[str, ...]]) -> RenderableType:
    if not rows:
        return Text.assemble((title, "bold"), ": none")
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _render(parts: RenderableType) -> str:
    console = Console()
    with console.capture() as capture:
        console.print(parts)
    return capture.get()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{_duration((now - moment).total_seconds())} ago"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
