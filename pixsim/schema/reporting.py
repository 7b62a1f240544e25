"""The output of a run for people and machines, and the options that upgrade, downgrade and migrate
share."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from pixsim.schema.console import Console
from pixsim.schema.dependents import Dependent, listing
from pixsim.schema.lock_retry import LockPolicy, Wait
from pixsim.schema.running import Done, Listener
from pixsim.schema.targets import Plan, Step

NOTE = re.compile(r"\s*note: .*", re.I)
"""What django_pg_migration_tools adds to the description of its operations: its own name."""


class Reporter(Listener):
    """Print a line for each migration and each wait, and move the bar."""

    def __init__(
        self, console: Console, total: int, bar: Callable[[int, int | None], None]
    ) -> None:
        self._console = console
        self._total = total
        self._bar = bar
        self._finished = 0

    def begins(self, step: Step) -> None:
        self._bar(self._finished, self._total)

    def waits(self, wait: Wait) -> None:
        self._console.say(describe_wait(wait))

    def ended(self, done: Done) -> None:
        self._finished += 1
        self._bar(self._finished, self._total)
        verb = "Took back" if done.step.backwards else "Applied"
        self._console.say(f"{verb} {name(done.step)} in {done.seconds:.2f} s")

    def conclude(self, plan: Plan, done: Sequence[Done]) -> None:
        """Print the last line, and the object for machines."""
        seconds = sum(each.seconds for each in done)
        if not done:
            self._console.say(_nothing(plan))
        else:
            count = f"{len(done)} migration{'' if len(done) == 1 else 's'}"
            self._console.say(f"{count} in {seconds:.2f} s: {plan.target}.")
        self._console.result(
            {
                "target": plan.target,
                "done": [
                    {
                        "app": each.step.app,
                        "name": each.step.name,
                        "backwards": each.step.backwards,
                        "seconds": round(each.seconds, 3),
                        "waits": [str(wait) for wait in each.waits],
                    }
                    for each in done
                ],
            }
        )


def describe_wait(wait: Wait) -> str:
    """Return a wait as a line."""
    if not wait.tries:
        return f"  LockRetry for {wait.seconds:.0f} s for {wait}"
    return f"  Gave up try {wait.tries} for {wait}. Next try in {wait.pause:.1f} s."


def name(step: Step) -> str:
    """A migration as the commands take it."""
    return f"{step.app} {step.name}"


def describe_operation(operation: Operation) -> str:
    """Return what an operation says of itself, in one line."""
    return " ".join(NOTE.sub("", operation.describe()).split())


def _nothing(plan: Plan) -> str:
    return f"Nothing to do: {plan.target} is reached already."


def show_plan(
    console: Console, loader: MigrationLoader, plan: Plan, more: dict[str, Any] | None = None
) -> None:
    """Print what a run would do, operation by operation."""
    if not plan.steps:
        console.say(_nothing(plan))
    for step in plan.steps:
        along = "" if step.asked else ", which has to go along"
        console.say(f"{'Take back' if step.backwards else 'Apply'} {name(step)}{along}")
        for operation in loader.graph.nodes[step.key].operations:
            console.say(f"    {describe_operation(operation)}")
    console.result(
        {
            "target": plan.target,
            "plan": [
                {
                    "app": step.app,
                    "name": step.name,
                    "backwards": step.backwards,
                    "asked": step.asked,
                }
                for step in plan.steps
            ],
            **(more or {}),
        }
    )


def show_dependents(console: Console, found: Sequence[Dependent]) -> None:
    """Print what no migration made and goes with what a run drops."""
    if found:
        console.say(listing(found))


def dependents_as_json(found: Sequence[Dependent]) -> dict[str, Any]:
    return {"dependents": [each.as_json() for each in found]}


def add_lock_arguments(parser: ArgumentParser) -> None:
    """Add the options of verbs that take locks."""
    parser.add_argument(
        "--lock-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long a statement, and those behind it, may wait for a lock",
    )
    parser.add_argument(
        "--tries", type=_count, metavar="N", help="how often a lock is tried for, with pauses"
    )
    parser.add_argument(
        "--wait", action="store_true", help="wait while another run changes the database"
    )


def lock_policy_from(options: Namespace) -> LockPolicy:
    """Return the lock policy of those options and the settings."""
    return LockPolicy.from_settings(lock_timeout=options.lock_timeout, tries=options.tries)


def number(text: str, *, least: float, most: float, what: str) -> float:
    """Return the number of an option. Raise ArgumentTypeError, saying that it is not `what`."""
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ArgumentTypeError(f"{text!r} is not {what}")
    return value


def _seconds(text: str) -> float:
    return number(text, least=0.001, most=86_400, what="seconds from 0.001 to 86400")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
