"""What `manage.py queue` prints for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone
from rich.console import RenderableType
from rich.text import Text

from jobs.queue.ops.status import KindStatus
from jobs.queue.ops.trends import Period, Unit
from jobs.queue.ops.workers import WorkerState
from pixsim.core.cli.tables import Rows, render, table
from pixsim.core.formats import format_duration, format_size
from pixsim.core.invariants import Finding


def status_tables(status: KindStatus) -> str:
    """Return the figures of one kind of work as tables."""
    return render(
        Text(f"{status.kind}, {status.taken_at:%Y-%m-%d %H:%M:%S %Z}", style="bold"),
        *(Text(note) for note in status.notes),
        table(["state", "items"], status.counts.items(), title="Items"),
        table(["of", "age"], _ages(status), title="Oldest"),
        table(["figure", ""], _recent(status), title="Last hour"),
        table(["figure", ""], _backlog(status), title="Backlog"),
        table(["retries", "finished", "waiting for the next"], _retries(status), title="Retries"),
        table(["tier", "items"], status.tiers.items(), title="Open items by tier"),
        table(
            ["item", "task", "retries", "overdue"],
            _stuck(status),
            title="Ended leases not yet taken back",
        ),
        table(["index", "scans", "rows read", "size"], _indexes(status), title="Indexes"),
        *_statements(status),
        table(
            ["live rows", "dead rows", "size", "indexes", "vacuumed", "analyzed"],
            _tables(status),
            title="Table",
        ),
    )


def worker_tables(workers: Sequence[WorkerState]) -> str:
    """Return the workers, and below them what each has in hand."""
    now = timezone.now()
    if not workers:
        return "No worker is alive. Start one: celery -A pixsim worker\n"
    return render(
        table(
            ["worker", "pid", "processes", "version", "up", "seen", "in hand", ""],
            (
                (
                    one.name,
                    one.pid,
                    one.processes,
                    one.version,
                    format_duration((now - one.started_at).total_seconds()),
                    _ago(one.last_seen_at, now),
                    len(one.in_hand),
                    "drains" if one.is_draining else "",
                )
                for one in workers
            ),
            title="Workers",
        ),
        table(
            ["worker", "process", "item", "of job", "attempt", "for"],
            (
                (
                    one.name,
                    item.pid,
                    f"{item.kind} {item.id}",
                    item.parent or "-",
                    item.attempt,
                    format_duration((now - item.started_at).total_seconds()),
                )
                for one in workers
                for item in one.in_hand
            ),
            title="In hand",
        ),
    )


def plain_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as a table; nothing for no rows."""
    if not rows:
        return ""
    values = ([_cell(value) for value in row.values()] for row in rows)
    return render(table([name.replace("_", " ") for name in rows[0]], values))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)


def trend_table(name: str, unit: Unit, periods: Sequence[Period]) -> str:
    """Return a line for each period."""
    heads = ["finished", "failed", "retries", "lost", "median", "95 %", "longest"]
    return render(table([f"{unit} (UTC)", *heads], map(_period, periods), title=name))


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


def _ages(status: KindStatus) -> Rows:
    ages = status.ages
    yield "ready", format_duration(ages.ready)
    for priority, age in ages.ready_by_priority.items():
        yield f"ready, priority {priority}", format_duration(age)
    yield f"waiting for a window ({status.waiting_owners} owners)", format_duration(ages.waiting)
    yield "processing", format_duration(ages.processing)


def _recent(status: KindStatus) -> Rows:
    recent = status.recent
    yield "finished", f"{recent.finished:,}"
    for minutes, rate in recent.per_minute.items():
        yield f"finished per minute, last {minutes} min", f"{rate:,.1f}"
    yield "failed", "-" if recent.failed_percent is None else f"{recent.failed_percent:.1f} %"
    yield "processing time, median", format_duration(recent.seconds_p50)
    yield "processing time, 95 %", format_duration(recent.seconds_p95)
    yield "processing time, longest", format_duration(recent.seconds_max)


def _backlog(status: KindStatus) -> Rows:
    backlog = status.backlog
    yield "items to do, without the held", backlog.items
    per_hour = "-" if backlog.per_hour is None else f"{backlog.per_hour:,.1f}"
    yield "finished per hour, last 24 h", per_hour
    yield "time to empty the backlog at this rate", format_duration(backlog.seconds)


def _period(period: Period) -> Sequence[object]:
    failed = "" if not period.failed else f" ({period.failed_percent:.1f} %)"
    return [
        f"{period.start:%Y-%m-%d %H:%M}",
        f"{period.finished:,}",
        f"{period.failed:,}{failed}",
        f"{period.retries:,}",
        f"{period.lost:,}",
        *map(format_duration, (period.seconds_p50, period.seconds_p95)),
        format_duration(period.seconds_max if period.finished else None),
    ]


def _retries(status: KindStatus) -> Rows:
    finished, retrying = status.recent.retries, status.retrying
    for count in sorted({*finished, *retrying}):
        yield count, f"{finished.get(count, 0):,}", f"{retrying.get(count, 0):,}"


def _stuck(status: KindStatus) -> Rows:
    for lease in status.stuck:
        overdue = format_duration(lease.overdue_seconds)
        yield lease.id, lease.task_id or "-", lease.retry_count, overdue
    if status.stuck_count > len(status.stuck):
        yield f"{status.stuck_count:,} in all", "", "", ""


def _indexes(status: KindStatus) -> Rows:
    for index in status.indexes:
        yield index.name, f"{index.scans:,}", f"{index.rows_read:,}", format_size(index.bytes)


def _statements(status: KindStatus) -> Iterator[RenderableType]:
    if status.statements is not None:
        rows = [
            (
                one.name,
                f"{one.calls:,}",
                format_duration(one.mean_seconds),
                format_duration(one.seconds),
                f"{one.rows:,}",
            )
            for one in status.statements
        ]
        heads = ["statement", "calls", "each", "in all", "rows"]
        yield table(heads, rows, title="Statements")


def _tables(status: KindStatus) -> Rows:
    if state := status.table:
        yield (
            f"{state.live_rows:,}",
            f"{state.dead_rows:,}",
            format_size(state.table_bytes),
            format_size(state.index_bytes),
            _ago(state.vacuumed_at, status.taken_at),
            _ago(state.analyzed_at, status.taken_at),
        )


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{format_duration((now - moment).total_seconds())} ago"
