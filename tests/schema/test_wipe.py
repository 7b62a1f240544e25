"""`db wipe`: everything goes, but only if somebody really means this database."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import contents
from tests.schema.commands import scratch_url
from tests.schema.packages import Packages, creates
from tests.scratch import Ran

Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]


class Keyboard(io.StringIO):
    """Somebody at a terminal, who types this."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def name(packages: Packages, database: str, sql: Sql) -> Iterator[str]:
    """The name of a database with a bit of everything in it."""
    packages.add("shop", {"0001_initial": creates("Book")})
    call_command("migrate", database=database, verbosity=0)
    for statement in [
        "CREATE EXTENSION pg_trgm" if has_extension(sql) else "SELECT 1",
        'CREATE SCHEMA "Back room"',
        'CREATE TABLE "Back room"."Odd; name" (id serial)',
        "CREATE TYPE mood AS ENUM ('fine')",
        "CREATE DOMAIN small AS integer CHECK (value < 10)",
        "CREATE VIEW names AS SELECT name, 'fine'::mood AS mood FROM shop_book",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM shop_book",
        "CREATE SEQUENCE tickets",
        "CREATE FUNCTION one(small) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE AGGREGATE total(integer) (sfunc = int4pl, stype = integer)",
        "CREATE TABLE parts (n integer) PARTITION BY LIST (n)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1)",
        "CREATE TYPE pair AS (a integer, b integer)",
        "CREATE PUBLICATION copies FOR TABLE shop_book",
    ]:
        sql(statement)
    yield str(connections[database].settings_dict["NAME"])
    sql("DROP EXTENSION IF EXISTS pg_trgm")  # which stays, as others share the database


def has_extension(sql: Sql) -> bool:
    return bool(sql("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"))


def is_empty(database: str) -> bool:
    return not contents.database_objects(connections[database])


def test_with_debug_on_and_the_name_typed_everything_is_gone(
    name: str, database: str, db: Db, sql: Sql, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(sys, "stdin", Keyboard(f"{name}\n"))

    ran = db("wipe")

    assert ran.code == 0
    assert ran.out.startswith(f"'{name}' at ")
    assert ran.out.endswith(
        f"{name} is empty. Fill it with `manage.py db upgrade` or `manage.py db restore`.\n"
    )
    assert ran.err.startswith(f"All of it is lost. Type the database's name, {name}: ")
    assert is_empty(database)
    assert sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'public'") == [(1,)]
    extensions = sql("SELECT extname FROM pg_extension WHERE extname = 'pg_trgm'")
    assert extensions == ([("pg_trgm",)] if has_extension(sql) else [])
    assert db("wipe").out == f"{name} is empty already.\n"
    assert call_command("migrate", database=database, verbosity=0) is None


def test_anything_else_typed_keeps_everything(
    name: str, database: str, db: Db, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = True
    for typed in ["", "yes", "y", name.upper(), " "]:
        monkeypatch.setattr(sys, "stdin", Keyboard(f"{typed}\n"))
        ran = db("wipe", "--yes")
        assert ran.code == 1
        assert ran.err.endswith(f"That is not '{name}'. Nothing was changed.\n")
    assert not is_empty(database)


def test_a_script_must_say_the_name(name: str, database: str, db: Db, settings: Any) -> None:
    settings.DEBUG = True
    ran = db("wipe", "--yes")
    assert ran.code == 1
    assert ran.err == (
        f"Nobody is here to type '{name}': --yes is not enough, say --yes-really {name}. Nothing "
        f"was changed.\n"
    )
    other = db("wipe", "--yes-really", "another")
    assert other.code == 2
    assert other.err == (f"This database is called '{name}', not 'another'. Nothing was wiped.\n")
    assert not is_empty(database)

    done = db("wipe", "--yes-really", name, "--json").json
    assert {"table public.shop_book", 'schema "Back room"', "view public.names"} <= set(
        done["dropped"]
    )
    assert is_empty(database)


def test_with_debug_off_only_the_named_way_is_open(
    name: str, database: str, db: Db, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DEBUG = False
    monkeypatch.setattr(sys, "stdin", Keyboard(f"{name}\n"))
    ran = db("wipe", "--yes")
    assert ran.code == 1
    assert ran.err.startswith("DEBUG is off, so this may be where people work. Nothing was wiped.")
    assert ran.err.endswith(f"must go, say --yes-really {name}.\n")
    assert not is_empty(database)
    assert db("wipe", "--yes-really", name).code == 0
    assert is_empty(database)


def test_a_table_that_somebody_uses_keeps_everything(
    name: str, database: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "LOCK_TIMEOUT", "50ms")
    before = contents.database_objects(connections[database])
    with psycopg.connect(scratch_url()) as other:
        other.execute("SELECT FROM shop_book")
        ran = db("wipe", "--yes-really", name)
    assert ran.code == 1
    assert ran.err.startswith("A lock was not given in time")
    assert contents.database_objects(connections[database]) == before
