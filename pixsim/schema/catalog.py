"""One schema of a live database, read from `pg_catalog`: tables and all that belongs to them.

Expressions have the text that PostgreSQL prints, with names as seen from inside the schema, so that two
snapshots of the same server can be compared. Objects of extensions are left out, and so are the NOT NULL
constraints that PostgreSQL 18 names: they are the columns' nullability.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.schema.contents import database_objects

# The queries look at the schema that is the search path, and take no parameters. Columns that not
# every supported server has are read through `to_jsonb`.

OF_EXTENSION = """
EXISTS (SELECT FROM pg_depend AS d
         WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid} AND d.deptype = 'e')
"""

TABLES = f"""
SELECT c.relname AS name, coalesce(c.reloptions, '{{}}') AS options,
       c.relpersistence = 'p' AS logged, c.relrowsecurity AS row_security
  FROM pg_class AS c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
   AND NOT {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname
"""

OURS = """
JOIN pg_class AS t ON t.oid = {oid} AND t.relkind IN ('r', 'p')
     AND t.relnamespace = current_schema()::regnamespace
     AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                     AND d.objid = t.oid AND d.deptype = 'e')
"""

# A default that takes the next number of a sequence is a counter, whoever owns the sequence.
COLUMNS = f"""
SELECT t.relname AS in_table, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       NOT a.attnotnull OR EXISTS (
           SELECT FROM pg_constraint AS n
            WHERE n.conrelid = t.oid AND n.contype = 'n' AND NOT n.convalidated
              AND n.conkey = ARRAY[a.attnum]) AS nullable,
       CASE WHEN a.attgenerated = '' AND s.relname IS NULL
            THEN pg_get_expr(e.adbin, e.adrelid) END AS default,
       CASE WHEN a.attidentity = 'a' THEN 'always'
            WHEN a.attidentity = 'd' OR s.relname IS NOT NULL THEN 'by default'
            ELSE '' END AS counter,
       coalesce(s.relname, i.relname, '') AS sequence,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid) END AS generated,
       CASE WHEN a.attcollation <> y.typcollation THEN o.collname ELSE '' END AS collation
  FROM pg_attribute AS a
  {OURS.format(oid="a.attrelid")}
  JOIN pg_type AS y ON y.oid = a.atttypid
  LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
  LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
  LEFT JOIN pg_class AS s ON s.relkind = 'S' AND s.oid = (
            SELECT d.refobjid FROM pg_depend AS d
             WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = e.oid
               AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> t.oid
               AND pg_get_expr(e.adbin, e.adrelid) ~ '^nextval\\(''[^'']*''::regclass\\)$' LIMIT 1)
  LEFT JOIN pg_class AS i ON i.relkind = 'S' AND i.oid = (
            SELECT d.objid FROM pg_depend AS d
             WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
               AND d.refobjid = t.oid AND d.refobjsubid = a.attnum AND d.deptype = 'i'
               AND a.attidentity <> '' LIMIT 1)
 WHERE a.attnum > 0 AND NOT a.attisdropped
 ORDER BY t.relname, a.attnum
"""

CONSTRAINTS = f"""
SELECT t.relname AS in_table, c.conname AS name,
       CASE c.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check'
                      WHEN 'f' THEN 'foreign key' ELSE 'exclusion' END AS kind,
       regexp_replace(pg_get_constraintdef(c.oid), '( NOT VALID| NOT ENFORCED)$', '') AS definition,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number
              ORDER BY k.place) AS columns,
       CASE WHEN c.contype = 'c' THEN pg_get_expr(c.conbin, c.conrelid) END AS expression,
       CASE WHEN c.contype = 'f' THEN c.confrelid::regclass::text ELSE '' END AS to_table,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (number, place)
               JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.number
              ORDER BY k.place) AS to_columns,
       c.convalidated AS validated,
       coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) AS enforced
  FROM pg_constraint AS c
  {OURS.format(oid="c.conrelid")}
 WHERE c.contype IN ('p', 'u', 'c', 'f', 'x')
 ORDER BY t.relname, c.conname
