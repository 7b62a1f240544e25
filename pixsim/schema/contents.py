"""The tables of a database and their rows, whether it is empty, and emptying it."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

LOCK_TIMEOUT = "10s"

# Tables of extensions are left out.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), pg_table_size(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
ORDER BY 1
"""

OBJECTS = """
WITH theirs AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
own_schemas AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT 'SCHEMA', quote_ident(nspname) FROM own_schemas
WHERE nspname <> 'public' AND ('pg_namespace'::regclass, oid) NOT IN (TABLE theirs)
UNION ALL
SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
    WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
    format('%I.%I', nspname, relname)
FROM pg_class AS c JOIN own_schemas ON own_schemas.oid = c.relnamespace
WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  AND ('pg_class'::regclass, c.oid) NOT IN (TABLE theirs)
  -- A sequence of a column goes with its table.
  AND NOT EXISTS (
      SELECT FROM pg_depend
      WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refobjsubid > 0
        AND deptype IN ('a', 'i') AND relkind = 'S'
  )
UNION ALL
SELECT 'ROUTINE', p.oid::regprocedure::text
FROM pg_proc AS p JOIN own_schemas ON own_schemas.oid = p.pronamespace
WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE theirs)
UNION ALL
SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, format('%I.%I', nspname, typname)
FROM pg_type AS t JOIN own_schemas ON own_schemas.oid = t.typnamespace
WHERE typtype IN ('e', 'd', 'r') AND ('pg_type'::regclass, t.oid) NOT IN (TABLE theirs)
UNION ALL
SELECT 'PUBLICATION', quote_ident(pubname) FROM pg_publication
"""


@dataclass(frozen=True)
class DatabaseObject:
    """An object that an empty database does not have."""

    kind: str
    """As DROP calls it: TABLE, VIEW, ROUTINE …"""
    name: str
    """With its schema, quoted where it must be."""

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name}"


def tables(connection: BaseDatabaseWrapper) -> dict[str, int]:
    """Return the size in bytes of every table, by its name with schema; no system tables."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        return dict(cursor.fetchall())


def count_rows(connection: BaseDatabaseWrapper, names: Iterable[str]) -> dict[str, int]:
    """Return the number of rows of each table, named as in `tables`."""
    counts = {}
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"SELECT count(*) FROM {name}")
            counts[name] = int(cursor.fetchone()[0])
    return counts


def database_objects(connection: BaseDatabaseWrapper) -> list[DatabaseObject]:
    """Return all objects of the database; none if it is empty. Extensions do not count."""
    with connection.cursor() as cursor:
        cursor.execute(OBJECTS)
        return sorted(
            (DatabaseObject(*row) for row in cursor.fetchall()),
            key=lambda thing: (thing.kind, thing.name),
        )


def wipe(connection: BaseDatabaseWrapper) -> list[DatabaseObject]:
    """Drop everything in one transaction, and return what was dropped. Extensions and the schema
    `public` with its grants stay."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        found = database_objects(connection)
        for thing in found:
            cursor.execute(f"DROP {thing.kind} IF EXISTS {thing.name} CASCADE")
    return found
