"""What the guides tell people to type in trouble is run, line by line, as it stands there."""

import io
import re
import shlex
import sys

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, connections

from tests.pixsim.support import PROJECT
from tests.scratch import ALIAS
from tests.scratch import db as db

MANAGE = "python manage.py db "
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def section(page: str, title: str) -> str:
    """The text under a heading, or under words in bold."""
    text = (PROJECT / "docs" / page).read_text()
    start = text.index(title) + len(title)
    end = re.compile(r"^(## |\*\*)", re.MULTILINE).search(text, start)
    return text[start : end.start() if end else None]


def lines(page: str, title: str) -> list[list[str]]:
    """The words of each line that the section shows, without `python manage.py db`."""
    shown = [text for kind, text in BLOCK.findall(section(page, title)) if kind == "console"]
    given = [line for text in shown for line in text.splitlines()]
    return [shlex.split(line.removeprefix("$ ").removeprefix(MANAGE)) for line in given]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch):
    """Gives a command to the scratch database, with somebody there who answers its question."""

    def run(words: list[str]) -> tuple[int, str]:
        answer = connections[ALIAS].settings_dict["NAME"] if words[0] == "wipe" else "y"
        monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
        out = io.StringIO()
        try:
            call_command("db", *words, "--database", ALIAS, stdout=out, stderr=out)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue()
        return 0, out.getvalue()

    return run


def recorded(sql, app: str) -> list[str]:
    rows = sql("SELECT name FROM django_migrations WHERE app = %s ORDER BY id", app)
    return [name for (name,) in rows]


def test_a_migration_that_stopped_midway_is_finished_and_taken_back(
    database, typed, db, sql
) -> None:
    assert db("upgrade", "accounts", "0004").code == 0
    rename = "ALTER TABLE credit_transactions RENAME CONSTRAINT"
    constraint = "ck_credit_transactions_type_valid"
    sql(f"{rename} {constraint} TO elsewhere")
    stopped = db("upgrade", "accounts", "0005")
    assert stopped.code == 1, stopped.out
    assert "It runs without a transaction: 5 of its" in stopped.err
    status, upgrade, downgrade = lines("migrations.md", "**It stopped midway.**")

    assert "accounts 0005_indexes_and_constraints was being applied" in typed(status)[1]
    sql(f"{rename} elsewhere TO {constraint}")  # what stopped it is mended
    for words in (upgrade, downgrade):
        code, said = typed(words)
        assert code == 0, said

    assert recorded(sql, "accounts")[-1] == "0004_profile_for_every_user"
    left = "SELECT to_regclass('ix_activity_logs_user_timestamp')"
    assert sql(left) == [(None,)]
    assert "was being applied" not in db("status").out


def test_a_record_that_is_ahead_of_the_tables_is_stamped_and_taken_back(
    database, typed, db, sql
) -> None:
    assert db("upgrade", "002").code == 0
    sql("ALTER TABLE profiles DROP COLUMN user_tier")
    stuck = db("downgrade", "accounts", "0001", "--yes").err
    assert "is not as the code expects it" in stuck
    assert "See `manage.py db status` and `manage.py db verify`." in stuck
    verify, *rest = lines("migrations.md", "**The record is ahead of the tables**")

    code, said = typed(verify)
    assert code == 1
    assert "profiles.user_tier: expected" in said
    for words in rest:
        code, said = typed(words)
        assert code == 0, said

    assert recorded(sql, "accounts") == []
    assert sql("SELECT to_regclass('profiles')") == [(None,)]


def test_the_history_is_recreated_and_the_rows_stay(migrated, one_head, typed, db, sql) -> None:
    sql("INSERT INTO profiles (id, email, role) VALUES (gen_random_uuid(), 'ada@site', 'user')")
    sql("DELETE FROM django_migrations WHERE id % 3 = 0")
    assert "stands in the middle of what accounts 0003_columns replaces" in db("status").err
    psql, *recreate = lines("migrations.md", "## Recreating the migration history")[:3]

    assert psql[:3] == ["psql", "$DATABASE_URL", "-c"]
    sql(psql[3])
    for words in recreate:
        code, said = typed(words)
        assert code == 0, said

    assert said.startswith("Clean: ")
    assert sql("SELECT email FROM profiles") == [("ada@site",)]


@pytest.mark.long
def test_everything_is_begun_with_nothing(migrated, typed, sql, settings) -> None:
    settings.DEBUG = True
    sql("INSERT INTO profiles (id, email, role) VALUES (gen_random_uuid(), 'ada@site', 'user')")
    wipe, upgrade = lines("migrations.md", "## Recreating the migration history")[3:]

    code, said = typed(wipe)
    assert code == 0, said
    assert sql("SELECT to_regclass('profiles'), to_regclass('django_migrations')") == [(None, None)]
    assert typed(upgrade)[0] == 0

    assert sql("SELECT count(*) FROM profiles") == [(0,)]


@pytest.mark.django_db(transaction=True)
def test_the_query_for_the_use_of_indexes_is_mended() -> None:
    shown = dict(BLOCK.findall(section("operations.md", "**Use of indexes.**")))
    with connection.cursor() as cursor:
        with pytest.raises(ProgrammingError, match='column "tablename" does not exist'):
            cursor.execute(shown["pgsql"])

        cursor.execute(shown["sql"])
        columns = [column.name for column in cursor.description]
        found = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'job_chunks'")
        indexes = {name for (name,) in cursor.fetchall()}

    assert {each["indexrelname"] for each in found} == indexes >= {"ix_job_chunks_job_id"}
    assert all(each["idx_scan"] >= 0 and each["size"] for each in found)