"""

INDEXES = f"""
SELECT t.relname AS in_table, c.relname AS name, m.amname AS method,
       i.indisunique AS unique,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS nulls_not_distinct,
       i.indisvalid AND i.indisready AS valid,
       pg_get_expr(i.indpred, i.indrelid) AS predicate,
       coalesce(array_to_string(c.reloptions, ', '), '') AS options,
       ARRAY(SELECT a.attname::text FROM generate_series(i.indnkeyatts, i.indnatts - 1) AS n
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[n]
              ORDER BY n) AS include,
       (SELECT json_agg(json_build_object(
                   'expression', pg_get_indexdef(i.indexrelid, n + 1, false),
                   'column', coalesce(a.attname, ''),
                   'options', concat_ws(' ',
                       CASE WHEN i.indcollation[n] <> 0
                             AND i.indcollation[n] <> coalesce(a.attcollation, x.attcollation)
                            THEN 'COLLATE ' || i.indcollation[n]::regcollation END,
                       CASE WHEN NOT p.opcdefault THEN p.opcname END,
                       CASE WHEN i.indoption[n] & 1 = 1 THEN 'DESC' END,
                       CASE WHEN i.indoption[n] = 1 THEN 'NULLS LAST'
                            WHEN i.indoption[n] = 2 THEN 'NULLS FIRST' END)) ORDER BY n)
          FROM generate_series(0, i.indnkeyatts - 1) AS n
          JOIN pg_opclass AS p ON p.oid = i.indclass[n]
          JOIN pg_attribute AS x ON x.attrelid = i.indexrelid AND x.attnum = n + 1
          LEFT JOIN pg_attribute AS a
                 ON a.attrelid = t.oid AND a.attnum = i.indkey[n] AND i.indkey[n] > 0) AS keys
  FROM pg_index AS i
  {OURS.format(oid="i.indrelid")}
  JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_am AS m ON m.oid = c.relam
 WHERE NOT EXISTS (SELECT FROM pg_constraint AS k
                    WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
 ORDER BY t.relname, c.relname
"""

TRIGGERS = f"""
SELECT t.relname AS in_table, g.tgname AS name, pg_get_triggerdef(g.oid, true) AS definition,
       g.tgenabled <> 'D' AS enabled
  FROM pg_trigger AS g
  {OURS.format(oid="g.tgrelid")}
 WHERE NOT g.tgisinternal
 ORDER BY t.relname, g.tgname
"""

RULES = f"""
SELECT t.relname AS in_table, r.rulename AS name, pg_get_ruledef(r.oid, true)
       || CASE r.ev_enabled WHEN 'D' THEN ' (disabled)' ELSE '' END AS definition
  FROM pg_rewrite AS r
  {OURS.format(oid="r.ev_class")}
 ORDER BY t.relname, r.rulename
"""

POLICIES = f"""
SELECT t.relname AS in_table, p.polname AS name,
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR',
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                         WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, 'TO',
           (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE r::regrole::text END, ', '
                              ORDER BY r) FROM unnest(p.polroles) AS r),
           'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
           'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS definition
  FROM pg_policy AS p
  {OURS.format(oid="p.polrelid")}
 ORDER BY t.relname, p.polname
"""

VIEWS = f"""
SELECT c.relname AS name,
       CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END AS kind,
       rtrim(pg_get_viewdef(c.oid, true), ';') AS definition
  FROM pg_class AS c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('v', 'm')
   AND NOT {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname
"""

FUNCTIONS = f"""
SELECT format('%s(%s)', p.proname, pg_get_function_identity_arguments(p.oid)) AS name,
       concat_ws(' ', 'RETURNS', pg_get_function_result(p.oid), 'LANGUAGE', l.lanname,
           CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' END,
           CASE WHEN p.proisstrict THEN 'STRICT' END,
           CASE WHEN p.prosecdef THEN 'SECURITY DEFINER' END,
           'SET ' || array_to_string(p.proconfig, ', '),
           coalesce(pg_get_function_sqlbody(p.oid), 'AS ' || p.prosrc)) AS definition
  FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
 WHERE p.pronamespace = current_schema()::regnamespace AND p.prokind IN ('f', 'p')
   AND NOT {OF_EXTENSION.format(catalog="pg_proc", oid="p.oid")}
 ORDER BY 1
"""

SEQUENCES = f"""
SELECT c.relname AS name, format_type(s.seqtypid, NULL) AS type, s.seqstart AS start,
       s.seqincrement AS increment, s.seqmin AS minimum, s.seqmax AS maximum, s.seqcycle AS cycles,
       coalesce((SELECT t.relname || '.' || a.attname
                   FROM pg_depend AS d JOIN pg_class AS t ON t.oid = d.refobjid
                   JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
                  LIMIT 1), '') AS owner,
       CASE WHEN has_sequence_privilege(c.oid, 'SELECT, USAGE')
            THEN pg_sequence_last_value(c.oid) END AS last
  FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid
 WHERE c.relnamespace = current_schema()::regnamespace
   AND NOT {OF_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname
"""

TYPES = f"""
SELECT y.typname AS name, CASE y.typtype WHEN 'e' THEN 'enum' ELSE 'domain' END AS kind,
       CASE y.typtype
           WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(e.enumlabel), ', '
                                                       ORDER BY e.enumsortorder)
                                        FROM pg_enum AS e WHERE e.enumtypid = y.oid) || ')'
           ELSE concat_ws(' ', format_type(y.typbasetype, y.typtypmod),
                          'DEFAULT ' || y.typdefault, CASE WHEN y.typnotnull THEN 'NOT NULL' END,
                          (SELECT string_agg(pg_get_constraintdef(c.oid), ' ' ORDER BY c.conname)
                             FROM pg_constraint AS c
                            WHERE c.contypid = y.oid AND c.contype = 'c')) END AS definition
  FROM pg_type AS y
 WHERE y.typnamespace = current_schema()::regnamespace AND y.typtype IN ('e', 'd')
   AND NOT {OF_EXTENSION.format(catalog="pg_type", oid="y.oid")}
 ORDER BY y.typname
