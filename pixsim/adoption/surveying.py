"""What adoption would do to a database, as far as it can be known without writing."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from django.apps import apps
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from pixsim.adoption.changes import Change, changes_for
from pixsim.adoption.comparing import CONVERTED, DECISION, Finding, findings
from pixsim.adoption.copies import Copy, copy_of
from pixsim.adoption.dependent_objects import DependentObjects, read_dependent_objects
from pixsim.adoption.notes import notes_on
from pixsim.adoption.quarantine import Rules, rules_of
from pixsim.adoption.recognising import Unrecognised, recognise, stored_revisions
from pixsim.adoption.systems import Point
from pixsim.adoption.users import USERS, copy_of_people
from pixsim.core.crypto import EncryptedTextField
from pixsim.schema.catalog import Schema, Table, quoted, read_schema
from pixsim.schema.drift import Difference, between
from pixsim.schema.history import load_migrations
from pixsim.schema.reference import Reference, continue_to, reference
from pixsim.schema.target_parsing import Key

SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL work_mem = '64MB'"
)
"""For the transactions of adoption: values as text are the same whatever the database is set to, and
whole tables are joined."""

FRAMEWORK = ("auth", "contenttypes")
"""Apps of Django's whose tables come with the log-ins, at their heads."""


HEADS: dict[tuple[tuple[int, ...], tuple[Key, ...]], Schema] = {}
MENDED = (
    "values that jsonb has no room for (\\u0000, half a surrogate pair, no params at all) are mended; "
    "what they were is noted in adoption_changes"
)


