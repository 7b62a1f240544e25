"""`db prune`: rows whose file is gone."""

import pytest
from django.core.management import call_command

from tests.schema.packages import Packages, creates, migration


@pytest.fixture
def stale(packages: Packages, database: str) -> Packages:
    """shop 0002 is applied and its file gone; the app `old` is not installed any more."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_gone": migration(depends=[("shop", "0001_initial")]),
        },
    )
    call_command("migrate", database="scratch", verbosity=0)
    packages.remove("shop", "0002_gone")
    return packages


@pytest.fixture
def rows(sql):
    return lambda: sql("SELECT app, name FROM django_migrations ORDER BY id")


@pytest.fixture
def old_app(stale, sql) -> None:
    sql("INSERT INTO django_migrations (app, name, applied) VALUES ('old', '0001_it', now())")


def test_it_asks_and_says_which(stale, db, rows) -> None:
    ran = db("prune")

    assert ran.code == 1
    assert "Its file is gone: shop 0002_gone, applied 20" in ran.out
    assert "Forget 1 row? Nobody is here to answer" in ran.err
    assert ("shop", "0002_gone") in rows()


def test_it_forgets_them_and_nothing_else(stale, db, rows, sql) -> None:
    ran = db("prune", "--yes", "--json")

    assert ran.code == 0
    assert ran.json == {"pruned": ["shop.0002_gone"], "kept": []}
    assert rows() == [("shop", "0001_initial")]
    assert sql("SELECT name FROM pixsim_migration_files") == [("0001_initial",)]
    assert sql("SELECT count(*) FROM shop_book") == [(0,)]
    again = db("prune", "--yes")
    assert (again.code, again.out) == (0, "No row to forget.\n")


def test_an_app_that_is_not_installed_is_only_pruned_by_name(old_app, db, rows) -> None:
    ran = db("prune", "--yes")
    assert "Kept: old 0001_it: old is not installed here." in ran.out
    assert rows() == [("shop", "0001_initial"), ("old", "0001_it")]

    assert db("prune", "old", "--yes").out.endswith("Forgot 1 row.\n")
    assert rows() == [("shop", "0001_initial")]


def test_only_the_named_app_is_pruned(old_app, db, rows) -> None:
    assert db("prune", "old", "--yes").code == 0
    assert ("shop", "0002_gone") in rows()


def test_what_was_stopped_midway_and_has_no_file_any_more_is_forgotten(stale, db, sql) -> None:
    db("prune", "--yes")
    stale.write(
        "shop",
        "0002_half",
        migration(
            'migrations.RunSQL("CREATE TABLE half ()"), migrations.RunSQL("SELECT 1 / 0")',
            depends=[("shop", "0001_initial")],
            more="atomic = False",
        ),
    )
    assert "1 of its 2 operations are done and stay." in db("upgrade").err
    stale.remove("shop", "0002_half")
    stale.write("shop", "0002_other", migration(depends=[("shop", "0001_initial")]))

    stopped = (
        "shop 0002_half was being applied when it was stopped, after 1 of its operations, and its "
        "file is gone: bring the file back and finish it, or see to what it did (1. Raw SQL "
        "operation) and forget it with `manage.py db prune shop`."
    )
    assert db("upgrade").err == f"Nothing was changed, since first {stopped}\n"
    assert stopped in db("status").out
    ran = db("prune", "--yes", "--json")
    assert ran.json == {"pruned": ["shop.0002_half"], "kept": []}
    assert ran.err.startswith(
        "Its file is gone: shop 0002_half, stopped midway. What it did stays: 1. Raw SQL operation"
    )
    assert sql("SELECT to_regclass('half')") == [("half",)]
    assert db("upgrade").code == 0


def test_an_unknown_app_is_refused(stale, db) -> None:
    ran = db("prune", "shpo", "--yes")

    assert ran.code == 2
    assert ran.err == "There is no app shpo with migrations, and no row names it.\n"


def test_nothing_is_forgotten_while_another_run_writes(stale, db, rows, somebody_writes) -> None:
    ran = db("prune", "--yes")

    assert ran.code == 1
    assert "is changing this database. Nothing was changed" in ran.err
    assert ("shop", "0002_gone") in rows()


@pytest.fixture
def somebody_writes(stale):
    from django.db import connections

    from pixsim.schema.locking import KEY

    other = connections["scratch"].copy()
    with other.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({KEY})")
    yield
    other.close()
