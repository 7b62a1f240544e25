"""`db rehearse`: upgrade a copy of the database, and print what that did."""

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pixsim.schema import plugins
from pixsim.schema.connecting import look
from pixsim.schema.console import Console, readable_size
from pixsim.schema.copying import Copy, drop_left_behind
from pixsim.schema.dependents import add_dependents_argument
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.lock_monitor import Lock
from pixsim.schema.ownership import refuse_foreign
from pixsim.schema.rehearsal import Measured, RehearsalListener, Rehearsed, rehearse
from pixsim.schema.reporting import name
from pixsim.schema.running import Done
from pixsim.schema.targets import plan_for
from pixsim.schema.verbs import Context, Verb


class Rehearse(Verb):
    name = "rehearse"
    help = "Upgrade a copy of the database: how long, which locks, rewrites and rows; then drop it."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", nargs="*", help="as for upgrade; head if it is left out")
        parser.add_argument("--keep", action="store_true", help="leave the copy to look at")
        add_dependents_argument(parser)

    def run(self, context: Context) -> int:
        connection, console = context.connection, context.console
        left_behind = drop_left_behind(connection)
        for each in left_behind:
            console.say(f"An earlier rehearsal did not end; its copy {each} is gone now.")
        loader = load_migrations(connection)
        refuse_foreign(connection, loader)
        history = read_history(connection, loader=loader)
        plan = plan_for(loader, history.keys, context.options.target, revisions=plugins.revisions())
        if not plan.steps:
            console.say(f"Nothing to rehearse: {plan.target} is reached already.")
            console.result({"target": plan.target, "migrations": [], "left_behind": left_behind})
            return FINE
        console.say(f"Copying {readable_size(look(connection).size)}.")
        with console.progress("Rehearsing") as bar:
            rehearsed = rehearse(
                connection,
                loader,
                plan.steps,
                keep=context.options.keep,
                drop_dependents=context.options.drop_dependents,
                listener=_Printer(console, len(plan.steps), bar),
                report=bar,
            )
        _show(console, rehearsed, len(plan.steps))
        console.result({"target": plan.target, "left_behind": left_behind, **_as_json(rehearsed)})
        return WRONG if rehearsed.failure else FINE


class _Printer(RehearsalListener):
    """Print the progress."""

    def __init__(
        self, console: Console, total: int, bar: Callable[[int, int | None], None]
    ) -> None:
        self._console = console
        self._bar = bar
        self._total = total
        self._finished = 0

    def copied(self, copy: Copy) -> None:
        how = f"dumped and loaded ({copy.why_loaded})" if copy.why_loaded else "cloned"
        self._console.say(f"The copy was {how} in {copy.seconds:.1f} s.")
        for each in copy.missing:
            self._console.say(f"The copy is without {each}")
        self._bar(0, self._total)

    def ended(self, done: Done) -> None:
        self._finished += 1
        self._bar(self._finished, self._total)


def _show(console: Console, rehearsed: Rehearsed, planned: int) -> None:
    console.say()
    console.table(
        ("migration", "seconds", "locks", "rewritten", "rows"),
        [line for measured in rehearsed.measured for line in _lines(measured)],
    )
    console.say()
    count, seconds = len(rehearsed.measured), _seconds(rehearsed)
    if rehearsed.failure:
        console.say(f"{rehearsed.failure}")
        console.say(f"{count} of {planned} migrations were applied to the copy.")
    else:
        console.say(f"{count} migration{'s' * (count != 1)} in {seconds:.2f} s.")
    if worst := _longest(rehearsed):
        measured, lock = worst
        console.say(
            f"The longest that {lock.blocks} would wait: {lock.seconds:.2f} s, for "
            f"{_short(lock.table)} in {name(measured.done.step)}."
        )
    kept = rehearsed.copy.kept_as
    console.say(
        f"The copy is kept as {kept}; drop it with `dropdb {kept}`."
        if kept
        else "The copy is gone."
    )
    console.say("The database itself is as it was.")


def _lines(measured: Measured) -> list[tuple[str, ...]]:
    """Return the table rows of one migration: its first lock beside its name, other locks below."""
    effect = measured.effect
    columns = [
        [name(measured.done.step)],
        [f"{measured.done.seconds:.2f}"],
        [f"{_short(lock.table)} {lock.mode} {lock.seconds:.2f} s" for lock in effect.locks],
        [_short(table) for table in effect.rewritten],
        [
            f"{_short(table)} {now - was:+,}"
            for table, (was, now) in effect.rows.items()
            if now - was
        ],
    ]
    height = max(len(column) for column in columns)
    padded = [column + [""] * (height - len(column)) for column in columns]
    return list(zip(*padded, strict=True))


def _longest(rehearsed: Rehearsed) -> tuple[Measured, Lock] | None:
    """Return the lock that another session would wait for longest."""
    locks = [
        (measured, lock)
        for measured in rehearsed.measured
        for lock in measured.effect.locks
        if lock.blocks != "nobody"
    ]
    return max(locks, key=lambda each: each[1].seconds, default=None)


def _seconds(rehearsed: Rehearsed) -> float:
    return sum(measured.done.seconds for measured in rehearsed.measured)


def _short(table: str) -> str:
    return table.removeprefix("public.")


def _as_json(rehearsed: Rehearsed) -> dict[str, Any]:
    copy = rehearsed.copy
    return {
        "copy": {
            "how": "dump" if copy.why_loaded else "template",
            "seconds": round(copy.seconds, 3),
            "why_loaded": copy.why_loaded or None,
            "missing_extensions": [asdict(each) for each in copy.missing],
            "kept_as": copy.kept_as,
        },
        "seconds": round(_seconds(rehearsed), 3),
        "failure": rehearsed.failure or None,
        "migrations": [
            {
                "app": measured.done.step.app,
                "name": measured.done.step.name,
                "seconds": round(measured.done.seconds, 3),
                "locks": [
                    {
                        "table": lock.table,
                        "mode": lock.mode,
                        "blocks": lock.blocks,
                        "seconds": round(lock.seconds, 3),
                    }
                    for lock in measured.effect.locks
                ],
                "rewritten": list(measured.effect.rewritten),
                "rows": {table: list(rows) for table, rows in measured.effect.rows.items()},
            }
            for measured in rehearsed.measured
        ],
    }
