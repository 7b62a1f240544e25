"""Which account made a submission, where that was not recorded: migrations 0003 to 0005."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from tests.providers.conftest import Migrate, execute

BEFORE, AFTER = "0003_submission_account", "0004_submission_account_backfill"
REQUIRED = "0005_submission_account_required"
MANAGE = Path(__file__).parents[2] / "manage.py"

INSERT_ACCOUNT = """
    INSERT INTO provider_accounts (
        is_private, provider_id, email, status, total_videos_generated, total_videos_failed,
        failure_streak, success_rate, max_concurrent_jobs, current_processing_jobs, priority,
        videos_today, created_at, updated_at
    ) VALUES (false, %s, %s, 'active', 0, 0, 0, 1, 1, 0, 0, 0, now(), now()) RETURNING id
"""
INSERT_JOB = """
    INSERT INTO jobs (user_id, operation_type, provider_id, priority, status, retry_count, created_at)
    VALUES (%s, 'fusion', 'p', 5, 'completed', 0, now()) RETURNING id
"""
INSERT_SUBMISSIONS = """
    INSERT INTO provider_submissions (job_id, provider_id, retry_attempt, submitted_at, status)
    SELECT %s, %s, 0, now(), 'succeeded' FROM generate_series(1, %s) RETURNING id
