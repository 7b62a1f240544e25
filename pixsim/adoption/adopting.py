"""Adoption of a database, in one transaction: an error leaves the older database unchanged.

The older tables move into the schema ORIGINALS; ours are built in their place and filled.
"""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DataError, IntegrityError, NotSupportedError, ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from pixsim.adoption import building, checksums, credentials
from pixsim.adoption.changes import CHANGES, CREATE_CHANGES, HELD_JOBS
from pixsim.adoption.checksums import Sums
from pixsim.adoption.copies import ADOPTED, Copy
from pixsim.adoption.quarantine import QUARANTINE, Rules
from pixsim.adoption.recognising import ORIGINALS, RECORD, VERSIONS
from pixsim.adoption.surveying import SETTINGS, Survey
from pixsim.adoption.undoing import HISTORY, contents, described
from pixsim.adoption.users import USERS
from pixsim.schema import accepting, files
from pixsim.schema.catalog import Column, Schema, quoted, read_schema
from pixsim.schema.drift import NOTHING, Difference, between
from pixsim.schema.errors import SchemaError
from pixsim.schema.history import load_migrations
from pixsim.schema.lock_retry import LockPolicy, LockRetry, Wait
from pixsim.schema.reference import Reference

CREATE_RECORD = f"""
CREATE TABLE {RECORD} (adopted_at timestamptz NOT NULL DEFAULT now(), about jsonb NOT NULL)
"""


class NotAdopted(SchemaError):
    """The adoption was undone as a whole."""


@dataclass
class Adopted:
    """The result of an adoption."""

    filled: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    held_jobs: int = 0
    columns_proved: int = 0


def adopt(
    connection: BaseDatabaseWrapper,
    survey: Survey,
    *,
    policy: LockPolicy,
    on_wait: Callable[[Wait], None] = lambda wait: None,
) -> Adopted:
    """Take the database over as `survey` describes.

    Raise NotAdopted if the database changed since, or if the proof fails; LockNotGiven if other
    sessions keep using it. Nothing is changed then.
    """
    if any(credentials.secrets_of(copy) for copy in survey.copies):
        credentials.refuse_without_key()
    waiting = LockRetry(connection, policy, on_wait)
    with waiting.open():
        done = waiting.attempt(lambda: _Adoption(connection, survey).run())
    _tidy(connection, survey)
    return done


