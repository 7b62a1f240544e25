"""What a table looks like in the catalogue, in the words of the older schemas' document."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper


class Column(NamedTuple):
    """`default` is SQL without casts of text literals; None when there is none."""

    name: str
    type: str
    nullable: bool
    default: str | None = None


@dataclass
class Table:
    """`indexes` name → "unique btree (a, b) WHERE …"; `constraints` (checks and foreign keys)
    name → definition; `unique_constraints` are the indexes that a UNIQUE constraint made."""

    columns: list[Column] = field(default_factory=list)
    indexes: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)
    unique_constraints: set[str] = field(default_factory=set)


def describe_table(connection: BaseDatabaseWrapper, table: str) -> Table:
    """The columns in order, indexes and constraints of `table`.

    An identity column is described as the serial it stands for, since both count as the same.
    """
    described = Table()
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [table])
        for name, type_, nullable, identity, default in cursor.fetchall():
            if identity:
                default = f"nextval('{table}_{name}_seq')"
            described.columns.append(Column(name, type_, nullable, _plain(default)))
        cursor.execute(INDEXES, [table])
        for name, definition in cursor.fetchall():
            described.indexes[name] = _index(definition)
        cursor.execute(CONSTRAINTS, [table])
        for name, kind, definition in cursor.fetchall():
            if kind == "u":
                described.unique_constraints.add(name)
            else:
                described.constraints[name] = definition
    return described


def _plain(default: str | None) -> str | None:
    if default is None:
        return None
    return re.sub(r"::(character varying|text|regclass)", "", default)


def _index(definition: str) -> str:
    unique, rest = re.fullmatch(r"CREATE (UNIQUE )?INDEX .+? USING (.+)", definition, re.S).groups()
    return f"unique {rest}" if unique else rest


COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       a.attidentity <> '', pg_get_expr(d.adbin, d.adrelid)
  FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid)
  FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
 WHERE i.indrelid = %s::regclass
"""
CONSTRAINTS = """
SELECT conname, contype, pg_get_constraintdef(oid)
  FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f', 'u')
"""
