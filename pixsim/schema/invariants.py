"""The invariants of a schema's foreign keys; plug-ins register more invariants.

A foreign key can be not validated, or switched off while rows are loaded.
"""

from collections.abc import Iterator

from pixsim.core.invariants import Invariant
from pixsim.schema.catalog import Constraint, Schema, Table, quoted

DANGLING = """
SELECT {named} FROM {table} AS row
 WHERE {present} AND NOT EXISTS (SELECT FROM {to_table} AS target WHERE {matches})
"""


def references(schema: Schema) -> Iterator[Invariant]:
    """Return an invariant for each validated foreign key: the row that it names exists."""
    for table in schema.tables.values():
        for constraint in table.constraints.values():
            if constraint.kind == "foreign key" and constraint.validated:
                yield _reference(table, constraint)


def _reference(table: Table, key: Constraint) -> Invariant:
    pairs = list(zip(key.columns, key.to_columns, strict=True))
    primary = next(
        (each.columns for each in table.constraints.values() if each.kind == "primary key"), ()
    )
    named = dict.fromkeys([*primary, *key.columns])
    return Invariant(
        name=f"{table.name}.{','.join(key.columns)}",
        sentence=f"It names a row of {key.to_table}, or nothing.",
        sql=DANGLING.format(
            named=", ".join(f"row.{quoted(name)}" for name in named),
            table=quoted(table.name),
            present=" AND ".join(f"row.{quoted(ours)} IS NOT NULL" for ours, _ in pairs),
            to_table=key.to_table,
            matches=" AND ".join(
                f"target.{quoted(theirs)} = row.{quoted(ours)}" for ours, theirs in pairs
            ),
        ),
    )
