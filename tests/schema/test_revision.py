"""`db revision`: the file that is written, and what is said of it."""

import io
import sys

import pytest
from django.core.management import call_command
from django.db import connections

from tests.schema.packages import Packages, creates, migration

BOOK = """
class Book(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.TextField(default="")
"""


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    packages.add("shop", {"0001_initial": creates("Book")}, models=BOOK)
    return packages


@pytest.fixture
def files(shop):
    folder = shop.folder / "shop" / "migrations"
    return lambda: sorted(each.name for each in folder.glob("0*.py"))


@pytest.fixture
def at_a_terminal(shop, monkeypatch):
    """Runs the command with somebody there who types these lines; what was asked and said."""

    def run(typed: str, *words: str) -> tuple[int, str]:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        out = io.StringIO()
        try:
            call_command("db", *words, "--database", "scratch", stdout=out, stderr=out)
            return 0, out.getvalue()
        except SystemExit as ended:
            return ended.code, out.getvalue()

    return run


def test_a_new_column_is_written_with_its_message(shop, db, files) -> None:
    shop.models("shop", BOOK + "    price = models.IntegerField(null=True)\n")

    ran = db("revision", 'Prices, in "cents"', "shop")

    assert ran.code == 0, ran.err
    assert files() == ["0001_initial.py", "0002_prices_in_cents.py"]
    text = (shop.folder / "shop/migrations/0002_prices_in_cents.py").read_text()
    assert text.startswith('"""Prices, in \\"cents\\".\n\nThe column shop_book.price is added.\n\n')
    assert "\nLock: ACCESS EXCLUSIVE on shop_book for an instant.\n" in text
    assert "\nBack: drops the column shop_book.price, and what is in it.\n" in text
    assert (
        "shop/migrations/0002_prices_in_cents.py\n  + Add field price to book\nRead them" in ran.out
    )
    call_command("migrate", database="scratch", verbosity=0)
    assert 'Prices, in "cents".' in db("history", "--verbose").out
    assert db("revision").out == "Nothing changed in the models.\n"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-m", "what it does", "shop"], "0002_what_it_does.py"),
        (["what it does"], "0002_what_it_does.py"),
        (["shop"], "0002_book_price.py"),
        ([], "0002_book_price.py"),
        (["word " * 40], "0002_" + "_".join(["word"] * 12) + ".py"),
    ],
)
def test_the_ways_to_say_it(shop, db, files, words, name) -> None:
    shop.models("shop", BOOK + "    price = models.IntegerField(null=True)\n")

    assert db("revision", *words).code == 0
    assert files()[1:] == [name]


def test_empty_is_one_without_operations(shop, db, files) -> None:
    ran = db("revision", "fill it", "shop", "--empty", "--json")

    assert ran.code == 0
    (made,) = ran.json["migrations"]
    assert (made["app"], made["name"]) == ("shop", "0002_fill_it")
    assert made["operations"] == made["hints"] == []
    assert db("revision", "fill it", "--empty").err == (
        "Say of which app: `revision MESSAGE APP --empty`.\n"
    )


def test_what_has_no_safe_form_is_a_hint_and_stands_in_the_docstring(shop, db) -> None:
    shop.models(
        "shop",
        BOOK
        + """
    size = models.GeneratedField(
        expression=models.F("id") * 2, output_field=models.IntegerField(), db_persist=True
    )
""",
    )

    (made,) = db("revision", "sizes", "--json").json["migrations"]

    assert [each["kind"] for each in made["hints"]] == ["blocks"]
    text = " ".join((shop.folder / "shop/migrations/0002_sizes.py").read_text().split())
    assert "Lock: ACCESS EXCLUSIVE on shop_book while all its rows are read or rewritten." in text


def test_a_rename_of_a_column_that_nobody_answers_for_is_a_hint(shop, db) -> None:
    shop.models("shop", BOOK.replace("name =", "title ="))

    ran = db("revision", "titles")

    assert ran.code == 0
    assert "  - Remove field name from book\n" in ran.out
    assert (
        "  rename: book.name is dropped with all that is in it, and title added, of the same kind. "
        "If it is a rename, delete what was written and say so: `db revision --yes`.\n"
    ) in ran.out


