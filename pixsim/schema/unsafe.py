"""Operations that block a table while it is read or rewritten, or that break code that still runs,
and the safe way to write each.

Both are judged by the SQL of an operation, so raw SQL and operations of our own count too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from django.db import connections, migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from pixsim.schema.destructive_changes import Rows, count_rows, table_name, walk
from pixsim.schema.history import remarks
from pixsim.schema.sql_collector import NeedsDatabase, statements
from pixsim.schema.sql_text import ALTER, COLUMN, NAME, NEW_COLUMN, bare, created_tables, split
from pixsim.schema.targets import Plan, Step


@dataclass(frozen=True)
class Finding:
    """An operation that blocks or breaks something, and the safe way to do it."""

    kind: Literal["blocks", "breaks"]
    """It blocks the table for a time that grows with its rows, or it breaks code that still runs."""
    table: str
    operation: str
    """As Django describes it."""
    why: str
    rewrite: str
    """The safe way."""
    statement: str

    def __str__(self) -> str:
        return f"{self.table}: {self.operation}: {self.why}. Instead: {self.rewrite}"


@dataclass(frozen=True)
class Rule:
    """A kind of statement that blocks its table or breaks running code."""

    pattern: re.Pattern[str]
    why: str
    rewrite: str


def _rule(pattern: str, why: str, rewrite: str) -> Rule:
    return Rule(re.compile(pattern, re.I | re.S), why, rewrite)


VOLATILE = r"(?:gen_random_uuid|uuid_generate|random|nextval|clock_timestamp|timeofday)"
"""Functions that give each row a value of its own."""
BACKFILL = (
    "fill in small ranges of keys: a Backfill, called by a RunPython of a migration with "
    "atomic = False (pixsim.core.db.backfill)"
)
SET_NOT_NULL = _rule(
    rf"{ALTER}ALTER\s+COLUMN\s+{COLUMN}\s+SET\s+NOT\s+NULL",
    "nobody reads or writes the table while all of it is read",
    "SaferAlterFieldSetNotNull, or a CHECK (… IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT, SET NOT "
    "NULL and drop the CHECK, in a migration with atomic = False",
)
ALTER_TYPE = _rule(
    rf"{ALTER}ALTER\s+COLUMN\s+{COLUMN}\s+(?:SET\s+DATA\s+)?TYPE\s",
    "nobody reads or writes the table while all of it is rewritten, with its indexes",
    "add a column of the new type, fill it in ranges while both are written, then swap them",
)
CHANGE_ROWS = _rule(
    rf"\s*(?:UPDATE\s+(?:ONLY\s+)?|DELETE\s+FROM\s+(?:ONLY\s+)?)(?P<table>{NAME})"
    rf"(?:.*\sWHERE\s+{COLUMN}\s+IS\s+NULL\s*;?$)?",
    "nobody writes the rows it changes until all of them are changed",
    BACKFILL,
)
RULES = (
    _rule(
        rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?!CONCURRENTLY)(?:.*?\s)?ON\s+(?:ONLY\s+)?(?P<table>{NAME})",
        "nobody writes the table while the index is built",
        "SaferAddIndexConcurrently (unique: SaferAddUniqueConstraint) in a migration with "
        "atomic = False",
    ),
    _rule(
        rf"{ALTER}ADD\s+CONSTRAINT\s+{NAME}\s+(?:UNIQUE|PRIMARY\s+KEY|EXCLUDE)(?!\s+USING\s+INDEX)",
        "nobody reads or writes the table while the index of the constraint is built",
        "SaferAddUniqueConstraint in a migration with atomic = False",
    ),
    _rule(
        rf"{ALTER}ADD\s+CONSTRAINT\s+{NAME}\s+CHECK(?!.*NOT\s+VALID)",
        "nobody reads or writes the table while all of it is checked",
        "AddConstraintNotValid, then ValidateConstraint in the next migration (or "
        "SaferAddCheckConstraint in one with atomic = False)",
    ),
    _rule(
        rf"{ALTER}ADD\s+CONSTRAINT\s+{NAME}\s+FOREIGN\s+KEY(?!.*NOT\s+VALID)",
        "nobody writes this table or the one it refers to while all of it is checked",
        "a field with db_constraint=False and AddForeignKey, which validates later, in a migration "
        "with atomic = False",
    ),
    _rule(
        rf"{ALTER}{NEW_COLUMN}.*?(?:DEFAULT\s+\(?\s*{VOLATILE}|GENERATED\s|\b(?:big|small)?serial\b)",
        "nobody reads or writes the table while every row is rewritten with a value of its own",
        f"add the column null, give it the default for new rows, then {BACKFILL}",
    ),
    _rule(
        rf"{ALTER}{NEW_COLUMN}.*?\sREFERENCES\s",
        "nobody writes this table or the one it refers to while all of it is checked",
        "a field with db_constraint=False, then AddForeignKey in a migration with atomic = False",
    ),
    _rule(
        rf"{ALTER}{NEW_COLUMN}.*?\s(?:UNIQUE|PRIMARY\s+KEY)\b",
        "nobody reads or writes the table while the index of the constraint is built",
        "add the column without it, then SaferAddUniqueConstraint",
    ),
    _rule(
        rf"{ALTER}{NEW_COLUMN}.*?\sCHECK\s*\(",
        "nobody reads or writes the table while all of it is checked",
        "add the column without the check (a field without a sign: IntegerField), then "
        "AddConstraintNotValid and ValidateConstraint",
    ),
    _rule(
        rf"{ALTER}SET\s+(?:(?:UN)?LOGGED|TABLESPACE|ACCESS\s+METHOD)",
        "nobody reads or writes the table while all of it is rewritten",
        "a maintenance window, or a new table that is filled beside it",
    ),
    _rule(
        rf"\s*(?:VACUUM\s+(?:\(\s*)?FULL.*?|CLUSTER\s+|REINDEX\s+TABLE\s+(?!CONCURRENTLY))"
        rf"(?P<table>{NAME})",
        "nobody reads or writes the table while all of it is rewritten",
        "a maintenance window, or pg_repack; REINDEX … CONCURRENTLY for indexes",
    ),
    _rule(
        r"\s*REINDEX\s+(?:\(.*?\)\s*)?(?!TABLE|CONCURRENTLY)\w+\s+(?!CONCURRENTLY)",
        "nobody writes the table while the index is built again",
        "REINDEX … CONCURRENTLY",
    ),
    _rule(
        r"\s*DROP\s+INDEX\s+(?!CONCURRENTLY)",
        "nobody reads or writes the table from when the lock is waited for until it is released",
        "SaferRemoveIndexConcurrently in a migration with atomic = False",
    ),
    CHANGE_ROWS,
    SET_NOT_NULL,
    ALTER_TYPE,
)

DROP_DEFAULT = re.compile(rf"{ALTER}ALTER\s+COLUMN\s+{COLUMN}\s+DROP\s+DEFAULT", re.I | re.S)
SET_DEFAULT = re.compile(
    rf"{ALTER}ALTER\s+COLUMN\s+{COLUMN}\s+SET\s+DEFAULT\s+(?!NULL\b)", re.I | re.S
)
NEW_NOT_NULL = _rule(
    rf"{ALTER}{NEW_COLUMN}(?!.*\bGENERATED\s).*\bNOT\s+NULL",
    "code that still runs inserts rows without a value",
    "give the column a db_default",
)
BECOMES_NOT_NULL = _rule(SET_NOT_NULL.pattern.pattern, NEW_NOT_NULL.why, NEW_NOT_NULL.rewrite)
RENAME_TABLE = _rule(
    rf"{ALTER}RENAME\s+TO\s",
    "code that still runs asks for the old name",
    "keep the table's name with Meta.db_table, or make a view of the old name in the same migration",
)
RENAME_COLUMN = _rule(
    rf"{ALTER}RENAME\s+(?:COLUMN\s+)?(?!TO\s|CONSTRAINT\s){COLUMN}\s+TO\s",
    "code that still runs asks for the old name",
    "keep the column's name with db_column",
)
DROP_COLUMN = _rule(
    rf"{ALTER}DROP\s+(?:COLUMN\s+)(?:IF\s+EXISTS\s+)?{COLUMN}",
    "code that still runs reads and writes the column",
    "deploy code without the field first (SeparateDatabaseAndState), drop the column in the "
    "release after",
)
BREAKS = (
    RENAME_TABLE,
    RENAME_COLUMN,
    DROP_COLUMN,
    _rule(
        rf"\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?P<table>{NAME})",
        "code that still runs asks for the table",
        "deploy code without the model first (SeparateDatabaseAndState), drop the table in the "
        "release after",
    ),
    _rule(
        rf"\s*DROP\s+VIEW\s+(?:IF\s+EXISTS\s+)?(?P<table>{NAME})",
        "code that still runs asks for the view",
        "drop the view in the release after the one that stops asking for it",
    ),
    NEW_NOT_NULL,
    BECOMES_NOT_NULL,
)
CREATE_VIEW = re.compile(rf"\s*CREATE\s+VIEW\s+(?P<name>{NAME})\s", re.I)
ANNOUNCEMENTS = {"blocks": "Lock:", "breaks": "Breaks:"}
"""How the paragraph of a migration's docstring begins that says what it does to a table."""


