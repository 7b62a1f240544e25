"""A backup restored into an empty database, in one transaction, and its rows counted afterwards.

A table marks the database from before the first statement until the rows are counted, so that the next
run knows what a killed one has left: nothing, or everything but the counting.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema import dumps, loading
from pixsim.schema.archives import Missing, choose, extensions, listed
from pixsim.schema.catalog import quoted
from pixsim.schema.connecting import INSUFFICIENT_PRIVILEGE, UNDEFINED_OBJECT, place
from pixsim.schema.contents import (
    DatabaseObject,
    count_rows,
    database_objects,
    place_for_tables,
    some,
    tables,
)
from pixsim.schema.dumps import MARK, Manifest, Report
from pixsim.schema.errors import SchemaError
from pixsim.schema.loading import NotLoaded, Script, load
from pixsim.schema.programs import environment, find_program, server_major

LEAVING_SECONDS = 2
CREATE_MARK = """
CREATE TABLE {} AS SELECT %s::text AS file, %s::text AS sha256, clock_timestamp() AS began_at
"""


class NotRestored(SchemaError):
    """Nothing was restored, or the restored rows differ from the backup."""


@dataclass(frozen=True)
class Mark:
    """A restore that began and did not end."""

    file: str
    sha256: str
    began_at: datetime


@dataclass(frozen=True)
class Restored:
    """The result of a restore."""

    manifest: Manifest
    earlier: Mark | None
    """A run that was stopped before this one."""
    only_counted: bool
    """That run had put all rows in; this one counted them."""
    missing: Sequence[Missing] = ()
    """Extensions that were left out."""
    left: Sequence[str] = ()
    """Grants, rows and comments that were left as they are here, or left out with an extension."""
    other_versions: Sequence[str] = ()
    """Extensions that have another version here."""


def restore(
    connection: BaseDatabaseWrapper,
    dump: Path,
    *,
    with_owners: bool = True,
    with_tablespaces: bool = True,
    report: Report = lambda done, total: None,
) -> Restored:
    """Fill an empty database with a backup; the caller holds the lock.

    Without owners, everything belongs to the user who restores, without grants; without tablespaces,
    everything is in the database's own. Extensions and schemas that are there stay as they are; an
    extension that the user may not make is left out. `report` gets numbers of rows. Raise BadBackup
    if the file is damaged or the server too old for it, NotRestored if the database is not empty or
    the counts differ.
    """
    manifest = dumps.check(dump, report=report)
    _refuse_older_server(connection, manifest)
    earlier = _mark(connection)
    _refuse_while_it_ends(connection)
    found = [
        thing
        for thing in database_objects(connection)
        if thing.kind != "schema" and not thing.name.endswith(f".{MARK}")
    ]
    only_counted = bool(earlier and found and earlier.sha256 == manifest.sha256)
    if found and not only_counted:
        raise NotRestored(_not_empty(connection, found, earlier))
    options = [] if with_owners else ["--no-owner", "--no-privileges"]
    options += [] if with_tablespaces else ["--no-tablespaces"]
    missing: list[Missing] = []
    left: list[str] = []
    if not found:
        _set_mark(connection, dump, manifest)
        missing, left = _load(connection, dump, manifest, options, report)
    _compare(connection, manifest)
    _remove_mark(connection)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    here = extensions(connection)
    other_versions = [
        f"{name} is {here[name]} here and was {version}"
        for name, version in manifest.extensions.items()
        if here.get(name, version) != version
    ]
    return Restored(manifest, earlier, only_counted, missing, left, other_versions)


def _load(
    connection: BaseDatabaseWrapper,
    dump: Path,
    manifest: Manifest,
    options: list[str],
    report: Report,
) -> tuple[list[Missing], list[str]]:
    """Load what the database takes of the dump; return what it does not."""
    newest = max(server_major(connection), manifest.program_major)
    pg_restore = find_program("pg_restore", at_least=newest)
    chosen = choose(connection, pg_restore, dump)
    with listed(chosen.lines) as entries:
        # One transaction: COMMIT is the last that is written, so half a script leaves nothing.
        command: list[str | Path] = [
            pg_restore.path,
            "--file=-",
            "--single-transaction",
            f"--use-list={entries}",
            *options,
            dump,
        ]
        try:
            load(
                connection,
                Script(command, environment(connection)),
                on_lines=lambda lines: report(min(lines, manifest.rows), manifest.rows),
            )
        except NotLoaded as error:
            _remove_mark(connection)
            advice = _advice(error, options, manifest, chosen.missing)
            raise NotRestored(f"{error} Nothing was restored.{advice}") from error
    return chosen.missing, chosen.left


def _compare(connection: BaseDatabaseWrapper, manifest: Manifest) -> None:
    """Raise NotRestored unless every table has as many rows as before."""
    there = count_rows(connection, tables(connection))
    wrong = [
        f"{name} has {there[name]:,} rows, not {rows:,}" if name in there else f"{name} is missing"
        for name, rows in manifest.tables.items()
        if there.get(name) != rows
    ]
    if wrong:
        raise NotRestored(
            f"What was restored is not what was backed up: {some(wrong)}. It is left for you to "
            f"look at. Begin again with `manage.py db wipe`, then `manage.py db restore`."
        )


def _refuse_older_server(connection: BaseDatabaseWrapper, manifest: Manifest) -> None:
    major = server_major(connection)
    if major < manifest.server_major:
        raise NotRestored(
            f"The backup is from PostgreSQL {manifest.server_major}, and this server is {major}: "
            f"an older server cannot take it. Nothing was changed. Restore into PostgreSQL "
            f"{manifest.server_major} or newer."
        )


def _refuse_while_it_ends(connection: BaseDatabaseWrapper) -> None:
    """Raise NotRestored if an earlier restore is still in the server; one that has just failed may
    leave."""
    deadline = time.monotonic() + LEAVING_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = %s",
                [loading.SESSION],
            )
            row = cursor.fetchone()
            if not row:
                return
            if time.monotonic() > deadline:
                raise NotRestored(
                    f"An earlier restore was stopped, and the server is still undoing it (process "
                    f"{row[0]}). Nothing was changed. Try again in a moment."
                )
            time.sleep(0.05)


def _not_empty(
    connection: BaseDatabaseWrapper, found: list[DatabaseObject], earlier: Mark | None
) -> str:
    if earlier:
        return (
            f"A restore of {earlier.file}, begun {earlier.began_at:%Y-%m-%d %H:%M:%S %Z}, put its "
            f"rows in but was stopped before they were counted. Nothing was changed. Restore that "
            f"file again to have them counted, or `manage.py db wipe` first."
        )
    return (
        f"Database {place(connection)} is not empty: {some(found)}. "
        f"Nothing was changed. Restore into a new database, or `manage.py db wipe` this one first."
    )


def _mark(connection: BaseDatabaseWrapper) -> Mark | None:
    table = dumps.mark_of_restore(connection)
    if not table:
        return None
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT file, sha256, began_at FROM {table}")
        return Mark(*cursor.fetchone())


def _set_mark(connection: BaseDatabaseWrapper, dump: Path, manifest: Manifest) -> None:
    _remove_mark(connection)
    schema = place_for_tables(connection)
    if not schema:
        user = quoted(connection.settings_dict["USER"])
        raise NotRestored(
            f"There is no schema in {place(connection)} in which tables may be made. Nothing was "
            f"changed. Have the owner of the database say: GRANT USAGE, CREATE ON SCHEMA public TO "
            f"{user};"
        )
    with connection.cursor() as cursor:
        table = f"{quoted(schema)}.{MARK}"
        cursor.execute(CREATE_MARK.format(table), [str(dump), manifest.sha256])


def _remove_mark(connection: BaseDatabaseWrapper) -> None:
    if table := dumps.mark_of_restore(connection):
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {table}")


def _advice(
    error: NotLoaded, options: list[str], manifest: Manifest, missing: Sequence[Missing]
) -> str:
    """Return what to do about the server's refusal; it may be empty."""
    commands = [each.command for each in missing]
    advice = ""
    if error.about_tablespaces:
        advice = " Make that tablespace, or leave tablespaces out with --no-tablespaces."
    elif error.about_owners and error.code == UNDEFINED_OBJECT:
        advice = " Make that role, or leave owners and grants out with --no-owner."
    elif error.about_owners and error.code == INSUFFICIENT_PRIVILEGE:
        advice = " Connect as its member, or leave owners and grants out with --no-owner."
        commands = manifest.superuser_commands
    elif error.code == INSUFFICIENT_PRIVILEGE and manifest.superuser_objects:
        advice = f" Restore it as a superuser, for {some(manifest.superuser_objects)}."
    if commands:
        advice += f" The backup needs that a superuser says there first: {' '.join(commands)}"
    return advice
