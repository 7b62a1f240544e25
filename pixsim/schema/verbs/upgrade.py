"""`db upgrade`: apply migrations, so that nobody waits long for it."""

from __future__ import annotations

from argparse import ArgumentParser

from pixsim.schema.adoption.revisions import REVISIONS
from pixsim.schema.errors import FINE
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.reporting import Reporter, add_waiting_arguments, patience_from, show_plan
from pixsim.schema.running import refuse_alembic, run
from pixsim.schema.targets import plan_for
from pixsim.schema.verbs import Context, Verb


class Upgrade(Verb):
    name = "upgrade"
    help = "Apply migrations: to the head, or up to a target (APP, APP NAME, +1, a revision id)."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", nargs="*", help="head if it is left out")
        parser.add_argument("--plan", action="store_true", help="say what would be done, only")
        add_waiting_arguments(parser)

    def run(self, context: Context) -> int:
        connection, console, options = context.connection, context.console, context.options
        loader = load_migrations(connection)
        refuse_alembic(connection, loader)
        history = read_history(connection, loader=loader)
        plan = plan_for(loader, history.keys, options.target, revisions=REVISIONS)
        if options.plan:
            show_plan(console, loader, plan)
            return FINE
        if plan.steps and history.applied:
            console.say("Going back may lose what is written from now on: `manage.py db backup`.")
        with console.progress("Applying") as bar:
            reporter = Reporter(console, len(plan.steps), bar)
            done = run(connection, plan.steps, patience=patience_from(options), listener=reporter)
        reporter.conclude(plan, done)
        return FINE
