"""`db upgrade`: apply migrations, so that nobody waits long for it."""

from argparse import ArgumentParser

from django.conf import settings

from pixsim.schema import plugins
from pixsim.schema.console import Console
from pixsim.schema.dependents import add_dependents_argument, dependents_of
from pixsim.schema.destructive_changes import Rows
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.ownership import add_foreign_argument, refuse_foreign
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
from pixsim.schema.targets import Step, executable, plan_for
from pixsim.schema.unsafe import Finding, too_large
from pixsim.schema.verbs import Context, Verb
from pixsim.schema.verbs.sql import write_script


class Upgrade(Verb):
    name = "upgrade"
    help = "Apply migrations: to the head, or up to a target (APP, APP NAME, +1, a revision id)."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", nargs="*", help="head if it is left out")
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument("--plan", action="store_true", help="say what would be done, only")
        instead.add_argument(
            "--sql",
            action="store_true",
            help="print the script for psql, as `db sql` does: [START:]END",
        )
        parser.add_argument(
            "--allow-unsafe", action="store_true", help="also what blocks a large table"
        )
        parser.add_argument(
            "--threshold",
            type=int,
            metavar="ROWS",
            default=getattr(settings, "SCHEMA_UNSAFE_ROWS", 100_000),
            help="a table with more rows is large (%(default)s)",
        )
        add_dependents_argument(parser)
        add_lock_arguments(parser)
        add_foreign_argument(parser)

    def run(self, context: Context) -> int:
        connection, console, options = context.connection, context.console, context.options
        if options.sql:
            return write_script(context, options.target)
        loader = load_migrations(connection)
        refuse_foreign(connection, loader, ignore=options.ignore_alembic)
        history = read_history(connection, loader=loader)
        plan = plan_for(loader, history.keys, options.target, revisions=plugins.revisions())
        unsafe = too_large(connection, loader, plan, threshold=options.threshold)
        if options.plan:
            dependents = dependents_of(connection, loader, executable(loader, plan))
            more = {"unsafe": [_as_json(*each) for each in unsafe]}
            show_plan(console, loader, plan, more | dependents_as_json(dependents))
            show_dependents(console, dependents)
        if unsafe:
            _show(console, unsafe)
            if not options.allow_unsafe:
                console.say(
                    "Nothing was changed. Write these in the safe way, or go on with "
                    "--allow-unsafe while nobody uses the tables."
                )
                if not options.plan:
                    console.result({"unsafe": [_as_json(*each) for each in unsafe]})
                return WRONG
        if options.plan:
            return FINE
        if plan.steps and history.applied:
            console.say("Going back may lose what is written from now on: `manage.py db backup`.")
        with console.progress("Applying") as bar:
            reporter = Reporter(console, len(plan.steps), bar)
            done = run(
                connection,
                plan.steps,
                policy=lock_policy_from(options),
                listener=reporter,
                ignore_foreign=options.ignore_alembic,
                drop_dependents=options.drop_dependents,
            )
        reporter.conclude(plan, done)
        return FINE


def _show(console: Console, unsafe: list[tuple[Step, Finding, Rows]]) -> None:
    console.say("These block a large table:")
    for step, finding, rows in unsafe:
        console.say(f"  {name(step)}: {finding.operation}")
        console.say(f"    {finding.table} has {rows}: {finding.why}.")
        console.say(f"    {finding.statement}")
        console.say(f"    The safe way: {finding.rewrite}.")


def _as_json(step: Step, finding: Finding, rows: Rows) -> dict[str, object]:
    return {
        "app": step.app,
        "name": step.name,
        "table": finding.table,
        "rows": rows.count,
        "operation": finding.operation,
        "statement": finding.statement,
        "why": finding.why,
        "rewrite": finding.rewrite,
    }
