"""`db show`: one migration, or those at a point of the history."""

import inspect
import os
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from pixsim.schema import plugins
from pixsim.schema.console import Console
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import docstring, load_migrations, read_history
from pixsim.schema.reporting import describe_operation
from pixsim.schema.target_parsing import Key, Point, read_target
from pixsim.schema.verbs import Context, Verb


class Show(Verb):
    name = "show"
    help = "One migration: its file, what it depends on, what it does, and when it was applied."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target",
            nargs="*",
            help="APP NAME, APP (its last one), a revision id; head if it is left out",
        )

    def run(self, context: Context) -> int:
        loader = load_migrations(None)
        point = read_target(loader, context.options.target, revisions=plugins.revisions())
        if not isinstance(point, Point) or point.emptied:
            raise UsageError(
                f"{point.text} is no migration: say `show APP NAME`, or `show head`. What the "
                f"database has is in `manage.py db history`."
            )
        times = _times(context.connection)
        shown = [_facts(loader, key, times) for key in point.keys]
        for facts in shown:
            _show(context.console, facts)
        context.console.result({"target": point.text, "migrations": shown})
        return FINE


def _times(connection: BaseDatabaseWrapper) -> dict[Key, datetime] | None:
    """Return when each migration was applied; None if the database does not answer."""
    try:
        return {row.key: row.at for row in read_history(connection).applied}
    except DatabaseError:
        return None


def _facts(loader: MigrationLoader, key: Key, times: dict[Key, datetime] | None) -> dict[str, Any]:
    migration: Migration = loader.graph.nodes[key]
    node = loader.graph.node_map[key]
    return {
        "app": key[0],
        "name": key[1],
        "is_head": key in loader.graph.leaf_nodes(key[0]),
        "revisions": [name for name, keys in plugins.revisions().items() if key in keys],
        "parents": sorted(" ".join(parent.key) for parent in node.parents),
        "children": sorted(" ".join(child.key) for child in node.children),
        "replaces": [" ".join(each) for each in migration.replaces],
        "file": os.path.relpath(inspect.getfile(type(migration))),
        "is_known": times is not None,
        "applied": (times or {}).get(key),
        "in_a_transaction": migration.atomic,
        "says": docstring(migration),
        "operations": [describe_operation(each) for each in migration.operations],
    }


def _show(console: Console, facts: dict[str, Any]) -> None:
    is_head = " (head)" if facts["is_head"] else ""
    console.say(f"Migration  {facts['app']} {facts['name']}{is_head}")
    for title, words in (
        ("Older ids", facts["revisions"]),
        ("Parents", facts["parents"]),
        ("Children", facts["children"]),
        ("Replaces", facts["replaces"]),
    ):
        if words:
            console.say(f"{title:9}  {', '.join(words)}")
    console.say(f"File       {facts['file']}")
    console.say(f"Applied    {_when(facts)}")
    if not facts["in_a_transaction"]:
        console.say("Runs       without a transaction: each operation commits by itself")
    console.say()
    for line in facts["says"].splitlines():
        console.say(f"    {line}".rstrip())
    if facts["says"]:
        console.say()
    for operation in facts["operations"]:
        console.say(f"    {operation}")
    console.say()


def _when(facts: dict[str, Any]) -> str:
    if not facts["is_known"]:
        return "not known: the database does not answer"
    return f"{facts['applied']:%Y-%m-%d %H:%M:%S %Z}" if facts["applied"] else "not yet"
