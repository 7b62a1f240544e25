"""`db adopt`: take over a database that Alembic made, or say what that would do."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from pixsim.schema.adoption.comparing import DECISION
from pixsim.schema.adoption.surveying import Survey, survey
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.verbs import Context, Verb


class Adopt(Verb):
    name = "adopt"
    help = "Take over a database that Alembic made; without --apply only say what that would do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--assume",
            metavar="REVISION",
            help="the revision that its tables are at, where alembic_version does not say it",
        )

    def run(self, context: Context) -> int:
        seen = survey(context.connection, assume=context.options.assume)
        report(context, seen)
        context.console.result({**_as_json(seen), "applied": False})
        return WRONG if seen.undecided else FINE


def report(context: Context, seen: Survey) -> None:
    """What was found and what would be done, for people."""
    console = context.console
    named = f"alembic_version names {seen.stored[0]}" if seen.stored else "without alembic_version"
    equals = ", ".join(" ".join(key) for key in seen.point.keys)
    console.say(f"This is {seen.point.words} ({named}). In our history that is {equals}.")
    rows = ", ".join(f"{count:,} {table}" for table, count in seen.rows.items())
    console.say(f"It holds {rows}.")
    console.say(f"{seen.equal:,} columns, constraints and indexes are equal to ours already.\n")
    console.table(
        ("difference", "where", "what happens", "rows", "SQL"),
        [
            (each.kind, each.what, each.text, _number(each.rows), each.sql)
            for each in sorted(seen.findings, key=lambda each: each.kind != DECISION)
        ],
    )
    if seen.broken:
        console.say("\nThese rows break a rule of ours and go to quarantine, each with its reason:")
        console.table(
            ("table", "rows", "reason", "for example"),
            [(b.table, f"{b.rows:,}", b.reason, ", ".join(b.examples)) for b in seen.broken],
        )
    if any(rows for _, rows in seen.changes):
        console.say("\nThese values change; what they were is noted in adoption_changes:")
        console.table(
            ("table", "column", "rows", "why"),
            [(c.table, c.column, f"{rows:,}", c.reason) for c, rows in seen.changes if rows],
        )
    for note in seen.notes:
        console.say(f"\n{note}")
    if seen.undecided:
        console.say(
            f"\n{len(seen.undecided)} differences need a decision: mend them, then look again. "
            "Nothing was changed."
        )


def _number(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _as_json(seen: Survey) -> dict[str, Any]:
    return {
        "system": seen.point.system.name,
        "revision": seen.point.revision,
        "alembic_version": list(seen.stored),
        "equals": [list(key) for key in seen.point.keys],
        "migrations": [list(key) for key in seen.made],
        "rows": seen.rows,
        "equal": seen.equal,
        "differences": [
            {
                "kind": each.kind,
                "what": each.what,
                "text": each.text,
                "sql": each.sql,
                "rows": each.rows,
            }
            for each in seen.findings
        ],
        "quarantine": [
            {
                "table": each.table,
                "rows": each.rows,
                "reason": each.reason,
                "examples": list(each.examples),
            }
            for each in seen.broken
        ],
        "changes": [
            {"table": each.table, "column": each.column, "rows": rows, "reason": each.reason}
            for each, rows in seen.changes
            if rows
        ],
        "notes": list(seen.notes),
    }