"""


def account(provider: str, email: str) -> int:
    return execute(INSERT_ACCOUNT, provider, email)[0][0]


def submissions(job: int, provider: str, count: int = 1) -> list[int]:
    return [id_ for (id_,) in execute(INSERT_SUBMISSIONS, job, provider, count)]


def sources() -> dict[int, tuple[int | None, str | None]]:
    rows = execute("SELECT id, account_id, account_source FROM provider_submissions")
    return {id_: (account_id, source) for id_, account_id, source in rows}


@pytest.fixture
def job(migrate: Migrate) -> Iterator[int]:
    """A job, with the providers as they were before the backfill; emptied at the end."""
    migrate("providers", BEFORE)
    yield execute(INSERT_JOB, User.objects.create_user("ann").pk)[0][0]
    execute("DELETE FROM provider_submissions")


def test_each_submission_gets_the_first_account_of_its_provider_marked_as_a_guess(
    job: int, migrate: Migrate
) -> None:
    first_a, _, first_b = account("a", "1"), account("a", "2"), account("b", "3")
    of_a, of_b = submissions(job, "a", 3), submissions(job, "b", 2)
    migrate("providers", AFTER)
    assert sources() == {
        **dict.fromkeys(of_a, (first_a, "backfill")),
        **dict.fromkeys(of_b, (first_b, "backfill")),
    }


def test_an_account_that_was_recorded_stays_recorded(job: int, migrate: Migrate) -> None:
    first, second = account("a", "1"), account("a", "2")
    guessed, recorded = submissions(job, "a", 2)
    execute(
        "UPDATE provider_submissions SET account_id = %s, account_source = 'recorded' "
        "WHERE id = %s",
        second,
        recorded,
    )
    migrate("providers", AFTER)
    assert sources() == {guessed: (first, "backfill"), recorded: (second, "recorded")}


def test_going_back_clears_guesses_only(job: int, migrate: Migrate) -> None:
    first = account("a", "1")
    (guessed,) = submissions(job, "a")
    migrate("providers", REQUIRED)
    (recorded,) = execute(
        "INSERT INTO provider_submissions "
        "(job_id, account_id, provider_id, retry_attempt, submitted_at, status) "
        "VALUES (%s, %s, 'a', 0, now(), 'succeeded') RETURNING id",
        job,
        first,
    )[0]
    migrate("providers", BEFORE)
    assert sources() == {guessed: (None, None), recorded: (first, "recorded")}
    migrate("providers", REQUIRED)
    assert sources() == {guessed: (first, "backfill"), recorded: (first, "recorded")}


def test_providers_without_an_account_are_listed_before_anything_is_written(
    job: int, migrate: Migrate
) -> None:
    account("a", "1")
    submissions(job, "a", 3)
    of_b, of_c = submissions(job, "b", 1200), submissions(job, "c", 1)
    with pytest.raises(CommandError) as refusal:
        migrate("providers", AFTER)
    message = str(refusal.value)
    assert "2 providers have submissions but no account" in message
    assert f"b: 1,200 submissions, for example {', '.join(map(str, of_b[:5]))}\n" in message
    assert f"c: 1 submissions, for example {of_c[0]}\n" in message
    assert {account_id for account_id, _ in sources().values()} == {None}
    assert "backfill" not in {source for _, source in sources().values()}

    commands = [line.split() for line in message.splitlines() if "manage.py" in line]
    for _, *command in commands:
        command[command.index("EMAIL")] = "past@x.org"
        call_command(*command, stdout=io.StringIO())
    migrate("providers", REQUIRED)
    assert len(commands) == 2
    assert {source for _, source in sources().values()} == {"backfill"}
    assert execute("SELECT DISTINCT status FROM provider_accounts WHERE provider_id <> 'a'") == [
        ("disabled",)
    ]


def test_a_submission_that_came_in_after_the_backfill_is_filled_when_it_becomes_required(
    job: int, migrate: Migrate
) -> None:
    first = account("a", "1")
    migrate("providers", AFTER)
    (late,) = submissions(job, "a")
    migrate("providers", REQUIRED)
    assert sources() == {late: (first, "backfill")}


def test_requiring_the_account_can_be_repeated_after_it_was_stopped_anywhere(
    job: int, migrate: Migrate
) -> None:
    account("a", "1")
    submissions(job, "a")
    migrate("providers", REQUIRED)
    execute(f"DELETE FROM django_migrations WHERE app = 'providers' AND name = '{REQUIRED}'")
    migrate("providers", REQUIRED)
    indexes = execute(
        "SELECT indisvalid FROM pg_index "
        "WHERE indexrelid = 'ix_provider_submissions_account_id'::regclass"
    )
    assert indexes == [(True,)]


@pytest.fixture
def scratch(transactional_db: None) -> Iterator[dict[str, Any]]:
    """Parameters of a database of its own, with the providers before the backfill."""
    parameters = connection.get_connection_params()
    given = {
        key: parameters[key] for key in ("user", "password", "host", "port") if parameters.get(key)
    }
    name = f"{connection.settings_dict['NAME']}_backfill"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(**given, dbname="postgres", autocommit=True) as server:
        server.execute(drop)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield {**given, "dbname": name}
        server.execute(drop)


def manage(scratch: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    """Start manage.py on the scratch database."""
    login = quote(scratch.get("user", ""))
    if "password" in scratch:
        login += f":{quote(scratch['password'])}"
    host = f"{scratch.get('host', 'localhost')}:{scratch.get('port', 5432)}"
    query = ""
    if scratch.get("host", "").startswith("/"):
        host, query = "", f"?host={scratch['host']}"
    url = f"postgres://{login}@{host}/{scratch['dbname']}{query}"
    return subprocess.Popen(
        [sys.executable, str(MANAGE), *arguments],
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def test_killed_in_the_middle_it_keeps_what_it_did_and_goes_on_from_there(
    scratch: dict[str, Any],
) -> None:
    prepared = manage(scratch, "migrate", "providers", "0003", "-v0")
    assert prepared.wait(60) == 0, prepared.stdout and prepared.stdout.read()
    with (
        psycopg.connect(**scratch, autocommit=True) as client,
        psycopg.connect(**scratch) as blocker,
    ):

        def one(query: str) -> Any:
            row = client.execute(query).fetchone()
            return row and row[0]

        client.execute(
            "INSERT INTO auth_user (id, username, first_name, last_name, email, password, "
            "is_superuser, is_staff, is_active, date_joined, last_login) "
            "VALUES (1, 'ann', '', '', '', '', false, false, true, now(), now())"
        )
        client.execute(INSERT_ACCOUNT, ["a", "1"])
        client.execute(INSERT_JOB, [1])
        client.execute(INSERT_SUBMISSIONS, [1, "a", 30_000])
        blocker.execute("SELECT FROM provider_submissions WHERE id = 20000 FOR UPDATE")

        killed = manage(scratch, "migrate", "providers", "0004")
        wait_until(
            lambda: (
                one(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND wait_event_type = 'Lock'"
                )
                == 1
            )
        )
        killed.kill()
        killed.wait()
        blocker.rollback()
        wait_until(
            lambda: (
                one(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND backend_type = 'client backend'"
                )
                == 2
            )
        )

        filled = one("SELECT count(*) FROM provider_submissions WHERE account_source = 'backfill'")
        assert 0 < filled < 20_000
        assert one("SELECT max(id) FROM provider_submissions WHERE account_id = 1") == filled
        assert one("SELECT count(*) FROM django_migrations WHERE name LIKE '0004_sub%'") == 0
        written = "SELECT xmin::text FROM provider_submissions WHERE id = 1"
        before = one(written)

        resumed = manage(scratch, "migrate", "providers", "0005")
        output, _ = resumed.communicate(timeout=60)
        assert resumed.returncode == 0, output
        assert f"{30_000 - filled:,} of {30_000 - filled:,} rows" in output
        assert one("SELECT count(*) FROM provider_submissions WHERE account_id = 1") == 30_000
        assert one(written) == before
