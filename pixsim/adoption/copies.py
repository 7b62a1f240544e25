"""Every table of ours as a SELECT over the older system's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pixsim.adoption.conversions import TEXTS, Conversion, conversion
from pixsim.adoption.systems import System
from pixsim.schema.catalog import Column, Schema, Table, quoted

ADOPTED = "_adopted"
"""The suffix for a name of the site's own that one of ours needs."""


@dataclass(frozen=True)
class Copy:
    """One table of ours and the source of its rows."""

    table: str
    source: str
    """Tables as in FROM, one of them `o`. {schema} stands for where the older tables are."""
    values: Mapping[str, str]
    """Our columns, each with its value over `o`."""
    conversions: Mapping[str, Conversion] = field(default_factory=dict)
    """Of those columns that the older table has under the same name."""
    kept: Mapping[str, Column] = field(default_factory=dict)
    """The site's own columns, by the name that they get."""
    impossible: Mapping[str, str] = field(default_factory=dict)
    """Columns that cannot be filled, and why."""
    enumerations: frozenset[str] = frozenset()
    """The native types of enumerations whose columns are text with us."""
    proofs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By name, a value over `o` and the same one over our table. Both are compared as text."""
    key: str = "o.id"
    """What our `id` is, over `o`."""

    def select(self, schema: str) -> str:
        """Return a SELECT of the rows in our form."""
        values = ", ".join(f"{value} AS {quoted(name)}" for name, value in self.values.items())
        return f"SELECT {values} FROM {self.source}".replace("{schema}", quoted(schema))


def copy_of(
    system: System, found: Table, wanted: Table, head: Table, *, secrets: frozenset[str]
) -> Copy:
    """Return how the rows of `found` become rows of `wanted`; `head` has the columns that come
    later."""
    values: dict[str, str] = {}
    conversions: dict[str, Conversion] = {}
    impossible: dict[str, str] = {}
    for name, column in wanted.columns.items():
        place = (wanted.name, name)
        there = found.columns.get(name)
        if there is None:
            if place in system.given:
                values[name] = system.given[place]
            elif column.nullable or column.default is not None:
                values[name] = f"CAST({column.default or 'NULL'} AS {column.type})"
            else:
                impossible[name] = "it is missing, and there is no value to fill it with"
            continue
        way = conversion(
            there,
            column,
            enumeration=place in system.enumerations,
            turned=place in system.turned,
            secret=name in secrets,
        )
        if way is None:
            impossible[name] = f"nothing leads from {there.type} to {column.type}"
            continue
        if place in system.never_null:
            way = way.never_null(system.never_null[place])
        conversions[name], values[name] = way, way.sql
    kept = {
        name + ADOPTED if name in head.columns else name: column
        for name, column in found.columns.items()
        if name not in wanted.columns
    }
    values |= {name: f"o.{quoted(column.name)}" for name, column in kept.items()}
    return Copy(
        table=wanted.name,
        source=f"{{schema}}.{quoted(found.name)} AS o",
        values=values,
        conversions=conversions,
        kept=kept,
        impossible=impossible,
        enumerations=frozenset(
            found.columns[name].type
            for name in conversions
            if (wanted.name, name) in system.enumerations
            and not TEXTS.fullmatch(found.columns[name].type)
        ),
        proofs={name: _proof(name, way, wanted.columns[name]) for name, way in conversions.items()}
        | {name: (f"o.{quoted(kept[name].name)}", quoted(name)) for name in kept},
    )


def later_names(head: Schema) -> set[str]:
    """Return the names of all relations that our history makes, up to its head."""
    names = set(head.tables) | set(head.sequences)
    for table in head.tables.values():
        names |= set(table.indexes) | set(table.constraints)
        names |= {column.sequence for column in table.columns.values() if column.sequence}
    return names


def _proof(name: str, way: Conversion, wanted: Column) -> tuple[str, str]:
    """Return the value before and after, both in our form. Of a mended value, return its text,
    since that was recorded."""
    before = f"CAST({way.sql} AS {wanted.type})::text"
    if way.raw:
        before = f'CASE WHEN {way.raw} THEN o."{name}"::text ELSE {before} END'
    return before, quoted(name)
