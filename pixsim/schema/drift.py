"""The difference between the schema that the migrations make and the one in the database.

Equal meanings are equal: the text of a condition, serial or identity, the order of columns and the name
of a sequence make no difference. An extra object on a table of ours is a difference; a table or view that
no migration made is unknown, and left alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from pixsim.schema import plugins
from pixsim.schema.accepted import TABLE as ACCEPTED
from pixsim.schema.backfills import TABLE as BACKFILLS
from pixsim.schema.catalog import (
    Column,
    Constraint,
    Definition,
    Index,
    Schema,
    Table,
    Trigger,
    read_schema,
)
from pixsim.schema.catalog import Sequence as Counter
from pixsim.schema.expression_equivalence import ExpressionEquivalence
from pixsim.schema.files import TABLE as FILES
from pixsim.schema.reference import Reference, reference
from pixsim.schema.target_parsing import Key

NOTHING = "nothing"
VIEWS, ROUTINES = ("view", "materialized view"), ("function", "procedure")
"""Kinds of which the definitions are compared."""
BOOKKEEPING = (MigrationRecorder.Migration._meta.db_table, FILES, BACKFILLS, ACCEPTED)
"""Tables that say what was done. They are made where they are missing, by no migration."""
Named = TypeVar("Named", Constraint, Index, Trigger, Definition)


@dataclass(frozen=True)
class Difference:
    """One difference between the database and what the migrations make."""

    kind: str
    """`table`, `column`, `constraint`, `index`, `trigger`, `rule`, `policy`, `storage parameter`,
    `sequence`, `type`, `view`, `materialized view`, `function`; or of what is only missed:
    `collation`, `aggregate` …"""
    table: str
    """Empty for what belongs to no table."""
    name: str
    """Of the column, constraint …; of the table itself for a table."""
    expected: str
    """As SQL, or `nothing`."""
    found: str

    def __str__(self) -> str:
        said = f"{self.what}: expected {self.expected}, found {self.found}"
        return " ".join(said.split())

    @property
    def what(self) -> str:
        """Return the name of the thing with its kind."""
        if self.kind == "column":
            return f"column {self.table}.{self.name}"
        where = f" of {self.table}" if self.table and self.kind != "table" else ""
        return f"{self.kind} {self.name}{where}"


def differences(
    connection: BaseDatabaseWrapper, *, at: Sequence[Key] | None = None
) -> list[Difference]:
    """Return how the database differs from what the migrations `at`, and all they depend on, make.

    Without `at`: the migrations that are recorded as applied. Write nothing but the temporary
    reference. Raise NoReference if that cannot be built.
    """
    with reference(connection, at=at) as expected:
        return between(expected, read_schema(connection))


def between(expected: Reference, found: Schema) -> list[Difference]:
    """Return how `found` differs, by table. Both must come from servers of one version."""
    return list(_Comparison(expected, found).run())


def unknown_tables(expected: Schema, found: Schema) -> list[str]:
    """Return the tables that no migration of `expected` and no plug-in made. They are left alone."""
    known = {*expected.tables, *BOOKKEEPING}
    patterns = plugins.table_patterns()
    return [
        name
        for name in found.tables
        if name not in known and not any(re.fullmatch(pattern, name) for pattern in patterns)
    ]


def unknown_views(expected: Schema, found: Schema) -> list[str]:
    """Return the views that no migration of `expected` made, with their kind. They are left alone."""
    return [
        f"{each.kind} {name}" for name, each in found.views.items() if name not in expected.views
    ]


def unknown_objects(expected: Schema, found: Schema) -> list[str]:
    """Return what else no migration of `expected` made, such as functions. It is left alone, too."""
    return [
        f"{kind} {name}"
        for kind, name in sorted(found.others - expected.others)
        if kind not in VIEWS
    ]


class _Comparison:
    def __init__(self, expected: Reference, found: Schema) -> None:
        self.expected = expected.schema
        self.found = found
        self.equivalence = ExpressionEquivalence(expected.connection, expected.schema.name)

    def run(self) -> Iterator[Difference]:
        for name, table in self.expected.tables.items():
            if name in BOOKKEEPING:
                continue
            there = self.found.tables.get(name)
            if there is None:
                yield Difference("table", name, name, _shape(table), NOTHING)
            else:
                yield from self._table(table, there)
        yield from self._sequences()
        for name, type_ in self.expected.types.items():
            there_type = self.found.types.get(name)
            wanted, got = type_.definition, there_type.definition if there_type else NOTHING
            if wanted != got:
                yield Difference("type", "", name, wanted, got)
        yield from self._alone()
        for kind, name in sorted(self.expected.others - self.found.others):
            if kind not in (*VIEWS, *ROUTINES):
                yield Difference(kind, "", name, f"{_article(kind)} {kind}", NOTHING)

    def _alone(self) -> Iterator[Difference]:
        """Compare the views and functions that migrations made; others are left alone."""
        for name, view in self.expected.views.items():
            there = self.found.views.get(name)
            got = there.definition if there and there.kind == view.kind else NOTHING
            if view.definition != got:
                yield Difference(view.kind, "", name, view.definition, got)
        for name, function in self.expected.functions.items():
            found = self.found.functions.get(name)
            got = found.definition if found else NOTHING
            if function.definition != got:
                yield Difference("function", "", name, function.definition, got)

    def _table(self, wanted: Table, got: Table) -> Iterator[Difference]:
        name = wanted.name
        for attribute, yes, no in (
            ("logged", "a logged table", "an unlogged one, which a crash empties"),
            ("row_security", "row level security", "no row level security"),
        ):
            if getattr(wanted, attribute) != getattr(got, attribute):
                texts = (yes, no) if getattr(wanted, attribute) else (no, yes)
                yield Difference("table", name, name, *texts)
        yield from self._columns(wanted, got)
        yield from self._named("constraint", wanted, wanted.constraints, got.constraints)
        yield from self._named("index", wanted, wanted.indexes, got.indexes)
        yield from self._named("trigger", wanted, wanted.triggers, got.triggers)
        yield from self._named("rule", wanted, wanted.rules, got.rules)
        yield from self._named("policy", wanted, wanted.policies, got.policies)
        for option in sorted({*wanted.options, *got.options}):
            values = (wanted.options.get(option, NOTHING), got.options.get(option, NOTHING))
            if values[0] != values[1]:
                yield Difference("storage parameter", name, option, *values)

    def _columns(self, wanted: Table, got: Table) -> Iterator[Difference]:
        for name in dict.fromkeys([*wanted.columns, *got.columns]):
            one, other = wanted.columns.get(name), got.columns.get(name)
            if one is None or other is None:
                texts = [", ".join(_aspects(each)) if each else NOTHING for each in (one, other)]
                yield Difference("column", wanted.name, name, *texts)
                continue
            if self.equivalence.same_value(wanted.name, one.default, other.default, type=one.type):
                other = replace(other, default=one.default)
            if self.equivalence.same_value(
                wanted.name, one.generated, other.generated, type=one.type
            ):
                other = replace(other, generated=one.generated)
            apart = _differing(_aspects(one), _aspects(other))
            if apart[0] != apart[1]:
                yield Difference("column", wanted.name, name, *apart)
            elif one.counter:
                yield from self._counter(wanted.name, one, other)

    def _counter(self, table: str, wanted: Column, got: Column) -> Iterator[Difference]:
        """Compare counters: a larger range is no difference, another step is."""
        one, other = self.expected.counter(wanted), self.found.counter(got)
        if one is None:
            return
        if other is None or other.maximum < one.maximum or _steps(one) != _steps(other):
            texts = [_counting(each) if each else NOTHING for each in (one, other)]
            yield Difference("column", table, wanted.name, *texts)

    def _named(
        self, kind: str, table: Table, wanted: Mapping[str, Named], got: Mapping[str, Named]
    ) -> Iterator[Difference]:
        """Compare things by name. A thing that exists under another name is one difference, not
        two."""
        missing = {name: each for name, each in wanted.items() if name not in got}
        extra = {name: each for name, each in got.items() if name not in wanted}
        for name, one in wanted.items():
            other = got.get(name)
            if other is not None:
                if not self._same(table.name, one, other):
                    yield Difference(kind, table.name, name, _text(one), _text(other))
                continue
            renamed = next(
                (each for each in extra.values() if self._same(table.name, one, each)), None
            )
            if renamed:
                del extra[renamed.name], missing[name]
                yield Difference(
                    kind, table.name, name, f"the name {name}", f"the name {renamed.name}"
                )
        for name, each in missing.items():
            yield Difference(kind, table.name, name, _text(each), NOTHING)
        for name, each in extra.items():
            yield Difference(kind, table.name, name, NOTHING, _text(each))

    def _same(self, table: str, one: Named, other: Named) -> bool:
        """Return whether two things are equal but for their names."""
        if isinstance(one, Constraint) and isinstance(other, Constraint):
            return self._same_constraint(table, one, other)
        if isinstance(one, Index) and isinstance(other, Index):
            return self._same_index(table, one, other)
        return replace(one, name=other.name) == other

    def _same_constraint(self, table: str, one: Constraint, other: Constraint) -> bool:
        if one.kind == other.kind == "check" and self.equivalence.same_check(
            table, one.expression, other.expression
        ):
            # Which columns it names, and in which order, is how it is written.
            other = replace(
                other, expression=one.expression, definition=one.definition, columns=one.columns
            )
        if other.validated:  # going back never makes a constraint doubtful again
            other = replace(other, validated=one.validated)
        return replace(one, name=other.name) == other

    def _same_index(self, table: str, one: Index, other: Index) -> bool:
        if len(one.keys) == len(other.keys):
            keys = tuple(
                replace(theirs, expression=ours.expression)
                if not ours.column
                and self.equivalence.same_value(table, ours.expression, theirs.expression)
                else theirs
                for ours, theirs in zip(one.keys, other.keys, strict=True)
            )
            other = replace(other, keys=keys)
        if self.equivalence.same_predicate(table, one.predicate, other.predicate):
            other = replace(other, predicate=one.predicate)
        return replace(one, name=other.name) == other

    def _sequences(self) -> Iterator[Difference]:
        """Compare the sequences that belong to no column."""
        for name, wanted in self.expected.sequences.items():
            if wanted.owner:
                continue
            got = self.found.sequences.get(name)
            texts = (_counting(wanted), _counting(got) if got else NOTHING)
            if texts[0] != texts[1]:
                yield Difference("sequence", "", name, *texts)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _shape(table: Table) -> str:
    return f"a table of {len(table.columns)} columns"


def _aspects(column: Column) -> list[str]:
    """Return the properties of a column as texts, always in the same order."""
    counting = {"always": "generated always as identity", "by default": "a counter"}
    return [
        column.type + (f" collate {column.collation}" if column.collation else ""),
        "null" if column.nullable else "not null",
        f"generated as {column.generated}"
        if column.generated is not None
        else counting.get(column.counter)
        or (f"default {column.default}" if column.default is not None else "no default"),
    ]


def _differing(one: list[str], other: list[str]) -> tuple[str, str]:
    """Return only the aspects that differ."""
    pairs = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    return ", ".join(pair[0] for pair in pairs), ", ".join(pair[1] for pair in pairs)


def _steps(sequence: Counter) -> tuple[int, int, bool]:
    return sequence.increment, sequence.minimum, sequence.cycles


def _counting(sequence: Counter) -> str:
    """Return how a sequence counts, without its name."""
    cycle = ", cycling" if sequence.cycles else ""
    return (
        f"a sequence of {sequence.type} by {sequence.increment} from {sequence.minimum} to "
        f"{sequence.maximum}{cycle}"
    )


def _text(thing: Named) -> str:
    if isinstance(thing, Definition):
        return thing.definition
    if isinstance(thing, Trigger):
        return thing.definition + ("" if thing.enabled else " (disabled)")
    if isinstance(thing, Index):
        unique = "unique " if thing.unique else ""
        broken = "" if thing.valid else " (invalid: building it was interrupted)"
        return f"{unique}{thing.definition}{broken}"
    state = "" if thing.validated else " (not validated)"
    state += "" if thing.enforced else " (not enforced)"
    return f"{thing.definition}{state}"
