"""`db history`: what was applied, in its order, and what is pending."""

from argparse import ArgumentParser
from typing import Any

from pixsim.schema.errors import FINE
from pixsim.schema.history import History, load_migrations, read_history, summary
from pixsim.schema.verbs import Context, Verb


class ShowHistory(Verb):
    name = "history"
    help = "What was applied, in the order of application, with the time; then what is pending."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "-v", "--verbose", action="store_true", help="with what each migration says of itself"
        )

    def run(self, context: Context) -> int:
        loader = load_migrations(context.connection)
        history = read_history(context.connection, loader=loader)
        about = {key: summary(migration) for key, migration in loader.disk_migrations.items()}
        entries = _entries(history, about)
        headings = ["applied", "app", "migration", *(["what"] if context.options.verbose else [])]
        context.console.table(
            headings,
            (
                (_when(entry), entry["app"], entry["name"], entry["what"])[: len(headings)]
                for entry in entries
            ),
        )
        if not entries:
            context.console.say("No app has migrations.")
        context.console.result({"history": entries})
        return FINE


def _entries(history: History, about: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    applied = [
        {
            "app": row.app,
            "name": row.name,
            "at": row.at,
            "has_file": row.has_file,
            "what": about.get(row.key, ""),
        }
        for row in history.applied
    ]
    waiting = [
        {"app": app, "name": name, "at": None, "has_file": True, "what": about.get((app, name), "")}
        for app, name in history.pending
    ]
    return applied + waiting


def _when(entry: dict[str, Any]) -> str:
    if not entry["at"]:
        return "pending"
    lost = "" if entry["has_file"] else " (file gone)"
    return f"{entry['at']:%Y-%m-%d %H:%M:%S}{lost}"
