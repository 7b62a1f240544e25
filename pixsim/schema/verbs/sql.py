"""`db sql`: a range of migrations as a script for psql, written without a database."""

import re
from argparse import ArgumentParser
from collections.abc import Sequence

from pixsim.schema import plugins
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.sql_collector import script
from pixsim.schema.targets import plan_for, state_at
from pixsim.schema.verbs import Context, Verb

NUMBERED = re.compile(r"\d+(_|$)")
"""How a migration of an app begins: in APP START:END the app is that of both."""


class Sql(Verb):
    name = "sql"
    help = "The SQL of migrations for psql, without a database: [START:]END, all if left out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "range",
            nargs="*",
            help="END, START:END or APP START:END; each is a target, START is where the database stands "
            "(it and what it depends on), nothing if left out, head with --backwards",
        )
        parser.add_argument("--backwards", action="store_true", help="take back, from START to END")

    def run(self, context: Context) -> int:
        return write_script(context, context.options.range, backwards=context.options.backwards)


def write_script(context: Context, words: Sequence[str], *, backwards: bool = False) -> int:
    """Print the script of a range, as `upgrade --sql` and `downgrade --sql` do too. Needs no
    database."""
    start, end = _range(words)
    loader = load_migrations(None)
    applied = state_at(loader, start, revisions=plugins.revisions()) if start or backwards else []
    plan = plan_for(loader, applied, end, backwards=backwards, revisions=plugins.revisions())
    if not plan.steps:
        context.console.warn(
            f"There is nothing to {'take back' if backwards else 'apply'} on the way to "
            f"{plan.target}. Say START:END{'' if backwards else ', or --backwards to go down'}."
        )
    text = script(context.connection, loader, applied, plan)
    if not context.console.as_json:
        context.console.out.write(text)
    context.console.result({"target": plan.target, "sql": text})
    return FINE


def _range(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of START and of END."""
    parts = " ".join(words).split(":")
    if len(parts) > 2:
        raise UsageError(f"{' '.join(words)} has more than one colon: say START:END.")
    start, end = (each.split() for each in (parts if len(parts) == 2 else ["", *parts]))
    if len(start) == 2 and len(end) == 1 and NUMBERED.match(end[0]):
        end = [start[0], *end]
    return start, end
