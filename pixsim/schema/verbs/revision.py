"""`db revision`: write a migration for what changed in the models, with hints for its reviewer."""

import os
from argparse import ArgumentParser
from dataclasses import asdict

from django.apps import apps

from pixsim.schema.console import Console
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.revising import Questioner, Revision, detect, review_written, write
from pixsim.schema.target_parsing import listed
from pixsim.schema.targets import refuse_several_heads
from pixsim.schema.verbs import Context, Verb


class Revise(Verb):
    name = "revision"
    help = "Write a migration for what changed in the models, and say what to look at in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("words", nargs="*", metavar="MESSAGE [APP]", help="what it does")
        parser.add_argument("-m", "--message", help="what it does")
        parser.add_argument(
            "--autogenerate", action="store_true", help="from the models, as it is done anyway"
        )
        parser.add_argument(
            "--empty", action="store_true", help="without operations, to write them"
        )

    def run(self, context: Context) -> int:
        console, options = context.console, context.options
        message, app = _read(options.words, options.message)
        if options.empty and not app:
            raise UsageError("Say of which app: `revision MESSAGE APP --empty`.")
        loader = load_migrations(None)
        chosen = {app} if app else set()
        refuse_several_heads(key for key in loader.graph.leaf_nodes() if app in ("", key[0]))
        questioner = Questioner(console.confirm, chosen)
        found = detect(loader, questioner, chosen=chosen, message=message, empty=options.empty)
        made = review_written(write(found, message), context.connection) if found else []
        for each in made:
            _show(console, each)
        if made:
            console.say("Read them, and see what they would do: `manage.py db upgrade --plan`.")
        else:
            console.say(f"Nothing changed in the models{f' of {app}' if app else ''}.")
            if options.message and not options.autogenerate:
                console.say("For statements of your own: `db revision -m MESSAGE APP --empty`.")
        console.result({"migrations": [_as_json(each) for each in made]})
        return FINE


def _read(words: list[str], option: str | None) -> tuple[str, str]:
    """Return the message and the app; either may be empty."""
    labels = {config.label for config in apps.get_app_configs()}
    if option is not None:
        words = [option, *words]
    elif len(words) == 1 and words[0] in labels:
        words = ["", *words]
    if len(words) > 2:
        raise UsageError(f"Too many words: put the message into quotes: {' '.join(words)!r}.")
    message, app = [*words, "", ""][:2]
    if app and app not in labels:
        raise UsageError(
            f"There is no app {app}; there is: {listed(sorted(labels))}. A message of several words "
            f"stands in quotes."
        )
    return message, app


def _show(console: Console, revision: Revision) -> None:
    console.say(f"Wrote {os.path.relpath(revision.file)}")
    for operation in revision.migration.operations:
        console.say(f"  {operation.formatted_description()}")
    for hint in revision.hints:
        console.say(f"  {hint.kind}: {hint.text}.")


def _as_json(revision: Revision) -> dict[str, object]:
    app, name = revision.key
    return {
        "app": app,
        "name": name,
        "file": str(revision.file),
        "operations": [each.describe() for each in revision.migration.operations],
        "hints": [asdict(each) for each in revision.hints],
    }
