"""`db wipe`: everything goes, but only if somebody really means this database."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
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


EVERY_OTHER_KIND = [
    "CREATE COLLATION plain (locale = 'C')",
    "CREATE OPERATOR === (leftarg = integer, rightarg = integer, function = int4eq)",
    "CREATE OPERATOR CLASS every_way FOR TYPE integer USING btree AS STORAGE integer",
    "CREATE OPERATOR FAMILY alone USING hash",
    "CREATE TEXT SEARCH PARSER words (start = prsd_start, gettoken = prsd_nexttoken, "
    "end = prsd_end, lextypes = prsd_lextype)",
    "CREATE TEXT SEARCH TEMPLATE plain (lexize = dsimple_lexize, init = dsimple_init)",
    "CREATE TEXT SEARCH DICTIONARY plain (template = simple)",
    "CREATE TEXT SEARCH CONFIGURATION plain (copy = simple)",
    "CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER noticing ON sql_drop EXECUTE FUNCTION noticed()",
    "CREATE CAST (pair AS integer) WITH INOUT",
    "CREATE TRANSFORM FOR integer LANGUAGE sql "
    "(FROM SQL WITH FUNCTION textregexeq_support(internal))",
    "CREATE FOREIGN DATA WRAPPER elsewhere",
    "CREATE SERVER other FOREIGN DATA WRAPPER elsewhere",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER other",
    "CREATE FOREIGN TABLE far (n integer) SERVER other",
    "CREATE FUNCTION handle() RETURNS language_handler LANGUAGE c "
    "AS '$libdir/plpgsql', 'plpgsql_call_handler'",
    "CREATE LANGUAGE another HANDLER handle",
    "CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE AGGREGATE zero(*) (sfunc = int8inc, stype = bigint, initcond = '0')",
    "CREATE PROCEDURE done(a integer, OUT b integer) LANGUAGE sql AS 'SELECT 1'",
    "CREATE TYPE span AS RANGE (subtype = integer)",
    "CREATE STATISTICS of_books ON id, name FROM shop_book",
    "SELECT lo_create(0)",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
    'ALTER DEFAULT PRIVILEGES IN SCHEMA "Back room" GRANT ALL ON TABLES TO PUBLIC',
]


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
        *EVERY_OTHER_KIND,
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


def test_what_was_wiped_is_restored_from_its_own_backup(
    name: str, database: str, db: Db, sql: Sql, tmp_path: Path
) -> None:
    before = contents.database_objects(connections[database])
    assert len({thing.kind for thing in before}) > 25
    file = tmp_path / "all.dump"
    made = db("backup", str(file))
    assert made.code == 0, made.err
    assert "Only a superuser can restore access method another, event trigger noticing" in made.out

    assert db("wipe", "--yes-really", name).code == 0

    assert is_empty(database)
    assert sql("SELECT * FROM pg_default_acl") == []
    assert sql("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]
    assert sql("SELECT count(*) FROM pg_user_mappings") == [(0,)]
    assert sql("SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'") == []
    ran = db("restore", str(file))
    assert ran.code == 0, ran.err
    assert contents.database_objects(connections[database]) == before
    assert sql("SELECT count(*) FROM pg_default_acl") == [(3,)]


def test_a_database_that_subscribes_to_another_is_not_wiped(
    name: str, database: str, db: Db, sql: Sql
) -> None:
    sql(
        "CREATE SUBSCRIPTION news CONNECTION 'host=/nowhere dbname=x' PUBLICATION news "
        "WITH (connect = false, slot_name = 'news')"
    )
    refused = db("wipe", "--yes-really", name)
    assert refused.code == 1
    assert refused.err.startswith("This database subscribes to another one (news), which keeps")
    assert "Nothing was dropped. Say DROP SUBSCRIPTION news; first, or" in refused.err
    assert not is_empty(database)
    sql("ALTER SUBSCRIPTION news SET (slot_name = NONE)")
    assert "subscription news" in db("wipe", "--yes-really", name, "--json").json["dropped"]
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
