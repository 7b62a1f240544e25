"""`db status`: where the database stands."""

from dataclasses import asdict
from typing import Any

from django.db import DatabaseError

from pixsim.schema import connecting, files, plugins
from pixsim.schema.console import Console, readable_size
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import (
    History,
    Row,
    inconsistency,
    load_migrations,
    read_history,
    row_names,
)
from pixsim.schema.ownership import foreign_history
from pixsim.schema.plugins import ForeignHistory
from pixsim.schema.verbs import Context, Verb

SHOWN = 3
"""As many pending migrations of an app are named."""


class Status(Verb):
    name = "status"
    aliases = ("current",)
    help = "Where the database stands: reachable, applied, pending, rows without a file."

    def run(self, context: Context) -> int:
        connection = context.connection
        console = context.console
        database = _facts(context)
        if database["warning"]:
            console.warn(database["warning"])
        console.say(f"Database     {connecting.place(connection)}")
        console.say(f"From         {database['origin']}")
        try:
            server = connecting.look(connection)
        except DatabaseError as error:
            why = connecting.explain(error, connection)
            console.say(f"Reachable    no. {why}")
            console.result({"database": {**database, "reachable": False, "why": why}})
            return WRONG
        console.say(
            f"Reachable    yes: PostgreSQL {server.version}, {readable_size(server.size)}"
            f"{', read-only' if server.is_read_only else ''}"
        )
        loader = load_migrations(connection)
        history = read_history(connection, loader=loader)
        foreign = foreign_history(connection, loader)
        wrong = list(_wrong(history, foreign))
        wrong += map(str, files.unfinished(connection, loader))
        if broken := inconsistency(connection, loader):
            wrong.append(broken)
        _show(console, history, wrong)
        for plugin in plugins.registered():
            for line in plugin.status(connection):
                console.say(line)
        console.result(
            {
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


def _show(console: Console, history: History, wrong: list[str]) -> None:
    last = history.last
    console.say(
        f"Last applied {last.app} {last.name}, {last.at:%Y-%m-%d %H:%M:%S %Z}"
        if last
        else "Last applied nothing yet"
    )
    console.say()
    apps = [_app(history, app) for app in history.heads]
    console.table(
        ("app", "applied", "at", "pending"),
        ((app["app"], app["applied"], app["at"], _short(app["pending"])) for app in apps),
    )
    console.say()
    console.say("\n".join(wrong) or "At head: nothing is pending.")


def _short(names: list[str]) -> str:
    """Return the names, or of many the first and the last."""
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)})"