@dataclass(frozen=True)
class Broken:
    """Rows that go to quarantine for one reason."""

    table: str
    reason: str
    rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What was found, and what adoption would do."""

    point: Point
    stored: tuple[str, ...]
    found: Schema
    target: Schema
    """As the migrations make it at the point that the database equals."""
    made: tuple[Key, ...]
    """Those migrations, in their order."""
    copies: tuple[Copy, ...]
    rules: tuple[Rules, ...]
    dependents: DependentObjects
    findings: tuple[Finding, ...]
    equal: int
    """How many columns, constraints and indexes are as ours."""
    rows: dict[str, int]
    broken: tuple[Broken, ...]
    changes: tuple[tuple[Change, int], ...]
    notes: tuple[str, ...]

    @property
    def unresolved(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.kind == DECISION)

    @property
    def originals(self) -> list[str]:
        """Return the older tables that move aside."""
        return [name for name in self.point.system.tables if name in self.found.tables]


def survey(connection: BaseDatabaseWrapper, *, assume: str | None = None) -> Survey:
    """Read a database that an older system made. Write nothing to its tables.

    Raise Unrecognised, UsageError for an unknown `assume`, or NoReference.
    """
    loader = load_migrations(connection)
    with reading(connection):
        found = read_schema(connection)
        point = recognise(connection, found, loader, assume=assume)
        stored = stored_revisions(connection, found)
    heads = loader.graph.leaf_nodes()
    at = [*point.keys, *(key for key in heads if key[0] in FRAMEWORK)]
    with reference(connection, at=at) as expected:
        differences = between(expected, found)
        target, made = expected.schema, expected.made
        head = _head(expected, tuple(heads))
    copies = list(_copies(point, found, target, head))
    rules = list(_rules(point, copies, target, head))
    with reading(connection) as cursor:
        dependents = read_dependent_objects(
            connection, found, head, copies, differences, people=point.system.people
        )
        seen = findings(point.system, found, copies, differences, dependents)
        counts, counted = _counted(cursor, found, copies, list(seen), point.system.people)
        changes = changes_for(target, rules)
        broken: list[Broken] = []
        changed: list[tuple[Change, int]] = []
        notes: tuple[str, ...] = ()
        impossible = any(copy.impossible for copy in copies)
        if not impossible and not any(each.kind == DECISION and each.rows for each in counted):
            broken, changed = _predicted(cursor, found, target, copies, rules, changes)
            notes = tuple(notes_on(cursor, point, found, counts))
    return Survey(
        point=point,
        stored=tuple(stored),
        found=found,
        target=target,
        made=made,
        copies=tuple(copies),
        rules=tuple(rules),
        dependents=dependents,
        findings=tuple(counted),
        equal=_parts(target, point) - _differing(differences, point),
        rows=counts,
        broken=tuple(broken),
        changes=tuple(changed),
        notes=notes,
    )


def _head(built: Reference, heads: tuple[Key, ...]) -> Schema:
    """Return the schema at the head of our history. Building it takes a second, so each process
    does it once for each version of the server."""
    version = built.connection.get_database_version()
    if (version, heads) not in HEADS:
        HEADS[version, heads] = continue_to(built, heads)
    return HEADS[version, heads]


@contextmanager
def reading(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """Open a read-only transaction on one snapshot."""
    with transaction.atomic(using=connection.alias), closing(connection.cursor()) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(SETTINGS)
        yield cursor


def _copies(point: Point, found: Schema, target: Schema, head: Schema) -> Iterator[Copy]:
    """Yield the copies in the order in which they are filled: people after profiles, before all
    others."""
    people = found.tables.get(point.system.people)
    if people is None:
        raise Unrecognised(
            f"The table {point.system.people} is missing, so nobody could own anything. Nothing was "
            "written. Bring it back from a backup first."
        )
    if people.name not in point.system.tables:
        yield _people(point, people)
    for name in point.system.tables:
        if name in found.tables and name in target.tables:
            yield copy_of(
                point.system,
                found.tables[name],
                target.tables[name],
                head.tables[name],
                secrets=_secrets(name),
            )
        if name == people.name:
            yield _people(point, people)


def _people(point: Point, people: Table) -> Copy:
    needed = {"id", "email", "created_at"}
    if people.name == "users":
        needed |= {"username", "password_hash", "is_active", "role"}
    if missing := needed - set(people.columns):
        raise Unrecognised(
            f"{people.name} has no {', '.join(sorted(missing))}, which log-ins are made of. "
            "Nothing was written."
        )
    copy = copy_of_people(point.system, people)
    source = copy.source if people.name in point.system.tables else f"{{site}}.{copy.source}"
    return replace(copy, source=source)


def _secrets(table: str) -> frozenset[str]:
    """Return the columns that are encrypted with us."""
    return frozenset(
        str(field.column)
        for model in apps.get_models()
        if model._meta.db_table == table
        for field in model._meta.local_fields
        if isinstance(field, EncryptedTextField)
    )


def _rules(point: Point, copies: Sequence[Copy], target: Schema, head: Schema) -> Iterator[Rules]:
    tables = set(target.tables)
    for copy in copies:
        columns = set(copy.values) - set(copy.kept)
        yield rules_of(
            [target.tables[copy.table], head.tables[copy.table]],
            columns,
            tables=tables,
            emptied=point.system.emptied,
        )


def _counted(
    cursor: CursorWrapper, found: Schema, copies: Sequence[Copy], seen: list[Finding], people: str
) -> tuple[dict[str, int], list[Finding]]:
    """Return how many rows each table has, and the findings with the numbers of their rows."""
    schema = quoted(found.name)
    counts: dict[str, int] = {}
    touched: dict[str, int] = {}
    for copy in copies:
        table = people if copy.table == USERS else copy.table
        if table in counts:  # people who are counted already
            touched[table] = counts[table]
            continue
        asked = ["count(*)", _alike(found.tables[table])]
        for name, way in copy.conversions.items():
            asked.append(f'count(o."{name}")')
            asked.append(f"count(*) FILTER (WHERE {way.unfit or 'false'})")
            asked.append(f"count(*) FILTER (WHERE {way.raw or 'false'})")
        cursor.execute(f"SELECT {', '.join(asked)} FROM {schema}.{quoted(table)} AS o")
        rows, alike, *row = cursor.fetchone()
        counts[table] = rows
        if copy.table == USERS:
            touched[people] = rows
        if alike:
            text = (
                "rows without an id of their own, for the primary key is missing; mend them first"
            )
            seen.append(Finding(DECISION, table, text, rows=alike))
        columns = zip(copy.conversions, row[0::3], row[1::3], row[2::3], strict=True)
        for name, filled, unfit, raw in columns:
            touched[f"{table}.{name}"] = filled
            if raw:
                seen.append(Finding(CONVERTED, f"{table}.{name}", MENDED, rows=raw))
            if unfit:
                text = "values that our column cannot hold; mend them first"
                seen.append(Finding(DECISION, f"{table}.{name}", text, rows=unfit))
        for name in copy.impossible:
            touched[f"{table}.{name}"] = rows
    return counts, [
        replace(each, rows=touched[each.what])
        if each.rows is None and each.kind in (CONVERTED, DECISION) and each.what in touched
        else each
        for each in seen
    ]


def _alike(table: Table) -> str:
    """Return an expression over `o`: how many rows have no id, or the id of another row."""
    unique = [
        each.columns
        for each in table.constraints.values()
        if each.kind in ("primary key", "unique")
    ]
    key = table.columns.get("id")
    is_safe = key is None or (("id",) in unique and not key.nullable)
    return "0" if is_safe else "count(*) - count(DISTINCT o.id)"


def _predicted(
    cursor: CursorWrapper,
    found: Schema,
    target: Schema,
    copies: Sequence[Copy],
    rules: Sequence[Rules],
    changes: Sequence[Change],
) -> tuple[list[Broken], list[tuple[Change, int]]]:
    """Return which rows would go to quarantine, and how many values would change.

    In the query each name of our tables stands for the converted good rows.
    """
    filled = {copy.table for copy in copies}
    parts = [_empty(table) for table in target.tables.values() if table.name not in filled]
    asked = []
    for copy, each in zip(copies, rules, strict=True):
        rows, broken = f"{copy.table}_rows", f"{copy.table}_broken"
        select = copy.select(found.name).replace("{site}", quoted(found.name))
        parts += [
            f"{rows} AS ({select})",
            f"{broken} AS ({each.broken(rows)})",
            f"{copy.table} AS (SELECT * FROM {rows} WHERE id NOT IN (SELECT id FROM {broken}))",
        ]
        asked.append(
            f"SELECT '{copy.table}', reason, count(*), (array_agg(id::text ORDER BY id))[1:3]"
            f" FROM {broken} GROUP BY reason"
        )
    for number, change in enumerate(changes):
        asked.append(f"SELECT '', '{number}', count(*), NULL FROM ({change.rows}) AS changed")
    cursor.execute(f"WITH {', '.join(parts)} {' UNION ALL '.join(asked)}")
    answers = cursor.fetchall()
    broken_rows = [
        Broken(table, reason, rows, tuple(examples))
        for table, reason, rows, examples in answers
        if table
    ]
    changed = {int(row[1]): row[2] for row in answers if not row[0]}
    return broken_rows, [(change, changed[number]) for number, change in enumerate(changes)]


def _empty(table: Table) -> str:
    """Return an empty table of ours as a query."""
    columns = ", ".join(
        f"CAST(NULL AS {each.type}) AS {quoted(each.name)}" for each in table.columns.values()
    )
    return f"{quoted(table.name)} AS (SELECT {columns} WHERE false)"


def _parts(target: Schema, point: Point) -> int:
    """Return how many columns, constraints and indexes the older system's tables have with us."""
    tables = [target.tables[name] for name in point.system.tables if name in target.tables]
    return sum(len(each.columns) + len(each.constraints) + len(each.indexes) for each in tables)


def _differing(differences: Sequence[Difference], point: Point) -> int:
    return sum(
        1
        for each in differences
        if each.table in point.system.tables and each.expected != "nothing"
    )
