"""The tables of a database and their rows, whether it is empty, and emptying it.

What an object is, the server's own catalogue says: everything that was made since the database was, and
does not go with another object.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import InsufficientPrivilege

from pixsim.schema.errors import SchemaError

LOCK_TIMEOUT = "10s"
SHOWN = 5
"""The number of objects that a message names."""

# Tables of extensions are left out.
TABLES = """
SELECT format('%I.%I', n.nspname, c.relname), pg_table_size(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
ORDER BY 1
"""

CATALOGUES = """
SELECT c.oid::regclass::text
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'oid'
WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
  AND c.relname <> ALL(%s)
"""
"""The catalogues of this database in which a row is an object."""
OTHER_CATALOGUES = (
    "pg_enum",  # no objects, but labels of a type
    "pg_amop",  # go with their operator family
    "pg_amproc",
    "pg_default_acl",  # a setting for what is made later, as the grants on a schema are
    "pg_user_mapping",  # go with their server, and not everybody may read them
    "pg_extension",
)
FIRST_NORMAL_OID = 16384
"""What has a lower number came with the server."""

# What depends automatically or internally goes with another object, what an extension owns with it.
OBJECTS = """
WITH own AS MATERIALIZED (
    SELECT classid, objid FROM ({made}) AS made (classid, objid)
    WHERE objid >= {first} AND NOT EXISTS (
        SELECT FROM pg_depend AS d WHERE d.classid = made.classid AND d.objid = made.objid
        AND d.objsubid = 0 AND d.deptype IN ('a', 'i', 'P', 'S', 'e'))
), needed AS (
    -- Schemas that an extension is in.
    SELECT d.refobjid FROM pg_depend AS d
    WHERE d.refclassid = 'pg_namespace'::regclass AND (
        d.classid = 'pg_extension'::regclass OR EXISTS (
            SELECT FROM pg_depend AS e
            WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'))
)
SELECT o.type, o.identity, coalesce(o.schema, ''), CASE
    WHEN o.type = 'large object' THEN format('SELECT lo_unlink(%s)', objid)
    WHEN o.type = 'transform' THEN
        format('DROP TRANSFORM IF EXISTS FOR %s LANGUAGE %I', a.object_names[1], a.object_args[1])
    WHEN o.type IN ('function', 'procedure', 'aggregate') THEN
        format('DROP ROUTINE IF EXISTS %s CASCADE', o.identity)
    WHEN o.type = 'statistics object' THEN format('DROP STATISTICS IF EXISTS %s', o.identity)
    WHEN o.type = 'subscription' THEN format('DROP SUBSCRIPTION IF EXISTS %s', o.identity)
    ELSE format('DROP %s IF EXISTS %s CASCADE', upper(replace(o.type, '-', ' ')), o.identity) END
FROM own, pg_identify_object(classid, objid, 0) AS o,
    pg_identify_object_as_address(classid, objid, 0) AS a
WHERE o.type IS NOT NULL AND coalesce(o.schema, '') !~ '^(pg_|information_schema$)'
  AND NOT (o.type = 'schema' AND (
      o.name ~ '^pg_' OR o.name IN ('public', quote_ident(current_schema()))
      OR objid IN (TABLE needed)))
"""

# The built-in privileges are given back: with those alone the setting is gone.
DEFAULT_PRIVILEGES = """
SELECT statement
FROM pg_default_acl AS d
LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL (
    SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s', pg_get_userbyid(d.defaclrole),
                  ' IN SCHEMA ' || quote_ident(n.nspname)),
           CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
               WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
               ELSE 'LARGE OBJECTS' END
) AS change (beginning, things)
CROSS JOIN LATERAL (
    SELECT 1, format('%s REVOKE ALL ON %s FROM %s', beginning, things,
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM aclexplode(d.defaclacl)
    UNION
    SELECT 2, format('%s GRANT ALL ON %s TO %I', beginning, things, pg_get_userbyid(d.defaclrole))
    WHERE n.nspname IS NULL
    UNION
    SELECT 2, format('%s GRANT ALL ON %s TO PUBLIC', beginning, things)
    WHERE n.nspname IS NULL AND d.defaclobjtype IN ('f', 'T')
) AS one (place, statement)
WHERE pg_has_role(d.defaclrole, 'USAGE')
ORDER BY d.oid, place
"""

FIRST_SCHEMA = """
SELECT nspname FROM pg_namespace
WHERE has_schema_privilege(oid, 'CREATE') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
ORDER BY nspname = current_schema() DESC NULLS LAST, nspname = 'public' DESC, nspname LIMIT 1
"""

SUBSCRIPTIONS = """
SELECT format('%I', subname) FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND subslotname IS NOT NULL
"""


class NotWiped(SchemaError):
    """Something could not be dropped, so nothing was."""


@dataclass(frozen=True)
class DatabaseObject:
    """An object that an empty database does not have."""

    kind: str
    """As PostgreSQL calls it: table, view, function, text search configuration …"""
    name: str
    """With its schema, quoted where it must be."""
    schema: str
    """Quoted where it must be; empty for what is in none."""
    drop: str
    """The statement that drops it."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


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
    """Return all objects of the database; none if it is empty.

    Extensions, the schemas that they are in, `public` and the schema in which new tables are made do
    not count, nor what goes with an object, as an index does.
    """
    with connection.cursor() as cursor:
        cursor.execute(CATALOGUES, [list(OTHER_CATALOGUES)])
        made = [_numbers(catalogue) for (catalogue,) in cursor.fetchall()]
        made.append(
            "SELECT 'pg_subscription'::regclass, oid FROM pg_subscription WHERE subdbid = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        cursor.execute(OBJECTS.format(made=" UNION ALL ".join(made), first=FIRST_NORMAL_OID))
        return sorted(
            (DatabaseObject(*row) for row in cursor.fetchall()),
            key=lambda thing: (thing.kind, thing.name),
        )


def place_for_tables(connection: BaseDatabaseWrapper) -> str | None:
    """Return a schema in which the user may make tables: the current one, `public` or another."""
    with connection.cursor() as cursor:
        cursor.execute(FIRST_SCHEMA)
        row = cursor.fetchone()
    return row[0] if row else None


def some(things: Iterable[object]) -> str:
    """Return the first few by name, and how many more there are."""
    texts = [str(thing) for thing in things]
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def wipe(connection: BaseDatabaseWrapper) -> list[DatabaseObject]:
    """Drop everything in one transaction, and return what was dropped.

    What stays: extensions with the schemas they are in, `public` and the schema in which new tables
    are made, with the grants on them. Raise NotWiped if the user may not drop something.
    """
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        _refuse_subscriptions(connection)
        cursor.execute(DEFAULT_PRIVILEGES)
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        found = database_objects(connection)
        # A trigger of drops would run for all that follow. What is in a schema goes with it.
        order = sorted(
            found, key=lambda each: (each.kind != "event trigger", each.kind != "schema")
        )
        refused = [thing for thing in order if not _drop(connection, thing)]
        if left := set(refused) & set(database_objects(connection)):
            raise NotWiped(_not_ours(connection, sorted(left, key=str)))
    return found


def _numbers(catalogue: str) -> str:
    of = "pg_largeobject" if catalogue == "pg_largeobject_metadata" else catalogue
    return f"SELECT '{of}'::regclass, oid FROM {catalogue}"


def _drop(connection: BaseDatabaseWrapper, thing: DatabaseObject) -> bool:
    """Return whether the user may drop the object."""
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(thing.drop)
    except DatabaseError as error:
        if isinstance(error.__cause__, InsufficientPrivilege):
            return False
        raise
    return True


def _refuse_subscriptions(connection: BaseDatabaseWrapper) -> None:
    """Raise NotWiped if the database gets rows from another server, which keeps a slot for it."""
    with connection.cursor() as cursor:
        cursor.execute(SUBSCRIPTIONS)
        for (name,) in cursor.fetchall():
            raise NotWiped(
                f"This database subscribes to another one ({name}), which keeps rows for it. "
                f"Nothing was dropped. Say DROP SUBSCRIPTION {name}; first, or, if the other server "
                f"is gone: ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET "
                f"(slot_name = NONE); DROP SUBSCRIPTION {name};"
            )


def _not_ours(connection: BaseDatabaseWrapper, left: list[DatabaseObject]) -> str:
    where = connection.settings_dict
    return (
        f"{where['USER']!r} may not drop {some(left)} in {where['NAME']!r}. Nothing was dropped. "
        f"Have their owner or a superuser say: {' '.join(f'{each.drop};' for each in left[:SHOWN])} "
        f"Then wipe again, or use another database."
    )
