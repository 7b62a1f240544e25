"""Batched backfills over a table of our own."""

import io
import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from pixsim.core.db.backfill import BackfillBlocked, Progress, progress_lines, run_in_key_ranges

pytestmark = pytest.mark.django_db(transaction=True)
DOUBLE = "UPDATE backfill_rows SET filled = 2 * id WHERE id BETWEEN %s AND %s AND filled IS NULL"


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    """3,000 rows with gaps between their ids, which begin below zero."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE backfill_rows (id integer PRIMARY KEY, filled integer)")
        cursor.execute("INSERT INTO backfill_rows SELECT 7 * n FROM generate_series(-99, 2900) n")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE backfill_rows")


@pytest.fixture
def other() -> Iterator[psycopg.Connection[Any]]:
    """A second client of the database."""
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{
            name: parameters[name]
            for name in ("dbname", "user", "password", "host", "port")
            if name in parameters
        },
        autocommit=True,
    ) as client:
        yield client


def run(**options: Any) -> int:
    return run_in_key_ranges(
        connection,
        **{
            "table": "backfill_rows",
            "pending": "filled IS NULL",
            "change": DOUBLE,
            **options,
        },
    )


def rows(condition: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM backfill_rows WHERE {condition}")
        return cursor.fetchone()[0]


def test_every_pending_row_is_changed_once_and_the_others_stay() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE backfill_rows SET filled = 0 WHERE id > 10000")
    before = rows("filled = 0")
    assert run() == 3000 - before
    assert rows("filled = 2 * id") == 3000 - before
    assert rows("filled = 0") == before + rows("id = 0")
    assert run() == 0


def test_each_range_is_committed_before_the_next_begins(other: psycopg.Connection[Any]) -> None:
    seen: list[tuple[int, int]] = []

    def look(progress: Progress) -> None:
        committed = other.execute("SELECT count(filled) FROM backfill_rows").fetchone()
        seen.append((progress.changed, committed[0] if committed else 0))

    run(batch_size=200, goal_seconds=0, on_batch=look)
    assert len(seen) > 10
    assert all(changed == committed for changed, committed in seen)


def test_ranges_are_in_order_without_overlap_and_grow_towards_the_time_goal() -> None:
    batches: list[Progress] = []
    run(batch_size=100, goal_seconds=60, on_batch=batches.append)
    assert [batch.changed for batch in batches] == [100, 300, 700, 1500, 3000]
    assert all(a.high < b.first for a, b in itertools.pairwise(batches))
    assert [batch.is_finished for batch in batches] == [False] * 4 + [True]
    shrunk: list[Progress] = []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE backfill_rows SET filled = NULL")
    run(batch_size=400, goal_seconds=0, on_batch=shrunk.append)
    assert [batch.changed for batch in shrunk][:4] == [400, 600, 700, 800]


def test_an_error_keeps_what_was_committed_and_the_next_run_does_the_rest() -> None:
    def fail_half_way(cursor: CursorWrapper, progress: Progress) -> None:
        if progress.first > 5000:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(before_commit=fail_half_way, batch_size=100, goal_seconds=0)
    kept = rows("filled IS NOT NULL")
    assert 0 < kept < 3000
    assert rows("id <= 5000 AND filled IS NULL") == 0
    assert run() == 3000 - kept


def test_it_waits_for_a_locked_row_and_gives_up_with_a_plain_message(
    other: psycopg.Connection[Any],
) -> None:
    with other.transaction():
        other.execute("SELECT FROM backfill_rows WHERE id = 7000 FOR UPDATE")
        with pytest.raises(BackfillBlocked, match="backfill_rows") as refusal:
            run(lock_timeout_seconds=0.05, attempts=6)
    kept = rows("filled IS NOT NULL")
    assert f"{kept} rows were filled and stay so" in str(refusal.value)
    assert rows("id < 6000 AND filled IS NULL") == 0
    assert rows("filled IS NULL AND id = 7000") == 1
    assert run() == 3000 - kept


def test_inside_a_transaction_it_is_refused_since_all_ranges_would_be_one() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        run()
    assert rows("filled IS NOT NULL") == 0


def test_rows_added_while_it_runs_are_left_for_the_next_run(
    other: psycopg.Connection[Any],
) -> None:
    def add(progress: Progress) -> None:
        last = progress.last_key + progress.changed
        other.execute("INSERT INTO backfill_rows VALUES (%s)", [last])

    run(on_batch=add)
    added = rows("filled IS NULL")
    assert added > 0
    assert run() == added


def test_progress_is_written_now_and_then_and_at_the_end() -> None:
    stream = io.StringIO()
    run(batch_size=100, goal_seconds=0, on_batch=progress_lines(stream, every_seconds=60))
    assert stream.getvalue().startswith("backfill_rows: 3,000 of 3,000 rows, ")
    assert stream.getvalue().endswith(" rows/s.\n")


def test_names_are_quoted() -> None:
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "Odd; name" ("Key" integer PRIMARY KEY, filled integer)')
        cursor.execute('INSERT INTO "Odd; name" VALUES (1), (2)')
    sql = 'UPDATE "Odd; name" SET filled = 1 WHERE "Key" BETWEEN %s AND %s'
    changed = run(table="Odd; name", key="Key", change=sql)
    with connection.cursor() as cursor:
        cursor.execute('DROP TABLE "Odd; name"')
    assert changed == 2
