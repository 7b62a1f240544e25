"""`db status`: one look, and an exit code for scripts."""

import io
import json

import pytest
from django.core.management import call_command

from pixsim.environment import WARNED, load_env_file
from tests.schema.packages import Packages, creates, migration


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_more": migration(depends=[("shop", "0001_initial")]),
        },
    )
    return packages


def test_our_own_database_at_head_is_fine(at_head, db) -> None:
    ran = db("status")

    assert ran.code == 0, ran.out
    assert "Reachable    yes: PostgreSQL " in ran.out
    assert ran.out.endswith("At head: nothing is pending.\n")
    assert ran.err == ""


def heading(ran) -> list[str]:
    return ran.out.splitlines()[:2]


def test_it_begins_with_current_and_head_which_are_equal_when_nothing_is_pending(shop, db) -> None:
    call_command("migrate", "shop", "0001", database="scratch", verbosity=0)
    assert heading(db("status")) == ["Current      shop 0001", "Head         shop 0002"]

    call_command("migrate", database="scratch", verbosity=0)
    assert heading(db("status")) == ["Current      shop 0002 (head)", "Head         shop 0002"]
    answer = db("status", "--json").json
    assert answer["current"] == answer["head"] == ["shop.0002_more"]


def test_before_the_first_migration_current_is_nothing(shop, db) -> None:
    assert heading(db("current"))[0] == "Current      nothing"


@pytest.mark.parametrize(
    ("revision", "current"),
    [
        ("001", "accounts 0001, crawler 0002 = 001"),
        ("002", "accounts 0002, crawler 0002 = 002"),
        ("daa977a0bfa9", "jobs 0002, providers 0005 = daa977a0bfa9, 2315addginidx"),
    ],
)
def test_a_revision_of_an_older_system_is_named_where_it_is_this_point(
    database, db, revision, current
) -> None:
    db("upgrade", revision)

    assert heading(db("status"))[0] == f"Current      {current}"
    assert revision in db("status", "--json").json["revisions"]


def test_heads_of_a_fork_are_named_in_full(shop, db) -> None:
    call_command("migrate", database="scratch", verbosity=0)
    shop.write("shop", "0002_other", migration(depends=[("shop", "0001_initial")]))

    assert heading(db("status")) == [
        "Current      shop 0002",
        "Head         shop 0002_more and 0002_other",
    ]


def test_only_apps_with_something_to_say_are_listed_and_djangos_own_as_one(packages, db, database):
    packages.others = ["django.contrib.auth", "django.contrib.contenttypes"]
    packages.add("shop", {"0001_initial": creates("Book")})
    packages.add("mail", {"0001_initial": creates("Letter")})
    call_command("migrate", "shop", database="scratch", verbosity=0)

    table = db("status").out.partition("\n\n")[2].splitlines()
    assert table[:3] == [
        "app           applied  at  pending",
        "mail          0            0001_initial",
        "Django's own  0            contenttypes 0001_initial … "
        "auth 0012_alter_user_first_name_max_length (14)",
    ]

    call_command("migrate", "mail", database="scratch", verbosity=0)
    assert heading(db("status"))[0] == ("Current      mail 0001, shop 0001, 14 of Django's pending")

    call_command("migrate", database="scratch", verbosity=0)
    assert "app " not in db("status").out
    assert "contenttypes  2        0002_remove" in db("status", "--verbose").out


def test_it_says_what_is_pending_and_what_was_applied_last(shop, db) -> None:
    call_command("migrate", "shop", "0001", database="scratch", verbosity=0)

    ran = db("status")

    assert ran.code == 1
    assert "Last applied shop 0001_initial, 20" in ran.out
    assert "shop  1        0001_initial  0002_more" in ran.out
    assert ran.out.endswith("1 pending: apply with `manage.py db upgrade`.\n")


def test_an_empty_database_has_nothing_applied(shop, db) -> None:
    ran = db("current", "--json")

    assert ran.code == 1
    assert ran.json["last_applied"] is None
    assert ran.json["applied"] == 0
    assert ran.json["pending"] == ["shop.0001_initial", "shop.0002_more"]
    assert ran.json["at_head"] is False
    assert "SELECT to_regclass" not in ran.err


def test_of_many_that_are_pending_the_first_and_the_last_are_named(shop, db) -> None:
    shop.write("shop", "0003_it", migration(depends=[("shop", "0002_more")]))
    shop.write("shop", "0004_it", migration(depends=[("shop", "0003_it")]))

    assert "shop  0            0001_initial … 0004_it (4)\n" in db("status").out


