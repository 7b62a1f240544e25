"""`db prune`: forget rows of `django_migrations` whose file is gone."""

from __future__ import annotations

from argparse import ArgumentParser

from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.db.transaction import atomic

from pixsim.schema import files
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import Row, read_history
from pixsim.schema.verbs import Context, Verb


class Prune(Verb):
    name = "prune"
    help = "Forget applied migrations whose file is gone. Tables and rows of yours stay."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "app",
            nargs="?",
            help="only this app; one that is not installed is only pruned if it is named",
        )

    def run(self, context: Context) -> int:
        console = context.console
        history = read_history(context.connection)
        app = context.options.app
        if app and app not in {*history.heads, *(row.app for row in history.applied)}:
            raise UsageError(f"There is no app {app} with migrations, and no row names it.")
        # Another project may live in the same database: its rows are not ours to judge.
        chosen = [row for row in history.unknown if (row.app == app if app else row.is_installed)]
        kept = [row for row in history.unknown if row not in chosen and not app]
        for row in kept:
            console.say(f"Kept: {_named(row)}: {row.app} is not installed here.")
        if kept:
            console.say("Name the app to forget its rows: `manage.py db prune APP`.")
        if chosen:
            for row in chosen:
                console.say(f"Its file is gone: {_named(row)}, applied {row.at:%Y-%m-%d %H:%M:%S}")
            console.confirm(f"Forget {_counted(len(chosen))} of django_migrations?")
            recorder = MigrationRecorder(context.connection)
            has_files = files.has_table(context.connection)
            with atomic(using=context.database):
                for row in chosen:
                    recorder.record_unapplied(*row.key)
                    if has_files:
                        files.forget(context.connection, Migration(row.name, row.app))
        console.say(f"Forgot {_counted(len(chosen))}." if chosen else "No row to forget.")
        console.result(
            {
                "pruned": [".".join(row.key) for row in chosen],
                "kept": [".".join(row.key) for row in kept],
            }
        )
        return FINE


def _counted(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def _named(row: Row) -> str:
    return f"{row.app} {row.name}"
