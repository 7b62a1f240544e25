"""`db verify`: whether the schema is what the migrations make, and whether the invariants hold."""

from argparse import ArgumentParser
from dataclasses import asdict

from pixsim.core.invariants import examine
from pixsim.schema import accepting, drift, invariants, plugins
from pixsim.schema.accepting import Judged
from pixsim.schema.catalog import read_schema
from pixsim.schema.errors import FINE, WRONG
from pixsim.schema.history import History, load_migrations, read_history, row_names
from pixsim.schema.ownership import foreign_history
from pixsim.schema.plugins import ForeignHistory
from pixsim.schema.reference import reference
from pixsim.schema.verbs import Context, Verb


class Verify(Verb):
    name = "verify"
    help = (
        "Compare the database with what its migrations make, and prove the invariants of its rows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-rows", action="store_true", help="look at the schema alone, not at the rows"
        )

    def run(self, context: Context) -> int:
        connection, console = context.connection, context.console
        loader = load_migrations(connection)
        history = read_history(connection, loader=loader)
        with reference(connection) as expected:
            found = read_schema(connection)
            differences = drift.between(expected, found)
        judged = accepting.judge(connection, differences, tables=found.tables)
        wanted = [*invariants.references(expected.schema), *plugins.invariants(expected.made)]
        if context.options.no_rows:
            wanted = []
        findings = examine(wanted, using=connection.alias, skip_missing=True)
        broken = [each for each in findings if each.rows]
        skipped = [each for each in findings if each.skipped]
        unknown = drift.unknown_tables(expected.schema, found)
        views = drift.unknown_views(expected.schema, found)
        objects = drift.unknown_objects(expected.schema, found)
        if not history.applied:
            console.say(_nothing_applied(foreign_history(connection, loader)))
        for line in (*_standing(history), *judged.open, *_accepted(judged), *broken):
            console.say(str(line))
        if left := [*unknown, *views, *objects]:
            console.say(f"Not of any migration, and left alone: {', '.join(left)}.")
        if skipped:
            names = ", ".join(each.name for each in skipped)
            console.say(f"Not proved, since their columns are not there: {names}.")
        # What a file did that is gone cannot be looked for; other projects' rows are their own.
        unproved = [row for row in history.unknown if row.is_installed]
        is_clean = bool(history.applied) and not (judged.open or broken or unproved)
        if is_clean:
            console.say(f"Clean: {len(expected.made)} migrations compared.")
        console.result(
            {
                "clean": is_clean,
                "migrations": [".".join(key) for key in expected.made],
                "pending": [".".join(key) for key in history.pending],
                "unknown": [".".join(row.key) for row in history.unknown],
                "differences": [asdict(each) for each in judged.open],
                "accepted": [
                    {**asdict(each.difference), "by": each.row.by, "at": each.row.at}
                    for each in judged.known
                ],
                "changed_since_accepted": list(judged.changed),
                "accepted_and_gone": [accepting.named(row) for row in judged.gone],
                "invariants": [
                    {
                        "name": each.name,
                        "expected": each.invariant.sentence,
                        "found": each.count,
                        "examples": each.rows,
                    }
                    for each in broken
                ],
                "not_proved": [each.name for each in skipped],
                "unknown_tables": unknown,
                "unknown_views": views,
                "unknown_objects": objects,
            }
        )
        return FINE if is_clean else WRONG


def _nothing_applied(foreign: ForeignHistory | None) -> str:
    if foreign:
        return str(foreign)
    return "Nothing is recorded as applied, so there is nothing to compare with."


def _accepted(judged: Judged) -> list[str]:
    """Return what was accepted: as it is, as it was, and what is no difference any more."""
    return [
        *map(str, judged.known),
        *(
            f"It was accepted {accepting.told(row)}, as another: {what}: {row.definition}"
            for what, row in judged.changed.items()
        ),
        *(
            f"Accepted, and no difference any more: {accepting.named(row)}. Forget it with "
            f"`manage.py db accept --revoke`."
            for row in judged.gone
        ),
    ]


def _standing(history: History) -> list[str]:
    """Return what the comparison does not cover, one sentence each."""
    lines = []
    if history.applied and history.pending:
        count = len(history.pending)
        lines.append(
            f"Behind head by {count} migration{'s' * (count != 1)}; compared with what is applied."
        )
    if gone := row_names(row for row in history.unknown if row.is_installed):
        lines.append(
            f"Applied, but its file is gone, so that nobody knows what it did: {gone}. Bring the file "
            f"back, or see to what it did and forget the row with `manage.py db prune`."
        )
    if foreign := row_names(row for row in history.unknown if not row.is_installed):
        lines.append(f"Applied by an app that is not installed here, and left alone: {foreign}.")
    return lines