"""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    """With its modifiers, like `character varying(20)`."""
    nullable: bool
    default: str | None = None
    """An expression; None also for a counter."""
    counter: str = ""
    """How it counts by itself: `by default` (an identity column or a serial, which count as the
    same), `always` (an identity that refuses other values), or empty."""
    sequence: str = ""
    """The name of a counter's sequence."""
    generated: str | None = None
    """The expression of a generated column."""
    collation: str = ""
    """If it is not the type's own."""


@dataclass(frozen=True)
class Constraint:
    name: str
    kind: str
    """`primary key`, `unique`, `check`, `foreign key` or `exclusion`."""
    definition: str
    """As after ADD CONSTRAINT … in ALTER TABLE, without NOT VALID."""
    columns: tuple[str, ...]
    expression: str | None = None
    """What a CHECK checks."""
    to_table: str = ""
    """What a foreign key points at; with its schema if that is another one."""
    to_columns: tuple[str, ...] = ()
    validated: bool = True
    """False: rows that were there before have not been looked at."""
    enforced: bool = True


@dataclass(frozen=True)
class IndexKey:
    """One key of an index."""

    expression: str
    """The quoted name of a column, or an expression, in parentheses where SQL wants them."""
    column: str = ""
    """Its name, if it is a column."""
    options: str = ""
    """Collation, operator class and order, where they are not the default."""

    def __str__(self) -> str:
        return f"{self.expression} {self.options}".strip()


@dataclass(frozen=True)
class Index:
    """An index that belongs to no constraint."""

    name: str
    method: str
    keys: tuple[IndexKey, ...]
    unique: bool = False
    nulls_not_distinct: bool = False
    include: tuple[str, ...] = ()
    predicate: str | None = None
    options: str = ""
    """Storage parameters, like `fillfactor=70`."""
    valid: bool = True
    """False: building it was interrupted; it slows writing and serves nobody."""

    @property
    def definition(self) -> str:
        """Return the text after ON table in CREATE INDEX."""
        parts = [f"USING {self.method} ({', '.join(map(str, self.keys))})"]
        if self.include:
            parts.append(f"INCLUDE ({', '.join(map(quoted, self.include))})")
        if self.nulls_not_distinct:
            parts.append("NULLS NOT DISTINCT")
        if self.options:
            parts.append(f"WITH ({self.options})")
        if self.predicate is not None:
            parts.append(f"WHERE {self.predicate}")
        return " ".join(parts)


@dataclass(frozen=True)
class Trigger:
    name: str
    definition: str
    """The whole CREATE TRIGGER."""
    enabled: bool = True


@dataclass(frozen=True)
class Definition:
    """A rule or policy of a table, or a function."""

    name: str
    """Of a function with the types of its arguments."""
    definition: str


@dataclass(frozen=True)
class View:
    name: str
    kind: str
    """`view` or `materialized view`."""
    definition: str
    """The query."""


@dataclass(frozen=True)
class Sequence:
    name: str
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cycles: bool
    owner: str = ""
    """`table.column` that it goes with; empty: it stands alone."""
    last: int | None = None
    """The last number it gave; None: none yet. No part of the schema."""


@dataclass(frozen=True)
class Type:
    """An enumeration or a domain."""

    name: str
    kind: str
    """`enum` or `domain`."""
    definition: str
    """As after CREATE … AS."""


