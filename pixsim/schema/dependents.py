"""What depends on the tables and columns that a run drops, and was made by no migration.

Django drops them with CASCADE, so that views, foreign keys of other tables, functions and all that
hangs on these would go without a word. PostgreSQL's catalogue says beforehand what that is. What a
RunPython drops, or an operation that is not Django's, cannot be known; without CASCADE the server
itself refuses, and names both.
"""

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader

from pixsim.schema.catalog import quoted
from pixsim.schema.destructive_changes import Drop, Drops, read_drops
from pixsim.schema.errors import SchemaError
from pixsim.schema.reference import NoReference, Reference, reference
from pixsim.schema.target_parsing import Key

# Columns of `thing`, `gone` and `lost` are those of an address in pg_depend: a whole object has sub 0.
DEPENDENTS = """
WITH RECURSIVE named AS (
    SELECT n.place, c.oid, n.part, n.is_column, n.columns::json
      FROM unnest(%(tables)s::text[], %(parts)s::text[], %(are_columns)s::bool[], %(columns)s::text[])
           WITH ORDINALITY AS n (name, part, is_column, columns, place)
      JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(n.name))
), thing (place, class, object, sub) AS (
    SELECT place, 'pg_class'::regclass::oid, oid, 0 FROM named WHERE part IS NULL
    UNION ALL
    SELECT n.place, 'pg_class'::regclass, n.oid, a.attnum
      FROM named AS n JOIN pg_attribute AS a ON a.attrelid = n.oid AND a.attname = n.part
     WHERE n.is_column AND NOT a.attisdropped
    UNION ALL
    SELECT n.place, 'pg_constraint'::regclass, k.oid, 0
      FROM named AS n JOIN pg_constraint AS k ON k.conrelid = n.oid AND k.conname = n.part
     WHERE NOT n.is_column
    UNION ALL
    SELECT n.place, 'pg_class'::regclass, i.indexrelid, 0
      FROM named AS n JOIN pg_index AS i ON i.indrelid = n.oid
      JOIN pg_class AS c ON c.oid = i.indexrelid AND c.relname = n.part
     WHERE NOT n.is_column
), gone AS (
    SELECT * FROM thing
    UNION
    SELECT g.place, next.* FROM gone AS g, LATERAL (
        SELECT classid, objid, objsubid FROM pg_depend
         WHERE refclassid = g.class AND refobjid = g.object AND (g.sub = 0 OR refobjsubid = g.sub)
        UNION ALL -- what it is the inside of, as a rule is of its view
        SELECT refclassid, refobjid, refobjsubid FROM pg_depend
         WHERE classid = g.class AND objid = g.object AND objsubid = g.sub AND deptype = 'i'
        UNION ALL -- the column in tables that inherit it
        SELECT g.class, i.inhrelid, c.attnum
          FROM pg_inherits AS i JOIN pg_attribute AS p ON p.attrelid = i.inhparent
          JOIN pg_attribute AS c ON c.attrelid = i.inhrelid AND c.attname = p.attname
         WHERE g.class = 'pg_class'::regclass AND i.inhparent = g.object AND p.attnum = g.sub
           AND g.sub > 0 AND NOT c.attislocal AND c.attinhcount = 1
    ) AS next
), lost AS (
    SELECT min(place) AS place, class, object, sub, false AS is_extra
      FROM gone GROUP BY class, object, sub
    UNION ALL -- columns that no migration made
    SELECT n.place, 'pg_class'::regclass, n.oid, a.attnum, true
      FROM named AS n JOIN pg_attribute AS a ON a.attrelid = n.oid
     WHERE n.columns IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname NOT IN (SELECT json_array_elements_text(n.columns))
), home AS ( -- of what is a part of a table: the table, and the columns that it is about
    SELECT 'pg_constraint'::regclass::oid AS class, oid AS object, conrelid AS tbl, conkey AS columns,
           true AS is_shape
      FROM pg_constraint WHERE conrelid <> 0
    UNION ALL
    SELECT 'pg_class'::regclass, indexrelid, indrelid, indkey::int2[], true FROM pg_index
    UNION ALL
    SELECT 'pg_attrdef'::regclass, oid, adrelid, ARRAY[adnum], true FROM pg_attrdef
    UNION ALL
    SELECT 'pg_trigger'::regclass, oid, tgrelid, NULL, tgisinternal FROM pg_trigger
    UNION ALL
    SELECT 'pg_rewrite'::regclass, oid, ev_class, NULL, rulename = '_RETURN' FROM pg_rewrite
    UNION ALL
    SELECT 'pg_policy'::regclass, oid, polrelid, NULL, false FROM pg_policy
    UNION ALL
    SELECT 'pg_publication_rel'::regclass, oid, prrelid, NULL, false FROM pg_publication_rel
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, oid, stxrelid, NULL, false FROM pg_statistic_ext
)
SELECT l.place, a.type, a.object_names, a.object_args, current_schema(), i.attrelid IS NOT NULL
  FROM lost AS l LEFT JOIN home AS h ON h.class = l.class AND h.object = l.object
       LEFT JOIN pg_class AS c ON l.class = 'pg_class'::regclass AND c.oid = l.object
       LEFT JOIN pg_attribute AS i ON i.attrelid = c.oid AND i.attnum = l.sub AND i.attinhcount > 0
       LEFT JOIN pg_type AS t ON l.class = 'pg_type'::regclass AND t.oid = l.object
       CROSS JOIN LATERAL pg_identify_object_as_address(l.class, l.object, l.sub) AS a
 WHERE NOT EXISTS (SELECT FROM thing AS g WHERE g.class = l.class AND g.object = l.object
                      AND g.sub = l.sub)
   -- Its table goes: with what gives the table its shape, or as a dependent that is named itself.
   AND NOT EXISTS (SELECT FROM lost AS g WHERE g.class = 'pg_class'::regclass AND g.object = h.tbl
                      AND g.sub = 0 AND (h.is_shape OR NOT EXISTS (
                          SELECT FROM thing AS o WHERE o.class = g.class AND o.object = g.object
                             AND o.sub = 0)))
   -- All that it is about goes.
   AND NOT (coalesce(h.is_shape, false) AND h.columns IS NULL)
   AND (h.columns IS NULL OR EXISTS (
       SELECT FROM unnest(h.columns) AS k (number)
        WHERE NOT EXISTS (SELECT FROM lost AS g WHERE g.class = 'pg_class'::regclass
                             AND g.object = h.tbl AND g.sub = k.number AND k.number > 0)))
   AND NOT (coalesce(c.relkind, '') IN ('t', 'S') AND EXISTS (
       SELECT FROM pg_depend AS d -- the counter of its column
        WHERE d.classid = l.class AND d.objid = l.object AND d.refclassid = l.class
          AND (d.deptype = 'i' OR d.deptype = 'a' AND EXISTS (
              SELECT FROM pg_attrdef AS e JOIN pg_depend AS u ON u.classid = 'pg_attrdef'::regclass
                 AND u.objid = e.oid AND u.refclassid = l.class AND u.refobjid = l.object
               WHERE e.adrelid = d.refobjid AND e.adnum = d.refobjsubid))))
   AND NOT (c.relkind IN ('v', 'm') AND l.sub > 0)
   AND (l.is_extra OR l.sub = 0 OR NOT EXISTS (
       SELECT FROM gone AS g WHERE g.class = l.class AND g.object = l.object AND g.sub = 0))
   AND NOT (t.oid IS NOT NULL AND (t.typrelid <> 0 OR t.typcategory = 'A' OR t.typtype = 'm'))
 ORDER BY l.place, a.type, a.object_names, a.object_args
"""

