"""`db restore`: a backup into an empty database."""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pixsim.schema.contents import some
from pixsim.schema.errors import FINE
from pixsim.schema.ownership import tables_elsewhere
from pixsim.schema.restoring import Restored, restore
from pixsim.schema.verbs import Context, Verb


class Restore(Verb):
    name = "restore"
    help = "Fill an empty database with a backup, and count its rows."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what `manage.py db backup` wrote")
        parser.add_argument(
            "--no-owner",
            action="store_true",
            help="everything belongs to who restores it, and grants are left out",
        )

        parser.add_argument(
            "--no-tablespaces",
            action="store_true",
            help="everything is in the database's own tablespace",
        )

    def run(self, context: Context) -> int:
        console, file = context.console, context.options.file
        with console.progress("Restoring") as show:
            restored = restore(
                context.connection,
                file,
                with_owners=not context.options.no_owner,
                with_tablespaces=not context.options.no_tablespaces,
                report=show,
            )
        manifest = restored.manifest
        if restored.earlier:
            console.say(
                f"A restore of {restored.earlier.file}, begun "
                f"{restored.earlier.began_at:%Y-%m-%d %H:%M:%S %Z}, was stopped. "
                + (
                    "It had put all rows in; only the counting was left."
                    if restored.only_counted
                    else "Nothing of it was kept, and this one began anew."
                )
            )
        console.say(
            f"Restored {file}, made {manifest.made_at}: {len(manifest.tables)} tables, "
            f"{manifest.rows:,} rows, counted and equal."
        )
        for line in _remarks(restored):
            console.say(line)
        if elsewhere := tables_elsewhere(context.connection):
            console.say(str(elsewhere))
        console.say("See where it stands with `manage.py db status`.")
        console.result(
            {
                "file": str(file),
                "earlier": asdict(restored.earlier) if restored.earlier else None,
                "only_counted": restored.only_counted,
                "missing_extensions": [asdict(each) for each in restored.missing],
                "left_out": list(restored.left),
                **asdict(manifest),
            }
        )
        return FINE


def _remarks(restored: Restored) -> Iterator[str]:
    """Yield what is not as it was where the backup was made, one sentence each."""
    for each in restored.missing:
        yield f"Left out {each}"
    if restored.missing:
        yield "What needs an extension does not work until a superuser has said that."
    if restored.left:
        yield f"Left as it is here, or left out with its extension: {some(restored.left)}."
    for version in restored.other_versions:
        yield f"The extension {version}."
    if restored.manifest.settings:
        yield (
            f"A dump has no settings of the database itself. Those of "
            f"{restored.manifest.database!r} were: {' '.join(restored.manifest.settings)}"
        )
