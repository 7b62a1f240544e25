"""`db status`: current and head, and what is to be done."""

from argparse import ArgumentParser
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from django.db import DatabaseError
from django.db.migrations.loader import MigrationLoader

from pixsim.schema import connecting, files, plugins
from pixsim.schema.console import readable_size
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import (
    History,
    Row,
    inconsistency,
    load_migrations,
    read_history,
    row_names,
)
from pixsim.schema.ownership import foreign_history, own_apps, tables_elsewhere
from pixsim.schema.plugins import ForeignHistory
from pixsim.schema.standing import Standing, standing
from pixsim.schema.target_parsing import Key, listed
from pixsim.schema.verbs import Context, Verb

DJANGOS_OWN = "Django's own"
SHOWN = 3
"""As many pending migrations of an app are named."""


class Status(Verb):
    name = "status"
    aliases = ("current",)
    help = "Where the database stands: reachable, applied, pending, rows without a file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "-v", "--verbose", action="store_true", help="every app, also those at their head"
        )

    def run(self, context: Context) -> int:
        connection = context.connection
        console = context.console
        database = _facts(context)
        try:
            server = connecting.look(connection)
        except DatabaseError as error:
            return self._unreachable(context, database, connecting.explain(error, connection))
        loader = load_migrations(connection)
        history = read_history(connection, loader=loader)
        foreign = foreign_history(connection, loader)
        current, head = _standing(loader, history.keys), _standing(loader, loader.graph.nodes)
        console.say(f"Current      {_current(current, head, history, foreign)}")
        console.say(f"Head         {head}")
        _show_place(context, database)
        console.say(
            f"Reachable    yes: PostgreSQL {server.version}, {readable_size(server.size)}"
            f"{', read-only' if server.is_read_only else ''}"
        )
        wrong = list(_wrong(history, foreign))
        wrong += map(str, files.unfinished(connection, loader))
        if not history.applied and not foreign and (beside := tables_elsewhere(connection)):
            wrong.append(str(beside))
        if broken := inconsistency(connection, loader):
            wrong.append(broken)
        _show(context, history, wrong, with_apps=not (foreign and foreign.is_ours))
        for plugin in plugins.registered():
            for line in plugin.status(connection):
                console.say(line)
        console.result(
            {
                "current": [".".join(key) for key in current.keys],
                "head": [".".join(key) for key in head.keys],
                "revisions": list(foreign.revisions if foreign else current.revisions),
                "database": {
                    **database,
                    "reachable": True,
                    "why": None,
                    "version": server.version,
                    "size": server.size,
                    "read_only": server.is_read_only,
                    "replica": server.is_replica,
                },
                "at_head": not history.pending,
                "applied": len(history.applied),
                "pending": [".".join(key) for key in history.pending],
                "unknown": [".".join(row.key) for row in history.unknown],
                "last_applied": _row(history.last),
                "apps": [_app(history, app) for app in history.heads],
                "foreign": asdict(foreign) if foreign else None,
                "wrong": wrong,
            }
        )
        return WRONG if wrong else FINE

    def _unreachable(self, context: Context, database: dict[str, Any], why: str) -> int:
        loader = load_migrations(None)
        head = _standing(loader, loader.graph.nodes)
        context.console.say("Current      not known: the database does not answer")
        context.console.say(f"Head         {head}")
        _show_place(context, database)
        context.console.say(f"Reachable    no. {why}")
        context.console.result(
            {
                "head": [".".join(key) for key in head.keys],
                "database": {**database, "reachable": False, "why": why},
            }
        )
        return WRONG


def _standing(loader: MigrationLoader, present: Collection[Key]) -> Standing:
    """Return where the project's own apps stand, or all if none of them has migrations."""
    apps = own_apps() & loader.migrated_apps or loader.migrated_apps
    return standing(loader, present, apps=apps, revisions=plugins.revisions())


