"""`db backfill`: filling columns of large tables while they are in use."""

from argparse import ArgumentParser
from typing import Any

from pixsim.schema import backfills
from pixsim.schema.backfills import State, Status
from pixsim.schema.errors import FINE, WRONG, UsageError
from pixsim.schema.locking import schema_lock
from pixsim.schema.reporting import number
from pixsim.schema.verbs import Context, Verb


class Backfill(Verb):
    name = "backfill"
    help = "List, run, pause or resume the registered backfills."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["list", "run", "pause", "resume"])
        parser.add_argument("name", nargs="?", help="as `list` shows it")
        parser.add_argument(
            "--restart", action="store_true", help="begin again at the first pending row"
        )
        parser.add_argument(
            "--share",
            type=_percent,
            default=100,
            metavar="PERCENT",
            help="how much of the time to work, to leave the rest to others (default 100)",
        )
        parser.add_argument(
            "--goal",
            type=_seconds,
            default=0.2,
            metavar="SECONDS",
            help="how long a transaction should take: nobody waits much longer (default 0.2)",
        )

    def run(self, context: Context) -> int:
        action, name = context.options.action, context.options.name
        if action == "list":
            if name:
                raise UsageError("`backfill list` takes no name: it shows all of them.")
            return _list(context)
        if not name:
            raise UsageError(f"Say which: `manage.py db backfill {action} NAME`.")
        if action == "pause":
            return _pause(context)
        if context.options.restart and action == "resume":
            raise UsageError("`resume` goes on; to begin again say `run --restart`.")
        return _run(context)


def _list(context: Context) -> int:
    known = backfills.registered()
    undoing = {backfill.undo.name for backfill in known.values() if backfill.undo}
    found = [
        each
        for each in backfills.statuses(context.connection, known.values())
        # An undo is no work that waits; it is worth a line while it is under way.
        if each.backfill.name not in undoing
        or each.state not in (State.TO_DO, State.DONE, State.NOT_YET)
    ]
    console = context.console
    console.table(
        ("backfill", "state", "rows done", "changed", "pending now", "rows/s", "left", "back with"),
        [
            (
                each.backfill.name,
                each.state,
                _of(each),
                f"{each.changed:,}" if each.updated_at else None,
                None if each.pending is None else f"{each.pending:,}",
                each.rows_per_second and f"{each.rows_per_second:,.0f}",
                _duration(each.seconds_left),
                each.backfill.undo and each.backfill.undo.name,
            )
            for each in found
        ],
    )
    if not found:
        console.say("No app declares a backfill.")
    stopped = [each.backfill.name for each in found if each.state is State.INTERRUPTED]
    for name in stopped:
        console.say(
            f"{name} was stopped in the middle. What was filled stays; go on with "
            f"`manage.py db backfill run {name}`."
        )
    console.result({"backfills": [_as_json(each) for each in found]})
    return WRONG if stopped else FINE


def _pause(context: Context) -> int:
    now = backfills.pause(context.connection, backfills.named(context.options.name))
    name = now.backfill.name
    context.console.say(
        f"{name} ends after the rows it is at."
        if now.state is State.PAUSING
        else f"{name} is paused. Nobody runs it now."
    )
    context.console.say(f"Go on with `manage.py db backfill resume {name}`.")
    context.console.result(_as_json(now))
    return FINE


def _run(context: Context) -> int:
    options, console = context.options, context.console
    backfill = backfills.named(options.name)
    with schema_lock(context.connection, say=console.say), console.progress(backfill.name) as show:
        now = backfills.run(
            context.connection,
            backfill,
            resume=options.action == "resume",
            restart=options.restart,
            share=options.share / 100,
            goal_seconds=options.goal,
            on_progress=show,
        )
    rate = f", {now.rows_per_second:,.0f} rows/s" if now.rows_per_second else ""
    console.say(
        f"{backfill.name} is done: {now.changed:,} of {now.done:,} rows were changed{rate}."
        if now.done
        else f"{backfill.name}: no row is pending."
    )
    if now.pending:
        console.say(
            f"{now.pending:,} rows are still as they were: the backfill had nothing to say about "
            f"them, or they came meanwhile."
        )
    if backfill.undo:
        console.say(f"Back with `manage.py db backfill run {backfill.undo.name}`.")
    console.result(_as_json(now))
    return FINE


def _as_json(status: Status) -> dict[str, Any]:
    return {
        "name": status.backfill.name,
        "help": status.backfill.help,
        "table": status.backfill.table,
        "undo": status.backfill.undo.name if status.backfill.undo else None,
        "state": status.state,
        "done": status.done,
        "changed": status.changed,
        "total": status.total,
        "pending": status.pending,
        "rows_per_second": status.rows_per_second,
        "seconds_left": status.seconds_left,
        "updated_at": status.updated_at,
    }


def _of(status: Status) -> str | None:
    if status.updated_at is None:
        return None
    return f"{status.done:,}" + (f" of {status.total:,}" if status.total is not None else "")


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _percent(text: str) -> float:
    return number(text, least=1, most=100, what="a percentage from 1 to 100")


def _seconds(text: str) -> float:
    return number(text, least=0.01, most=60, what="seconds from 0.01 to 60")
