"""`db adopt`: take over a database that Alembic made, or print what that would do."""

import time
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.adoption.adopting import adopt
from pixsim.adoption.comparing import DECISION
from pixsim.adoption.recognising import ORIGINALS
from pixsim.adoption.surveying import Survey, survey
from pixsim.adoption.undoing import read_record, undo
from pixsim.schema.console import readable_size
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.locking import schema_lock
from pixsim.schema.reporting import add_lock_arguments, describe_wait, lock_policy_from
from pixsim.schema.verbs import Context, Verb

ROWS_PER_SECOND = 15_000
"""How fast rows are taken over on a small machine, all indexes and checksums included."""


class Adopt(Verb):
    name = "adopt"
    help = "Take over a database that Alembic made; without --apply only say what that would do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--assume",
            metavar="REVISION",
            help="the revision that its tables are at, where alembic_version does not say it",
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--apply", action="store_true", help="do it, in one transaction")
        what.add_argument(
            "--undo",
            action="store_true",
            help="give the older database back, while nothing newer has been applied",
        )
        parser.add_argument(
            "--lose-changes", action="store_true", help="undo although rows were changed since"
        )
        add_lock_arguments(parser)

    def run(self, context: Context) -> int:
        if context.options.undo:
            with schema_lock(context.connection, say=context.console.say):
                return self._undo(context)
        if context.options.apply:
            with schema_lock(context.connection, say=context.console.say):
                return self._apply(context)
        seen = survey(context.connection, assume=context.options.assume)
        report(context, seen)
        if not seen.unresolved:
            context.console.say("\nNothing was changed. Take a backup, then say --apply.")
        context.console.result({**_as_json(seen), "applied": False})
        return WRONG if seen.unresolved else FINE

    def _apply(self, context: Context) -> int:
        console = context.console
        seen = survey(context.connection, assume=context.options.assume)
        report(context, seen)
        if seen.unresolved:
            console.result({**_as_json(seen), "applied": False})
            return WRONG
        console.say(f"\n{window(context.connection, seen)}")
        console.confirm("Adopt this database?")
        begun = time.monotonic()
        done = adopt(
            context.connection,
            seen,
            policy=lock_policy_from(context.options),
            on_wait=lambda wait: console.say(describe_wait(wait)),
        )
        seconds = time.monotonic() - begun
        console.say(f"\nAdopted in {seconds:.1f} s.")
        console.table(
            ("table", "rows", "in quarantine"),
            [(n, f"{r:,}", _number(done.quarantined.get(n))) for n, r in done.filled.items()],
        )
        console.say(
            f"\nProved: the counts of all tables, and the checksums of {done.columns_proved} columns "
            "before and after; the tables are as the migrations make them.\n"
            f"The older tables are kept in the schema {ORIGINALS}, so `manage.py db adopt --undo` "
            "gives them back until something newer is applied. When nobody wants that any more: "
            f"DROP SCHEMA {ORIGINALS} CASCADE.\n"
            "Now say `manage.py migrate`."
        )
        console.result(
            {
                **_as_json(seen),
                **asdict(done),
                "applied": True,
                "seconds": round(seconds, 3),
            }
        )
        return FINE

    def _undo(self, context: Context) -> int:
        console, options = context.console, context.options
        about = read_record(context.connection)
        console.confirm(
            f"{about['system']} at {about['revision']}, adopted {about['adopted_at']:%Y-%m-%d %H:%M}, "
            "comes back as it was; the tables of ours go. Undo it?"
        )
        undo(
            context.connection,
            about,
            policy=lock_policy_from(options),
            lose_changes=options.lose_changes,
            on_wait=lambda wait: console.say(describe_wait(wait)),
        )
        console.say("Undone: the older tables are as they were, proved by their checksums.")
        console.result({"undone": True, "system": about["system"], "revision": about["revision"]})
        return FINE


def window(connection: BaseDatabaseWrapper, seen: Survey) -> str:
    """Return the maintenance window as a sentence: what is locked, how long, and the room it needs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
            " WHERE relname = ANY (%s) AND relnamespace = current_schema()::regnamespace"
            " AND relkind = 'r'",
            [seen.originals],
        )
        (size,) = cursor.fetchone()
    seconds = 1 + sum(seen.rows.values()) / ROWS_PER_SECOND
    return (
        f"Maintenance window: {len(seen.originals)} tables are locked against reading and writing "
        f"for about {seconds:.0f} s, in one transaction; it needs about {readable_size(size)} more "
        "on the server's disk. Stop the older system first, and have a backup."
    )


def report(context: Context, seen: Survey) -> None:
    """Print what was found and what would be done."""
    console = context.console
    named = f"alembic_version names {seen.stored[0]}" if seen.stored else "without alembic_version"
    equals = ", ".join(" ".join(key) for key in seen.point.keys)
    console.say(f"This is {seen.point.text} ({named}). In our history that is {equals}.")
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
    if seen.unresolved:
        console.say(
            f"\n{len(seen.unresolved)} differences need a decision: mend them, then look again. "
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
        "differences": [asdict(each) for each in seen.findings],
        "quarantine": [asdict(each) for each in seen.broken],
        "changes": [
            {"table": each.table, "column": each.column, "rows": rows, "reason": each.reason}
            for each, rows in seen.changes
            if rows
        ],
        "notes": list(seen.notes),
    }
