"""Squashed migrations whose replaced files are gone: recorded, shown, edited and taken back."""

import pytest
from django.core.management import CommandError, call_command

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


HALF = (
    "The database stands in the middle of what shop {squashed} replaces: shop {done} applied, shop "
    "{missing} not, and the files are gone. Nothing was changed. Upgrade to the head of the release "
    "that still has these files, then to this one; or, if the rest is in the database already, record "
    "it with `manage.py db stamp shop {squashed}`, which compares first.\n"
)


def test_a_database_in_the_middle_is_refused_once_the_files_are_gone(shop, db, sql):
    db("upgrade", "shop", "0002", "--yes")
    squash(shop)
    before = names(sql)

    ran = db("upgrade", "--yes")

    assert (ran.code, names(sql)) == (1, before)
    assert ran.err == HALF.format(squashed="0001_books", done="0001_initial", missing="0003_note")


ONE_AND_TWO = '("shop", "0001_initial"), ("shop", "0002_pages")'
WITH_PAGES = WITH_NOTE.replace("note", "pages").replace("TextField(null", "IntegerField(null")


def squash_two(shop: Packages, *, gone: tuple[str, ...]) -> None:
    """The first and the second become one, and there is no third."""
    shop.remove("shop", "0003_note")
    for name in gone:
        shop.remove("shop", name)
    shop.write(
        "shop", "0001_squashed_0002", migration(WITH_PAGES, more=f"replaces = [{ONE_AND_TWO}]")
    )


@pytest.mark.parametrize("gone", [["0001_initial"], ["0001_initial", "0002_pages"]])
@pytest.mark.parametrize("recorded", [False, True])
def test_half_of_a_squash_is_named_by_every_command_with_two_ways_out(
    shop, db, sql, gone, recorded
):
    db("upgrade", "shop", "0001", "--yes")
    squash_two(shop, gone=gone)
    if recorded:  # of a whole one whose rows were cleared away by hand
        sql(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('shop', "
            "'0001_squashed_0002', now())"
        )
    said = HALF.format(squashed="0001_squashed_0002", done="0001_initial", missing="0002_pages")
    before = names(sql)

    for words in (
        ["status"],
        ["heads"],
        ["branches"],
        ["history"],
        ["verify"],
        ["upgrade", "--yes"],
        ["upgrade", "--plan"],
        ["downgrade", "-1", "--yes"],
        ["prune", "--yes"],
    ):
        assert (db(*words).code, db(*words).err) == (1, said), words
    for options in ({}, {"plan": True}, {"check_unapplied": True}, {"fake": True}):
        with pytest.raises(CommandError) as refused:
            call_command("migrate", database=ALIAS, verbosity=0, **options)
        assert f"{refused.value}\n" == said
    assert said.removesuffix("\n") in db("check").out
    assert names(sql) == before


def test_the_rest_of_half_a_squash_is_recorded_only_if_it_is_there(shop, db, sql):
    db("upgrade", "shop", "0001", "--yes")
    squash_two(shop, gone=("0001_initial", "0002_pages"))

    ran = db("stamp", "shop", "0001_squashed_0002", "--yes")
    assert ran.code == 1
    assert "column shop_book.pages: expected integer, null, no default, found nothing" in ran.out
    assert names(sql) == ["0001_initial"]

    sql("ALTER TABLE shop_book ADD COLUMN pages integer")
    assert db("stamp", "shop", "0001_squashed_0002", "--yes").code == 0
    assert names(sql) == ["0001_initial", "0002_pages", "0001_squashed_0002"]
    assert (db("status").code, db("verify").code) == (0, 0)
    assert db("upgrade").out == "Nothing to do: head is reached already.\n"


def squash_again(shop: Packages) -> None:
    """The squashed two and the third become one."""
    shop.write(
        "shop",
        "0001_all",
        migration(
            WITH_NOTE.replace('("note"', '("pages", models.IntegerField(null=True)), ("note"'),
            more='replaces = [("shop", "0001_squashed_0002"), ("shop", "0003_note")]',
        ),
    )


def test_of_a_squash_of_squashes_half_is_refused_and_all_is_at_head(shop, db, sql):
    third = (shop.folder / "shop/migrations/0003_note.py").read_text()
    db("upgrade", "shop", "0001", "--yes")
    squash_two(shop, gone=())
    shop.write("shop", "0003_note", third)
    squash_again(shop)

    ran = db("upgrade", "--yes")
    assert ran.code == 1
    assert ran.err.startswith(
        "The database stands in the middle of what shop 0001_all replaces: shop 0001_initial applied, "
        "shop 0002_pages, shop 0003_note not, and Django would apply all of it again. Nothing was "
        "changed. Upgrade to the head of the release before 0001_all, then to this one; or, "
    )

    shop.remove("shop", "0001_all")
    assert db("upgrade", "--yes").code == 0
    sql("DELETE FROM django_migrations WHERE name = '0001_squashed_0002'")  # by plain Django
    squash_again(shop)
    for name in ("0001_initial", "0002_pages"):
        shop.remove("shop", name)
    assert db("upgrade", "--yes").out == "Nothing to do: head is reached already.\n"
    assert db("verify").code == 0


def test_half_of_a_squash_that_is_to_be_finished_by_its_files_is_finished(shop, db, sql):
    db("upgrade", "shop", "0001", "--yes")
    squash_two(shop, gone=())
    assert "1 pending: apply with `manage.py db upgrade`." in db("status").out
    assert db("upgrade", "--yes").code == 0
    assert names(sql) == ["0001_initial", "0002_pages", "0001_squashed_0002"]
