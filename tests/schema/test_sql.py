"""`db sql`: what a run would do, as a script for psql, with no database in sight."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import files
from pixsim.schema.programs import environment, find_program, server_major
from tests.schema.packages import Packages, adds, creates, migration

MANAGE = Path(__file__).parents[2] / "manage.py"


@pytest.fixture
def psql():
    """Runs a script in the scratch database, as an operator does; its exit code and errors."""

    def run(script: str) -> tuple[int, str]:
        connection = connections["scratch"]
        program = find_program("psql", at_least=server_major(connection)).path
        done = subprocess.run(
            [program, "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"],
            input=script,
            env=environment(connection),
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr

    return run


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    packages.add("shop", {"0001_initial": creates("Book")})
    return packages


def add(
    shop: Packages, name: str, operations: str, *, after="0001_initial", more: str = ""
) -> None:
    shop.write("shop", name, migration(operations, depends=[("shop", after)], more=more))


def recorded(sql):
    return [tuple(row) for row in sql("SELECT app, name FROM django_migrations ORDER BY id")]


def rows_of_django(sql):
    return sql(
        "SELECT app_label, model, codename, name FROM django_content_type AS kind "
        "LEFT JOIN auth_permission ON content_type_id = kind.id ORDER BY 1, 2, 3"
    )


def test_the_whole_history_makes_the_database_that_migrate_makes(database, one_head, db, sql, psql):
    script = db("sql")
    assert script.code == 0

    assert psql(script.out) == (0, "")
    verified = db("verify")
    assert verified.code == 0, verified.out
    made = recorded(sql), sql(f"SELECT app, name, sha256 FROM {files.TABLE}")
    assert rows_of_django(sql) == []
    assert script.out.endswith("it adds content types and permissions.\n")

    call_command("migrate", database=database, verbosity=0)
    assert len(rows_of_django(sql)) > 100
    assert made == (recorded(sql), sql(f"SELECT app, name, sha256 FROM {files.TABLE}"))

    again, errors = psql(script.out)
    assert again == 3
    assert "Some of this is applied here already." in errors


@pytest.mark.long
def test_and_backwards_nothing_is_left_of_it(migrated, db, sql, psql):
    script = db("sql", "--backwards", "zero")
    code, errors = psql(script.out)

    assert code == 0, errors
    left = sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    assert {name for (name,) in left} == {"django_migrations", files.TABLE}
    assert recorded(sql) == []
    assert sql(f"SELECT count(*) FROM {files.TABLE}") == [(0,)]


def test_a_range_goes_on_where_the_database_stands(shop, db, sql, psql):
    shop.write(
        "shop",
        "0002_pages",
        adds("Book", "pages", "models.IntegerField(null=True)", depends=[("shop", "0001_initial")]),
    )
    db("upgrade", "shop", "0001")
    script = db("sql", "shop", "0001:shop", "0002").out
    assert db("sql", "shop", "0001:0002").out == script
    assert "CREATE TABLE shop_book" not in script
    assert psql(script)[0] == 0
    assert recorded(sql) == [("shop", "0001_initial"), ("shop", "0002_pages")]
    assert db("status").code == 0

    assert psql(db("sql", "--backwards", "-1").out)[0] == 0
    assert recorded(sql) == [("shop", "0001_initial")]
    code, errors = psql(db("sql", "--backwards", "shop", "0002:shop", "0001").out)
    assert code == 3
    assert "Some of this is not applied here." in errors


def test_steps_of_all_kinds_do_in_psql_what_they_do_in_a_run(shop, db, sql, psql):
    (shop.folder / "shop" / "steps.py").write_text(
        "from pixsim.core.db.backfill import range_script\n"
        "from pixsim.core.db.steps import in_sql\n"
        "@in_sql(range_script('shop_book', pending='true', "
        "change=\"UPDATE shop_book SET name = name || '%%' WHERE id BETWEEN %s AND %s\"))\n"
        "def fill(apps, schema_editor): raise AssertionError\n"
    )
    add(
        shop,
        "0002_all",
        "migrations.RunSQL(\"INSERT INTO shop_book (name) VALUES ('a;b'), ('O''Hara') -- two\"), "
        'migrations.RunSQL([("UPDATE shop_book SET name = %s WHERE name = %s", ["c\'", "a;b"])]), '
        'migrations.RunPython(__import__("shop.steps").steps.fill, migrations.RunPython.noop), '
        'migrations.AddIndex("Book", models.Index(fields=["name"], name="ix_name"))',
        more="atomic = False",
    )
    code, errors = psql(db("sql").out)
    assert code == 0, errors
    assert sql("SELECT name FROM shop_book ORDER BY id") == [("c'%",), ("O'Hara%",)]
    assert sql("SELECT to_regclass('ix_name')") == [("ix_name",)]


def test_what_fails_leaves_nothing_of_its_migration_and_ends_the_script(shop, db, sql, psql):
    add(shop, "0002_wrong", 'migrations.RunSQL("CREATE TABLE other (); SELECT 1 / 0")')
    add(shop, "0003_never", 'migrations.RunSQL("CREATE TABLE never ()")', after="0002_wrong")
    code, errors = psql(db("sql").out)

    assert code == 3
    assert "division by zero" in errors
    assert recorded(sql) == [("shop", "0001_initial")]
    assert sql("SELECT to_regclass('other'), to_regclass('never')") == [(None, None)]


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (
            'migrations.RunPython(__import__("shop.steps").steps.guess)',
            "'Raw Python operation': shop.steps.guess does not say what it does in SQL (@in_sql of",
        ),
        (
            'migrations.AlterField("Book", "name", models.TextField(default="", unique=True)), '
            'migrations.AlterField("Book", "name", models.TextField(default=""))',
            "the names of constraints on shop_book are only known there",
        ),
    ],
)
def test_a_step_that_cannot_be_written_is_named_and_nothing_is(shop, db, operations, message):
    (shop.folder / "shop" / "steps.py").write_text("def guess(apps, schema_editor): ...\n")
    add(shop, "0002_steps", operations)
    ran = db("sql")

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith("shop 0002_steps cannot be written as SQL: ")
    assert message in ran.err
    assert "Nothing was written." in ran.err
    assert db("sql", "shop", "0001").code == 0


def test_what_has_no_way_back_is_named(shop, db):
    add(shop, "0002_final", 'migrations.RunSQL("SELECT 1")')
    ran = db("sql", "--backwards", "shop", "0001")
    assert ran.code == 1
    assert "shop 0002_final cannot be taken back: 'Raw SQL operation' says no way back" in ran.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a:b:c",), "has more than one colon"),
        (("nowhere",), "nowhere is no app"),
        (("--backwards",), "Say how far down"),
        (("-1",), "-1 is down"),
    ],
)
def test_words_that_make_no_sense_are_a_usage_error(shop, db, words, message):
    ran = db("sql", *words)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_an_empty_range_is_said(shop, db):
    ran = db("sql", "head:shop", "0001")
    assert ran.code == 0
    assert "There is nothing to apply on the way to shop 0001_initial. Say START:END" in ran.err


def test_no_database_is_needed():
    done = subprocess.run(
        [sys.executable, str(MANAGE), "db", "sql", "001:002", "--json"],
        env={**os.environ, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "ix_profiles_user_tier" in done.stdout
