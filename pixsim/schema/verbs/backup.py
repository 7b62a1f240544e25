"""`db backup`: a dump that was checked, with a manifest."""

from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

from pixsim.schema import dumps
from pixsim.schema.console import readable_size
from pixsim.schema.contents import some
from pixsim.schema.errors import FINE
from pixsim.schema.verbs import Context, Verb


class Backup(Verb):
    name = "backup"
    help = "Dump the database to a file, check it, and write beside it what is in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            help="or a folder, for NAME-DATE-TIME.dump in it; this one by default",
        )

    def run(self, context: Context) -> int:
        console = context.console
        target = context.options.file or Path()
        stopped = [target] if dumps.part_of(target).exists() else []
        if target.is_dir():
            database = context.connection.settings_dict["NAME"]
            stopped = dumps.clear_left_behind(target, database)
            target /= dumps.default_name(database)
        with console.progress("Dumping") as show:
            manifest = dumps.backup(context.connection, target, report=show)
        for each in stopped:
            console.say(f"An earlier backup to {each} did not end; what it left is gone.")
        console.say(
            f"Wrote {target}: {readable_size(manifest.size)}, {len(manifest.tables)} tables, "
            f"{manifest.rows:,} rows, {len(manifest.migrations)} migrations."
        )
        console.say(f"sha256 {manifest.sha256}, in {dumps.manifest_of(target).name} with the rest.")
        if manifest.superuser_commands:
            console.say(
                f"Before a role that is no superuser restores it, a superuser says in the new "
                f"database: {' '.join(manifest.superuser_commands)}"
            )
        if manifest.superuser_objects:
            console.say(f"Only a superuser can restore {some(manifest.superuser_objects)}.")
        console.say(f"Back with `manage.py db restore {target}`, into an empty database.")
        console.result({"file": str(target), **asdict(manifest)})
        return FINE
