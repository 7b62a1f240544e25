"""`db rehearse`: what an upgrade would do, found out on a copy that is gone afterwards."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import programs
from tests.schema.commands import Start, scratch_url, start, wait_until
from tests.schema.packages import Packages, creates, migration
from tests.scratch import Ran

__all__ = ["start"]
Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]
REST = {
    "0002_index": migration(
        'migrations.AddIndex("Book", models.Index(fields=["name"], name="book_name"))',
        depends=[("shop", "0001_initial")],
    ),
    "0003_wider": migration(
        'migrations.AlterField("Book", "id", models.BigAutoField(primary_key=True))',
        depends=[("shop", "0002_index")],
    ),
    "0004_fewer": migration(
        'migrations.RunSQL("DELETE FROM shop_book WHERE id <= 100", "")',
        depends=[("shop", "0003_wider")],
    ),
    "0005_shelves": migration(
        'migrations.RunSQL("CREATE TABLE shelves AS SELECT generate_series(1, 7) AS n", "")',
        depends=[("shop", "0004_fewer")],
        more="atomic = False",
    ),
}


@pytest.fixture
def shop(packages: Packages, database: str, sql: Sql) -> Packages:
    """2,000 books, and four migrations that are pending."""
    packages.add("shop", {"0001_initial": creates("Book")})
    call_command("migrate", database=database, verbosity=0)
    sql("INSERT INTO shop_book (name) SELECT n FROM generate_series(1, 2000) AS n")
    for name, text in REST.items():
        packages.write("shop", name, text)
    connections[database].close()
    return packages


def kept(sql: Sql) -> list[str]:
    return [
        name
        for (name,) in sql(
            "SELECT datname FROM pg_database "
            "WHERE datname LIKE left(current_database(), 30) || '%%_rehearsed_%%'"
        )
    ]


def copies(sql: Sql) -> list[str]:
    """The copies of the scratch database that are there."""
    oid = sql("SELECT oid FROM pg_database WHERE datname = current_database()")[0][0]
    prefix = f"pixsim_rehearsal_{oid}_"
    return [
        name
        for (name,) in sql("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", prefix)
    ]


def test_each_migration_is_measured_on_a_copy_and_the_database_stays_as_it_was(
    shop: Packages, db: Db, sql: Sql
) -> None:
    answer = db("rehearse", "--json").json

    assert answer["copy"]["how"] == "template"
    assert answer["failure"] is None
    index, wider, fewer, shelves = answer["migrations"]
    assert [index["name"], wider["name"], fewer["name"], shelves["name"]] == list(REST)
    assert [(lock["table"], lock["mode"], lock["blocks"]) for lock in index["locks"]] == [
        ("public.shop_book", "SHARE", "writes")
    ]
    assert [(lock["mode"], lock["blocks"]) for lock in wider["locks"]] == [
        ("ACCESS EXCLUSIVE", "reads and writes")
    ]
    assert [each["rewritten"] for each in answer["migrations"]] == [
        [],
        ["public.shop_book"],
        [],
        [],
    ]
    assert [each["rows"] for each in answer["migrations"]] == [
        {},
        {},
        {"public.shop_book": [2000, 1900]},
        {"public.shelves": [0, 7]},
    ]
    assert (fewer["locks"], shelves["locks"]) == ([], [])
    assert sql("SELECT count(*), to_regclass('shelves') FROM shop_book GROUP BY 2") == [
        (2000, None)
    ]
    assert len(db("status", "--json").json["pending"]) == 4
    assert copies(sql) == []
    assert sql("SELECT current_setting('application_name')") == [("pixsim",)]


def test_a_person_reads_a_table(shop: Packages, db: Db) -> None:
    ran = db("rehearse", "shop", "0004")

    assert (ran.code, ran.err) == (0, "")
    said = ran.out.splitlines()
    assert said[0].startswith("Copying ")
    assert said[1].startswith("The copy was cloned in ")
    assert said[3].split() == ["migration", "seconds", "locks", "rewritten", "rows"]
    assert said[5].startswith("shop 0003_wider")
    assert said[5].endswith(" shop_book")
    assert "shop_book ACCESS EXCLUSIVE 0." in said[5]
    assert said[6].endswith("shop_book -100")
    assert said[8].startswith("3 migrations in ")
    assert said[9].startswith("The longest that ")
    assert said[10:] == ["The copy is gone.", "The database itself is as it was."]


def test_a_database_in_use_is_dumped_and_loaded(shop: Packages, db: Db, sql: Sql) -> None:
    with psycopg.connect(scratch_url()) as other:
        other.execute("SELECT 1")
        answer = db("rehearse", "--json").json
    assert answer["copy"]["how"] == "dump"
    assert answer["migrations"][2]["rows"] == {"public.shop_book": [2000, 1900]}
    assert copies(sql) == []


def test_without_the_programs_a_database_in_use_is_refused(
    shop: Packages, db: Db, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "SERVER_FOLDERS", ())
    monkeypatch.setattr(programs, "WHEELS", ())
    with psycopg.connect(scratch_url()) as other:
        other.execute("SELECT 1")
        ran = db("rehearse")
    assert ran.code == 1
    assert ran.err.startswith("pg_dump ")
    assert " or newer is needed, and there is none." in ran.err
    assert copies(sql) == []


def test_a_migration_that_fails_is_told_with_what_came_before_it(
    shop: Packages, db: Db, sql: Sql
) -> None:
    shop.write(
        "shop",
        "0003_wider",
        migration(
            'migrations.RunSQL("UPDATE shop_book SET name = 1 / (id - 7)", "")',
            depends=[("shop", "0002_index")],
        ),
    )

    ran = db("rehearse")

    assert ran.code == 1
    said = ran.out.splitlines()
    assert said[4].startswith("shop 0002_index")
    assert "division by zero" in said[6]
    assert said[7] == "1 of 4 migrations were applied to the copy."
    assert said[-2:] == ["The copy is gone.", "The database itself is as it was."]
    assert copies(sql) == []


def test_a_data_step_cannot_reach_another_database(shop: Packages, db: Db, sql: Sql) -> None:
    step = (
        "migrations.RunPython(lambda apps, editor: "
        "connections['default'].cursor().execute('SELECT 1'))"
    )
    text = migration(step, depends=[("shop", "0002_index")])
    shop.write("shop", "0003_wider", f"from django.db import connections\n{text}")
    failure = db("rehearse", "--json").json["failure"]
    assert "A migration used the database 'default' instead of the one it is applied to" in failure
    assert copies(sql) == []


def test_the_copy_can_be_kept(shop: Packages, db: Db, sql: Sql) -> None:
    ran = db("rehearse", "--keep")
    names = kept(sql)
    assert len(names) == 1
    assert f"The copy is kept as {names[0]}; drop it with `dropdb {names[0]}`.\n" in ran.out
    assert copies(sql) == []
    assert db("rehearse", "shop", "0002", "--json").json["left_behind"] == []
    assert kept(sql) == names
    sql(f'DROP DATABASE "{names[0]}"')


def test_with_nothing_pending_nothing_is_copied(packages: Packages, database: str, db: Db) -> None:
    packages.add("shop", {"0001_initial": creates("Book")})
    call_command("migrate", database=database, verbosity=0)
    ran = db("rehearse")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Nothing to rehearse: ")


def test_whoever_may_not_make_databases_is_told_what_to_do(
    shop: Packages, db: Db, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql("DROP ROLE IF EXISTS pixsim_test_rehearser")
    sql("CREATE ROLE pixsim_test_rehearser LOGIN PASSWORD 'x' IN ROLE pg_read_all_data")
    connections["scratch"].close()
    with monkeypatch.context() as changed:
        where = connections["scratch"].settings_dict
        changed.setitem(where, "USER", "pixsim_test_rehearser")
        changed.setitem(where, "PASSWORD", "x")
        ran = db("rehearse")
        connections["scratch"].close()
    sql("DROP ROLE pixsim_test_rehearser")
    assert ran.code == 1
    assert " may not make databases. Nothing was changed. Have the server's owner say" in ran.err


def test_killed_in_the_middle_the_next_one_removes_what_it_left(
    database: str, packages: Packages, db: Db, sql: Sql, start: Start
) -> None:
    connections[database].close()
    runner = start("rehearse")
    wait_until(
        lambda: sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname LIKE %s AND query LIKE 'CREATE TABLE%%'",
            "pixsim\\_rehearsal\\_%",
        )
    )
    second = db("rehearse")
    assert second.code == 1
    assert ", rehearsal, since " in second.err
    runner.kill()
    runner.communicate()
    left = copies(sql)
    assert len(left) == 1
    wait_until(
        lambda: not sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'rehearsal'")
    )
    packages.add("shop", {"0001_initial": creates("Book")})

    ran = db("rehearse")

    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        f"An earlier rehearsal did not end; its copy {left[0]} is gone now.\n"
    )
    assert copies(sql) == []