FIND = "SELECT pg_get_object_address(%s, %s, %s)"
KINDS = {
    "table column": "column",
    "foreign table column": "column",
    "table constraint": "constraint",
    "default value": "default",
    "publication relation": "publication",
    "statistics object": "statistics",
}
"""The names that `db verify` has for them, where PostgreSQL has others."""
REMOVALS = {
    "column": "ALTER TABLE IF EXISTS {table} DROP COLUMN IF EXISTS {part} CASCADE",
    "constraint": "ALTER TABLE IF EXISTS {table} DROP CONSTRAINT IF EXISTS {part} CASCADE",
    "default": "ALTER TABLE IF EXISTS {table} ALTER COLUMN {part} DROP DEFAULT",
    "trigger": "DROP TRIGGER IF EXISTS {part} ON {table} CASCADE",
    "policy": "DROP POLICY IF EXISTS {part} ON {table} CASCADE",
    "rule": "DROP RULE IF EXISTS {part} ON {table} CASCADE",
    "publication": "ALTER PUBLICATION {part} DROP TABLE {table}",
}
"""How those go that are a part of a table."""
WHOLE = {
    "aggregate",
    "foreign table",
    "function",
    "index",
    "materialized view",
    "procedure",
    "sequence",
    "statistics",
    "table",
    "type",
    "view",
}
"""What DROP takes by its kind."""


class HasDependents(SchemaError):
    """Objects that no migration made would go with what the run drops."""


