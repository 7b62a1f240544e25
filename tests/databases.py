"""The tests' databases: copies of one migrated template, on a server that need not survive a crash.

The template stays on the server from one run to the next, and is made anew when a migration or a
model changed.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
import psutil
import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from pixsim.embedded import client

PROJECT = Path(__file__).resolve().parents[1]
WHAT_MIGRATE_READS = (
    "*/migrations/**/*",
    "*/models.py",
    "*/models/**/*",
    "*/apps.py",
    "pixsim/core/*/*.py",
    "tests/queue_guard.py",
)
UNSAFE_AND_FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
"""A test's server never has to outlive a crash of the machine. A killed process loses nothing."""
MAKING = 0x7465_7374
"""The advisory lock of who makes the template."""
EMPTIED_BY_DELETE = 500
"""Up to so many rows it is cheaper to delete them than to give a table and its indexes new files."""
KEPT = ("django_migrations", "pixsim_migration_files", "django_content_type", "auth_permission")
"""What `migrate` writes; tests only read it."""


def schema_digest() -> str:
    """Return a name for what `migrate` makes of the files as they are now."""
    digest = hashlib.sha256(django.__version__.encode())
    for pattern in WHAT_MIGRATE_READS:
        for file in sorted(PROJECT.glob(pattern)):
            if file.suffix in (".py", ".sql"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def connect_to_server() -> psycopg.Connection[Any]:
    """Return a connection to the server of the tests, outside their databases, in autocommit."""
    if settings.EMBEDDED_SERVICES:
        client.need(*settings.EMBEDDED_SERVICES)
    default = settings.DATABASES["default"]
    parameters = {
        "host": default["HOST"],
        "port": default["PORT"] or None,
        "user": default["USER"],
        "password": default["PASSWORD"],
        "dbname": "postgres",
    }
    given = {name: value for name, value in parameters.items() if value}
    return psycopg.connect(**given, autocommit=True)


def make_unsafe_and_fast(server: psycopg.Connection[Any]) -> None:
    """Turn off what guards a server's data against a crash of the machine."""
    for name, value in UNSAFE_AND_FAST.items():
        server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    server.execute("SELECT pg_reload_conf()")


def copy_database(server: psycopg.Connection[Any], template: str, name: str) -> None:
    """Make `name` a copy of `template`, whatever it was before."""
    server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


@contextmanager
def database(
    server: psycopg.Connection[Any], name: str, *, template: str = "template1"
) -> Iterator[None]:
    """Make a database of this name, and drop it at the end of the block."""
    copy_database(server, template, name)
    try:
        yield
    finally:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def default_database(name: str) -> Iterator[None]:
    """Let Django's default connection be to the database `name` inside the block."""
    connection = connections["default"]
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = before


def migrated_template(server: psycopg.Connection[Any]) -> str:
    """Return the name of a database at the head of the migrations, to be copied."""
    name = f"pixsim_template_{schema_digest()}"
    return template(server, name, lambda: call_command("migrate", verbosity=0))


def template(
    server: psycopg.Connection[Any],
    name: str,
    fill: Callable[[], object],
    *,
    source: str = "template1",
) -> str:
    """Return `name`, a database that nobody is connected to.

    If it is missing, make it from `source` and call `fill` with Django's default connection on it.
    """
    server.execute("SELECT pg_advisory_lock(%s)", [MAKING])
    try:
        if not _exists(server, name):
            draft = f"{name}_draft"
            copy_database(server, source, draft)
            with default_database(draft):
                fill()
            server.execute(f'ALTER DATABASE "{draft}" RENAME TO "{name}"')
    finally:
        server.execute("SELECT pg_advisory_unlock(%s)", [MAKING])
    return name


def drop_what_earlier_runs_left(server: psycopg.Connection[Any]) -> None:
    """Drop templates of older migrations, and the databases of runs that were killed."""
    unused = server.execute(
        "SELECT datname FROM pg_database WHERE datname ~ '^pixsim_(template|test|scratch)_'"
        " AND NOT starts_with(datname, %s)"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = pg_database.datname)",
        [f"pixsim_template_{schema_digest()}"],
    )
    for (name,) in unused.fetchall():
        _, kind, owner, *_ = name.split("_")
        # A template's name has a digest, which may happen to consist of digits.
        if not (kind != "template" and owner.isdigit() and psutil.pid_exists(int(owner))):
            server.execute(f'DROP DATABASE IF EXISTS "{name}"')


def _exists(server: psycopg.Connection[Any], name: str) -> bool:
    found = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
    return found.fetchone() is not None


def own_database_name() -> str:
    """Return the name of this process's test database."""
    return f"pixsim_test_{os.getpid()}"


def is_empty(connection: Any) -> bool:
    """Return whether no table has rows, apart from what `migrate` writes."""
    with connection.cursor() as cursor:
        return not _tables_with_rows(cursor)


def empty_tables(connection: Any) -> None:
    """Delete all rows that tests wrote, as Django's `flush` does, but only where there are some."""
    with connection.cursor() as cursor:
        rows = _tables_with_rows(cursor)
        if not rows:
            return
        large = [table for table, count in rows.items() if count == EMPTIED_BY_DELETE]
        statements = [f"DELETE FROM {table};" for table in rows if table not in large]
        if large:
            statements.append(f"TRUNCATE {', '.join(large)} CASCADE;")
        # Triggers are off: foreign keys are no concern, as what refers to a row is deleted too.
        cursor.execute(
            f"BEGIN; SET LOCAL session_replication_role = replica; {' '.join(statements)} COMMIT;"
        )


def _tables_with_rows(cursor: Any) -> dict[str, int]:
    """Return the tables that have rows, with their number up to EMPTIED_BY_DELETE."""
    cursor.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s)",
        [list(KEPT)],
    )
    counts = [
        f"SELECT '{table}', count(*) FROM (SELECT FROM {table} LIMIT {EMPTIED_BY_DELETE}) AS few"
        " HAVING count(*) > 0"
        for (table,) in cursor.fetchall()
    ]
    if not counts:
        return {}
    cursor.execute(" UNION ALL ".join(counts))
    return dict(cursor.fetchall())


def url_of(connection: Any) -> str:
    """Return the URL of the database of a Django connection, for another process or library."""
    at = connection.settings_dict
    login = quote(at["USER"]) + (f":{quote(at['PASSWORD'])}" if at["PASSWORD"] else "")
    host = at["HOST"] or "127.0.0.1"
    if host.startswith("/"):
        return f"postgres://{login}@/{at['NAME']}?host={quote(host)}"
    return f"postgres://{login}@{host}:{at['PORT'] or 5432}/{at['NAME']}"
