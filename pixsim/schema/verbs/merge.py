"""`db merge`: write one migration that joins the heads of an app."""

import io
from argparse import ArgumentParser

from django.core.management import CommandError, call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from pixsim.schema.errors import FINE, SchemaError, UsageError
from pixsim.schema.history import Fork, forks, load_migrations
from pixsim.schema.verbs import Context, Verb


class Merge(Verb):
    name = "merge"
    help = "Write a migration that depends on all heads of an app."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app", nargs="?", help="only this app")
        parser.add_argument("-m", "--message", metavar="NAME", help="the name of the migration")

    def run(self, context: Context) -> int:
        console = context.console
        app, name = context.options.app, context.options.message
        if name and not name.isidentifier():
            raise UsageError(f"{name!r} is no name for a migration: letters, digits and _ only.")
        loader = load_migrations(None)
        if app and app not in loader.migrated_apps:
            raise UsageError(f"There is no app {app} with migrations.")
        found = [fork for fork in forks(loader) if app in (None, fork.app)]
        if not found:
            console.say("Nothing to merge: no app has more than one head.")
            console.result({"files": [], "both_change": {}})
            return FINE
        both = {fork.app: _changed_by_both(loader, fork) for fork in found}
        for fork in found:
            _show(context, loader, fork, both[fork.app])
        console.confirm(f"Write a merge migration for {', '.join(fork.app for fork in found)}?")
        files = _write([fork.app for fork in found], name)
        for file in files:
            console.say(f"Wrote {file}")
        console.result({"files": files, "both_change": both})
        return FINE


def _write(apps: list[str], name: str | None) -> list[str]:
    """Write the files with makemigrations, and return their paths."""
    written = io.StringIO()
    try:
        call_command(
            "makemigrations",
            *apps,
            merge=True,
            interactive=False,
            name=name,
            scriptable=True,
            stdout=written,
            stderr=io.StringIO(),
        )
    except (CommandError, ValueError, OSError) as error:
        raise SchemaError(f"No merge was written: {error}.") from error
    return written.getvalue().split("\n")[:-1]


def _show(context: Context, loader: MigrationLoader, fork: Fork, both: list[str]) -> None:
    context.console.say(f"{fork.app}:")
    for head, names in fork.branches.items():
        context.console.say(f"  {head}")
        for name in names:
            for operation in loader.disk_migrations[fork.app, name].operations:
                context.console.say(f"    {operation.describe()}")
    if both:
        context.console.warn(
            f"More than one branch of {fork.app} changes {', '.join(both)}. Whichever runs last "
            f"decides, and that differs from database to database: read them first."
        )


def _changed_by_both(loader: MigrationLoader, fork: Fork) -> list[str]:
    """Return the models and columns that more than one branch changes."""
    seen: set[str] = set()
    twice: set[str] = set()
    for names in fork.branches.values():
        changed = {
            _subject(operation)
            for name in names
            for operation in loader.disk_migrations[fork.app, name].operations
        } - {""}
        twice |= seen & changed
        seen |= changed
    return sorted(twice)


def _subject(operation: Operation) -> str:
    """Return the model, or its column, that an operation changes; empty if it names none."""
    model = getattr(operation, "model_name", "")
    name = getattr(operation, "name", "") or getattr(operation, "old_name", "")
    return ".".join(part.lower() for part in (model, name) if part)
