"""`db revision`: write safe migrations for what changed in the models, with hints for the reviewer."""

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from textwrap import shorten

from django.apps import apps
from django.db.migrations import RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

from pixsim.schema.console import Console
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.revising import Questioner, Revision, detect, read_back, write
from pixsim.schema.revision_plan import plan
from pixsim.schema.target_parsing import listed
from pixsim.schema.targets import refuse_several_heads
from pixsim.schema.verbs import Context, Verb


class Revise(Verb):
    name = "revision"
    help = "Write safe migrations for what changed in the models, and say what to look at in them."

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
        planned = plan(found, loader.project_state(), context.connection, message=message)
        made = read_back(write(planned), planned) if planned else []
        for each in made:
            _show(console, each)
        if made:
            console.say("Read them, and see what they would do: `manage.py db upgrade --plan`.")
            _say_what_waits(console, made)
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
    for operation in _shown(revision):
        console.say(
            f"  {operation.category.value if operation.category else '?'} {_text(operation)}"
        )
    for hint in revision.hints:
        console.say(f"  {hint.kind}: {hint.text}.")


def _shown(revision: Revision) -> Iterator[Operation]:
    """Yield the operations, with those of the models in the stead of what holds them."""
    for operation in revision.migration.operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from operation.state_operations
        else:
            yield operation


def _text(operation: Operation) -> str:
    """Return what an operation does in one line: of SQL the first statement that it runs."""
    if isinstance(operation, RunSQL):
        sql = operation.sql or operation.reverse_sql
        return shorten(str(sql if isinstance(sql, str) else next(iter(sql or ()), "")), 90)
    # Operations of the tools say which tool they are of.
    return re.split(r"\.? note: ", operation.describe(), flags=re.I)[0]


def _say_what_waits(console: Console, made: list[Revision]) -> None:
    """Say which migrations must not be applied with the others."""
    for later in (each for each in made if each.is_later):
        app, name = later.key
        last = [each.key[1] for each in made if each.key[0] == app and not each.is_later][-1]
        console.say(
            f"{name} waits for the release after: apply `manage.py db upgrade {app} {last}`, deploy "
            f"the code, and commit or apply {name} when no process of the release before runs."
        )


def _as_json(revision: Revision) -> dict[str, object]:
    app, name = revision.key
    return {
        "app": app,
        "name": name,
        "file": str(revision.file),
        "operations": [_text(each) for each in _shown(revision)],
        "waits": revision.is_later,
        "hints": [asdict(each) for each in revision.hints],
    }
