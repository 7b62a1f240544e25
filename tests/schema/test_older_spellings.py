"""The commands of the older guides, letter by letter, with `manage.py db` in front."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError

from pixsim.schema.spelling import OPTIONS, VERBS
from pixsim.schema.verbs import all_verbs
from tests.schema.packages import Packages, adds, creates

ROOT = Path(__file__).parents[2]
NOWHERE = "postgres://nobody@127.0.0.1:1/none"

# One database from nothing on: the command, its exit code, what it says.
WALK = [
    ("upgrade 001", 0, "migrations in"),
    ("current", 1, "Current      accounts 0001, crawler 0002 = 001\n"),
    ("current -v", 1, "contenttypes  0 "),
    ("history", 0, "pending"),
    ("upgrade 002", 0, "Applied accounts 0002_user_tier"),
    ("history -v", 0, "Job chunks, as PixCrawler's revision 001 makes them"),
    ("history --verbose", 0, "Job chunks, as PixCrawler's revision 001 makes them"),
    ("downgrade -1 --yes", 0, "Took back accounts 0002_user_tier"),
    ("stamp 001", 0, "Nothing to do: 001 is what is recorded."),
    ("upgrade 002", 0, "Applied accounts 0002_user_tier"),
    ("downgrade 001 --yes", 0, "Took back accounts 0002_user_tier"),
    ("downgrade base --yes", 0, "Took back accounts 0001_initial"),
    ("stamp base", 0, "Nothing to do: base is what is recorded."),
    ("upgrade daa977a0bfa9", 0, "Applied providers 0005_submission_account_required"),
    ("downgrade 7425b92ac62e --yes", 0, "Took back jobs 0002_params"),
    ("downgrade base --yes", 0, "Took back"),
]
# Read the files alone.
WITHOUT_A_DATABASE = [
    ("upgrade head --sql", 'CREATE TABLE "job_chunks"'),
    ("upgrade 001:002 --sql", 'CREATE INDEX "ix_profiles_user_tier"'),
    ("downgrade 002:001 --sql", 'DROP COLUMN "user_tier"'),
    ("heads", "crawler"),
    ("heads -v", "The models that an account may not use"),
    ("branches", "No app has more than one head."),
    ("branches --verbose", "No app has more than one head."),
    ("show 002", "Migration  accounts 0002_user_tier\nOlder ids  002\n"),
    ("show daa977a0bfa9", "File       jobs/migrations/0002_params.py\n"),
    ("merge -m together heads", "Nothing to merge: no app has more than one head."),
]


def test_a_database_walks_up_and_down_by_the_words_of_the_older_guides(database, db) -> None:
    for line, code, said in WALK:
        ran = db(*line.split())
        assert ran.code == code, (line, ran.out, ran.err)
        assert said in ran.out, (line, ran.out)


@pytest.mark.parametrize(("line", "said"), WITHOUT_A_DATABASE)
def test_what_reads_the_files_alone_needs_no_database(database, db, sql, line, said) -> None:
    ran = db(*line.split())

    assert ran.code == 0, ran.err
    assert said in ran.out
    assert sql("SELECT to_regclass('django_migrations')") == [(None,)]


@pytest.mark.long
def test_a_script_is_kept_in_a_file_without_any_database(tmp_path: Path) -> None:
    file = tmp_path / "migration.sql"
    done = subprocess.run(
        ["bash", "-c", f'"$PYTHON" manage.py db upgrade head --sql > {file}'],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, "DATABASE_URL": NOWHERE},
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert file.read_text().startswith("-- head: migrations to be applied: ")
    assert "Where the database stands before: nothing is applied.\n" in file.read_text()


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    first = [("shop", "0001_initial")]
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_cover": adds("Book", "cover", "models.TextField(null=True)", depends=first),
            "0002_price": adds("Book", "price", "models.TextField(null=True)", depends=first),
        },
    )
    return packages


@pytest.mark.parametrize(
    "heads",
    [
        "0002_cover 0002_price",
        "shop 0002_cover 0002_price",
        "shop.0002_cover shop.0002_price",
        "heads",
        "shop",
    ],
)
def test_merge_takes_a_message_and_the_heads_however_they_are_named(shop, db, heads) -> None:
    ran = db("merge", "-m", "Cover and price", *heads.split(), "--yes")

    assert ran.code == 0, ran.err
    assert (shop.folder / "shop/migrations/0003_cover_and_price.py").is_file()


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ("0002_cover", "A merge joins all heads of an app, shop 0002_price too: say `merge shop`."),
        ("shop 0001 0002_cover", "shop 0001_initial is no head: see `manage.py db heads`."),
        ("0002_cover -- -1", "-1 is no head: see `manage.py db heads`."),
        ("0002_cover 0009", "0009 is no app, no migration"),
    ],
)
def test_merge_refuses_what_are_not_the_heads_of_an_app(shop, db, heads, said) -> None:
    ran = db("merge", "-m", "x", *heads.split())

    assert ran.code == 2
    assert said in ran.err


def test_revisions_with_and_without_autogenerate(packages: Packages, database: str, db) -> None:
    book = "class Book(models.Model):\n    id = models.AutoField(primary_key=True)\n"
    book += '    name = models.TextField(default="")\n'
    packages.add("shop", {"0001_initial": creates("Book")}, models=book)

    unchanged = db("revision", "--autogenerate", "-m", "nothing")
    assert (unchanged.code, unchanged.out) == (0, "Nothing changed in the models.\n")
    assert "`db revision -m MESSAGE APP --empty`" in db("revision", "-m", "fill colour").out

    packages.models("shop", book + "    colour = models.TextField(null=True)\n")
    assert "Wrote" in db("revision", "--autogenerate", "-m", "add colour").out
    assert (packages.folder / "shop/migrations/0002_add_colour.py").is_file()
    assert "Wrote" in db("revision", "-m", "fill colour", "shop", "--empty").out
    assert (packages.folder / "shop/migrations/0003_fill_colour.py").is_file()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("upgarde head", "There is no verb upgarde. Say `upgrade`."),
        ("alembic upgrade head", "Say the verb alone, as in `manage.py db upgrade head`."),
        ("edit 001", "Say `show`, which names the file."),
        ("makemigrations", "Say `revision`."),
        ("rollback", "Say `downgrade`."),
        ("frobnicate", "See `manage.py db --help`."),
        ("upgrade head --dry-run", "unrecognized arguments: --dry-run. Say `--plan`."),
        ("history --verbous", "unrecognized arguments: --verbous. Say `--verbose`."),
        ("history -r 001:002", "Say `db history`, which shows everything."),
        ("stamp head --sql", "Say `db upgrade --sql`, `db downgrade --sql` or `db sql`."),
        ("downgrade --1", "unrecognized arguments: --1. Say `-1`."),
        ("revision -m x --rev-id 003", "Say `-m MESSAGE`"),
        ("status --frobnicate", "See --help of the verb."),
    ],
)
def test_a_wrong_verb_or_option_names_the_right_one(db, line, said) -> None:
    with pytest.raises(CommandError) as refused:
        db(*line.split())

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("upgrade HEAD", "Near: head."),
        ("upgrade latest", "latest has no meaning here: say head."),
        ("downgrade 0", "0 has no meaning here: say zero."),
        ("downgrade 1", "A number of migrations has a sign: +1 or -1."),
        ("downgrade head", "say `upgrade head`."),
        ("upgrade base", "say `downgrade base`."),
        ("upgrade 001:002", "say `upgrade 001:002 --sql`."),
        ("downgrade -1 --sql", "`downgrade START:END --sql`"),
        ("show -1", "say `show APP NAME`"),
        ("show base", "say `show APP NAME`"),
        ("upgrade 0002_user", "Say which: accounts 0002_user_tier."),
    ],
)
def test_a_wrong_target_names_the_right_one(database, db, line, said) -> None:
    ran = db(*line.split())

    assert ran.code == 2, ran.out
    assert said in ran.err


def test_an_app_may_be_named_as_alembic_names_a_branch(database, db) -> None:
    assert db("show", "crawler@head").out == db("show", "crawler", "head").out


def test_on_the_command_line_a_wrong_word_is_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "db", "upgarde", "head"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": NOWHERE},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert done.stderr.endswith("error: There is no verb upgarde. Say `upgrade`.\n")


def test_the_words_that_take_a_place_are_words_of_ours() -> None:
    verbs = {verb.name for verb in all_verbs()} | {
        alias for verb in all_verbs() for alias in verb.aliases
    }
    assert not verbs & VERBS.keys()
    for right in VERBS.values():
        word = right.split("`")[1].removeprefix("manage.py ").split()[0]
        assert word in verbs | {"squashmigrations", "--help"}, right
    assert all(option.startswith("-") for option in OPTIONS)


def test_show_says_where_a_migration_is_and_what_it_does(shop, db) -> None:
    shop.remove("shop", "0002_price")
    db("upgrade", "shop", "0001")

    lines = db("show", "shop", "0001").out.splitlines()
    assert lines[0] == "Migration  shop 0001_initial"
    assert lines[1] == "Children   shop 0002_cover"
    assert lines[2].endswith("shop/migrations/0001_initial.py")
    assert lines[3].startswith("Applied    20")
    assert "    Create model Book" in lines
    assert "Applied    not yet" in db("show").out

    (head,) = db("show", "shop", "--json").json["migrations"]
    assert (head["name"], head["is_head"], head["parents"]) == (
        "0002_cover",
        True,
        ["shop 0001_initial"],
    )
