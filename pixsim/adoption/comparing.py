"""What each difference from our migrations means for adoption."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pixsim.adoption.conversions import ENCRYPTED
from pixsim.adoption.copies import ADOPTED, Copy
from pixsim.adoption.dependent_objects import DependentObjects
from pixsim.adoption.systems import System
from pixsim.schema.catalog import Schema
from pixsim.schema.drift import NOTHING, Difference

EQUAL, HARMLESS, CONVERTED, DECISION = "equal", "harmless", "converted", "needs a decision"


@dataclass(frozen=True)
class Finding:
    """One difference. `rows` counts the rows with a value there, where that matters."""

    kind: str
    what: str
    text: str
    sql: str = ""
    rows: int | None = None


def findings(
    system: System,
    found: Schema,
    copies: Sequence[Copy],
    differences: Sequence[Difference],
    dependents: DependentObjects,
) -> Iterator[Finding]:
    """Yield everything that is not equal, without numbers of rows."""
    by_table = {copy.table: copy for copy in copies}
    for copy in copies:
        if copy.table in system.tables:
            yield from _conversions(copy)
    for each in differences:
        if each.table in by_table and each.table in system.tables:
            yield from _difference(system, by_table[each.table], each)
        elif each.table in system.tables:
            yield Finding(HARMLESS, each.what, "missing; it is made, empty")
    if system.people in found.tables and system.people not in system.tables:
        yield Finding(CONVERTED, system.people, "copied to auth_user; the table itself stays")
    else:
        yield Finding(
            CONVERTED, system.people, "each gets a log-in in auth_user, with an unusable password"
        )
    yield from _dependents(dependents)


def _conversions(copy: Copy) -> Iterator[Finding]:
    for name, way in copy.conversions.items():
        if way.why:
            sql = "" if way.why == ENCRYPTED else way.shown or way.sql
            yield Finding(CONVERTED, f"{copy.table}.{name}", way.why, sql)
    for name, why in copy.impossible.items():
        yield Finding(DECISION, f"{copy.table}.{name}", why)
    for name, column in copy.kept.items():
        renamed = f" as {name}, since a column of ours is called so" * (name != column.name)
        plain = "; it does not fill itself any more" * bool(column.counter or column.generated)
        optional = "" if column.nullable else "; it may be empty from now on"
        changes = renamed + plain + optional
        kind = CONVERTED if changes else HARMLESS
        yield Finding(kind, f"{copy.table}.{column.name}", f"the site's own, kept{changes}")


def _difference(system: System, copy: Copy, each: Difference) -> Iterator[Finding]:
    if each.kind == "column":
        handled = each.name in copy.impossible or each.expected == NOTHING
        way = copy.conversions.get(each.name)
        if handled or (way and way.why):
            return
        if each.found == NOTHING:
            own = (each.table, each.name) in system.given
            text = "ours alone; it is filled" if own else "missing; it is made with its default"
            yield Finding(HARMLESS, each.what, text)
            return
    if each.expected == NOTHING:
        return  # listed with the dependent objects
    if each.found == NOTHING:
        yield Finding(HARMLESS, each.what, "missing; it is made", sql=each.expected)
    elif "REFERENCES auth_user" in each.expected:
        yield Finding(CONVERTED, each.what, "points at auth_user instead", sql=each.expected)
    else:
        yield Finding(HARMLESS, each.what, f"becomes {each.expected}; it is {each.found}")


def _dependents(dependents: DependentObjects) -> Iterator[Finding]:
    for what, text in dependents.kept:
        yield Finding(HARMLESS, what, text)
    for what, text in dependents.lost:
        yield Finding(CONVERTED, what, text)
    for what, text in dependents.unresolved:
        yield Finding(DECISION, what, text)
    for name in dependents.clashes:
        yield Finding(
            CONVERTED, name, f"not ours, but its name is; it is called {name}{ADOPTED} from now on"
        )
