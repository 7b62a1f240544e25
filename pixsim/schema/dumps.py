"""Backups: a dump in pg_dump's custom format, with a manifest of its contents beside it.

A file gets its name only when it is complete: it is written as `NAME.partial`, checked, then renamed, the
manifest first. So a dump with its final name is complete, even if the backup was killed.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from glob import escape
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

from django.core.files import locks
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from pixsim.schema.archives import extensions
from pixsim.schema.connecting import look, require_own_session
from pixsim.schema.contents import count_rows, database_objects, tables
from pixsim.schema.errors import SchemaError
from pixsim.schema.programs import Program, environment, find_program, first_error, server_major

PARTIAL, MANIFEST = ".partial", ".manifest.json"
MARK = "pixsim_restoring"
"""A table that is there from before a restore begins until its rows are counted."""
MARKS = f"""
SELECT format('%I.%I', nspname, relname)
FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relname = '{MARK}' AND relkind = 'r'
"""
LOCK_WAIT_MILLISECONDS = 30_000
CHUNK = 1024 * 1024

# As pg_dump writes it, for extensions that their authors do not trust everybody with, and those in
# a schema that a superuser made.
SUPERUSER_COMMANDS = """
SELECT CASE WHEN n.nspname <> 'public' THEN format('CREATE SCHEMA IF NOT EXISTS %I; ', n.nspname)
       ELSE '' END || format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I;', extname, n.nspname)
FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
JOIN pg_roles AS r ON r.oid = nspowner
LEFT JOIN pg_available_extension_versions AS v ON v.name = extname AND v.version = extversion
WHERE extname <> 'plpgsql' AND (v.name IS NULL OR v.superuser AND NOT v.trusted
    OR nspname <> 'public' AND rolsuper)
ORDER BY pg_extension.oid
"""
SUPERUSER_KINDS = (
    "access method",
    "event trigger",
    "foreign-data wrapper",
    "operator class",
    "operator family",
    "subscription",
    "text search parser",
    "text search template",
)
SETTINGS = """
SELECT format('ALTER %s%sSET %I = %s;', 'ROLE ' || quote_ident(rolname) || ' IN ',
              format('DATABASE %I ', datname), split_part(setting, '=', 1),
              CASE WHEN setting ~ '^[^=]*\\.' THEN '…'  -- an application's own may be a secret
                   WHEN split_part(setting, '=', 1) IN ('search_path', 'temp_tablespaces')
                   THEN substr(setting, strpos(setting, '=') + 1)
                   ELSE quote_literal(substr(setting, strpos(setting, '=') + 1)) END)
FROM pg_db_role_setting JOIN pg_database AS d ON d.oid = setdatabase
LEFT JOIN pg_roles AS r ON r.oid = setrole CROSS JOIN unnest(setconfig) AS setting
WHERE datname = current_database()
ORDER BY 1
"""

Report = Callable[[int, int | None], None]
"""Called with how much is done, and of how much (None: unknown)."""


class NoBackup(SchemaError):
    """No backup was made."""


class BadBackup(SchemaError):
    """The file is no backup, or is damaged."""


@dataclass(frozen=True)
class Manifest:
    """The contents of a dump."""

    made_at: str
    database: str
    server_version: str
    program: str
    """What wrote it, like `pg_dump 15.18`; an older pg_restore cannot read it."""
    database_size: int
    """Bytes."""
    size: int
    """Of the dump, in bytes."""
    sha256: str
    tables: dict[str, int]
    """Rows of each, counted in the snapshot that the dump shows."""
    migrations: list[str]
    """Applied ones, as app.name."""
    extensions: dict[str, str] = field(default_factory=dict)
    """The version of each."""
    superuser_commands: list[str] = field(default_factory=list)
    """What a superuser says in the new database before another role restores the file."""
    superuser_objects: list[str] = field(default_factory=list)
    """What only a superuser can restore."""
    settings: list[str] = field(default_factory=list)
    """Those of the database itself, which no dump has: commands, for a database of the same name."""

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    @property
    def server_major(self) -> int:
        return int(self.server_version.partition(".")[0])

    @property
    def program_major(self) -> int:
        return int(self.program.split()[-1].partition(".")[0])

    @classmethod
    def read(cls, dump: Path) -> Self:
        """Return the manifest of a dump. Raise BadBackup if it is missing or cannot be read."""
        file = manifest_of(dump)
        try:
            known = {each.name for each in fields(cls)}  # a newer version may say more
            return cls(**{k: v for k, v in json.loads(file.read_text()).items() if k in known})
        except FileNotFoundError as error:
            raise BadBackup(
                f"{dump} has no manifest {file.name} beside it, so nobody knows whether it is "
                f"complete. Only what `manage.py db backup` made is restored. Nothing was changed."
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise BadBackup(f"{file} cannot be read: {error}. Nothing was changed.") from error


def manifest_of(dump: Path) -> Path:
    """Return the path of the dump's manifest."""
    return Path(f"{dump}{MANIFEST}")