@dataclass
class Table:
    name: str
    columns: dict[str, Column] = field(default_factory=dict)
    """In their order."""
    constraints: dict[str, Constraint] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    rules: dict[str, Definition] = field(default_factory=dict)
    policies: dict[str, Definition] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    """Storage parameters, like those of autovacuum."""
    logged: bool = True
    """False: a crash of the server empties it."""
    row_security: bool = False
    """Whether policies decide which rows are seen."""


@dataclass
class Schema:
    name: str
    tables: dict[str, Table] = field(default_factory=dict)
    sequences: dict[str, Sequence] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    functions: dict[str, Definition] = field(default_factory=dict)
    others: set[tuple[str, str]] = field(default_factory=set)
    """Kind and name of everything but tables, sequences and these types."""

    def counter(self, column: Column) -> Sequence | None:
        """Return the sequence of a counting column."""
        return self.sequences.get(column.sequence)


def read_schema(connection: BaseDatabaseWrapper, name: str | None = None) -> Schema:
    """Read the schema `name`, or the one in which new tables are made.

    Read one snapshot and change nothing; inside a transaction of the caller, read what it has done.
    """
    with _inside(connection, name) as (cursor, schema):
        for row in _rows(cursor, TABLES):
            options = dict(one.partition("=")[::2] for one in row.pop("options"))
            schema.tables[row["name"]] = Table(options=options, **row)
        for row in _rows(cursor, SEQUENCES):
            schema.sequences[row["name"]] = Sequence(**row)
        for row in _rows(cursor, TYPES):
            schema.types[row["name"]] = Type(**row)
        for row in _rows(cursor, VIEWS):
            schema.views[row["name"]] = View(**row)
        for row in _rows(cursor, FUNCTIONS):
            schema.functions[row["name"]] = Definition(**row)
        for table, row in _of_tables(cursor, COLUMNS, schema):
            table.columns[row["name"]] = Column(**row)
        for table, row in _of_tables(cursor, CONSTRAINTS, schema):
            row |= {each: tuple(row[each]) for each in ("columns", "to_columns")}
            table.constraints[row["name"]] = Constraint(**row)
        for table, row in _of_tables(cursor, INDEXES, schema):
            keys = tuple(IndexKey(**key) for key in row.pop("keys"))
            row["include"] = tuple(row["include"])
            table.indexes[row["name"]] = Index(keys=keys, **row)
        for table, row in _of_tables(cursor, TRIGGERS, schema):
            table.triggers[row["name"]] = Trigger(**row)
        for table, row in _of_tables(cursor, RULES, schema):
            table.rules[row["name"]] = Definition(**row)
        for table, row in _of_tables(cursor, POLICIES, schema):
            table.policies[row["name"]] = Definition(**row)
        schema.others = set(_others(connection, schema))
    return schema


def quoted(name: str) -> str:
    """Return the name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(identifier: str) -> str:
    """Return the name that an identifier of SQL means."""
    return identifier.strip('"').replace('""', '"')


@contextmanager
def _inside(
    connection: BaseDatabaseWrapper, name: str | None
) -> Iterator[tuple[CursorWrapper, Schema]]:
    """Open a cursor on one snapshot, with the schema as the search path."""
    joins = connection.in_atomic_block
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        if not joins:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(
            "SELECT coalesce(%s, current_schema()), current_setting('search_path')", [name]
        )
        schema, before = cursor.fetchone()
        cursor.execute("SELECT set_config('search_path', quote_ident(%s), true)", [schema])
        yield cursor, Schema(schema)
        cursor.execute("SELECT set_config('search_path', %s, true)", [before])


def _rows(cursor: CursorWrapper, query: str) -> Iterator[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    for row in cursor.fetchall():
        yield dict(zip(names, row, strict=True))


def _others(connection: BaseDatabaseWrapper, schema: Schema) -> Iterator[tuple[str, str]]:
    known = schema.tables.keys() | schema.sequences.keys() | schema.types.keys()
    for thing in database_objects(connection):
        # Inside the schema its own name is left out, also where arguments name a type of it.
        name = thing.name.replace(f"{thing.schema}.", "")
        if thing.schema and unquoted(thing.schema) == schema.name and unquoted(name) not in known:
            yield thing.kind, name


def _of_tables(
    cursor: CursorWrapper, query: str, schema: Schema
) -> Iterator[tuple[Table, dict[str, Any]]]:
    for row in _rows(cursor, query):
        yield schema.tables[row.pop("in_table")], row
