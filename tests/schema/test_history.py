"""`db history`: the order of application."""

import pytest
from django.core.management import call_command

from pixsim.schema.history import load_migrations
from tests.schema.packages import Packages, creates, migration


@pytest.fixture
def two_apps(packages: Packages, database: str) -> Packages:
    """shop 0001 and mail 0001-0002, and then a shop 0002."""
    packages.add("shop", {"0001_initial": creates("Book")})
    packages.add(
        "mail",
        {
            "0001_initial": creates("Letter"),
            "0002_more": '"""Letters have more.\n\nOn two lines."""\n\n'
            + migration(depends=[("mail", "0001_initial")]),
        },
    )
    call_command("migrate", "mail", database="scratch", verbosity=0)
    call_command("migrate", "shop", database="scratch", verbosity=0)
    packages.write("shop", "0002_later", migration(depends=[("shop", "0001_initial")]))
    return packages


def test_it_follows_the_order_of_application_and_ends_with_what_is_pending(two_apps, db) -> None:
    ran = db("history", "--json")

    assert ran.code == 0
    assert [(each["app"], each["name"], bool(each["at"])) for each in ran.json["history"]] == [
        ("mail", "0001_initial", True),
        ("mail", "0002_more", True),
        ("shop", "0001_initial", True),
        ("shop", "0002_later", False),
    ]


def test_it_is_a_table_with_times(two_apps, db, sql) -> None:
    sql("UPDATE django_migrations SET applied = '2024-05-06 07:08:09+00'")

    assert db("history").out.splitlines() == [
        "applied              app   migration",
        "2024-05-06 07:08:09  mail  0001_initial",
        "2024-05-06 07:08:09  mail  0002_more",
        "2024-05-06 07:08:09  shop  0001_initial",
        "pending              shop  0002_later",
    ]


def test_verbose_says_what_each_migration_says_of_itself(two_apps, db) -> None:
    assert "mail  0002_more     Letters have more." in db("history", "--verbose").out
    assert "Letters" not in db("history").out


def test_a_row_without_its_file_stays_in_its_place(two_apps, db) -> None:
    two_apps.remove("mail", "0002_more")

    lines = db("history").out.splitlines()

    assert "(file gone)  mail  0002_more" in lines[2]
    assert [each["has_file"] for each in db("history", "--json").json["history"]] == [
        True,
        False,
        True,
        True,
    ]


def test_a_replaced_migration_is_known_although_its_file_is_deleted(two_apps, db) -> None:
    two_apps.write(
        "mail",
        "0001_squashed",
        creates("Letter", more='replaces = [("mail", "0001_initial"), ("mail", "0002_more")]'),
    )
    two_apps.remove("mail", "0001_initial")
    two_apps.remove("mail", "0002_more")

    answer = db("history", "--json").json["history"]

    assert all(each["has_file"] for each in answer)
    assert [each["name"] for each in answer if not each["at"]] == ["0002_later"]


def test_our_own_history_ends_at_the_head(at_head, db, sql) -> None:
    answer = db("history", "--json").json["history"]

    files = load_migrations(None).disk_migrations  # what they replace is recorded too, and has none
    rows = sql("SELECT app, name FROM django_migrations ORDER BY id")
    assert [(each["app"], each["name"]) for each in answer] == [row for row in rows if row in files]
    assert all(each["at"] for each in answer)
