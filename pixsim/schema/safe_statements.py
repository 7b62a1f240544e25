"""The safe form of the statements that Django writes for a field or a constraint: indexes are built
concurrently, constraints are added NOT VALID and validated afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from django.db.migrations import RunSQL
from django.db.migrations.operations.base import Operation
from django_pg_migration_tools.operations import (
    MAX_POSTGRES_IDENTIFIER_LEN as LONGEST_NAME,
)
from django_pg_migration_tools.operations import build_postgres_identifier

from pixsim.core.db.operations import AddForeignKey
from pixsim.schema.sql_text import NAME, bare

NAMED = rf"ALTER\s+TABLE\s+(?P<table>{NAME})\s+ADD\s+CONSTRAINT\s+(?P<name>{NAME})\s+"


@dataclass(frozen=True)
class SafeStep:
    """Statements that nobody waits for, each of which may be repeated, and those that undo them.

    They run outside a transaction.
    """

    kind: str
    """`index`, `unique`, `foreign key`, `check` or `not null`."""
    table: str
    name: str
    """Of the index or constraint; of the column if it is `not null`."""
    forwards: tuple[str, ...]
    backwards: tuple[str, ...]
    foreign_key: AddForeignKey | None = None

    @property
    def operation(self) -> Operation:
        return self.foreign_key or RunSQL(list(self.forwards), list(self.backwards))

    @property
    def only_backwards(self) -> RunSQL:
        """Return an operation that does this on the way back, and nothing forwards."""
        return RunSQL(RunSQL.noop, list(self.forwards))

    def called(self, name: str) -> SafeStep:
        """Return the step for a constraint of another name, if that is not too long."""
        if len(name) > LONGEST_NAME:
            return self
        old, new = f'"{self.name}"', f'"{name}"'
        return replace(
            self,
            name=name,
            forwards=tuple(each.replace(old, new) for each in self.forwards),
            backwards=tuple(each.replace(old, new) for each in self.backwards),
        )

    def renamed(self, name: str) -> str:
        """Return the statement that gives the index or constraint another name."""
        if self.kind == "index":
            return f'ALTER INDEX "{self.name}" RENAME TO "{name}"'
        return f'ALTER TABLE "{self.table}" RENAME CONSTRAINT "{self.name}" TO "{name}"'


def safe_steps(statements: Iterable[str]) -> list[SafeStep] | None:
    """Return the safe form of all statements; None if there is none for one of them."""
    found = [_safe(each.strip().rstrip(";")) for each in statements]
    return None if None in found else [each for each in found if each]


def not_null(table: str, column: str, *, default: str | None = None) -> SafeStep:
    """Return how a column becomes NOT NULL: a check that is validated proves it, so that no row is
    read while the table is locked. `default` is set again in the same statement."""
    check = build_postgres_identifier([table, column], "not_null")
    drop = f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{check}"'
    again = f'ALTER COLUMN "{column}" SET DEFAULT {default}, ' if default else ""
    return SafeStep(
        "not null",
        table,
        column,
        (
            f'{drop}, ADD CONSTRAINT "{check}" CHECK ("{column}" IS NOT NULL) NOT VALID',
            f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{check}"',
            f'ALTER TABLE "{table}" {again}ALTER COLUMN "{column}" SET NOT NULL',
            drop,
        ),
        (f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP NOT NULL',),
    )


def drop_foreign_keys(table: str, column: str | None = None) -> str:
    """Return the statement that drops the foreign keys of a column, whatever their names, or of the
    whole table."""
    where = (
        ""
        if column is None
        else " AND conkey = ARRAY[(SELECT attnum FROM pg_attribute"
        f" WHERE attrelid = '\"{table}\"'::regclass AND attname = '{column}')]"
    )
    return (
        "DO $foreign_keys$\nDECLARE\n    name text;\nBEGIN\n"
        "    FOR name IN SELECT conname FROM pg_constraint\n"
        f"        WHERE conrelid = '\"{table}\"'::regclass AND contype = 'f'{where}\n"
        "    LOOP\n"
        f"        EXECUTE format('ALTER TABLE \"{table}\" DROP CONSTRAINT %I', name);\n"
        "    END LOOP;\nEND $foreign_keys$"
    )


def _index(match: re.Match[str], statement: str) -> SafeStep:
    concurrently = re.sub(
        r"\bINDEX\b", "INDEX CONCURRENTLY IF NOT EXISTS", statement, count=1, flags=re.I
    )
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {match['name']}"
    return SafeStep("index", bare(match["table"]), bare(match["name"]), (concurrently,), (drop,))


def _unique(match: re.Match[str], statement: str) -> SafeStep:
    table, name = match["table"], match["name"]
    nulls = f" {match['nulls'].strip()}" if match["nulls"] else ""
    build = f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {match['on']}{nulls}"
    attach = f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{match['rest']}"
    drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
    return SafeStep("unique", bare(table), bare(name), (build, attach), (drop,))


def _foreign_key(match: re.Match[str], statement: str) -> SafeStep:
    step = _validated_later("foreign key", match, statement)
    key = AddForeignKey(
        table=step.table,
        column=bare(match["column"]),
        to=bare(match["to"]),
        to_column=bare(match["to_column"]),
        name=step.name,
        deferrable="DEFERRABLE" in match["rest"].upper(),
    )
    return SafeStep(step.kind, step.table, step.name, step.forwards, step.backwards, key)


def _check(match: re.Match[str], statement: str) -> SafeStep:
    return _validated_later("check", match, statement)


def _validated_later(kind: str, match: re.Match[str], statement: str) -> SafeStep:
    table, name = match["table"], match["name"]
    drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
    add = statement.partition(" ADD CONSTRAINT ")[2]
    forwards = (
        f"{drop}, ADD CONSTRAINT {add} NOT VALID",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
    )
    return SafeStep(kind, bare(table), bare(name), forwards, (drop,))


def _not_null(match: re.Match[str], statement: str) -> SafeStep:
    return not_null(bare(match["table"]), bare(match["column"]))


Rewrite = Callable[[re.Match[str], str], SafeStep]
FORMS: tuple[tuple[str, Rewrite], ...] = (
    (rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?P<name>{NAME})\s+ON\s+(?P<table>{NAME})\s", _index),
    (
        rf"{NAMED}UNIQUE(?P<nulls>\s+NULLS\s+NOT\s+DISTINCT)?\s+(?P<on>\([^)]*\))(?P<rest>[^()]*)$",
        _unique,
    ),
    (
        rf"{NAMED}FOREIGN\s+KEY\s+\((?P<column>{NAME})\)\s+REFERENCES\s+(?P<to>{NAME})\s*"
        rf"\((?P<to_column>{NAME})\)(?P<rest>.*)$",
        _foreign_key,
    ),
    (rf"{NAMED}CHECK\s", _check),
    (
        rf"ALTER\s+TABLE\s+(?P<table>{NAME})\s+ALTER\s+COLUMN\s+(?P<column>{NAME})\s+SET\s+NOT\s+NULL$",
        _not_null,
    ),
)


def _safe(statement: str) -> SafeStep | None:
    for pattern, rewrite in FORMS:
        if match := re.match(pattern, statement, re.I | re.S):
            return rewrite(match, statement)
    return None
