"""`db backfill`: seen, run, paused, killed and gone on with."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from tests.schema.commands import Start, start, wait_until
from tests.schema.packages import Packages, creates, migration
from tests.scratch import Ran

__all__ = ["start"]
Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]

# Names that begin with a letter become capitals; the others have no letter and stay pending.
MODULE = """
from django.db import migrations
from pixsim.core.db.backfill import Backfill, migration_step

QUIET = Backfill(
    name="quiet",
    help="Names in capitals are small again.",
    table="shop_book",
    pending="name ~ '^[A-Z]'",
    change="UPDATE shop_book SET name = lower(name) WHERE id BETWEEN %s AND %s AND name ~ '^[A-Z]'",
)
LOUD = Backfill(
    name="loud",
    help="Names become capitals.",
    table="shop_book",
    pending="name !~ '[A-Z]'",
    change="UPDATE shop_book SET name = upper(name) "
    "WHERE id BETWEEN %s AND %s AND name ~ '^[a-z]'",
    undo=QUIET,
)
"""


@pytest.fixture
def shop(packages: Packages, database: str, sql: Sql) -> Packages:
    """3,000 books, every tenth of which is called by a number."""
    home = packages.add("shop", {"0001_initial": creates("Book")})
    (home / "backfills.py").write_text(MODULE)
    call_command("migrate", database=database, verbosity=0)
    sql(
        "INSERT INTO shop_book (name) SELECT CASE WHEN n % 10 = 0 THEN '' ELSE 'book ' END || n "
        "FROM generate_series(1, 3000) AS n"
    )
    return packages


@pytest.fixture
def jobs(migrated: str, sql: Sql) -> None:
    """3,000 jobs without params, each with a submission that has a payload."""
    sql("INSERT INTO auth_user (id, username, first_name, last_name, email, password, is_staff, "
        "is_active, is_superuser, date_joined) "
        "VALUES (1, 'ann', '', '', '', '', false, true, false, now())")  # fmt: skip
    sql("INSERT INTO provider_accounts (provider_id, email) VALUES ('a', 'a@x.org')")
    sql("INSERT INTO jobs (user_id, operation_type, provider_id, status) "
        "SELECT 1, 'fusion', 'a', 'completed' FROM generate_series(1, 3000)")  # fmt: skip
    sql("INSERT INTO provider_submissions (job_id, account_id, provider_id, payload) "
        "SELECT job.id, account.id, 'a', '{\"seed\": 7}' "
        "FROM jobs AS job, provider_accounts AS account")  # fmt: skip


@pytest.fixture
def other(database_of_test: str) -> Iterator[psycopg.Connection[Any]]:
    """A second client of the scratch database."""
    parameters = connections[database_of_test].get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    given = {name: parameters[name] for name in names if name in parameters}
    with psycopg.connect(**given, autocommit=True) as client:
        yield client


@pytest.fixture
def database_of_test(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("migrated" if "jobs" in request.fixturenames else "database")


def state(db: Db, name: str = "loud") -> dict[str, Any]:
    return next(
        each for each in db("backfill", "list", "--json").json["backfills"] if each["name"] == name
    )


def filled(sql: Sql) -> int:
    return sql("SELECT count(*) FROM jobs WHERE params_source = 'payload'")[0][0]


def test_it_is_listed_run_and_listed_as_done_with_the_rows_it_had_nothing_to_say_about(
    shop: Packages, db: Db, sql: Sql
) -> None:
    before = db("backfill", "list")
    assert before.code == 0
    assert before.out.splitlines()[1].split() == ["loud", "to", "do", "3,000", "quiet"]

    ran = db("backfill", "run", "loud")

    assert ran.code == 0, ran.err
    said = ran.out.splitlines()
    assert said[0].startswith("loud is done: 2,700 of 3,000 rows were changed, ")
    assert said[1].startswith("300 rows are still as they were: the backfill had nothing to say")
    assert said[2] == "Back with `manage.py db backfill run quiet`."
    assert sql("SELECT count(*) FROM shop_book WHERE name ~ '^BOOK'") == [(2700,)]
    assert state(db) | {"rows_per_second": 1, "updated_at": 1} == {
        "name": "loud",
        "help": "Names become capitals.",
        "table": "shop_book",
        "undo": "quiet",
        "state": "done",
        "done": 3000,
        "changed": 2700,
        "total": 3000,
        "pending": 300,
        "rows_per_second": 1,
        "seconds_left": None,
        "updated_at": 1,
    }
    assert sql("SELECT current_setting('application_name')") == [("pixsim",)]


def test_rows_that_come_afterwards_are_to_do_again(shop: Packages, db: Db, sql: Sql) -> None:
    db("backfill", "run", "loud")
    sql("INSERT INTO shop_book (name) VALUES ('late')")
    assert state(db)["state"] == "to do"

    assert db("backfill", "run", "loud", "--json").json["changed"] == 1
    assert sql("SELECT count(*) FROM shop_book WHERE name = 'LATE'") == [(1,)]


def test_its_undo_takes_it_back_and_it_is_to_do_again(shop: Packages, db: Db, sql: Sql) -> None:
    db("backfill", "run", "loud")

    undone = db("backfill", "run", "quiet", "--json").json

    assert undone["changed"] == 2700
    assert sql("SELECT count(*) FROM shop_book WHERE name ~ '^book'") == [(2700,)]
    assert state(db)["state"] == "to do"
    assert [each["name"] for each in db("backfill", "list", "--json").json["backfills"]] == ["loud"]


def test_what_a_migration_ran_shows_as_done(shop: Packages, db: Db, sql: Sql) -> None:
    sql("DELETE FROM shop_book WHERE name !~ '^book'")
    step = (
        "migrations.RunPython(lambda apps, editor: "
        "import_module('shop.backfills').LOUD.run(editor.connection))"
    )
    text = migration(step, depends=[("shop", "0001_initial")], more="atomic = False")
    shop.write("shop", "0002_loud", f"from importlib import import_module\n{text}")
    assert state(db)["state"] == "to do"

    call_command("migrate", database="scratch", verbosity=0)

    assert sql("SELECT count(*) FROM shop_book WHERE name ~ '^BOOK'") == [(2700,)]
    assert state(db)["state"] == "done"
    assert db("backfill", "run", "loud").out.startswith("loud: no row is pending.")


def test_before_its_migration_it_is_not_yet_possible(
    packages: Packages, database: str, db: Db
) -> None:
    home = packages.add("shop", {"0001_initial": creates("Book")})
    (home / "backfills.py").write_text(MODULE)

    assert state(db)["state"] == "not yet"
    refused = db("backfill", "run", "loud")
    assert refused.code == 1
    assert refused.err == (
        "loud cannot run yet: its tables or columns are not there. Nothing was changed. Apply what "
        "is pending with `manage.py db upgrade`.\n"
    )
    assert db("backfill", "pause", "loud").err == "loud is not paused: it is not possible yet.\n"


def test_what_makes_no_sense_is_refused(shop: Packages, db: Db, sql: Sql) -> None:
    for words, code, message in [
        (["run", "lout"], 2, "There is no backfill 'lout'; there is: quiet, loud.\n"),
        (["run"], 2, "Say which: `manage.py db backfill run NAME`.\n"),
        (["list", "loud"], 2, "`backfill list` takes no name: it shows all of them.\n"),
        (
            ["resume", "loud"],
            1,
            "There is nothing to resume: loud is to do. Begin with `manage.py db backfill run "
            "loud`.\n",
        ),
        (
            ["resume", "loud", "--restart"],
            2,
            "`resume` goes on; to begin again say `run --restart`.\n",
        ),
    ]:
        ran = db("backfill", *words)
        assert (ran.code, ran.out, ran.err) == (code, "", message)
    assert sql("SELECT count(*) FROM shop_book WHERE name ~ '^BOOK'") == [(0,)]


def test_two_of_one_name_and_a_module_that_cannot_be_read_are_named(shop: Packages, db: Db) -> None:
    shop.add("second", {})
    module = shop.folder / "second" / "backfills.py"
    module.write_text(MODULE)
    assert db("backfill", "list").err == (
        "Two backfills are called quiet; second.backfills has one.\n"
    )
    module.write_text("1 / 0")
    shop.models("second", "")
    assert db("backfill", "list").err == (
        "second.backfills cannot be read: ZeroDivisionError: division by zero.\n"
    )


def test_one_that_nobody_runs_is_paused_until_it_is_resumed(
    shop: Packages, db: Db, sql: Sql
) -> None:
    paused = db("backfill", "pause", "loud")
    assert (paused.code, paused.err) == (0, "")
    assert paused.out == (
        "loud is paused. Nobody runs it now.\nGo on with `manage.py db backfill resume loud`.\n"
    )
    refused = db("backfill", "run", "loud")
    assert refused.code == 1
    assert refused.err.startswith("loud was paused at ")
    assert refused.err.endswith("Go on with `manage.py db backfill resume loud`.\n")

    assert db("backfill", "resume", "loud", "--json").json["changed"] == 2700
    assert db("backfill", "pause", "loud").err == "loud is not paused: it is done.\n"


def test_what_its_check_refuses_is_told_and_nothing_is_written(
    migrated: str, db: Db, sql: Sql
) -> None:
    sql("ALTER TABLE provider_submissions ALTER account_id DROP NOT NULL")
    sql("INSERT INTO auth_user (id, username, first_name, last_name, email, password, is_staff, "
        "is_active, is_superuser, date_joined) "
        "VALUES (1, 'ann', '', '', '', '', false, true, false, now())")  # fmt: skip
    sql("INSERT INTO jobs (id, user_id, operation_type, provider_id) VALUES (1, 1, 'fusion', 'a')")
    sql("INSERT INTO provider_submissions (job_id, provider_id) VALUES (1, 'a')")

    refused = db("backfill", "run", "first-account")

    assert refused.code == 1
    assert refused.err.startswith(
        "1 providers have submissions but no account:\n  a: 1 submissions"
    )
    assert state(db, "first-account")["pending"] == 1


def test_a_second_runner_is_told_who_runs_and_a_pause_stops_the_first(
    jobs: None, db: Db, sql: Sql, start: Start
) -> None:
    runner = start("backfill", "run", "params-from-payloads", "--share", "5", "--goal", "0.01")
    wait_until(lambda: state(db, "params-from-payloads")["done"] > 0)

    now = state(db, "params-from-payloads")
    assert now["state"] == "running"
    assert now["seconds_left"] > 0
    second = db("backfill", "run", "params-from-payloads")
    assert second.code == 1
    assert second.err.startswith("Another run (process ")
    assert "backfill params-from-payloads, since" in second.err

    paused = db("backfill", "pause", "params-from-payloads")
    assert paused.code == 0
    assert paused.out.startswith("params-from-payloads ends after the rows it is at.\n")
    _, said = runner.communicate(timeout=30)
    assert runner.returncode == 1
    kept = filled(sql)
    assert 0 < kept < 3000
    assert said == (
        f"params-from-payloads was paused at {kept:,} of 3,000 rows. What was filled stays; go on "
        f"with `manage.py db backfill resume params-from-payloads`.\n"
    )
    assert state(db, "params-from-payloads")["state"] == "paused"

    resumed = db("backfill", "resume", "params-from-payloads", "--json").json
    assert (resumed["state"], resumed["done"], resumed["changed"]) == ("done", 3000, 3000)
    assert filled(sql) == 3000


def test_killed_in_the_middle_it_shows_as_interrupted_and_goes_on_from_there(
    jobs: None, db: Db, sql: Sql, start: Start, other: psycopg.Connection[Any]
) -> None:
    with other.transaction():
        other.execute("SELECT FROM jobs WHERE id = (SELECT max(id) FROM jobs) FOR UPDATE")
        runner = start("backfill", "run", "params-from-payloads")
        wait_until(lambda: state(db, "params-from-payloads")["done"] > 0)
        runner.kill()
        runner.communicate()
    kept = filled(sql)
    assert 0 < kept < 3000
    wait_until(lambda: state(db, "params-from-payloads")["state"] == "interrupted")

    listed = db("backfill", "list")
    assert listed.code == 1
    assert listed.out.splitlines()[-1] == (
        "params-from-payloads was stopped in the middle. What was filled stays; go on with "
        "`manage.py db backfill run params-from-payloads`."
    )
    ran = db("backfill", "run", "params-from-payloads", "--json").json
    assert (ran["state"], ran["done"], ran["changed"], ran["total"]) == ("done", 3000, 3000, 3000)
    assert filled(sql) == 3000
