"""`db verify`: whether the database is what the migrations make, and keeps what is promised."""

from __future__ import annotations

from argparse import ArgumentParser

from pixsim.schema import drift, promises
from pixsim.schema.catalog import read_schema
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import History, alembic_revisions, read_history
from pixsim.schema.reference import reference
from pixsim.schema.verbs import Context, Verb


class Verify(Verb):
    name = "verify"
    help = "Compare the database with what its migrations make, and prove what its rows promise."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-rows", action="store_true", help="look at the schema alone, not at the rows"
        )

    def run(self, context: Context) -> int:
        connection, console = context.connection, context.console
        history = read_history(connection)
        with reference(connection) as expected:
            found = read_schema(connection)
            differences = drift.between(expected, found)
        wanted = [] if context.options.no_rows else promises.promised(expected)
        broken, skipped = promises.broken(connection, wanted)
        strangers = drift.strangers(expected.schema, found)
        if not history.applied:
            console.say(_nothing_applied(alembic_revisions(connection)))
        for line in (*_standing(history), *differences, *broken):
            console.say(str(line))
        if strangers:
            console.say(f"Not of any migration, and left alone: {', '.join(strangers)}.")
        if skipped:
            names = ", ".join(each.name for each in skipped)
            console.say(f"Not proved, since their columns are not there: {names}.")
        is_clean = bool(history.applied) and not differences and not broken
        if is_clean:
            console.say(f"Clean: {len(expected.made)} migrations compared.")
        console.result(
            {
                "clean": is_clean,
                "migrations": [".".join(key) for key in expected.made],
                "pending": [".".join(key) for key in history.pending],
                "unknown": [".".join(row.key) for row in history.unknown],
                "differences": [
                    {
                        "kind": each.kind,
                        "table": each.table,
                        "name": each.name,
                        "expected": each.expected,
                        "found": each.found,
                    }
                    for each in differences
                ],
                "promises": [
                    {
                        "name": each.promise.name,
                        "expected": each.promise.sentence,
                        "found": each.count,
                        "examples": each.examples,
                    }
                    for each in broken
                ],
                "not_proved": [each.name for each in skipped],
                "strangers": strangers,
            }
        )
        return FINE if is_clean else WRONG


def _nothing_applied(alembic: list[str] | None) -> str:
    if alembic is None:
        return "Nothing is recorded as applied, so there is nothing to compare with."
    at = ", ".join(alembic) or "no revision"
    return f"Alembic made this database (at {at}): take it over with `manage.py db adopt`."


def _standing(history: History) -> list[str]:
    """What the comparison does not cover, a sentence each."""
    lines = []
    if history.applied and history.pending:
        lines.append(
            f"Behind head by {len(history.pending)} migrations; compared with what is applied."
        )
    if history.unknown:
        names = ", ".join(" ".join(row.key) for row in history.unknown)
        lines.append(f"Applied, but its file is gone, so that nobody knows what it did: {names}.")
    return lines
