"""`db accept`: differences from the migrations that are meant to be, so that `db verify` is clean."""

from argparse import ArgumentParser
from typing import Any

from django.db.transaction import atomic

from pixsim.schema import accepted, accepting, drift
from pixsim.schema.accepted import Row
from pixsim.schema.accepting import Judged, choose, named
from pixsim.schema.catalog import read_schema
from pixsim.schema.drift import Difference
from pixsim.schema.errors import FINE, UsageError
from pixsim.schema.history import load_migrations
from pixsim.schema.locking import schema_lock
from pixsim.schema.ownership import refuse_foreign
from pixsim.schema.reference import reference
from pixsim.schema.target_parsing import listed
from pixsim.schema.verbs import Context, Verb


class Accept(Verb):
    name = "accept"
    help = "Accept differences that `verify` reports: from then on it names them as known."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "names",
            nargs="*",
            metavar="NAME",
            help='as `verify` says it, in quotes ("column images.site_tag"), or without its kind',
        )
        parser.add_argument("--why", default="", metavar="TEXT", help="kept with what is accepted")
        ways = parser.add_mutually_exclusive_group()
        ways.add_argument("--list", action="store_true", help="show what is accepted")
        ways.add_argument("--revoke", action="store_true", help="accept these no longer")

    def run(self, context: Context) -> int:
        options = context.options
        if options.list:
            if options.names:
                raise UsageError("`accept --list` takes no name: it shows all that is accepted.")
            return _list(context)
        if options.why and options.revoke:
            raise UsageError("--why is said when something is accepted.")
        with schema_lock(context.connection, say=context.console.say):
            return _revoke(context) if options.revoke else _accept(context)


def _list(context: Context) -> int:
    rows = accepted.read(context.connection)
    context.console.table(
        ("accepted", "definition", "when", "by", "why"),
        [(named(row), row.definition, f"{row.at:%Y-%m-%d %H:%M}", row.by, row.why) for row in rows],
    )
    if not rows:
        context.console.say("Nothing is accepted.")
    context.console.result({"accepted": [as_json(row) for row in rows]})
    return FINE


def _revoke(context: Context) -> int:
    console, names = context.console, context.options.names
    rows = {named(row): row for row in accepted.read(context.connection)}
    hint = f"Accepted is: {listed(rows) or 'nothing'}."
    if not names:
        raise UsageError(f"Say what is accepted no longer: `accept --revoke NAME`. {hint}")
    otherwise = f"that was not accepted. Nothing was changed. {hint}"
    chosen = choose(names, rows.values(), otherwise=otherwise)
    with atomic(using=context.database):
        for what in chosen:
            accepted.delete(context.connection, rows[what])
    for what in chosen:
        console.say(f"Accepted no longer: {what}.")
    console.result({"revoked": chosen})
    return FINE


def _accept(context: Context) -> int:
    console, names = context.console, context.options.names
    judged = _judged(context)
    there = [*judged.open, *(each.difference for each in judged.known)]
    candidates: list[Difference | Row] = [*there, *judged.gone]
    hint = listed(dict.fromkeys(each.what for each in judged.open))
    if not names:
        raise UsageError(f"Say what to accept. `verify` reports {hint or 'nothing'}.")
    otherwise = (
        "`verify` reports no difference of this name. Nothing was changed. It reports "
        f"{hint or 'none'}. Tables of no migration need no acceptance; rows that break a rule, and "
        "migrations without a file, are mended."
    )
    chosen = choose(names, candidates, otherwise=otherwise)
    those = [each for each in judged.open if each.what in chosen]
    with atomic(using=context.database):
        accepting.accept(context.connection, those, why=context.options.why)
    for each in those:
        before = judged.changed.get(each.what)
        console.say(f"Accepted: {each}" + (f" (before: {before.definition})" if before else ""))
    fresh = list(dict.fromkeys(each.what for each in those))
    already = [what for what in chosen if what not in fresh]
    gone = {named(row) for row in judged.gone}
    for what in already:
        console.say(f"Accepted already: {what}" + ", which is no difference now" * (what in gone))
    console.result({"accepted": fresh, "already": already})
    return FINE


def _judged(context: Context) -> Judged:
    connection = context.connection
    refuse_foreign(connection, load_migrations(connection))
    with reference(connection) as expected:
        found = read_schema(connection)
        return accepting.judge(connection, drift.between(expected, found), tables=found.tables)


def as_json(row: Row) -> dict[str, Any]:
    """Return an accepted difference for machines."""
    return {
        "kind": row.kind,
        "table": row.table,
        "name": row.name,
        "definition": row.definition,
        "sha256": row.sha256,
        "at": row.at,
        "by": row.by,
        "why": row.why,
    }
