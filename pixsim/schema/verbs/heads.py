"""`db heads` and `db branches`: where each app's history ends, and where it forks.

Both read the files, and work without a database; one that answers must not stand in the middle of a
squashed migration.
"""

from argparse import ArgumentParser
from contextlib import suppress

from django.db import DatabaseError
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import Fork, forks, heads, load_migrations, summary
from pixsim.schema.verbs import Context, Verb

WAYS_OUT = """
Two ways out:
  merge   `manage.py db merge {app}` writes a migration that depends on all of them. Right when
          they touch different things, or when each was already applied somewhere.
  rebase  In the file that was applied nowhere yet, let `dependencies` name the other head, and
          give it the next number:
            {app} {later}: dependencies = [("{app}", "{first}")]"""


class Heads(Verb):
    name = "heads"
    help = "The last migration of each app; exit code 1 if one has several."

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_verbose(parser)

    def run(self, context: Context) -> int:
        loader = _load(context)
        found = heads(loader)
        keys = [(app, name) for app, names in found.items() for name in names]
        if context.options.verbose:
            rows = [(*key, summary(loader.disk_migrations[key])) for key in keys]
            context.console.table(("app", "head", "what"), rows)
        else:
            context.console.table(("app", "head"), keys)
        several = [app for app, names in found.items() if len(names) > 1]
        if several:
            context.console.say(
                f"\nMore than one head in {', '.join(several)}: see `manage.py db branches`."
            )
        context.console.result({"heads": found, "several": several})
        return WRONG if several else FINE


class Branches(Verb):
    name = "branches"
    help = "Where the history of an app forks, and the ways out; exit code 1 if one does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        _add_verbose(parser)

    def run(self, context: Context) -> int:
        loader = _load(context)
        found = forks(loader)
        for fork in found:
            context.console.say(_text(fork))
            if context.options.verbose:
                keys = [(fork.app, name) for names in fork.branches.values() for name in names]
                rows = [(*key, summary(loader.disk_migrations[key])) for key in keys]
                context.console.say()
                context.console.table(("app", "migration", "what"), rows)
        if not found:
            context.console.say("No app has more than one head.")
        context.console.result(
            {
                "forks": [
                    {"app": fork.app, "after": fork.after, "branches": fork.branches}
                    for fork in found
                ]
            }
        )
        return WRONG if found else FINE


def _load(context: Context) -> MigrationLoader:
    """Return the files. Raise HalfSquashed if the database answers and they end for it elsewhere."""
    with suppress(DatabaseError):
        load_migrations(context.connection)
    return load_migrations(None)


def _add_verbose(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="with what each migration says of itself"
    )


def _text(fork: Fork) -> str:
    lines = [f"{fork.app} forks after {fork.after or 'nothing: the branches share no migration'}:"]
    for head, names in fork.branches.items():
        before = f" (after {', '.join(names[:-1])})" if len(names) > 1 else ""
        lines.append(f"  {head}{before}")
    first, later = sorted(fork.branches)[0], sorted(fork.branches)[-1]
    start = fork.branches[later][0]
    return "\n".join(lines) + WAYS_OUT.format(app=fork.app, first=first, later=start)
