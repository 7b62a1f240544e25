"""`db stamp`: record where the database stands, without running anything."""

from argparse import ArgumentParser
from dataclasses import asdict

from pixsim.schema import plugins
from pixsim.schema.console import Console
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import load_migrations, read_history
from pixsim.schema.ownership import refuse_foreign
from pixsim.schema.reference import NoReference
from pixsim.schema.stamping import Look, look, record
from pixsim.schema.targets import Plan, plan_between
from pixsim.schema.verbs import Context, Verb


class Stamp(Verb):
    name = "stamp"
    help = "Record that the database stands at a target, if its schema does. Runs no migration."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target", nargs="+", help="head, zero, APP NAME, APP zero, +1, -1, a revision id"
        )
        parser.add_argument(
            "--force", action="store_true", help="even if the schema is not what would be recorded"
        )

    def run(self, context: Context) -> int:
        connection, console, options = context.connection, context.console, context.options
        loader = load_migrations(connection, allow_half=True)
        refuse_foreign(connection, loader)
        history = read_history(connection, loader=loader)
        plan = plan_between(loader, history.keys, options.target, revisions=plugins.revisions())
        if not plan.steps:
            console.say(f"Nothing to do: {plan.target} is what is recorded.")
            _conclude(console, plan, Look((), 0), stamped=True)
            return FINE
        for step in plan.steps:
            console.say(f"{'Forget' if step.backwards else 'Record'} {step.app} {step.name}")
        try:
            seen = look(connection, loader, history.keys, plan)
        except NoReference as error:
            if not options.force:
                raise
            console.warn(f"Not compared with the schema. {error}")
            seen = Look((), 0)
        _show(console, plan, seen)
        if seen.differences and not options.force:
            console.say(
                "Nothing was changed. Run the migrations (`manage.py db upgrade`, `downgrade`) or "
                "mend the schema; --force records it all the same."
            )
            _conclude(console, plan, seen, stamped=False)
            return WRONG
        console.confirm("Change these rows of django_migrations, and run nothing?")
        record(connection, loader, plan)
        console.say(f"Stamped: {plan.target}. No migration was run.")
        _conclude(console, plan, seen, stamped=True)
        return FINE


def _show(console: Console, plan: Plan, seen: Look) -> None:
    if seen.differences:
        console.say(f"The schema is not that of {plan.target}:")
        for each in seen.differences:
            console.say(f"  {each}")
    if seen.elsewhere:
        console.say(
            f"Differences in tables of other apps, which this says nothing about: {seen.elsewhere}. "
            f"See `manage.py db verify`."
        )


def _conclude(console: Console, plan: Plan, seen: Look, *, stamped: bool) -> None:
    console.result(
        {
            "target": plan.target,
            "stamped": stamped,
            "recorded": [".".join(step.key) for step in plan.steps if not step.backwards],
            "forgotten": [".".join(step.key) for step in plan.steps if step.backwards],
            "differences": [asdict(each) for each in seen.differences],
            "elsewhere": seen.elsewhere,
        }
    )