class _Adoption:
    def __init__(self, connection: BaseDatabaseWrapper, survey: Survey) -> None:
        self.connection = connection
        self.survey = survey
        self.site = survey.found.name
        self.done = Adopted()
        self.renamed: dict[str, str] = {}
        self.own: list[Difference] = []

    def run(self) -> Adopted:
        using = self.connection.alias
        with transaction.atomic(using=using), closing(self.connection.cursor()) as cursor:
            self.cursor = cursor
            cursor.execute(SETTINGS)
            found = self._lock()
            before = checksums.before(self.connection, self._copies(self.site), self.site)
            self._move_aside()
            self._build()
            for copy, rules in zip(self._copies(ORIGINALS), self.survey.rules, strict=True):
                self._fill(copy)
                self._quarantine(copy, rules)
            self._change()
            self._make_whole()
            self._count_on(found)
            self._prove(before)
            self._record(before)
        return self.done

    def _copies(self, schema: str) -> list[Copy]:
        """Return the copies, with the names of the schemas in their SQL."""

        def named(sql: str) -> str:
            return sql.replace("{schema}", quoted(schema)).replace("{site}", quoted(self.site))

        return [
            replace(
                copy,
                source=named(copy.source),
                values={name: named(value) for name, value in copy.values.items()},
            )
            for copy in self.survey.copies
        ]

    def _lock(self) -> Schema:
        """Lock the tables against all other sessions until the end. Return them as they are now."""
        names = [
            *self.survey.originals,
            *(table for table, _, _ in self.survey.dependents.foreign_keys),
        ]
        names += [
            name
            for name in (self.survey.point.system.people, VERSIONS)
            if name in self.survey.found.tables
        ]
        tables = ", ".join(quoted(name) for name in dict.fromkeys(names))
        self.cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        found = read_schema(self.connection)
        if (found.tables, found.types) != (self.survey.found.tables, self.survey.found.types):
            raise NotAdopted(
                "The tables changed while this was prepared. Nothing was changed; run it again."
            )
        return found

    def _move_aside(self) -> None:
        self.cursor.execute(f"CREATE SCHEMA {ORIGINALS}")
        for table, name, _ in self.survey.dependents.foreign_keys:
            self.cursor.execute(f"ALTER TABLE {quoted(table)} DROP CONSTRAINT {quoted(name)}")
        for name, _ in self.survey.dependents.views:
            self.cursor.execute(f"ALTER VIEW {quoted(name)} SET SCHEMA {ORIGINALS}")
        for name in self.survey.originals:
            self.cursor.execute(f"ALTER TABLE {quoted(name)} SET SCHEMA {ORIGINALS}")
        names = list(self.survey.dependents.clashes)
        names += [VERSIONS] if VERSIONS in self.survey.found.tables else []
        for name in names:
            self.cursor.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted(name + ADOPTED)}")
            self.renamed[name] = name + ADOPTED

    def _build(self) -> None:
        self.cursor.execute(CREATE_CHANGES)
        kept = {copy.table: copy.kept for copy in self.survey.copies}
        for table in self._tables():
            extra = [_optional(name, each) for name, each in kept.get(table.name, {}).items()]
            self.cursor.execute(building.bare(table, extra))

    def _tables(self) -> list[Any]:
        return [table for name, table in self.survey.target.tables.items() if name != HISTORY]

    def _fill(self, copy: Copy) -> None:
        original = f"{ORIGINALS}.{quoted(copy.table)}"
        ready = credentials.encrypted(self.cursor, copy, original)
        columns = ", ".join(map(quoted, copy.values))
        always = " OVERRIDING SYSTEM VALUE"
        select = ready.select(ORIGINALS)
        self.cursor.execute(f"INSERT INTO {quoted(copy.table)} ({columns}){always} {select}")
        self.done.filled[copy.table] = self.cursor.rowcount
        if credentials.secrets_of(copy):
            older = self.survey.found.tables[copy.table]
            credentials.forget_plain_text(self.cursor, copy, older, original)
        for name, way in copy.conversions.items():
            if way.raw:
                self.cursor.execute(
                    f"INSERT INTO {CHANGES} SELECT '{copy.table}', o.id::text, '{name}',"
                    f" o.{quoted(name)}::text, 'jsonb, or our column, has no room for this value'"
                    f" FROM {original} AS o WHERE {way.raw}"
                )
                self._changed(copy.table, name)

    def _changed(self, table: str, column: str) -> None:
        if self.cursor.rowcount:
            self.done.changed[f"{table}.{column}"] = self.cursor.rowcount

    def _quarantine(self, copy: Copy, rules: Rules) -> None:
        """Move the rows that break a rule into a quarantine table."""
        table, aside = quoted(copy.table), quoted(QUARANTINE + copy.table)
        self.cursor.execute(
            f"CREATE TEMP TABLE adoption_broken ON COMMIT DROP AS {rules.broken(table)}"
        )
        if self.cursor.rowcount:
            self.cursor.execute(
                f"CREATE TABLE {aside} AS SELECT t.*, b.reason AS quarantine_reason,"
                f" now() AS quarantined_at FROM {table} AS t JOIN adoption_broken AS b USING (id)"
            )
            self.done.quarantined[copy.table] = self.cursor.rowcount
            self.done.filled[copy.table] -= self.cursor.rowcount
            self.cursor.execute(
                f"DELETE FROM {table} AS t USING adoption_broken AS b WHERE b.id = t.id"
            )
        self.cursor.execute("DROP TABLE adoption_broken")

    def _change(self) -> None:
        if "jobs" in self.survey.target.tables:
            self.cursor.execute(
                f"CREATE TABLE {HELD_JOBS} AS SELECT id FROM jobs WHERE status = 'pending'"
            )
            self.done.held_jobs = self.cursor.rowcount
            self.cursor.execute(f"ALTER TABLE {HELD_JOBS} ADD PRIMARY KEY (id)")
        for change, _ in self.survey.changes:
            self.cursor.execute(change.statement)
            self._changed(change.table, change.column)

    def _make_whole(self) -> None:
        for make in (building.whole, building.references):
            for table in self._tables():
                for statement in make(table):
                    self.cursor.execute(statement)
        for statement in self.survey.dependents.after:
            self._make_own(statement)
        for table_name, name, definition in self.survey.dependents.foreign_keys:
            self._point_here(table_name, name, definition)
        for name, query in self.survey.dependents.views:
            self._make_own(f"CREATE VIEW {quoted(name)} AS {query}")

    def _make_own(self, statement: str) -> None:
        """Run a statement that makes an object of the site's own again."""
        try:
            self.cursor.execute(statement)
        except (DataError, IntegrityError, NotSupportedError, ProgrammingError) as error:
            raise NotAdopted(
                f"Something of the site's own cannot be made over our tables: {str(error).strip()} "
                f"({statement}). Everything was undone, the database is as before. Drop it, adopt, "
                "and make it again."
            ) from None

    def _point_here(self, table: str, name: str, definition: str) -> None:
        """Create a foreign key of a table of the site's own again; rows that refer to quarantined
        rows stay."""
        table = quoted(self.renamed.get(table, table))
        add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(name)} {definition}"
        try:
            with transaction.atomic(using=self.connection.alias):
                self.cursor.execute(add)
        except IntegrityError:
            self.cursor.execute(f"{add} NOT VALID")

    def _count_on(self, found: Schema) -> None:
        """Set every sequence to where the older one was, or to the last key."""
        for table in self._tables():
            people = self.survey.point.system.people
            older = found.tables.get(people if table.name == USERS else table.name)
            for column in table.columns.values():
                if not column.counter:
                    continue
                counter = (
                    found.counter(older.columns[column.name])
                    if older and column.name in older.columns
                    else None
                )
                name = quoted(column.name)
                self.cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence(%s, %s), last) FROM (SELECT greatest("
                    f"%s, max({name})) AS last FROM {quoted(table.name)}) AS used WHERE last > 0",
                    [quoted(table.name), column.name, counter.last if counter else None],
                )

    def _record(self, before: Sums) -> None:
        recorder = MigrationRecorder(self.connection)
        recorder.ensure_schema()
        loader = load_migrations(self.connection)
        files.make_table(self.connection)
        accepting.accept(self.connection, self.own, why="carried over by `db adopt`")
        for app, name in self.survey.made:
            recorder.record_applied(app, name)
            files.record(self.connection, loader.disk_migrations[app, name])
        self.cursor.execute(CREATE_RECORD)
        about = {
            "system": self.survey.point.system.name,
            "revision": self.survey.point.revision,
            "migrations": [list(key) for key in self.survey.made],
            "tables": [table.name for table in self._tables()],
            "originals": self.survey.originals,
            "renamed": self.renamed,
            "foreign_keys": self.survey.dependents.foreign_keys,
            "views": [name for name, _ in self.survey.dependents.views],
            "quarantined": self.done.quarantined,
            "copies": [described(copy) for copy in self._copies(self.site)],
            "sums": before,
            "contents": contents(self.cursor, [table.name for table in self._tables()]),
        }
        self.cursor.execute(
            f"INSERT INTO {RECORD} (about) VALUES (%s)", [json.dumps(about, default=list)]
        )

    def _prove(self, before: Sums) -> None:
        """Raise NotAdopted if a value is not as before, or the schema not as the migrations make
        it."""
        found = read_schema(self.connection)
        sums = checksums.after(self.connection, self._copies(ORIGINALS), found)
        if lost := checksums.apart(before, sums):
            raise NotAdopted(
                f"The proof failed: the checksums of {', '.join(lost)} are not what they were. "
                "Everything was undone, the database is as before. Please report this."
            )
        self.done.columns_proved = sum(len(columns) for columns in before.values())
        expected = Reference(
            replace(self.survey.target, name=self.site), self.connection, self.survey.made
        )
        differences = between(expected, found)
        self.own = [each for each in differences if self._is_own(each)]
        if drift := [each for each in differences if each not in self.own]:
            raise NotAdopted(
                "The tables are not as the migrations make them: "
                f"{'; '.join(map(str, drift[:5]))}. Everything was undone, the database is as "
                "before. Please report this."
            )

    def _is_own(self, difference: Difference) -> bool:
        """Return whether the site made it."""
        return difference.expected == NOTHING or difference.table not in self.survey.target.tables


def _optional(name: str, column: Column) -> Column:
    """Return a column of the site's own as nullable, since our inserts do not fill it."""
    default = None if column.counter else column.default
    return replace(column, name=name, nullable=True, default=default, generated=None, counter="")


def _tidy(connection: BaseDatabaseWrapper, survey: Survey) -> None:
    """Analyze the new tables, and vacuum away the plain text of secrets."""
    names = ", ".join(quoted(copy.table) for copy in survey.copies)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {names}, {quoted(USERS)}")
        for copy in survey.copies:
            if credentials.secrets_of(copy):
                cursor.execute(f"VACUUM {ORIGINALS}.{quoted(copy.table)}")
