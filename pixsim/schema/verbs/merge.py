"""`db merge`: write one migration that joins the heads of an app."""

import io
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from django.core.management import CommandError, call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from pixsim.schema import plugins
from pixsim.schema.errors import FINE, SchemaError, UsageError
from pixsim.schema.history import Fork, forks, load_migrations
from pixsim.schema.revising import file_name
from pixsim.schema.target_parsing import HEAD, Distance, Key, listed, read_target
from pixsim.schema.verbs import Context, Verb


class Merge(Verb):
    name = "merge"
    help = "Write a migration that depends on all heads of an app."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "heads", nargs="*", help="an app, or all its heads; every app if it is left out"
        )
        parser.add_argument("-m", "--message", help="what it does; the file gets its name from it")

    def run(self, context: Context) -> int:
        console, message = context.console, context.options.message
        name = file_name(message) if message else None
        loader = load_migrations(None)
        found = _chosen(loader, context.options.heads)
        if not found:
            console.say("Nothing to merge: no app has more than one head.")
            console.result({"files": [], "both_change": {}})
            return FINE
        both = {fork.app: _changed_by_both(loader, fork) for fork in found}
        for fork in found:
            _show(context, loader, fork, both[fork.app])
        console.confirm(f"Write a merge migration for {', '.join(fork.app for fork in found)}?")
        files = _write([fork.app for fork in found], name)
        for fork, file in zip(found, files, strict=True):
            _say_what(fork, Path(file))
        for file in files:
            console.say(f"Wrote {file}")
        console.result({"files": files, "both_change": both})
        return FINE


def _chosen(loader: MigrationLoader, words: Sequence[str]) -> list[Fork]:
    """Return the forks that `words` name: all (`heads`, or no word), that of an app, or one by all
    its heads."""
    found = {fork.app: fork for fork in forks(loader)}
    if not words or (len(words) == 1 and words[0] in HEAD):
        return list(found.values())
    if words[0] in loader.migrated_apps:
        if len(words) == 1:
            return [found[words[0]]] if words[0] in found else []
        keys = {key for word in words[1:] for key in _in_app(loader, words[0], word)}
    else:
        keys = {key for word in words for key in _alone(loader, word)}
    for key in keys:
        if key not in loader.graph.leaf_nodes(key[0]):
            raise UsageError(f"{' '.join(key)} is no head: see `manage.py db heads`.")
    apps = sorted({app for app, _ in keys})
    if len(apps) > 1:
        raise UsageError(
            f"{listed(apps)} need no merge: heads of different apps depend on each other as they are. "
            f"Say one app: `merge {apps[0]}`."
        )
    if missing := [" ".join(key) for key in loader.graph.leaf_nodes(apps[0]) if key not in keys]:
        raise UsageError(
            f"A merge joins all heads of an app, {listed(missing)} too: say `merge {apps[0]}`."
        )
    return [found[apps[0]]] if apps[0] in found else []


def _in_app(loader: MigrationLoader, *words: str) -> Sequence[Key]:
    target = read_target(loader, words, revisions=plugins.revisions())
    if isinstance(target, Distance):
        raise UsageError(f"{target.text} is no head: see `manage.py db heads`.")
    return target.keys


def _alone(loader: MigrationLoader, word: str) -> Sequence[Key]:
    """Return the head with the name `word`, without its app, or what else the word means."""
    heads = [key for key in loader.graph.leaf_nodes() if key[1].startswith(word)]
    return heads if len(heads) == 1 else _in_app(loader, word)


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


def _say_what(fork: Fork, file: Path) -> None:
    """Give the file a docstring, without which `db check` refuses it."""
    text = f'"""Join {" and ".join(fork.branches)}; nothing else changes."""\n\n'
    file.write_text(text + file.read_text("utf-8"), "utf-8")


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