def part_of(dump: Path) -> Path:
    """Return the path of the dump while it is incomplete."""
    return Path(f"{dump}{PARTIAL}")


def default_name(database: str) -> str:
    """Return the file name of a backup made now."""
    return f"{database}-{timezone.now():%Y%m%d-%H%M%S}.dump"


def clear_left_behind(folder: Path, database: str) -> list[Path]:
    """Remove the incomplete files that killed backups of the database left under default names, and
    return the names. Files that another run writes now stay."""
    pattern = f"{escape(database)}-{'[0-9]' * 8}-{'[0-9]' * 6}.dump{PARTIAL}"
    cleared = []
    for part in sorted(folder.glob(pattern)):
        target = Path(str(part).removesuffix(PARTIAL))
        manifest = manifest_of(target)
        with suppress(OSError), part.open("r+b") as file:  # somebody else's, or gone by itself
            if locks.lock(file, locks.LOCK_EX | locks.LOCK_NB):
                for left in (part_of(manifest), manifest, part):
                    left.unlink(missing_ok=True)
                cleared.append(target)
    return cleared


def backup(
    connection: BaseDatabaseWrapper, target: Path, *, report: Report = lambda done, total: None
) -> Manifest:
    """Dump the database to `target`, checked, with a manifest beside it.

    Read only. `report` gets the number of bytes. Raise NoBackup or ProgramMissing, and leave no
    file of the name, if anything fails or `target` exists already.
    """
    require_own_session(connection)
    server = look(connection)
    pg_dump = find_program("pg_dump", at_least=server_major(connection))
    pg_restore = find_program("pg_restore", at_least=pg_dump.major)
    if target.exists():
        raise NoBackup(f"{target} is there already and is not written over. Name another file.")
    with _part(part_of(target)) as file, snapshot(connection) as taken:
        if mark_of_restore(connection):
            raise NoBackup(
                "A restore into this database did not end. Nothing was written. Run that restore "
                "again, then back up."
            )
        size, digest = _dump(connection, pg_dump, taken, file, report)
        manifest = Manifest(
            made_at=timezone.now().isoformat(timespec="seconds"),
            database=connection.settings_dict["NAME"],
            server_version=server.version,
            program=str(pg_dump),
            database_size=server.size,
            size=size,
            sha256=digest,
            tables=count_rows(connection, tables(connection)),
            migrations=_migrations(connection),
            extensions=extensions(connection),
            superuser_commands=_column(connection, SUPERUSER_COMMANDS),
            superuser_objects=[
                str(each) for each in database_objects(connection) if each.kind in SUPERUSER_KINDS
            ],
            settings=_column(connection, SETTINGS),
        )
        file.close()
        _check_listing(pg_restore, part_of(target), manifest)
        _publish(target, manifest)
    return manifest


def check(dump: Path, *, report: Report = lambda done, total: None) -> Manifest:
    """Return the manifest of a dump. Raise BadBackup if its bytes have changed."""
    if dump.name.endswith(PARTIAL):
        raise BadBackup(
            f"{dump} is what a backup left that did not end. It is not complete and is not "
            f"restored. Nothing was changed."
        )
    if not dump.exists():
        raise BadBackup(f"There is no file {dump}. Nothing was changed.")
    manifest = Manifest.read(dump)
    digest, done = hashlib.sha256(), 0
    try:
        with dump.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                report(done, manifest.size)
    except OSError as error:
        raise BadBackup(f"{dump} cannot be read: {error}. Nothing was changed.") from error
    if done != manifest.size or digest.hexdigest() != manifest.sha256:
        raise BadBackup(
            f"{dump} is damaged: it has {done:,} bytes with the sha256 {digest.hexdigest()[:12]}…, "
            f"and its manifest says {manifest.size:,} bytes with {manifest.sha256[:12]}…. Nothing "
            f"was changed. Take another copy of it, or an older backup."
        )
    return manifest


