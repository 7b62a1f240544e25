"""A site's own objects that depend on our tables.

Its indexes, constraints and triggers are made again on our tables if their columns are not converted;
its views and the foreign keys of its own tables refer to our tables afterwards.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.adoption.copies import ADOPTED, Copy, later_names
from pixsim.adoption.recognising import ORIGINALS, VERSIONS
from pixsim.schema.catalog import Constraint, Index, Schema, Table, quoted
from pixsim.schema.drift import Difference

VIEWS = """
WITH RECURSIVE reading AS (
    SELECT r.ev_class AS oid FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
       AND d.refobjid = ANY (%(tables)s::oid[])
    UNION
    SELECT r.ev_class FROM reading JOIN pg_depend AS d
           ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reading.oid
      JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass)
SELECT c.relname, c.relkind, c.relnamespace = current_schema()::regnamespace,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, c.oid::regclass::text,
       ARRAY(SELECT DISTINCT t.relname || '.' || a.attname
               FROM pg_rewrite AS r JOIN pg_depend AS d ON d.objid = r.oid
               JOIN pg_class AS t ON t.oid = d.refobjid
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
              WHERE r.ev_class = c.oid AND d.classid = 'pg_rewrite'::regclass
                AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
                AND d.refobjid = ANY (%(tables)s::oid[]))
  FROM pg_class AS c WHERE c.oid IN (SELECT oid FROM reading) ORDER BY c.oid
"""
BLOCKERS = """
SELECT format('%%s of %%s', conname, conrelid::regclass), 'a foreign key from another schema; drop it'
  FROM pg_constraint
 WHERE contype = 'f' AND confrelid = ANY (%(tables)s::oid[])
   AND connamespace <> current_schema()::regnamespace
UNION ALL
SELECT c.relname, 'it is ' || CASE c.relkind WHEN 'p' THEN 'partitioned' ELSE 'part of an inheritance'
                               END || ', and no plain table'
  FROM pg_class AS c
 WHERE c.oid = ANY (%(tables)s::oid[]) AND (c.relkind = 'p' OR EXISTS (
       SELECT FROM pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)))
UNION ALL
SELECT format('rule %%s of %%s', rulename, ev_class::regclass),
       'it is not carried over; drop it, adopt, and make it again on our table'
  FROM pg_rewrite WHERE ev_class = ANY (%(tables)s::oid[]) AND rulename <> '_RETURN'
UNION ALL
SELECT 'publication ' || pubname, 'its subscribers would get our tables instead; drop it, adopt, and '
       'make it again when they have them too'
  FROM pg_publication_tables AS p JOIN pg_class AS c ON c.relname = p.tablename
   AND c.relnamespace = p.schemaname::regnamespace
 WHERE c.oid = ANY (%(tables)s::oid[]) GROUP BY pubname
UNION ALL
SELECT 'schema ' || nspname, 'an earlier adoption left it; rename it, or drop it'
  FROM pg_namespace WHERE nspname = %(originals)s
UNION ALL
SELECT relname, 'a name that is needed for what is not ours; give it another one'
  FROM pg_class WHERE relname = ANY (%(taken)s) AND relnamespace = current_schema()::regnamespace
"""
GRANTS = """
SELECT format('GRANT %%s ON %%I TO %%s%%s', g.privilege_type, c.relname,
              CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class AS c, aclexplode(c.relacl) AS g
 WHERE c.oid = ANY (%(tables)s::oid[]) AND g.grantee <> c.relowner
UNION ALL
SELECT format('ALTER TABLE %%I OWNER TO %%I', c.relname, pg_get_userbyid(c.relowner))
  FROM pg_class AS c
 WHERE c.oid = ANY (%(tables)s::oid[]) AND pg_get_userbyid(c.relowner) <> current_user
"""
OTHERS = """
SELECT c.relname FROM pg_class AS c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY (%(names)s)
   AND c.oid <> ALL (%(tables)s::oid[])
   AND NOT EXISTS (SELECT FROM pg_index AS i
                    WHERE i.indexrelid = c.oid AND i.indrelid = ANY (%(tables)s::oid[]))
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND c.relkind = 'S'
                   AND d.deptype IN ('a', 'i') AND d.refobjid = ANY (%(tables)s::oid[]))
 ORDER BY c.relkind = 'i', c.relname
