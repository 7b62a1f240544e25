"""`db downgrade`: take migrations back, after printing what is lost with them."""

from argparse import ArgumentParser
from collections.abc import Sequence

from django.db.migrations import RunPython, RunSQL
from django.db.migrations.loader import MigrationLoader

from pixsim.schema import plugins
from pixsim.schema.console import Console
from pixsim.schema.dependents import (
    add_dependents_argument,
    dependents_of,
    refuse_dependents,
)
from pixsim.schema.destructive_changes import (
    DestructiveChange,
    destructive_changes_of,
    refuse_irreversible,
)
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.ownership import refuse_foreign
from pixsim.schema.reporting import (
    Reporter,
    add_lock_arguments,
    dependents_as_json,
    lock_policy_from,
    name,
    show_dependents,
    show_plan,
)
from pixsim.schema.running import run
from pixsim.schema.target_parsing import RELATIVE
from pixsim.schema.targets import Plan, executable, plan_for
from pixsim.schema.verbs import Context, Verb
from pixsim.schema.verbs.sql import write_script


class Downgrade(Verb):
    name = "downgrade"
    help = "Take migrations back: the last N (-N), or down to a target (APP NAME, APP zero)."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", nargs="*", help="-1, APP -1, APP NAME, APP zero, zero")
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--plan", action="store_true", help="say what would be done, only")
        instead.add_argument(
            "--sql",
            action="store_true",
            help="print the script for psql, as `db sql --backwards` does: [START:]END",
        )
        add_dependents_argument(parser)
        add_lock_arguments(parser)

    def run(self, context: Context) -> int:
        connection, console, options = context.connection, context.console, context.options
        if options.sql:
            _refuse_counting(options.target)
            return write_script(context, options.target, backwards=True)
        loader = load_migrations(connection)
        refuse_foreign(connection, loader)
        history = read_history(connection, loader=loader)
        plan = plan_for(
            loader, history.keys, options.target, backwards=True, revisions=plugins.revisions()
        )
        refuse_irreversible(loader, plan)
        lost = destructive_changes_of(connection, loader, plan)
        dependents = dependents_of(connection, loader, executable(loader, plan))
        if options.plan:
            _warn(console, loader, plan, lost)
            show_dependents(console, dependents)
            more = {"lost": [_as_json(each) for each in lost], **dependents_as_json(dependents)}
            show_plan(console, loader, plan, more)
            return FINE
        if plan.steps:
            _show(console, plan)
            _warn(console, loader, plan, lost)
            refuse_dependents(dependents, may_go=options.drop_dependents)
            show_dependents(console, dependents)
            console.confirm(f"Take back {len(plan.steps)}?")
        with console.progress("Taking back") as bar:
            reporter = Reporter(console, len(plan.steps), bar)
            done = run(
                connection,
                plan.steps,
                policy=lock_policy_from(options),
                listener=reporter,
                drop_dependents=options.drop_dependents,
            )
        reporter.conclude(plan, done)
        return FINE


def _refuse_counting(words: Sequence[str]) -> None:
    """Raise UsageError for -N without a START: a script does not ask what was applied last."""
    if words and RELATIVE.fullmatch(words[-1]):
        raise UsageError(
            f"{words[-1]} counts from the last one applied, and --sql asks no database. Say which: "
            f"`downgrade START:END --sql`, with the names that `manage.py db history` shows."
        )


def _show(console: Console, plan: Plan) -> None:
    console.say("To be taken back, in this order:")
    for step in plan.steps:
        along = "" if step.asked else "   (needs what goes, so it must go too)"
        console.say(f"  {name(step)}{along}")


def _warn(
    console: Console, loader: MigrationLoader, plan: Plan, lost: list[DestructiveChange]
) -> None:
    """Print what is lost for good, and which steps run statements of their own."""
    if any(each.rows.count for each in lost):
        console.say("This data is lost, unless there is a backup (`manage.py db backup`):")
    elif lost:
        console.say("Nothing is lost; these are empty:")
    for each in lost:
        console.say(f"  {each}")
    own = [
        name(step)
        for step in plan.steps
        for operation in loader.graph.nodes[step.key].operations
        if (isinstance(operation, RunSQL) and operation.reverse_sql)
        or (isinstance(operation, RunPython) and operation.reverse_code is not RunPython.noop)
    ]
    if own:
        console.say("These run statements of their own, so read what they say of the way back:")
        for step_name in dict.fromkeys(own):
            console.say(f"  {step_name}")


def _as_json(loss: DestructiveChange) -> dict[str, object]:
    return {
        "table": loss.table,
        "column": loss.column,
        "rows": loss.rows.count,
        "exact": loss.rows.is_exact,
    }