@contextmanager
def _part(path: Path) -> Iterator[IO[bytes]]:
    """Open the file to write to, for one backup at a time; remove it if the block fails."""
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        if not locks.lock(file, locks.LOCK_EX | locks.LOCK_NB):
            file.close()
            raise NoBackup(f"Another backup is writing {path} now. Nothing was changed.")
        if os.fstat(file.fileno()).st_size:
            file.truncate(0)
    except OSError as error:
        raise NoBackup(
            f"{path} cannot be written: {error.strerror}. Nothing was changed."
        ) from error
    try:
        with file:
            yield file
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise NoBackup(
                f"The backup could not be written to {path.parent}: {error.strerror}. Nothing of "
                f"it was kept, and the database is as it was. Free space or name another folder."
            ) from error
        raise


@contextmanager
def snapshot(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Export a snapshot of the database that the connection and pg_dump share."""
    with transaction.atomic(using=connection.alias, durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # The session does nothing while pg_dump works, and its counts may take long.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT pg_export_snapshot()")
        yield cursor.fetchone()[0]


def _dump(
    connection: BaseDatabaseWrapper,
    pg_dump: Program,
    taken: str,
    file: IO[bytes],
    report: Report,
) -> tuple[int, str]:
    """Write the output of pg_dump to the file; return its size and sha256.

    pg_dump writes to a pipe, so it ends with this process, and a full disk raises an error here.
    """
    command: list[Any] = [
        pg_dump.path,
        "--format=custom",
        "--no-password",
        f"--snapshot={taken}",
        f"--lock-wait-timeout={LOCK_WAIT_MILLISECONDS}",
    ]
    digest, size = hashlib.sha256(), 0
    with (
        TemporaryFile() as said,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, env=environment(connection)
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101  a pipe was asked for
        try:
            while chunk := process.stdout.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                report(size, None)
        except BaseException:
            process.kill()
            raise
        if process.wait():
            raise NoBackup(
                f"{pg_dump} failed: {first_error(said)}. Nothing of the backup was kept."
            )
    file.flush()
    os.fsync(file.fileno())
    return size, digest.hexdigest()


def _check_listing(pg_restore: Program, dump: Path, manifest: Manifest) -> None:
    """Raise NoBackup unless pg_restore reads the dump and finds the rows of every table in it."""
    listed = subprocess.run([pg_restore.path, "--list", dump], capture_output=True, check=False)
    if listed.returncode:
        raise NoBackup(
            f"{pg_restore} cannot read what was dumped: {listed.stderr.decode().strip()}. Nothing "
            f"of the backup was kept."
        )
    entries = _plain(listed.stdout.decode())
    missing = [name for name in manifest.tables if f"TABLE DATA {_plain(name)} " not in entries]
    if missing:
        raise NoBackup(
            f"The dump has no rows of {', '.join(missing)}. Nothing of the backup was kept."
        )


def _migrations(connection: BaseDatabaseWrapper) -> list[str]:
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return []
    return [f"{row.app}.{row.name}" for row in recorder.migration_qs.order_by("id")]


def _plain(text: str) -> str:
    """Return names without the punctuation in which SQL and listings differ."""
    return text.replace('"', "").replace(".", " ")


def _publish(target: Path, manifest: Manifest) -> None:
    """Give dump and manifest their final names."""
    file = manifest_of(target)
    part = part_of(file)
    with open(part, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        json.dump(asdict(manifest), stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
    try:
        part_of(target).rename(target)
    except OSError:
        file.unlink()
        raise
    with suppress(OSError):  # not every system lets a folder be written through
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _column(connection: BaseDatabaseWrapper, query: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [value for (value,) in cursor.fetchall()]


def mark_of_restore(connection: BaseDatabaseWrapper) -> str | None:
    """Return the table that marks a restore which began in this database and did not end.

    It is in the schema in which tables could be made then, wherever the search path leads now.
    """
    found = _column(connection, MARKS)
    return found[0] if found else None
