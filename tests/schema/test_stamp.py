"""`db stamp`: what is recorded is what is there."""

import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema.locking import KEY
from tests.schema.packages import Packages, adds, creates, migration


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    """Two apps, of which shop is made by hand as far as its 0002, and nothing is recorded."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_price": adds(
                "book",
                "price",
                "models.IntegerField(null=True)",
                depends=[("shop", "0001_initial")],
            ),
            "0003_shelf": migration(
                'migrations.CreateModel("Shelf", [("id", models.AutoField(primary_key=True))])',
                depends=[("shop", "0002_price")],
            ),
        },
    )
    packages.add("mail", {"0001_initial": creates("Letter")})
    call_command("migrate", "shop", "0002", database="scratch", verbosity=0)
    return packages


@pytest.fixture
def unrecorded(shop, sql) -> None:
    sql("DELETE FROM django_migrations")


@pytest.fixture
def rows(sql):
    return lambda: [
        f"{app} {name}" for app, name in sql("SELECT app, name FROM django_migrations ORDER BY id")
    ]


def test_what_is_there_is_recorded_and_nothing_is_run(unrecorded, db, rows, sql) -> None:
    ran = db("stamp", "shop", "0002", "--yes")

    assert ran.code == 0, ran.out + ran.err
    assert ran.out == (
        "Record shop 0001_initial\nRecord shop 0002_price\n"
        "Stamped: shop 0002_price. No migration was run.\n"
    )
    assert rows() == ["shop 0001_initial", "shop 0002_price"]
    assert sql("SELECT count(*) FROM pixsim_migration_files WHERE sha256 <> ''") == [(2,)]
    assert db("stamp", "shop", "0002", "--yes").out == (
        "Nothing to do: shop 0002_price is what is recorded.\n"
    )


def test_what_is_not_there_is_not_recorded(unrecorded, db, rows) -> None:
    ran = db("stamp", "head", "--yes")

    assert ran.code == 1
    assert "The schema is not that of head:\n" in ran.out
    assert "  table mail_letter: expected a table of 2 columns, found nothing\n" in ran.out
    assert "  table shop_shelf: expected a table of 1 columns, found nothing\n" in ran.out
    assert "Nothing was changed." in ran.out
    assert rows() == []
    assert db("stamp", "shop", "0001", "--yes").code == 1  # the column of 0002 is too much


def test_force_records_it_all_the_same(unrecorded, db, rows) -> None:
    ran = db("stamp", "head", "--yes", "--force", "--json")

    assert ran.code == 0
    assert ran.json["stamped"] is True
    assert ran.json["recorded"] == [
        "mail.0001_initial",
        "shop.0001_initial",
        "shop.0002_price",
        "shop.0003_shelf",
    ]
    assert [each["name"] for each in ran.json["differences"]] == ["mail_letter", "shop_shelf"]
    assert len(rows()) == 4


def test_other_apps_may_differ(unrecorded, db, rows, sql) -> None:
    assert db("stamp", "mail", "0001", "--yes", "--force").code == 0

    ran = db("stamp", "shop", "0002", "--yes")

    assert ran.code == 0
    assert "in tables of other apps, which this says nothing about: 1." in ran.out


@pytest.mark.parametrize("words", [("zero",), ("base",), ("shop", "zero")], ids=" ".join)
def test_zero_is_only_recorded_when_the_tables_are_gone(shop, db, rows, sql, words) -> None:
    ran = db("stamp", *words, "--yes")
    assert ran.code == 1
    assert "table shop_book: expected nothing, found the table" in ran.out
    assert rows() == ["shop 0001_initial", "shop 0002_price"]

    sql("DROP TABLE shop_book")
    ran = db("stamp", *words, "--yes")
    assert ran.code == 0
    assert ran.out.startswith("Forget shop 0002_price\nForget shop 0001_initial\n")
    assert rows() == []
    assert sql("SELECT count(*) FROM pixsim_migration_files") == [(0,)]


def test_steps_and_a_way_down(shop, db, rows, sql) -> None:
    sql("ALTER TABLE shop_book DROP COLUMN price")
    ran = db("stamp", "shop", "-1", "--yes", "--json")
    assert ran.json["forgotten"] == ["shop.0002_price"]
    assert rows() == ["shop 0001_initial"]

    sql("ALTER TABLE shop_book ADD COLUMN price integer")
    assert db("stamp", "shop", "+1", "--yes").code == 0
    assert rows() == ["shop 0001_initial", "shop 0002_price"]


def test_it_asks_first(unrecorded, db, rows) -> None:
    ran = db("stamp", "shop", "0002")

    assert ran.code == 1
    assert "and run nothing? Nobody is here to answer: say --yes. Nothing was changed." in ran.err
    assert rows() == []


def test_a_missing_row_between_two_others_is_put_back(shop, db, rows, sql) -> None:
    sql("DELETE FROM django_migrations WHERE name = '0001_initial'")

    assert db("stamp", "shop", "0002", "--yes").code == 0
    assert rows() == ["shop 0002_price", "shop 0001_initial"]
    assert db("verify").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("+0", "+0 goes nowhere."),
        ("shop 0009", "shop has no migration 0009."),
        ("nowhere", "nowhere is no app, no migration, no revision"),
        ("shop +9", "shop +9 goes too far"),
    ],
)
def test_an_unknown_target_is_refused(shop, db, rows, words, said) -> None:
    ran = db("stamp", *words.split(), "--yes")

    assert ran.code == 2
    assert ran.err.startswith(said)
    assert len(rows()) == 2


def test_a_database_that_alembic_made_is_for_adopt(unrecorded, db, sql) -> None:
    sql("CREATE TABLE alembic_version (version_num varchar(32))")
    sql("INSERT INTO alembic_version VALUES ('002')")

    ran = db("stamp", "head", "--yes", "--force")

    assert ran.code == 1
    assert "`manage.py db adopt`" in ran.err


def test_nothing_is_recorded_while_another_run_writes(unrecorded, db, rows) -> None:
    other = connections["scratch"].copy()
    with other.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({KEY})")
    try:
        ran = db("stamp", "shop", "0002", "--yes")
    finally:
        other.close()

    assert ran.code == 1
    assert "is changing this database. Nothing was changed" in ran.err
    assert rows() == []


def test_an_older_revision_is_a_target(at_head, db, sql) -> None:
    """A database at the head is beyond it, and the differences say by what."""
    before = sql("SELECT count(*) FROM django_migrations")

    ran = db("stamp", "002", "--yes", "--json")

    assert ran.code == 1
    assert ran.json["target"] == "002"
    assert ran.json["stamped"] is False
    assert "job_chunks" in {each["table"] for each in ran.json["differences"]}
    assert sql("SELECT count(*) FROM django_migrations") == before