def _current(
    current: Standing, head: Standing, history: History, foreign: ForeignHistory | None
) -> str:
    if foreign and foreign.is_ours:
        return "not known: the tables are in another schema, see below"
    if foreign:
        return f"{listed(foreign.revisions) or 'no revision'}: another system's, see below"
    if not history.pending:
        return f"{current} (head)"
    if current.keys == head.keys:  # the difference must be seen
        return f"{current}, {len(history.pending)} of Django's pending"
    return str(current)


def _show_place(context: Context, database: dict[str, Any]) -> None:
    context.console.say(f"Database     {connecting.place(context.connection)}")
    context.console.say(f"From         {database['origin']}")


def _facts(context: Context) -> dict[str, Any]:
    """Return what the settings say of the database, without the password."""
    where = context.connection.settings_dict
    return {
        "alias": context.database,
        "name": where["NAME"],
        "host": where["HOST"],
        "port": where["PORT"],
        "user": where["USER"],
        "origin": connecting.origin(context.database),
        "warning": connecting.disagreement(context.database),
    }


def _app(history: History, app: str) -> dict[str, Any]:
    """Return the progress of one app."""
    applied = [row.name for row in history.applied if row.app == app and row.has_file]
    waiting = [name for label, name in history.pending if label == app]
    return {
        "app": app,
        "applied": len(applied),
        "pending": waiting,
        "at": applied[-1] if applied else None,
        "heads": history.heads[app],
    }


def _row(row: Row | None) -> dict[str, Any] | None:
    return {"app": row.app, "name": row.name, "at": row.at} if row else None


def _wrong(history: History, foreign: ForeignHistory | None) -> list[str]:
    """Return what is wrong or to be done, one sentence each."""
    wrong = []
    if foreign:
        wrong.append(str(foreign))
    elif history.pending:
        count = len(history.pending)
        wrong.append(f"{count} pending: apply with `manage.py db upgrade`.")
    if gone := row_names(row for row in history.unknown if row.is_installed):
        wrong.append(
            f"Applied, but the file is gone: {gone}. Is this code older than the database? Bring "
            f"the file back, or forget the row with `manage.py db prune`."
        )
    if others := row_names(row for row in history.unknown if not row.is_installed):
        wrong.append(
            f"Applied by an app that is not installed here: {others}. Is this the right database? "
            f"An app that was removed is forgotten with `manage.py db prune APP`."
        )
    several = [app for app, names in history.heads.items() if len(names) > 1]
    if several:
        wrong.append(f"More than one head in {', '.join(several)}: see `manage.py db branches`.")
    return wrong


def _show(context: Context, history: History, wrong: list[str], *, with_apps: bool = True) -> None:
    console, last = context.console, history.last
    console.say(
        f"Last applied {last.app} {last.name}, {last.at:%Y-%m-%d %H:%M:%S %Z}"
        if last
        else f"Last applied {'nothing yet' if with_apps else 'not known'}"
    )
    rows = _all_rows(history) if context.options.verbose else _rows_with_something_to_say(history)
    if rows and with_apps:
        console.say()
        console.table(("app", "applied", "at", "pending"), rows)
    console.say()
    console.say("\n".join(wrong) or "At head: nothing is pending.")


def _all_rows(history: History) -> list[Sequence[object]]:
    apps = [_app(history, app) for app in history.heads]
    return [(app["app"], app["applied"], app["at"], _short(app["pending"])) for app in apps]


def _rows_with_something_to_say(history: History) -> list[Sequence[object]]:
    """Return rows of the apps that are not simply at their head; Django's own are one row."""
    own = own_apps()
    talking = {app for app, _ in history.pending} | {row.app for row in history.unknown}
    talking |= {app for app, names in history.heads.items() if len(names) > 1}
    rows = [row for row in _all_rows(history) if row[0] in talking & own]
    if djangos := [" ".join(key) for key in history.pending if key[0] not in own]:
        count = sum(row.app not in own for row in history.applied if row.is_installed)
        rows.append((DJANGOS_OWN, count, None, _short(djangos)))
    return rows


def _short(names: list[str]) -> str:
    """Return the names, or of many the first and the last."""
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"
