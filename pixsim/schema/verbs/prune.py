"""`db prune`: delete the records of migrations whose file is missing."""

from argparse import ArgumentParser

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.transaction import atomic

from pixsim.schema import files
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.files import Unfinished
from pixsim.schema.history import History, Row, load_migrations, read_history
from pixsim.schema.verbs import Context, Verb


class Prune(Verb):
    name = "prune"
    help = "Forget migrations whose file is gone. Tables and rows of yours stay."
    writes = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "app",
            nargs="?",
            help="only this app; one that is not installed is only pruned if it is named",
        )

    def run(self, context: Context) -> int:
        console, app = context.console, context.options.app
        loader = load_migrations(context.connection)
        history = read_history(context.connection, loader=loader)
        lost: list[Row | Unfinished] = [
            *history.unknown,
            *_unfinished_without_file(context.connection, loader, history),
        ]
        known = {
            *history.heads,
            *(row.app for row in history.applied),
            *(each.app for each in lost),
        }
        if app and app not in known:
            raise UsageError(f"There is no app {app} with migrations, and no row names it.")
        # Another project may live in the same database: its rows are not ours to judge.
        installed = loader.migrated_apps | loader.unmigrated_apps
        chosen = [each for each in lost if (each.app == app if app else each.app in installed)]
        kept = [] if app else [each for each in lost if each not in chosen]
        for each in kept:
            console.say(f"Kept: {_named(each)}: {each.app} is not installed here.")
        if kept:
            console.say("Name the app to forget its rows: `manage.py db prune APP`.")
        if chosen:
            for each in chosen:
                console.say(_describe(each))
            console.confirm(f"Forget {_counted(len(chosen))}?")
            recorder = MigrationRecorder(context.connection)
            with atomic(using=context.database):
                for each in chosen:
                    recorder.record_unapplied(*each.key)
                    files.forget(context.connection, each.key)
        console.say(f"Forgot {_counted(len(chosen))}." if chosen else "No row to forget.")
        console.result(
            {
                "pruned": [".".join(each.key) for each in chosen],
                "kept": [".".join(each.key) for each in kept],
            }
        )
        return FINE


def _unfinished_without_file(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, history: History
) -> list[Unfinished]:
    """Return what was stopped midway, has no file and is recorded nowhere else."""
    return [
        each
        for each in files.unfinished(connection, loader)
        if not each.has_file and each.key not in history.keys
    ]


def _describe(lost: Row | Unfinished) -> str:
    if isinstance(lost, Row):
        return f"Its file is gone: {_named(lost)}, applied {lost.at:%Y-%m-%d %H:%M:%S}"
    done = "; ".join(lost.done) or "nothing for sure"
    return f"Its file is gone: {_named(lost)}, stopped midway. What it did stays: {done}"


def _counted(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def _named(lost: Row | Unfinished) -> str:
    return f"{lost.app} {lost.name}"
