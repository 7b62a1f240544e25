"""The account backfill on a large table, beside the single UPDATE of the older migration.

    [DATABASE_URL=postgres://…] python -m benchmarks.backfill [--rows 1000000]

Uses a database of its own on that server, or on an embedded one, and drops it afterwards. While a
contestant runs, a client updates one random submission after another: what it waits for is what
users would feel.
"""

import argparse
import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from benchmarks.report import write_section
from tests.world import World

SCRATCH = "pixsim_benchmark_backfill"
PROVIDERS, ACCOUNTS_EACH, SUBMISSIONS_PER_JOB = 20, 3, 10

SEED = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,
    is_staff, is_active, date_joined, last_login)
VALUES (1, 'ann', '', '', '', '', false, false, true, now(), now());
INSERT INTO provider_accounts (is_private, provider_id, email, status, total_videos_generated,
    total_videos_failed, failure_streak, success_rate, max_concurrent_jobs,
    current_processing_jobs, priority, videos_today, created_at, updated_at)
SELECT false, 'provider-' || p, a || '@example.org', 'active', 0, 0, 0, 1, 2, 0, 0, 0, now(), now()
FROM generate_series(1, {providers}) AS p, generate_series(1, {accounts}) AS a;
INSERT INTO jobs (user_id, operation_type, provider_id, priority, status, retry_count, created_at)
SELECT 1, 'text_to_video', 'provider-' || 1 + n % {providers}, 5, 'completed', 0, now()
FROM generate_series(1, {rows} / {per_job}) AS n;
INSERT INTO provider_submissions (job_id, provider_id, payload, provider_job_id, retry_attempt,
    submitted_at, status)
SELECT 1 + n % ({rows} / {per_job}), 'provider-' || 1 + n % {providers},
    jsonb_build_object('prompt', md5(n::text), 'quality', '720p'), 'ext-' || n, 0,
    now() - n * interval '1 second', 'succeeded'
FROM generate_series(1, {rows}) AS n;
"""

ONE_UPDATE = """
UPDATE provider_submissions AS s SET account_id = (
    SELECT a.id FROM provider_accounts AS a WHERE a.provider_id = s.provider_id ORDER BY a.id LIMIT 1
)
"""
OLDER_MIGRATION = [
    "ALTER TABLE provider_submissions ADD COLUMN account_id integer",
    ONE_UPDATE,
    "ALTER TABLE provider_submissions ALTER COLUMN account_id SET NOT NULL",
    "CREATE INDEX ix_provider_submissions_account_id ON provider_submissions (account_id)",
    "ALTER TABLE provider_submissions ADD CONSTRAINT fk_provider_submissions_account_id "
    "FOREIGN KEY (account_id) REFERENCES provider_accounts (id)",
]


@dataclass
class Measured:
    """Seconds throughout."""

    seconds: float
    waits: list[float]
    longest_transaction: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with ExitStack() as stack:
        server = os.environ.get("DATABASE_URL") or stack.enter_context(World()).database_url
        measure(server, rows)


def measure(server: str, rows: int) -> None:
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(server)._replace(path=f"/{SCRATCH}"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
    import django

    django.setup()
    contestants: dict[str, tuple[str, Callable[[], None]]] = {
        "one UPDATE": ("0003", one_update),
        "account backfill (0004)": ("0003", lambda: migrate("0004")),
        "older migration, one transaction": ("0002", older_migration),
        "migrations 0003 to 0005": ("0002", lambda: migrate("0005")),
    }
    lines = [
        f"{rows:,} submissions with all indexes, while a client updates single rows.\n",
        "| what | seconds | rows/s | longest transaction | updates by the client "
        "| wait p50 | wait p99 | longest wait |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (start, contestant) in contestants.items():
        with scratch_database(server):
            lines.append(line(name, run(start, contestant, rows), rows))
            print(lines[-1], flush=True)
    write_section("backfill", "Account backfill", "\n".join(lines))


def run(start: str, contestant: Callable[[], None], rows: int) -> Measured:
    """Measure `contestant` on `rows` fresh rows, at the migration `start` of providers."""
    from django.db import connection

    url = os.environ["DATABASE_URL"]
    migrate(start)
    with psycopg.connect(url, autocommit=True) as client:
        client.execute(
            SEED.format(
                rows=rows, providers=PROVIDERS, accounts=ACCOUNTS_EACH, per_job=SUBMISSIONS_PER_JOB
            )
        )
        client.execute("VACUUM ANALYZE provider_submissions")
        client.execute("CHECKPOINT")
    pid = connection.connection.info.backend_pid
    waits: list[float] = []
    ages: list[float] = [0.0]
    with (
        meanwhile(lambda stop: update_rows(url, rows, stop, waits)),
        meanwhile(lambda stop: watch_transactions(url, pid, stop, ages)),
    ):
        started = time.perf_counter()
        contestant()
        seconds = time.perf_counter() - started
    connection.close()
    return Measured(seconds, waits, max(ages))


def one_update() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(ONE_UPDATE)


def older_migration() -> None:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for statement in OLDER_MIGRATION:
            cursor.execute(statement)


def migrate(name: str) -> None:
    from django.core.management import call_command

    call_command("migrate", "providers", name, verbosity=0)


def update_rows(url: str, rows: int, stop: threading.Event, waits: list[float]) -> None:
    """Update random submissions until told to stop, and keep how long each update took."""
    with psycopg.connect(url, autocommit=True) as client:
        while not stop.wait(0.002):
            started = time.perf_counter()
            client.execute(
                "UPDATE provider_submissions SET duration_ms = %s WHERE id = %s",
                [1, random.randint(1, rows)],
            )
            waits.append(time.perf_counter() - started)


def watch_transactions(url: str, pid: int, stop: threading.Event, ages: list[float]) -> None:
    """Note how old the transactions of the contestant's connection get."""
    age = "SELECT extract(epoch FROM clock_timestamp() - xact_start)::float FROM pg_stat_activity"
    with psycopg.connect(url, autocommit=True) as client:
        while not stop.wait(0.01):
            row = client.execute(f"{age} WHERE pid = %s", [pid]).fetchone()
            if row and row[0]:
                ages.append(row[0])


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` in a thread; it ends when its event is set."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def scratch_database(server: str) -> Iterator[None]:
    """Have an empty scratch database on the server of this URL."""
    name = sql.Identifier(SCRATCH)
    with psycopg.connect(server, autocommit=True) as client:
        client.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        client.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield
        finally:
            client.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def line(name: str, measured: Measured, rows: int) -> str:
    waits = sorted(measured.waits)
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    return (
        f"| {name} | {measured.seconds:.1f} | {rows / measured.seconds:,.0f} "
        f"| {ms(measured.longest_transaction)} | {len(waits):,} "
        f"| {ms(statistics.median(waits))} | {ms(p99)} | {ms(waits[-1])} |"
    )


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


if __name__ == "__main__":
    main()
