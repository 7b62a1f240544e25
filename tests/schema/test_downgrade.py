"""`db downgrade`: what was applied last goes first, and what is lost is said before it is."""

import re

import pytest
from django.apps import apps

from pixsim.schema import files
from tests.schema.packages import Packages, adds, creates, migration


@pytest.fixture
def shop(packages: Packages, database: str, db) -> Packages:
    """Two apps, applied in an order that is not the graph's: mail 0001, shop 0001, shop 0002,
    mail 0002. mail 0002 needs shop 0001."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_pages": adds(
                "Book",
                "pages",
                "models.IntegerField(null=True)",
                depends=[("shop", "0001_initial")],
            ),
        },
    )
    packages.add(
        "mail",
        {
            "0001_initial": creates("Letter"),
            "0002_book": adds(
                "Letter",
                "book",
                'models.ForeignKey("shop.Book", models.CASCADE, null=True)',
                depends=[("mail", "0001_initial"), ("shop", "0001_initial")],
            ),
        },
    )
    for target in (["mail", "0001"], ["shop", "0002"], ["mail", "0002"]):
        assert db("upgrade", *target).code == 0
    return packages


def recorded(sql):
    return [tuple(row) for row in sql("SELECT app, name FROM django_migrations ORDER BY id")]


def test_the_last_applied_go_first_whatever_their_app(shop, db, sql):
    ran = db("downgrade", "-2", "--yes")

    assert ran.code == 0
    assert ran.out.splitlines()[:3] == [
        "To be taken back, in this order:",
        "  mail 0002_book",
        "  shop 0002_pages",
    ]
    assert re.search(r"Took back mail 0002_book in \d+\.\d\d s", ran.out)
    assert re.search(r"2 migrations in \d+\.\d\d s: -2\.", ran.out)
    assert recorded(sql) == [("mail", "0001_initial"), ("shop", "0001_initial")]
    assert sql(f"SELECT app, name FROM {files.TABLE} ORDER BY 1") == [
        ("mail", "0001_initial"),
        ("shop", "0001_initial"),
    ]


def test_what_else_must_go_and_what_is_lost_is_said_first(shop, db, sql):
    sql("INSERT INTO shop_book (name, pages) VALUES ('a', 1), ('b', NULL), ('c', 3)")
    sql("INSERT INTO mail_letter (name, book_id) SELECT 'x', id FROM shop_book")
    ran = db("downgrade", "shop", "zero")

    assert ran.code == 1
    assert ran.out.splitlines() == [
        "To be taken back, in this order:",
        "  shop 0002_pages",
        "  mail 0002_book   (needs what goes, so it must go too)",
        "  shop 0001_initial",
        "This data is lost, unless there is a backup (`manage.py db backup`):",
        "  table shop_book: 3 rows",
        "  column mail_letter.book_id: 3 rows with a value",
    ]
    assert ran.err == "Take back 3? Nobody is here to answer: say --yes. Nothing was changed.\n"
    assert len(recorded(sql)) == 4

    assert db("downgrade", "shop", "zero", "--yes").code == 0
    assert recorded(sql) == [("mail", "0001_initial")]


def test_a_plan_counts_and_changes_nothing(shop, db, sql):
    sql("INSERT INTO shop_book (name, pages) VALUES ('a', 1)")
    ran = db("downgrade", "shop", "0001", "--plan", "--json")

    assert ran.code == 0
    assert ran.json["lost"] == [{"table": "shop_book", "column": "pages", "rows": 1, "exact": True}]
    assert [step["name"] for step in ran.json["plan"]] == ["0002_pages"]
    assert len(recorded(sql)) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Say how far down"),
        (("-0",), 2, "-0 goes nowhere"),
        (("+1",), 2, "+1 is up: say `upgrade +1`"),
        (("head",), 2, "head is up: say `upgrade head`"),
        (("-9",), 2, "-9 goes too far: 4 migrations are applied"),
        (("shop", "0007"), 2, "shop has no migration 0007"),
    ],
)
def test_words_that_lead_nowhere(shop, db, sql, words, code, message):
    ran = db("downgrade", *words, "--yes")
    assert ran.code == code
    assert message in ran.err
    assert len(recorded(sql)) == 4


def test_what_has_no_way_back_is_refused_before_anything_is_done(shop, db, sql):
    shop.write(
        "shop",
        "0003_final",
        migration('migrations.RunSQL("SELECT 1")', depends=[("shop", "0002_pages")]),
    )
    shop.write(
        "shop",
        "0004_isbn",
        adds("Book", "isbn", "models.TextField(null=True)", depends=[("shop", "0003_final")]),
    )
    db("upgrade")
    ran = db("downgrade", "shop", "0002", "--yes")

    assert ran.code == 1
    assert "shop 0003_final cannot be taken back: 'Raw SQL operation' says no way back" in ran.err
    assert recorded(sql)[-1] == ("shop", "0004_isbn")


def test_statements_of_its_own_are_named_since_nobody_can_tell_what_they_lose(shop, db, sql):
    shop.write(
        "shop",
        "0003_log",
        migration(
            'migrations.RunSQL("CREATE TABLE log ()", "DROP TABLE log")',
            depends=[("shop", "0002_pages")],
        ),
    )
    db("upgrade")
    ran = db("downgrade", "-1", "--yes")
    assert "These run statements of their own" in ran.out
    assert sql("SELECT to_regclass('log')") == [(None,)]


def test_stopped_on_the_way_back_the_next_run_goes_on(shop, db, sql):
    shop.write(
        "shop",
        "0003_tables",
        migration(
            'migrations.RunSQL("CREATE TABLE first ()", "SELECT 1 / (SELECT count(*) FROM shop_book)"),'
            'migrations.RunSQL("CREATE TABLE last ()", "DROP TABLE last")',
            depends=[("shop", "0002_pages")],
            more="atomic = False",
        ),
    )
    db("upgrade")
    ran = db("downgrade", "-1", "--yes")
    assert ran.code == 1
    assert "1 of its 2 operations are done and stay." in ran.err
    assert recorded(sql)[-1] == ("shop", "0003_tables")

    shop.write(
        "shop",
        "0004_isbn",
        adds("Book", "isbn", "models.TextField(null=True)", depends=[("shop", "0003_tables")]),
    )
    ran = db("upgrade")
    assert ran.code == 1
    stopped = (
        "shop 0003_tables was being taken back when it was stopped, after 1 of its operations: "
        "finish it with `manage.py db downgrade`."
    )
    assert ran.err == f"Nothing was changed, since first {stopped}\n"
    assert stopped in db("status").out

    shop.remove("shop", "0004_isbn")
    sql("INSERT INTO shop_book (name) VALUES ('a')")
    assert db("downgrade", "-1", "--yes").code == 0
    assert recorded(sql)[-1] == ("mail", "0002_book")
    assert sql(f"SELECT count(*) FROM {files.TABLE} WHERE done IS NOT NULL") == [(0,)]


def test_of_everything_of_ours_each_table_is_named(at_head, db):
    ran = db("downgrade", "zero", "--plan", "--json")

    assert ran.code == 0
    lost = [each["table"] for each in ran.json["lost"] if each["column"] is None]
    models = apps.get_models(include_auto_created=True)
    assert lost == sorted(model._meta.db_table for model in models)