"""


@dataclass
class DependentObjects:
    """The site's own objects, and the statements that make them again."""

    after: list[str] = field(default_factory=list)
    """Run once our tables are filled and whole."""
    views: list[tuple[str, str]] = field(default_factory=list)
    """Names and queries, each after those that it reads."""
    foreign_keys: list[tuple[str, str, str]] = field(default_factory=list)
    """Of the site's own tables: table, name, definition."""
    clashes: list[str] = field(default_factory=list)
    """Tables, indexes and sequences of the site's own that have a name of ours."""
    kept: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    """What goes or must be looked at again, and why."""
    unresolved: list[tuple[str, str]] = field(default_factory=list)
    """What stands in the way, and what to do about it."""


def read_dependent_objects(
    connection: BaseDatabaseWrapper,
    found: Schema,
    head: Schema,
    copies: Sequence[Copy],
    differences: Sequence[Difference],
    *,
    people: str,
) -> DependentObjects:
    """Return the objects that depend on the tables. Read the catalogue only."""
    dependents = DependentObjects()
    moved = {copy.table: copy for copy in copies if copy.table in found.tables}
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            "SELECT array_agg(oid) FROM pg_class WHERE relname = ANY (%s)"
            " AND relnamespace = current_schema()::regnamespace",
            [list(moved)],
        )
        parameters: dict[str, Any] = {
            "tables": cursor.fetchone()[0],
            "names": sorted(later_names(head)),
            "originals": ORIGINALS,
        }
        for table, copy in moved.items():
            _of_table(dependents, found.tables[table], copy, differences, head, people)
        _references(dependents, found, set(moved))
        cursor.execute(VIEWS, parameters)
        for name, kind, is_here, query, whole, columns in cursor.fetchall():
            if kind == "v" and is_here:
                _view(dependents, name, query.rstrip().rstrip(";"), columns, moved)
            elif whole not in moved:
                dependents.unresolved.append(
                    (whole, "it reads our tables; drop it, adopt, and make it again")
                )
        cursor.execute(GRANTS, parameters)
        dependents.after += [statement for (statement,) in cursor.fetchall()]
        cursor.execute(OTHERS, parameters)
        dependents.clashes += [name for (name,) in cursor.fetchall()]
        parameters["taken"] = [name + ADOPTED for name in (VERSIONS, *dependents.clashes)]
        cursor.execute(BLOCKERS, parameters)
        dependents.unresolved += cursor.fetchall()
    return dependents


def _view(
    dependents: DependentObjects,
    name: str,
    query: str,
    columns: Sequence[str],
    moved: Mapping[str, Copy],
) -> None:
    """Add a view of the site's own that reads these columns of tables that move."""
    converted = {
        f"{copy.table}.{column}": way
        for copy in moved.values()
        for column, way in copy.conversions.items()
        if way.why
    }
    if _uses_enumeration(query, moved.values()):
        dependents.unresolved.append(
            (
                f"view {name}",
                "it speaks of an enumeration that is text with us; drop it, adopt, and "
                "make it again",
            )
        )
    elif read := [column for column in columns if column in converted]:
        dependents.lost.append(
            (
                f"view {name}",
                "the site's own; made anew over our tables. Look at it again, for what "
                f"it reads is converted: {', '.join(read)}",
            )
        )
    else:
        dependents.kept.append((f"view {name}", "the site's own; made anew over our tables"))
    dependents.views.append((name, query))


def _uses_enumeration(text: str, copies: Iterable[Copy]) -> bool:
    """Return whether a definition compares with members of an enumeration that becomes text."""
    types = {type_ for copy in copies for type_ in copy.enumerations}
    return any(re.search(rf"::{re.escape(type_)}(?!\w)", text) for type_ in types)