@dataclass(frozen=True)
class Dependent:
    """An object that no migration made and that goes with what the run drops."""

    kind: str
    """`view`, `constraint`, `trigger`, `function` …"""
    name: str
    """With its table or arguments, and with its schema if that is not the one of our tables."""
    drop: Drop
    """What it depends on, or hangs on something that does."""
    removal: str
    """The statement that drops it; empty if it is left to CASCADE."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name} (depends on {self.drop})"

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "depends_on": str(self.drop)}


def dependents_of(
    connection: BaseDatabaseWrapper,
    loader: MigrationLoader,
    plan: Sequence[tuple[Migration, bool]],
) -> list[Dependent]:
    """Return what no migration made and what goes with that which the plan drops. Read the catalogue,
    and build the schema of the migrations where it is needed to tell whose an object is."""
    if not loader.applied_migrations:
        return []
    found = _read(connection, read_drops(loader, plan))
    if not found:
        return []
    try:
        with reference(connection) as expected:
            return [each for address, each in found if not _is_ours(expected, address)]
    except NoReference:  # whose they are cannot be told, so they are named
        return [each for _, each in found]


def add_dependents_argument(parser: ArgumentParser) -> None:
    """Add the option of verbs that may drop what is not ours."""
    parser.add_argument(
        "--drop-dependents",
        action="store_true",
        help="let go what no migration made and depends on what is dropped: views, foreign keys …",
    )


def refuse_dependents(found: Sequence[Dependent], *, may_go: bool) -> None:
    """Raise HasDependents, naming the objects, unless there are none or they may go."""
    if found and not may_go:
        raise HasDependents(
            f"{listing(found)}\nNothing was changed. Keep how they are made (`pg_dump "
            f"--schema-only`), then drop them yourself, or let them go with --drop-dependents."
        )


def listing(found: Sequence[Dependent]) -> str:
    """Return the objects, one a line, below what they are."""
    return "\n  ".join(
        ["These were made by no migration, and go with what is dropped:", *map(str, found)]
    )


def by_migration(found: Iterable[Dependent]) -> Mapping[Key, list[Dependent]]:
    """Return the objects by the migration that would take them along."""
    sorted_by: dict[Key, list[Dependent]] = {}
    for each in found:
        sorted_by.setdefault(each.drop.migration, []).append(each)
    return sorted_by


def drop(connection: BaseDatabaseWrapper, dependent: Dependent) -> None:
    """Drop the object, unless that is left to CASCADE."""
    if dependent.removal:
        with closing(connection.cursor()) as cursor:
            cursor.execute(dependent.removal)


@dataclass(frozen=True)
class _Address:
    """An object as `pg_get_object_address` takes it."""

    type: str
    names: tuple[str, ...]
    arguments: tuple[str, ...]
    schema: str
    """The one of our tables."""


def _read(connection: BaseDatabaseWrapper, drops: Drops) -> list[tuple[_Address, Dependent]]:
    things = drops.things
    if not things:
        return []
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            DEPENDENTS,
            {
                "tables": [each.table_now for each in things],
                "parts": [each.part_now for each in things],
                "are_columns": [each.is_column for each in things],
                "columns": [
                    json.dumps(sorted(drops.columns[each.table_now]))
                    if each.kind == "table" and each.table_now in drops.columns
                    else None
                    for each in things
                ],
            },
        )
        rows = cursor.fetchall()
    found = []
    for place, type_, names, arguments, schema, is_inherited in rows:
        address = _Address(type_, tuple(names), tuple(arguments), schema)
        if not (type_ in ("index", "table constraint") and names[-1] in drops.names):
            dependent = _dependent(address, things[place - 1])
            # An inherited column can only be dropped with the one it is inherited from.
            found.append((address, replace(dependent, removal="") if is_inherited else dependent))
    return found


def _dependent(address: _Address, drop: Drop) -> Dependent:
    kind = KINDS.get(address.type, address.type)
    names, arguments = address.names, address.arguments
    if kind == "publication":
        names, arguments = (*names, *arguments), ()
    known = names[1:] if len(names) > 1 and names[0] == address.schema else names
    if kind in REMOVALS:
        table, part = ".".join(known[:-1]), names[-1]
        name = f"{table}.{part}" if kind in ("column", "default") else f"{part} of {table}"
        where = ".".join(map(quoted, names[:-1]))
        removal = REMOVALS[kind].format(table=where, part=quoted(part))
    else:
        called = (
            f"({', '.join(arguments)})" if kind in ("function", "procedure", "aggregate") else ""
        )
        name = ".".join(known) + called.replace(f"{address.schema}.", "")
        whole = ".".join(map(quoted, names)) + called
        removal = f"DROP {kind.upper()} IF EXISTS {whole} CASCADE" if kind in WHOLE else ""
    return Dependent(kind, name, drop, removal)


def _is_ours(expected: Reference, address: _Address) -> bool:
    """Return whether the migrations make an object of this kind and name."""
    if len(address.names) < 2 or address.names[0] != address.schema:
        return False
    here = expected.schema.name
    arguments = [each.replace(f"{address.schema}.", f"{here}.") for each in address.arguments]
    try:
        with closing(expected.connection.cursor()) as cursor:
            cursor.execute(FIND, [address.type, [here, *address.names[1:]], arguments])
    except DatabaseError:
        return False
    return True
