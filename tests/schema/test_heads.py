"""`db heads`, `db branches` and `db merge`: forks and the ways out."""

import pytest

from tests.schema.packages import Packages, adds, creates, migration


@pytest.fixture
def forked(packages: Packages, database: str) -> Packages:
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_price": adds(
                "Book", "price", "models.TextField(null=True)", depends=[("shop", "0001_initial")]
            ),
            "0003_pages": adds(
                "Book", "pages", "models.TextField(null=True)", depends=[("shop", "0002_price")]
            ),
            "0002_cover": adds(
                "Book", "cover", "models.TextField(null=True)", depends=[("shop", "0001_initial")]
            ),
        },
    )
    return packages


def test_our_own_apps_have_one_head_each(database, db) -> None:
    ran = db("heads")
    assert ran.code == 0, ran.out
    assert "crawler" in ran.out
    assert db("branches").out == "No app has more than one head.\n"
    assert all(len(names) == 1 for names in db("heads", "--json").json["heads"].values())


def test_a_fork_is_wrong_and_both_ways_out_are_said(forked, db) -> None:
    ran = db("heads")
    assert ran.code == 1
    assert "shop  0002_cover\nshop  0003_pages\n" in ran.out
    assert "More than one head in shop: see `manage.py db branches`." in ran.out

    ran = db("branches")
    assert ran.code == 1
    assert ran.out.startswith(
        "shop forks after 0001_initial:\n  0002_cover\n  0003_pages (after 0002_price)\n"
    )
    assert "`manage.py db merge shop`" in ran.out
    assert 'shop 0002_price: dependencies = [("shop", "0002_cover")]' in ran.out
    assert db("branches", "--json").json["forks"] == [
        {
            "app": "shop",
            "after": "0001_initial",
            "branches": {"0002_cover": ["0002_cover"], "0003_pages": ["0002_price", "0003_pages"]},
        }
    ]


def test_heads_need_no_database(forked, db, monkeypatch) -> None:
    from django.db import connections

    monkeypatch.setitem(connections["scratch"].settings_dict, "NAME", "pixsim_nowhere")

    assert db("heads").code == 1


def test_merge_asks_first(forked, db) -> None:
    ran = db("merge")

    assert ran.code == 1
    assert "Nobody is here to answer: say --yes. Nothing was changed." in ran.err
    assert db("heads").code == 1


def test_merge_writes_one_migration_that_joins_the_heads(forked, db) -> None:
    ran = db("merge", "shop", "-m", "meet", "--yes")

    assert ran.code == 0, ran.err
    assert "0003_pages\n    Add field price to Book\n    Add field pages to Book\n" in ran.out
    assert "0004_meet.py" in ran.out
    text = (forked.folder / "shop/migrations/0004_meet.py").read_text()
    assert '"""Join 0002_cover and 0003_pages; nothing else changes."""\n' in text
    assert db("heads", "--json").json == {"heads": {"shop": ["0004_meet"]}, "several": []}
    again = db("merge", "--yes")
    assert again.code == 0
    assert again.out == "Nothing to merge: no app has more than one head.\n"


def test_merge_warns_where_both_branches_change_the_same_thing(forked, db) -> None:
    forked.write(
        "shop",
        "0002_cover",
        adds("Book", "Price", "models.TextField()", depends=[("shop", "0001_initial")]),
    )

    ran = db("merge", "--yes", "--json")

    assert "Warning: More than one branch of shop changes book.price." in ran.err
    assert ran.json["both_change"] == {"shop": ["book.price"]}
    assert len(ran.json["files"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["merge", "nothing"], "nothing is no app, no migration"),
        (["merge", "-m", "…"], "'…' makes no name for a file"),
    ],
)
def test_merge_refuses_words_that_mean_nothing(forked, db, words, message) -> None:
    ran = db(*words)

    assert ran.code == 2
    assert message in ran.err


def test_branches_without_a_common_start_cannot_be_merged(forked, db) -> None:
    forked.write("shop", "0001_island", migration())

    assert "shop forks after nothing: the branches share no migration:" in db("branches").out
    ran = db("merge", "--yes")
    assert ran.code == 1
    assert "No merge was written: Could not find common ancestor" in ran.err
