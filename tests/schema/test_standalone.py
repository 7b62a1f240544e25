"""The tool works in a Django project that has none of PixSim's apps, and imports none of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from tests.scratch import ALIAS

TOY = Path(__file__).parent / "toy"
ROOT = Path(__file__).parents[2]
DATABASE_SETTINGS = ("NAME", "USER", "PASSWORD", "HOST", "PORT")


@pytest.fixture
def toy(database, tmp_path):
    """Run `manage.py <words>` of a copy of the toy project on the scratch database."""
    home = tmp_path / "toy"
    shutil.copytree(TOY, home, ignore=shutil.ignore_patterns("__pycache__"))
    where = connections[ALIAS].settings_dict
    settings = {"ENGINE": "django.db.backends.postgresql"} | {
        name: where[name] for name in DATABASE_SETTINGS
    }
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TOY_DATABASE": json.dumps(settings),
    }

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, home / "manage.py", *words],
            env=env,
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run.home = home
    return run


def test_a_database_goes_up_and_down_and_is_proved(toy, sql):
    assert "toys  0        " in toy("db", "status", code=1)
    assert "CREATE TABLE" in toy("db", "sql")
    assert "toys 0002_price" in toy("db", "upgrade", "--plan")
    toy("db", "upgrade", "first")
    assert toy("db", "status", code=1).startswith(
        "Current      toys 0001 = first\nHead         toys 0002\n"
    )
    toy("db", "downgrade", "base", "--yes")
    assert "2 migrations" in toy("db", "upgrade")
    assert "The toys are in order." in toy("db", "status")
    assert toy("db", "check") == "Nothing to find fault with.\n"
    assert toy("db", "verify") == "Clean: 2 migrations compared.\n"

    sql(
        "CREATE TABLE toy_scraps (); CREATE TABLE others (); INSERT INTO toys_toy VALUES (1, '', -1)"
    )
    verified = toy("db", "verify", code=1)
    assert "price: expected: A toy costs something. Found 1 rows where not: id=1" in verified
    assert "Not of any migration, and left alone: others." in verified

    assert "column toys_toy.price: 1 row" in toy("db", "downgrade", "-1", "--yes")
    assert sql("SELECT app, name FROM django_migrations") == [("toys", "0001_initial")]
    rehearsed = toy("db", "rehearse")
    assert "toys 0002_price" in rehearsed
    assert "The database itself is as it was." in rehearsed
    assert "Applying toys.0002_price... OK" in toy("migrate")
    assert "pending" not in toy("db", "history")


@pytest.mark.long
def test_backups_backfills_and_the_schema_as_text(toy, sql):
    toy("migrate", "--verbosity", "0")
    sql("INSERT INTO toys_toy (name) VALUES ('ball'), ('bear')")
    assert "2 of 2 rows were changed" in toy("db", "backfill", "run", "toy-prices")

    toy("db", "backup", "toys.dump")
    toy("db", "wipe", "--yes-really", connections[ALIAS].settings_dict["NAME"])
    toy("db", "restore", "toys.dump")
    assert sql("SELECT name, price FROM toys_toy ORDER BY id") == [("ball", 1), ("bear", 1)]

    assert "-- toys: Something to play with.\nCREATE TABLE toys_toy (" in toy("db", "schema")
    toy("db", "schema", "--write")
    assert '"toys_toy" {' in (toy.home / "docs" / "DATABASE_DIAGRAM.md").read_text()


@pytest.mark.long
def test_a_new_migration_is_written(toy):
    models = toy.home / "toys" / "models.py"
    models.write_text(models.read_text() + "    colour = models.TextField(null=True)\n")
    assert "models: toys changed without a migration" in toy("db", "check", "--files", code=1)
    assert "Wrote toys/migrations/0003_add_colour.py" in toy("db", "revision", "add colour")
    assert "toys 0003_add_colour" in toy("db", "upgrade")

    models.write_text(models.read_text().replace("name =", "title ="))
    wrote = toy("db", "revision", "-m", "toys have a title", "--yes")
    assert "0005_toys_have_a_title_contract waits for the release after" in wrote
    assert toy("db", "check") == "Nothing to find fault with.\n"
    assert "2 migrations" in toy("db", "upgrade")
    assert toy("db", "verify") == "Clean: 5 migrations compared.\n"


def test_what_the_plug_in_of_a_project_adds(toy, sql):
    assert toy("db", "play") == "Played.\n"
    assert "CREATE TABLE" in toy("db", "sql", "first")
    assert '"price"' not in toy("db", "sql", "first")

    sql("CREATE TABLE toy_box ()")
    said = "The toy maker made this database"
    assert f"{said}: take it over with `manage.py db unpack`." in toy("db", "status", code=1)
    for words in (("db", "upgrade"), ("migrate",)):
        refused = toy(*words, code=1)
        assert f"{said}, and its tables are not ours yet. Nothing was changed." in refused
        assert "take it over with `manage.py db unpack --apply`" in refused