def test_json_is_one_object_with_everything_but_the_password(shop, db, sql) -> None:
    from django.db import connections

    connections["scratch"].settings_dict["PASSWORD"] = "hunter2"
    call_command("migrate", database="scratch", verbosity=0)

    ran = db("status", "--json")

    assert ran.code == 0, ran.out
    assert "hunter2" not in ran.out + ran.err
    answer = ran.json
    assert answer["at_head"] is True
    assert answer["apps"] == [
        {"app": "shop", "applied": 2, "pending": [], "at": "0002_more", "heads": ["0002_more"]}
    ]
    assert answer["last_applied"]["name"] == "0002_more"
    assert answer["database"]["alias"] == "scratch"
    assert answer["database"]["reachable"] is True
    assert answer["database"]["size"] > 1_000_000
    assert answer["database"]["origin"] == "settings.DATABASES['scratch']"


def test_rows_without_a_file_are_named(shop, db, sql) -> None:
    call_command("migrate", database="scratch", verbosity=0)
    shop.remove("shop", "0002_more")

    ran = db("status")

    assert ran.code == 1
    assert "Applied, but the file is gone: shop 0002_more." in ran.out
    assert "`manage.py db prune`" in ran.out
    assert db("status", "--json").json["unknown"] == ["shop.0002_more"]

    sql("INSERT INTO django_migrations (app, name, applied) VALUES ('old', '0001_it', now())")
    assert "Applied by an app that is not installed here: old 0001_it. Is this the" in (
        db("status").out
    )


def test_two_heads_and_a_missing_parent_are_named(shop, db, sql) -> None:
    call_command("migrate", database="scratch", verbosity=0)
    sql("DELETE FROM django_migrations WHERE name = '0001_initial'")
    shop.write("shop", "0002_other", migration(depends=[("shop", "0001_initial")]))

    ran = db("status")

    assert ran.code == 1
    assert "More than one head in shop: see `manage.py db branches`." in ran.out
    assert "Migration shop.0002_more is applied before its dependency shop.0001_initial" in ran.out


def test_a_database_that_alembic_made_is_recognised(shop, db, sql) -> None:
    sql("CREATE TABLE alembic_version (version_num varchar(32))")
    sql("INSERT INTO alembic_version VALUES ('daa977a0bfa9')")

    ran = db("status")

    assert ran.code == 1
    assert heading(ran)[0] == "Current      daa977a0bfa9: another system's, see below"
    assert "Alembic made this database (it is at revision daa977a0bfa9)" in ran.out
    assert "`manage.py db adopt`" in ran.out
    assert "upgrade" not in ran.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n1 / 0", "ZeroDivisionError: division by zero ("),
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it' ("),
        ("def (", "SyntaxError: invalid syntax (0003_broken.py, line 1)"),
        ("", "BadMigrationError: Migration 0003_broken in app shop has no Migration class"),
        (
            migration(depends=[("shop", "0009_gone")]),
            "NodeNotFoundError: Migration shop.0003_broken dependencies reference nonexistent "
            "parent node ('shop', '0009_gone')",
        ),
    ],
    ids=lambda value: value.partition(":")[0],
)
def test_a_migration_that_cannot_be_read_is_one_message(shop, db, text, said) -> None:
    shop.write("shop", "0003_broken", text)

    ran = db("status")

    assert ran.code == 1
    assert f"The migration files cannot be read: {said}" in ran.err
    assert "0003_broken" in ran.err
    assert ran.err.count("\n") == 1


def test_where_the_url_came_from(tmp_path, monkeypatch) -> None:
    file = tmp_path / ".env"
    file.write_text("DATABASE_URL=postgres://me:secret@there/one\n")

    monkeypatch.setenv("DATABASE_URL", "")
    assert load_env_file(file) == (f"DATABASE_URL in {file}", "")

    monkeypatch.setenv("DATABASE_URL", "postgres://me:other@here/two")
    monkeypatch.setenv(WARNED, "")
    monkeypatch.delenv(WARNED)
    with pytest.warns(UserWarning, match="differs") as warned:
        origin, warning = load_env_file(file)
    assert origin == "DATABASE_URL in the environment"
    assert str(warned[0].message) == warning
    assert "secret" not in warning


@pytest.mark.django_db
def test_a_disagreement_of_settings_is_in_the_object_for_machines(packages, settings) -> None:
    settings.DATABASE_URL_ORIGIN = "DATABASE_URL in the environment"
    settings.DATABASE_URL_WARNING = "DATABASE_URL is set in the environment and differs in .env."
    packages.add("shop", {"0001_initial": creates("Book")})
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(SystemExit):
        call_command("db", "status", "--json", "--database", "default", stdout=out, stderr=err)

    database = json.loads(out.getvalue())["database"]
    assert database["warning"] == settings.DATABASE_URL_WARNING
    assert database["origin"] == settings.DATABASE_URL_ORIGIN
    assert "Warning" not in err.getvalue()  # the settings themselves have warned