def test_a_column_of_another_kind_is_no_rename(shop, db) -> None:
    shop.models("shop", BOOK.replace("name = models.TextField", "price = models.CharField"))

    hints = db("revision", "prices", "--json").json["migrations"][0]["hints"]

    assert "rename" not in [each["kind"] for each in hints]


def test_yes_answers_that_it_was_a_rename(shop, db) -> None:
    shop.models("shop", BOOK.replace("name =", "title ="))

    now, later = db("revision", "--yes", "--json").json["migrations"]

    assert now["operations"][-1] == "Rename field name on book to title"
    assert now["hints"] == later["hints"] == []
    assert (now["waits"], later["waits"]) == (False, True)


@pytest.mark.parametrize(("answer", "operation"), [("y", "Rename field"), ("n", "Remove field")])
def test_a_person_is_asked(shop, at_a_terminal, answer, operation) -> None:
    shop.models("shop", BOOK.replace("name =", "title ="))

    code, said = at_a_terminal(f"{answer}\n", "revision")

    assert code == 0
    assert "Was book.name renamed to title (TextField)? [y/N]" in said
    assert operation in said


def test_a_model_of_another_name_and_the_same_fields_is_a_hint(shop, db) -> None:
    shop.models("shop", BOOK.replace("class Book", "class Novel"))

    ran = db("revision", "novels")

    assert "rename: shop.Book is dropped with all its rows, and shop.Novel made with" in ran.out
    assert "delete what was written and say so: `db revision --yes`." in ran.out


def test_an_app_without_migrations_gets_its_first(shop, db) -> None:
    home = shop.add("mail", {}, models=BOOK.replace("Book", "Letter"))

    assert db("revision", "letters", "mail").code == 0
    assert (home / "migrations" / "0001_letters.py").exists()


def test_a_model_that_moves_to_another_app_is_a_hint(shop, db) -> None:
    (shop.add("mail", {"0001_initial": creates("Letter")}) / "models.py").write_text(
        "from django.db import models\n" + BOOK + BOOK.replace("Book", "Letter")
    )
    shop.models("shop", "")

    ran = db("revision", "move")

    assert "rename: shop.Book is dropped with all its rows, and mail.Book made" in ran.out
    assert "say SeparateDatabaseAndState, which leaves the table where it is, instead." in ran.out


def test_a_column_that_says_nothing_of_old_rows_is_refused(shop, db, files) -> None:
    shop.models("shop", BOOK + "    price = models.IntegerField()\n")

    ran = db("revision", "prices")

    assert ran.code == 1
    assert ran.err == (
        "book.price is new and not null, and says nothing of the rows that are there. Nothing was "
        "written. Give it a db_default, or make it null=True first.\n"
    )
    assert files() == ["0001_initial.py"]


def test_several_heads_are_joined_first(shop, db, files) -> None:
    for name in ("0002_one", "0002_other"):
        shop.write("shop", name, migration(depends=[("shop", "0001_initial")]))
    shop.models("shop", BOOK + "    price = models.IntegerField(null=True)\n")

    ran = db("revision", "prices", "shop")

    assert ran.code == 1
    assert ran.err.startswith(
        "More than one head: shop (0002_one, 0002_other). Nothing was changed"
    )
    assert len(files()) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["…", "shop"], "'…' makes no name for a file"),
        (
            ["prices", "shpo"],
            "There is no app shpo; there is: pixsim_adoption, pixsim_schema, shop.",
        ),
        (["a", "b", "shop"], "Too many words: put the message into quotes: 'a b shop'."),
    ],
)
def test_words_that_make_no_sense(shop, db, files, words, said) -> None:
    ran = db("revision", *words)

    assert ran.code == 2
    assert ran.err.startswith(said)
    assert files() == ["0001_initial.py"]


def test_it_needs_no_database(shop, db, monkeypatch) -> None:
    connections["scratch"].close()
    monkeypatch.setitem(connections["scratch"].settings_dict, "HOST", "nowhere.invalid")
    shop.models("shop", BOOK + "    price = models.IntegerField(null=True)\n")

    assert db("revision", "prices").code == 0
    connections["scratch"].close()