def _of_table(
    dependents: DependentObjects,
    there: Table,
    copy: Copy,
    differences: Sequence[Difference],
    head: Schema,
    people: str,
) -> None:
    """Add the site's own indexes, constraints and triggers on a table of ours."""
    extra = {
        (d.kind, d.name) for d in differences if d.table == copy.table and d.expected == "nothing"
    }
    same = {name for name, way in copy.conversions.items() if not way.why}
    same |= {column.name for name, column in copy.kept.items() if column.name == name}
    taken = later_names(head)
    for index in there.indexes.values():
        if ("index", index.name) not in extra:
            continue
        what = f"index {index.name} of {there.name}"
        if not index.valid:
            dependents.lost.append(
                (what, "its building was interrupted; it serves nobody and goes")
            )
        elif _is_plain(index, same):
            name = _free(index.name, taken)
            unique = "UNIQUE " if index.unique else ""
            dependents.after.append(
                f"CREATE {unique}INDEX {quoted(name)} ON {quoted(there.name)} {index.definition}"
            )
            dependents.kept.append((what, "the site's own, made again"))
        else:
            dependents.lost.append(
                (what, f"goes, for what it indexes is converted: {index.definition}")
            )
    for constraint in there.constraints.values():
        if ("constraint", constraint.name) in extra:
            _constraint(dependents, there, constraint, same, taken, people)
    for trigger in there.triggers.values():
        if ("trigger", trigger.name) not in extra:
            continue
        if _uses_enumeration(trigger.definition, [copy]):
            dependents.unresolved.append(
                (
                    f"trigger {trigger.name} of {there.name}",
                    "it speaks of an enumeration that is "
                    "text with us; drop it, adopt, and make it again",
                )
            )
        else:
            dependents.after.append(trigger.definition)
            if not trigger.enabled:
                dependents.after.append(
                    f"ALTER TABLE {quoted(there.name)} DISABLE TRIGGER {quoted(trigger.name)}"
                )
            dependents.kept.append(
                (f"trigger {trigger.name} of {there.name}", "the site's own, made again")
            )
    if there.row_security:
        dependents.unresolved.append(
            (
                there.name,
                "row level security is on, and its policies are not carried over: switch it off "
                "first, and set it up again on our table",
            )
        )


def _constraint(
    dependents: DependentObjects,
    there: Table,
    constraint: Constraint,
    same: set[str],
    taken: set[str],
    people: str,
) -> None:
    what = f"constraint {constraint.name} of {there.name}"
    if constraint.to_table == people and people != "profiles":
        dependents.lost.append(
            (what, f"goes: people are in auth_user, not in {people}, from now on")
        )
    elif constraint.kind == "foreign key" and there.name == people:
        to = constraint.to_table
        dependents.lost.append(
            (what, f"goes: people are made here from now on, whom {to} does not know")
        )
    elif set(constraint.columns) <= same:
        # Rows that are there were never asked, or need not be asked again.
        late = " NOT VALID" if constraint.kind in ("check", "foreign key") else ""
        dependents.after.append(
            f"ALTER TABLE {quoted(there.name)} ADD CONSTRAINT {quoted(_free(constraint.name, taken))}"
            f" {constraint.definition}{late}"
        )
        dependents.kept.append((what, "the site's own, made again"))
    else:
        dependents.lost.append(
            (what, f"goes, for its columns are converted: {constraint.definition}")
        )


def _references(dependents: DependentObjects, found: Schema, moved: set[str]) -> None:
    """Add the foreign keys of the site's own tables that refer to ours."""
    for table in found.tables.values():
        if table.name in moved:
            continue
        for each in table.constraints.values():
            if each.kind == "foreign key" and each.to_table in moved:
                late = "" if each.validated else " NOT VALID"
                dependents.foreign_keys.append((table.name, each.name, each.definition + late))
                dependents.kept.append(
                    (f"foreign key {each.name} of {table.name}", "points at our table from now on")
                )


def _is_plain(index: Index, same: set[str]) -> bool:
    return index.predicate is None and all(key.column in same for key in index.keys)


def _free(name: str, taken: set[str]) -> str:
    return name + ADOPTED if name in taken else name
