"""Squashed migrations whose replaced files are gone: recorded, shown, edited and taken back."""

import pytest
from django.core.management import call_command

from pixsim.schema import files
from tests.schema.packages import Packages, adds, creates, migration
from tests.scratch import ALIAS

BOOKS = '("shop", "0001_initial"), ("shop", "0003_note")'
WITH_NOTE = (
    'migrations.CreateModel("Book", [("id", models.AutoField(primary_key=True, serialize=False)),'
    ' ("name", models.TextField(default="")), ("note", models.TextField(null=True))])'
)
PAGES = "models.IntegerField(null=True)"


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    """An app with three migrations."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_pages": adds("Book", "pages", PAGES, depends=[("shop", "0001_initial")]),
            "0003_note": adds(
                "Book", "note", "models.TextField(null=True)", depends=[("shop", "0002_pages")]
            ),
        },
    )
    return packages


def squash(shop: Packages) -> None:
    """The first and the third become one, and the second comes after it."""
    for name in ("0001_initial", "0002_pages", "0003_note"):
        shop.remove("shop", name)
    shop.write("shop", "0001_books", migration(WITH_NOTE, more=f"replaces = [{BOOKS}]"))
    shop.write(
        "shop",
        "0002_numbers",
        adds(
            "Book",
            "pages",
            PAGES,
            depends=[("shop", "0001_books")],
            more='replaces = [("shop", "0002_pages")]',
        ),
    )


def names(sql, table="django_migrations") -> list[str]:
    order = "id" if table == "django_migrations" else "applied_at, name"
    return [
        name for (name,) in sql(f"SELECT name FROM {table} WHERE app = 'shop' ORDER BY {order}")
    ]


ALL_ROWS = ["0001_initial", "0003_note", "0001_books", "0002_pages", "0002_numbers"]


@pytest.mark.parametrize("way", ["migrate", "upgrade"])
def test_an_empty_database_records_each_after_what_it_replaces(shop, db, sql, way):
    squash(shop)

    if way == "migrate":
        call_command("migrate", database=ALIAS, verbosity=0)
    else:
        assert db("upgrade", "--yes").code == 0

    assert names(sql) == ALL_ROWS
    assert names(sql, files.TABLE) == ["0001_books", "0002_numbers"]
    assert [each["name"] for each in db("history", "--json").json["history"]] == [
        "0001_books",
        "0002_numbers",
    ]


def test_a_database_that_has_all_of_it_is_recorded_by_the_next_run_in_the_order_of_the_files(
    shop, db, sql
):
    db("upgrade", "--yes")
    squash(shop)
    assert db("status").code == 0

    assert db("upgrade", "--yes").out == "Nothing to do: head is reached already.\n"

    assert names(sql)[3:] == ["0001_books", "0002_numbers"]
    shop.write(
        "shop",
        "0002_numbers",
        adds(
            "Book",
            "pages",
            PAGES,
            depends=[("shop", "0001_books")],
            more='replaces = [("shop", "0002_pages")]; edited = True',
        ),
    )
    assert "shop 0002_numbers was edited after it was applied" in db("check").out


def test_taken_back_it_goes_with_all_that_it_replaces(shop, db, sql):
    db("upgrade", "--yes")
    squash(shop)

    ran = db("downgrade", "-1", "--yes")
    assert (ran.code, names(sql)) == (0, ["0001_initial", "0003_note", "0001_books"])
    assert db("downgrade", "shop", "zero", "--yes").code == 0
    assert names(sql) == names(sql, files.TABLE) == []
    assert db("upgrade", "--yes").code == 0
    assert names(sql) == ALL_ROWS


def test_the_script_for_psql_records_what_a_run_records(shop, db, sql):
    squash(shop)
    sql(db("sql").out.replace("\\set ON_ERROR_STOP on\n", ""))
    assert names(sql) == ALL_ROWS
    assert db("status").code == 0


def test_stamped_it_is_recorded_with_all_that_it_replaces(shop, db, sql):
    db("upgrade", "--yes")
    squash(shop)
    sql("DELETE FROM django_migrations")

    assert db("stamp", "head", "--yes").code == 0
    assert names(sql) == ALL_ROWS
    assert db("stamp", "shop", "0001", "--yes", "--force").code == 0
    assert names(sql) == ["0001_initial", "0003_note", "0001_books"]


def test_a_database_in_the_middle_is_refused_once_the_files_are_gone(shop, db, sql):
    db("upgrade", "shop", "0002", "--yes")
    squash(shop)
    before = names(sql)

    ran = db("upgrade", "--yes")

    assert (ran.code, names(sql)) == (1, before)
    assert ran.err == (
        "The database stands in the middle of what shop 0001_books replaces: shop 0001_initial "
        "applied, shop 0003_note not, and the files are gone. Nothing was changed. Upgrade to the "
        "head of the release that still has these files, then to this one.\n"
    )
