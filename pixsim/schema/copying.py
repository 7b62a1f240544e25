"""A temporary copy of a database on its own server.

The caller holds the lock of `locking`, so a copy of the same database that exists at the beginning was
left behind by a killed run.
"""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from pixsim.schema.archives import Missing, choose, listed
from pixsim.schema.catalog import quoted
from pixsim.schema.connecting import INSUFFICIENT_PRIVILEGE, place, session_beside
from pixsim.schema.contents import tables
from pixsim.schema.dumps import LOCK_WAIT_MILLISECONDS, snapshot
from pixsim.schema.errors import SchemaError
from pixsim.schema.loading import NotLoaded, Script, load
from pixsim.schema.programs import environment, find_program, first_error, server_major

PREFIX = "pixsim_rehearsal_"
ALIAS = "pixsim_rehearsal"
NAME_BYTES = 63

LEFT_BEHIND = f"""
SELECT datname FROM pg_database
WHERE datname LIKE '{PREFIX}' || (SELECT oid FROM pg_database WHERE datname = current_database())
    || '\\_%' AND pg_has_role(datdba, 'USAGE')
"""
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
# Which columns there are depends on the version of the server.
FACTS = """
SELECT pg_encoding_to_char(encoding), datcollate, datctype, spcname,
       CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
           WHEN 'c' THEN 'libc' END,
       coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
       to_jsonb(d) ->> 'daticurules'
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = dattablespace
WHERE datname = current_database()
"""
SETTINGS = """
SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase
LEFT JOIN pg_roles AS r ON r.oid = setrole
CROSS JOIN unnest(setconfig) AS setting
WHERE datname = current_database() AND (setrole = 0 OR rolname = current_user)
ORDER BY setrole
"""
"""The settings that the user's sessions have in this database alone."""
MAY_CREATE = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
CONFIG_TABLES = """
SELECT format('%I.%I', nspname, relname)
FROM pg_extension CROSS JOIN unnest(extconfig) AS table_oid
JOIN pg_class AS c ON c.oid = table_oid JOIN pg_namespace AS n ON n.oid = relnamespace
"""


class NoCopy(SchemaError):
    """The database could not be copied; it is unchanged."""


@dataclass
class Copy:
    """A copy of a database."""

    name: str
    seconds: float
    """How long copying took."""
    why_loaded: str
    """Why the copy was dumped and loaded; empty if it was cloned, which is much faster."""
    missing: Sequence[Missing]
    """Extensions that the copy does not have."""
    connection: BaseDatabaseWrapper
    kept_as: str | None = None


def drop_left_behind(connection: BaseDatabaseWrapper) -> list[str]:
    """Drop the copies that killed runs left, and return their names."""
    with connection.cursor() as cursor:
        cursor.execute(LEFT_BEHIND)
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        _drop(connection, name)
    return names


@contextmanager
def copied(
    connection: BaseDatabaseWrapper,
    *,
    keep: bool = False,
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Copy]:
    """Make a copy, and yield it with a connection to it under its own alias.

    Drop it after the block, or rename it with `keep`. `report` gets the number of loaded rows.
    Raise NoCopy if the server or a program refuses.
    """
    started = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        name = f"{PREFIX}{cursor.fetchone()[0]}_{int(time.time())}"
    try:
        why_loaded = _refusal_to_clone(connection, name)
        missing = _load(connection, name, report) if why_loaded else []
        _take_settings(connection, name)
        seconds = time.monotonic() - started
        with session_beside(connection, ALIAS, NAME=name) as own:
            copy = Copy(name, seconds, why_loaded, missing, own)
            yield copy
        if keep:
            copy.kept_as = _kept_name(connection)
            _execute(connection, f"ALTER DATABASE {name} RENAME TO {quoted(copy.kept_as)}")
    finally:
        _drop(connection, name)


def _refusal_to_clone(connection: BaseDatabaseWrapper, name: str) -> str:
    """Clone the database, or return why the server does not."""
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        if others := cursor.fetchone()[0]:
            return f"{others} client{'s' * (others != 1)} connected"
    try:
        source = quoted(connection.settings_dict["NAME"])
        _execute(connection, f"CREATE DATABASE {name} TEMPLATE {source}")
    except DatabaseError as error:
        # With a full disk or a lost connection a second way is none.
        if (code := getattr(error.__cause__, "sqlstate", None)) and not code.startswith(
            ("53", "57")
        ):
            return _sentence(error)
        raise
    return ""