def review(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> list[Finding]:
    """Return what people may notice of a migration that is applied to `state`.

    Sends nothing to `connection`. Does not see what a RunPython does.
    """
    before: list[str] = []
    found: list[Finding] = []
    for operation, said, old, new in each_in_sql(migration, state, connection):
        found += _findings(operation, migration.app_label, said, before, old, new)
        before += said
    views = {bare(match["name"]) for match in map(CREATE_VIEW.match, before) if match}
    return [
        each
        for each in found
        if not (each.table in views and RENAME_TABLE.pattern.match(each.statement))
    ]


def each_in_sql(
    migration: Migration, state: ProjectState, connection: BaseDatabaseWrapper
) -> Iterator[tuple[Operation, list[str], ProjectState, ProjectState]]:
    """Yield the operations that say without a database what they do, with their statements and the
    states before and after."""
    state = state.clone()
    for operation in migration.operations:
        old = state.clone()
        operation.state_forwards(migration.app_label, state)
        if not operation.reduces_to_sql:
            continue
        try:
            said = split(statements(operation, migration.app_label, connection, old, state))
        except NeedsDatabase:
            continue
        yield operation, said, old, state


def is_announced(migration: Migration, finding: Finding) -> bool:
    """Return whether the migration's docstring, or its package's, says that it blocks or breaks
    that table."""
    return any(
        paragraph.strip().startswith(ANNOUNCEMENTS[finding.kind])
        and re.search(rf"\b{re.escape(finding.table)}\b", paragraph)
        for paragraph in remarks(migration)
    )


def too_large(
    connection: BaseDatabaseWrapper, loader: MigrationLoader, plan: Plan, *, threshold: int
) -> list[tuple[Step, Finding, Rows]]:
    """Return the steps that block a table with more rows than `threshold`, with the number of rows."""
    steps = {loader.graph.nodes[step.key]: step for step in plan.steps}
    sizes: dict[str, Rows | None] = {}
    found = []
    for migration, state in walk(loader, steps):
        for finding in review(migration, state, connection):
            if finding.kind != "blocks" or not finding.table:
                continue
            if finding.table not in sizes:
                sizes[finding.table] = count_rows(connection, finding.table, up_to=threshold)
            rows = sizes[finding.table]
            if rows and rows.count > threshold:
                found.append((steps[migration], finding, rows))
    return found


def _findings(
    operation: Operation,
    app: str,
    said: Sequence[str],
    before: Sequence[str],
    from_state: ProjectState,
    to_state: ProjectState,
) -> Iterator[Finding]:
    new = created_tables([*before, *said])
    text = operation.describe()
    for place, statement in enumerate(said):
        earlier = [*before, *said[:place]]
        for rule in RULES:
            match = rule.pattern.match(statement)
            if not match:
                continue
            # A statement about an index does not say of which table it is.
            named = match.groupdict().get("table")
            table = bare(named) if named else _table_of(operation, app, from_state)
            if table in new:
                continue
            if rule in (SET_NOT_NULL, CHANGE_ROWS) and _is_proved(match["column"], earlier):
                continue
            if rule is ALTER_TYPE and _keeps_values(operation, app, from_state, to_state):
                continue
            yield Finding("blocks", table, text, rule.why, rule.rewrite, statement)
            break
    yield from _breaks(text, said, before, new)


def _breaks(
    text: str, said: Sequence[str], before: Sequence[str], new: set[str]
) -> Iterator[Finding]:
    for place, statement in enumerate(said):
        for rule in BREAKS:
            match = rule.pattern.match(statement)
            if not match or bare(match["table"]) in new:
                continue
            if rule in (NEW_NOT_NULL, BECOMES_NOT_NULL) and _has_default(match, said, place):
                continue
            if _is_a_copy(rule, match, [*before, *said[:place]], said[place + 1 :]):
                continue
            yield Finding("breaks", bare(match["table"]), text, rule.why, rule.rewrite, statement)


def _is_a_copy(
    rule: Rule, match: re.Match[str], earlier: Sequence[str], later: Sequence[str]
) -> bool:
    """Return whether the column is a copy that the same migration made and a trigger fills, or is
    dropped because the copy takes its name: code that runs notices neither."""
    if rule is DROP_COLUMN:
        column = re.escape(bare(match["column"]))
        return any(
            re.search(rf'\bRENAME\s+COLUMN\s+\S+\s+TO\s+"?{column}"?', each) for each in later
        )
    if rule is RENAME_COLUMN:
        return _is_added(match["column"], earlier)
    return (
        rule is BECOMES_NOT_NULL
        and _is_added(match["column"], earlier)
        and any(
            re.match(r"\s*CREATE\s+(OR\s+REPLACE\s+)?TRIGGER\s", each, re.I) for each in earlier
        )
    )


def _is_added(column: str, earlier: Sequence[str]) -> bool:
    """Return whether an earlier statement adds a column of this name."""
    added = (re.match(rf"{ALTER}{NEW_COLUMN}", each, re.I | re.S) for each in earlier)
    return any(match and bare(match["column"]) == bare(column) for match in added)


def _has_default(match: re.Match[str], said: Sequence[str], place: int) -> bool:
    """Return whether the column has a default once the statements ran."""
    column = bare(match["column"])
    has = bool(re.search(r"\bDEFAULT\s+(?!NULL\b)", match.string, re.I))
    for number, statement in enumerate(said):
        for pattern, value in ((SET_DEFAULT, True), (DROP_DEFAULT, False)):
            found = pattern.match(statement)
            if found and bare(found["column"]) == column and (value or number > place):
                has = value
    return has


def _table_of(operation: Operation, app: str, state: ProjectState) -> str:
    """Return the table of the model that the operation changes; empty if it names none."""
    model = getattr(operation, "model_name", "")
    return table_name(state, app, model) if model else ""


def _is_proved(column: str | None, before: Sequence[str]) -> bool:
    """Return whether the migration has validated a CHECK that the column is not null, so that
    nothing has to be read or changed."""
    name = re.escape(bare(column or "no column"))
    checked = any(
        re.search(rf'CHECK\s*\(.*\b"?{name}"?\s+IS\s+NOT\s+NULL', each, re.I | re.S)
        for each in before
    )
    return checked and any(re.search(r"VALIDATE\s+CONSTRAINT", each, re.I) for each in before)


def _keeps_values(
    operation: Operation, app: str, from_state: ProjectState, to_state: ProjectState
) -> bool:
    """Return whether nothing is rewritten."""
    if not isinstance(operation, migrations.AlterField):
        return False
    return keeps_values(
        *(
            _type(state, app, operation.model_name_lower, operation.name)
            for state in (from_state, to_state)
        )
    )


def keeps_values(old: str, new: str) -> bool:
    """Return whether a column of the new type stores the values of the old one unchanged."""
    digits = [re.fullmatch(r"numeric\((\d+), ?(\d+)\)", each) for each in (old, new)]
    if digits[0] and digits[1]:
        return digits[0][2] == digits[1][2] and int(digits[0][1]) <= int(digits[1][1])
    old_size, new_size = (re.fullmatch(r"varchar\((\d+)\)", each) for each in (old, new))
    if not (old_size or old == "varchar"):
        return False
    return new in ("text", "varchar") or bool(
        old_size and new_size and int(new_size[1]) >= int(old_size[1])
    )


def _type(state: ProjectState, app: str, model: str, name: str) -> str:
    """Return the type of a field's column, without its model; empty for a reference."""
    field = state.models[app, model].fields[name]
    return "" if field.remote_field else field.db_type(connections["default"]) or ""
