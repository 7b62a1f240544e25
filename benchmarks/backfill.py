"""The account backfill on a large table, beside the single UPDATE of the older migration.

    [DATABASE_URL=postgres://…] python -m benchmarks.backfill [--rows 5,000,000]

Uses databases of its own on that server, or on an embedded one, and drops them afterwards: one is
filled, and each contestant has a copy of it. Meanwhile a client reads a random submission with its
job, then updates another, again and again: what it waits for is what users would feel.
"""

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from django.core.management import call_command
from django.db import connection
from django.db.transaction import atomic

from benchmarks.bench import Bench, every
from benchmarks.report import percentile, table, write_section
from tests.databases import copy_database, database

SCRATCH, FILLED = "pixsim_benchmark_backfill", "pixsim_benchmark_filled"

# 20 providers with 3 accounts each, 10 submissions per job.
SEED = """
INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,
    is_staff, is_active, date_joined, last_login)
VALUES (1, 'ann', '', '', '', '', false, false, true, now(), now());
INSERT INTO provider_accounts (is_private, provider_id, email, status, total_videos_generated,
    total_videos_failed, failure_streak, success_rate, max_concurrent_jobs,
    current_processing_jobs, priority, videos_today, created_at, updated_at)
SELECT false, 'provider-' || p, a || '@example.org', 'active', 0, 0, 0, 1, 2, 0, 0, 0, now(), now()
FROM generate_series(1, 20) AS p, generate_series(1, 3) AS a;
INSERT INTO jobs (user_id, operation_type, provider_id, priority, status, retry_count, created_at)
SELECT 1, 'text_to_video', 'provider-' || 1 + n % 20, 5, 'completed', 0, now()
FROM generate_series(1, {rows} / 10) AS n;
INSERT INTO provider_submissions (job_id, provider_id, payload, provider_job_id, retry_attempt,
    submitted_at, status)
SELECT 1 + n % ({rows} / 10), 'provider-' || 1 + n % 20,
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


READ = """
SELECT s.status, j.status FROM provider_submissions AS s JOIN jobs AS j ON j.id = s.job_id
WHERE s.id = %s
"""
WRITE = "UPDATE provider_submissions SET duration_ms = 1 WHERE id = %s"

# For how long the contestant's transaction holds what it locked of the table: what writes rows holds
# this until it ends, and with it every row that it wrote.
LOCKED_FOR = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - activity.xact_start)), 0)::float
FROM pg_stat_activity AS activity JOIN pg_locks AS lock USING (pid)
WHERE pid = %s AND lock.granted AND lock.relation = 'provider_submissions'::regclass
  AND lock.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'AccessExclusiveLock')
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=lambda text: int(text.replace(",", "")), default=5_000_000)
    rows = parser.parse_args().rows
    with ExitStack() as stack:
        url = os.environ.get("DATABASE_URL") or stack.enter_context(Bench()).database_url
        measure(url, rows)


def measure(url: str, rows: int) -> None:
    """Measure on the server of this URL."""
    os.environ["DATABASE_URL"] = urlunsplit(urlsplit(url)._replace(path=f"/{SCRATCH}"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pixsim.settings")
    django.setup()
    contestants: dict[str, tuple[str, Callable[[], None]]] = {
        "nothing": ("0003", idle),
        "one UPDATE": ("0003", lambda: execute(ONE_UPDATE)),
        "`db backfill run`": ("0003", lambda: backfill(share=100)),
        "`db backfill run --share 50`": ("0003", lambda: backfill(share=50)),
        "older migration, one transaction": ("0002", lambda: execute(*OLDER_MIGRATION)),
        "migrations 0003 to 0005": ("0002", lambda: migrate("0005")),
    }
    lines = []
    with psycopg.connect(url, autocommit=True) as server, filled_database(server, rows):
        for name, (start, contestant) in contestants.items():
            with database(server, SCRATCH, template=FILLED):
                lines.append([name, *run(start, contestant, rows)])
                print(*lines[-1], sep=" | ", flush=True)
    heading = ["what", "seconds", "rows/s", "longest lock"]
    heading += ["reads/s", "read p99", "longest read", "writes/s", "write p99", "longest write"]
    about = f"{rows:,} submissions with all indexes, while a client reads and writes single rows."
    write_section("backfill", "Account backfill", f"{about}\n\n{table(heading, lines)}")


def run(start: str, contestant: Callable[[], None], rows: int) -> list[str]:
    """Measure `contestant` at the migration `start` of providers."""
    migrate(start)
    execute("CHECKPOINT")
    pid = connection.connection.info.backend_pid
    reads: list[float] = []
    writes: list[float] = []
    locked = [0.0]
    url = os.environ["DATABASE_URL"]
    with (
        psycopg.connect(url, autocommit=True) as client,
        psycopg.connect(url, autocommit=True) as watcher,
        every(0.002, lambda: read_and_write(client, rows, reads, writes)),
        every(0.005, lambda: locked.append(watcher.execute(LOCKED_FOR, [pid]).fetchone()[0])),
    ):
        started = time.perf_counter()
        contestant()
        seconds = time.perf_counter() - started
    connection.close()
    rate = "" if contestant is idle else f"{rows / seconds:,.0f}"
    cells = [f"{seconds:.1f}", rate, ms(max(locked))]
    for waits in (reads, writes):
        cells += [f"{len(waits) / seconds:,.0f}", ms(percentile(waits, 0.99)), ms(max(waits))]
    return cells


def idle() -> None:
    time.sleep(10)


def execute(*statements: str) -> None:
    """In one transaction, if there are several."""
    with atomic() if len(statements) > 1 else nullcontext(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def migrate(name: str) -> None:
    call_command("migrate", "providers", name, verbosity=0)


def backfill(share: float) -> None:
    call_command("db", "backfill", "run", "first-account", share=share)


def read_and_write(
    client: psycopg.Connection[Any], rows: int, reads: list[float], writes: list[float]
) -> None:
    """Read a random submission and update another; keep how long each took."""
    for statement, waits in ((READ, reads), (WRITE, writes)):
        started = time.perf_counter()
        client.execute(statement, [random.randint(1, rows)])
        waits.append(time.perf_counter() - started)


@contextmanager
def filled_database(server: psycopg.Connection[Any], rows: int) -> Iterator[None]:
    """Have the database FILLED with `rows` submissions, before they had accounts."""
    with database(server, SCRATCH):
        migrate("0002")
        execute(SEED.format(rows=rows))
        execute("VACUUM ANALYZE")
        connection.close()
        copy_database(server, SCRATCH, FILLED)
    try:
        yield
    finally:
        server.execute(f"DROP DATABASE {FILLED}")


def ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"


if __name__ == "__main__":
    main()