def _load(
    connection: BaseDatabaseWrapper, name: str, report: Callable[[int, int | None], None]
) -> list[Missing]:
    """Make the copy from a dump; return the extensions that it does not have.

    What the database consists of is listed before it is loaded; the rows are only passed on.
    """
    pg_dump = find_program("pg_dump", at_least=server_major(connection))
    pg_restore = find_program("pg_restore", at_least=pg_dump.major)
    _create(connection, name)
    missing: list[Missing] = []
    try:
        with snapshot(connection) as taken, NamedTemporaryFile(prefix="pixsim-") as archive:
            dump: list[str | Path] = [
                pg_dump.path,
                "--no-password",
                "--no-owner",
                "--no-privileges",
                f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
                f"--snapshot={taken}",
            ]
            schema = [*dump, "--format=custom", "--schema-only", f"--file={archive.name}"]
            _run(schema, environment(connection))
            with session_beside(connection, ALIAS, NAME=name) as own:
                chosen = choose(own, pg_restore, Path(archive.name))
            missing = chosen.missing
            with listed(chosen.lines) as entries:
                restore: list[str | Path] = [
                    pg_restore.path,
                    "--file=-",
                    f"--use-list={entries}",
                    archive.name,
                ]
                rows = _count_about(connection)
                _pass(connection, name, [*restore, "--section=pre-data"])
                _pass(
                    connection,
                    name,
                    [*dump, "--section=data", *_without_config(connection)],
                    lambda lines: report(min(lines, rows), rows or None),
                )
                _pass(connection, name, [*restore, "--section=post-data"])
    except NotLoaded as error:
        raise NoCopy(
            f"{error} The database itself is as it was.{_advice(error, missing)}"
        ) from error
    with session_beside(connection, ALIAS, NAME=name) as own, own.cursor() as cursor:
        cursor.execute("ANALYZE")
    return missing


def _create(connection: BaseDatabaseWrapper, name: str) -> None:
    """Make an empty database that sorts and spells as this one does."""
    with connection.cursor() as cursor:
        cursor.execute(FACTS)
        encoding, collate, ctype, space, provider, locale, rules = cursor.fetchone()
    options = f"ENCODING {_text(encoding)} LC_COLLATE {_text(collate)} LC_CTYPE {_text(ctype)}"
    if provider:
        options += f" LOCALE_PROVIDER {provider}"
    if provider in ("icu", "builtin"):
        options += f" {provider}_LOCALE {_text(locale)}"
    if rules:
        options += f" ICU_RULES {_text(rules)}"
    if space != "pg_default":
        options += f" TABLESPACE {quoted(space)}"
    try:
        _execute(connection, f"CREATE DATABASE {name} TEMPLATE template0 {options}")
    except DatabaseError as error:
        elsewhere = (
            "rehearse elsewhere: `manage.py db backup`, then `restore` and `upgrade` on a server of "
            "yours."
        )
        with connection.cursor() as cursor:
            cursor.execute(MAY_CREATE)
            may_create = cursor.fetchone()[0]
        if not may_create:
            raise NoCopy(
                f"{place(connection)} may not make databases. Nothing was changed. Have the "
                f"server's owner say ALTER ROLE … CREATEDB, or {elsewhere}"
            ) from error
        raise NoCopy(
            f"{place(connection)} cannot be copied: {_sentence(error)}. Nothing was changed. Mend "
            f"that, or {elsewhere}"
        ) from error


def _pass(
    connection: BaseDatabaseWrapper,
    name: str,
    command: Sequence[str | Path],
    on_lines: Callable[[int], None] = lambda lines: None,
) -> None:
    script = Script(command, environment(connection))
    load(connection, script, database=name, on_lines=on_lines)


def _run(command: Sequence[str | Path], variables: dict[str, str]) -> None:
    with TemporaryFile() as said:
        if subprocess.run(command, stderr=said, env=variables, check=False).returncode:
            raise NotLoaded(Path(command[0]).stem, first_error(said))


def _count_about(connection: BaseDatabaseWrapper) -> int:
    """Return about how many rows there are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(greatest(reltuples, 0)) FROM pg_class WHERE oid = ANY(%s::regclass[])",
            [list(tables(connection))],
        )
        return int(cursor.fetchone()[0] or 0)


def _without_config(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the options of pg_dump that leave out the rows of extensions, which make their own."""
    with connection.cursor() as cursor:
        cursor.execute(CONFIG_TABLES)
        return [f"--exclude-table-data={name}" for (name,) in cursor.fetchall()]


def _advice(error: NotLoaded, missing: Sequence[Missing]) -> str:
    """Return what to do about the server's refusal; it may be empty."""
    if not missing and error.code != INSUFFICIENT_PRIVILEGE:
        return ""
    without = f" The user may not make {'; '.join(map(str, missing))}" if missing else ""
    return (
        f"{without} Rehearse while nobody else is connected, so that the database is cloned with all "
        f"it has, or as a superuser."
    )


def _take_settings(connection: BaseDatabaseWrapper, name: str) -> None:
    """Give the copy the settings that sessions have in this database, such as its search path.

    What the user may not set is left out; it is a matter of the server, not of migrations.
    """
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        for setting, value in cursor.fetchall():
            with suppress(DatabaseError), transaction.atomic(using=connection.alias):
                cursor.execute("SELECT set_config(%s, %s, true)", [setting, value])
                cursor.execute(f"ALTER DATABASE {name} SET {quoted(setting)} FROM CURRENT")


def _sentence(error: DatabaseError) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _kept_name(connection: BaseDatabaseWrapper) -> str:
    suffix = f"_rehearsed_{timezone.now():%Y%m%d%H%M%S}"
    name = connection.settings_dict["NAME"].encode()[: NAME_BYTES - len(suffix)]
    return str(name.decode(errors="ignore")) + suffix


def _drop(connection: BaseDatabaseWrapper, name: str) -> None:
    """Drop a copy if it exists. If the connection is lost, the next run drops it."""
    with suppress(DatabaseError):
        _execute(connection, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
