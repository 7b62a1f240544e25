"""Backup, restore, wipe and rehearsal by a role that owns its database and is no superuser, where
superusers have made extensions and objects, too."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from tests.schema.installed_server import InstalledServer, alias_on, installed_server
from tests.schema.packages import Packages, adds, creates
from tests.scratch import ALIAS, Ran

__all__ = ["installed_server"]
Db = Callable[..., Ran]
Sql = Callable[..., list[tuple[Any, ...]]]
STATEMENTS = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;"


class Site:
    """The databases of one test."""

    def __init__(self, server: InstalledServer) -> None:
        self.server = server
        self.made: list[str] = []

    def make(self, name: str, options: str = "") -> str:
        """Make a database of the application's role."""
        with self.server.connect() as dba:
            dba.execute(f"CREATE DATABASE {name} OWNER app {options}".encode())
        self.made.append(name)
        return name

    def dba(self, name: str, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the superuser; the rows of the last one."""
        with self.server.connect(name) as dba:
            for statement in statements:
                cursor = dba.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def use(self, name: str, *, user: str = "app") -> None:
        """Let the commands use this database from now on."""
        connections[ALIAS].close()
        connections[ALIAS].settings_dict |= {"NAME": name, "USER": user}

    def migrate(self, name: str) -> None:
        """Apply the first migration, and leave nobody connected."""
        self.use(name)
        call_command("migrate", "shop", "0001", database=ALIAS, verbosity=0)
        connections[ALIAS].close()

    def drop(self) -> None:
        connections[ALIAS].close()
        with self.server.connect() as dba:
            for name in self.made:
                dba.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@pytest.fixture
def site(installed_server: InstalledServer, packages: Packages) -> Iterator[Site]:
    """The database `shop` of the role `app`, with seven books and a migration that is pending."""
    packages.add("shop", {"0001_initial": creates("Book")})
    site = Site(installed_server)
    with alias_on(installed_server, site.make("shop")):
        try:
            site.migrate("shop")
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("INSERT INTO shop_book (name) SELECT generate_series(1, 7)")
            price = "models.IntegerField(null=True)"
            packages.write(
                "shop",
                "0002_price",
                adds("Book", "price", price, depends=[("shop", "0001_initial")]),
            )
            yield site
        finally:
            site.drop()


def books(sql: Sql) -> int:
    return int(sql("SELECT count(*) FROM shop_book")[0][0])


def test_extensions_of_a_superuser_are_left_to_what_is_there(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    site.dba(
        "shop",
        "CREATE EXTENSION pg_stat_statements",
        "CREATE SCHEMA extra",
        "CREATE EXTENSION hstore SCHEMA extra",
        "GRANT EXECUTE ON FUNCTION pg_stat_statements_reset(oid, oid, bigint) TO app",
        "COMMENT ON EXTENSION pg_stat_statements IS E'how often\nand how long'",
        # As some extensions have them: rows of their own that belong into a dump.
        "CREATE TABLE zones (name text); INSERT INTO zones VALUES ('mine')",
        "ALTER EXTENSION pg_stat_statements ADD TABLE zones",
        "UPDATE pg_extension SET extconfig = ARRAY['zones'::regclass::oid], extcondition = '{\"\"}'"
        " WHERE extname = 'pg_stat_statements'",
        "GRANT SELECT ON zones TO app",
    )
    sql("CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * n'")
    sql("REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC; GRANT SELECT (name) ON shop_book TO reader")
    sql("CREATE VIEW slow AS SELECT queryid FROM pg_stat_statements")
    file = tmp_path / "shop.dump"

    made = db("backup", str(file), "--json").json

    assert made["superuser_commands"] == [
        STATEMENTS,
        "CREATE SCHEMA IF NOT EXISTS extra; "
        "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA extra;",
    ]
    for name in ("shop", "another"):
        if name == "shop":
            assert db("wipe", "--yes-really", "shop").code == 0
        else:
            site.make(name)
            site.dba(name, *made["superuser_commands"])
            site.use(name)
        ran = db("restore", str(file), "--json")
        assert ran.code == 0, ran.err
        answer = ran.json
        assert answer["missing_extensions"] == []
        assert "TABLE DATA public zones" in answer["left_out"]
        assert (
            "ACL public FUNCTION pg_stat_statements_reset(userid oid, dbid oid, queryid bigint)"
            in (answer["left_out"])
        )
        assert not [each for each in answer["left_out"] if "twice" in each or "shop_book" in each]
        assert books(sql) == 7
        assert sql("SELECT relname FROM pg_class WHERE relname = 'slow'") == [("slow",)]
        # Grants on what is ours are as they were.
        assert sql("SELECT has_function_privilege('reader', 'twice(integer)', 'EXECUTE')") == [
            (False,)
        ]
        assert sql("SELECT has_column_privilege('reader', 'shop_book', 'name', 'SELECT')") == [
            (True,)
        ]
    assert site.dba("shop", "SELECT name FROM zones") == [("mine",)]


def test_an_extension_that_is_missing_is_named_with_the_command(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    site.dba("shop", "CREATE EXTENSION pg_stat_statements")
    sql("CREATE EXTENSION pg_trgm")  # which everybody may make
    file = tmp_path / "shop.dump"
    made = db("backup", str(file))
    assert made.code == 0, made.err
    assert f"a superuser says in the new database: {STATEMENTS}\n" in made.out
    site.use(site.make("another"))

    ran = db("restore", str(file))

    assert ran.code == 0, ran.err
    assert (
        "Left out the extension pg_stat_statements (permission denied to create extension "
        f'"pg_stat_statements"): {STATEMENTS}\n'
    ) in ran.out
    assert books(sql) == 7
    assert sql("SELECT extname FROM pg_extension ORDER BY 1") == [("pg_trgm",), ("plpgsql",)]


def test_what_needs_a_missing_extension_is_refused_with_the_command(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    site.dba("shop", "CREATE EXTENSION pg_stat_statements")
    sql("CREATE VIEW slow AS SELECT queryid FROM pg_stat_statements")
    file = tmp_path / "shop.dump"
    assert db("backup", str(file)).code == 0
    site.use(site.make("another"))

    ran = db("restore", str(file))

    assert ran.code == 1
    assert "Nothing was restored." in ran.err
    assert ran.err.endswith(f"a superuser says there first: {STATEMENTS}\n")
    site.dba("another", STATEMENTS)
    assert db("restore", str(file)).code == 0
    assert books(sql) == 7


def test_a_rehearsal_leaves_extensions_out_that_only_a_superuser_makes(
    site: Site, db: Db, sql: Sql
) -> None:
    site.dba("shop", "CREATE EXTENSION pg_stat_statements")
    with site.server.connect("shop", "app"):
        ran = db("rehearse")
        assert ran.code == 0, ran.err
        assert "dumped and loaded (1 client connected)" in ran.out
        assert "The copy is without the extension pg_stat_statements (permission denied" in ran.out
        assert STATEMENTS in ran.out
        sql("CREATE VIEW slow AS SELECT queryid FROM pg_stat_statements")
        refused = db("rehearse")
        assert refused.code == 1
        assert "The user may not make the extension pg_stat_statements" in refused.err
        assert "Rehearse while nobody else is connected" in refused.err
    connections[ALIAS].close()
    assert db("rehearse", "--json").json["copy"]["how"] == "template"
    site.dba(
        "shop", "DROP EXTENSION pg_stat_statements CASCADE", "CREATE PUBLICATION p FOR ALL TABLES"
    )
    with site.server.connect("shop", "app"):
        refused = db("rehearse")
    assert refused.code == 1
    assert "as it was. Rehearse while nobody else is connected" in refused.err


def test_a_collation_version_that_has_changed_is_no_end_of_a_rehearsal(site: Site, db: Db) -> None:
    site.make("icu_shop", "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'")
    site.migrate("icu_shop")
    site.dba(
        "postgres", "UPDATE pg_database SET datcollversion = '1.2.3' WHERE datname = 'icu_shop'"
    )

    answer = db("rehearse", "--json").json

    assert answer["failure"] is None
    assert answer["copy"]["how"] == "dump"
    assert "collation version mismatch" in answer["copy"]["why_loaded"]
    assert [each["name"] for each in answer["migrations"]] == ["0002_price"]


def test_a_copy_sorts_as_its_database_does_and_has_its_settings(
    site: Site, db: Db, sql: Sql
) -> None:
    locale = "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-ks-level1'"
    site.make("icu_shop", f"TEMPLATE template0 {locale} LC_COLLATE 'C' LC_CTYPE 'C'")
    site.migrate("icu_shop")
    sql("ALTER DATABASE icu_shop SET work_mem = '7MB'")
    sql("ALTER ROLE app IN DATABASE icu_shop SET search_path = public, pg_temp")
    facts = (
        "SELECT datlocprovider, to_jsonb(d) - ARRAY['oid', 'datname', 'datfrozenxid', 'datminmxid', "
        "'datdba', 'dathasloginevt'] FROM pg_database AS d WHERE datname = '{}'"
    )
    with site.server.connect("icu_shop", "app"):
        kept = db("rehearse", "--keep", "--json").json["copy"]["kept_as"]
    site.made.append(kept)
    assert site.dba("postgres", facts.format(kept)) == site.dba(
        "postgres", facts.format("icu_shop")
    )
    with site.server.connect(kept, "app") as app:
        assert app.execute("SELECT current_setting('work_mem')").fetchone() == ("7MB",)
        assert app.execute("SHOW search_path").fetchone() == ("public, pg_temp",)


def test_what_is_not_the_roles_is_named_and_nothing_is_wiped(site: Site, db: Db, sql: Sql) -> None:
    site.dba(
        "shop",
        "CREATE FOREIGN DATA WRAPPER elsewhere",
        "CREATE SCHEMA inner_room",
        "CREATE TABLE inner_room.notes ()",
        "CREATE TABLE dust ()",  # the owner of the schema may drop that
    )
    refused = db("wipe", "--yes-really", "shop")
    assert refused.code == 1
    assert refused.err == (
        "'app' may not drop foreign-data wrapper elsewhere, schema inner_room, table "
        "inner_room.notes in 'shop'. Nothing was dropped. Have their owner or a superuser say: DROP "
        "FOREIGN DATA WRAPPER IF EXISTS elsewhere CASCADE; DROP SCHEMA IF EXISTS inner_room CASCADE; "
        "DROP TABLE IF EXISTS inner_room.notes CASCADE; Then wipe again, or use another database.\n"
    )
    assert books(sql) == 7
    site.dba(
        "shop", "DROP FOREIGN DATA WRAPPER elsewhere", "DROP SCHEMA inner_room CASCADE",
        # Somebody else's settings for what they make are no objects, and not ours to change.
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app",
    )  # fmt: skip
    wiped = db("wipe", "--yes-really", "shop", "--json").json
    assert "table public.dust" in wiped["dropped"]
    assert db("wipe", "--yes-really", "shop").out == "shop is empty already.\n"


def test_what_the_other_server_does_not_have_is_named(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    site.dba(
        "shop",
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE fast LOCATION ''",
        "CREATE ROLE lost",
    )
    site.dba(
        "shop", "CREATE TABLE quick (n integer) TABLESPACE fast; ALTER TABLE quick OWNER TO lost"
    )
    file = tmp_path / "shop.dump"
    site.use("shop", user="dba")
    made = db("backup", str(file))
    connections[ALIAS].close()
    assert made.code == 0, made.err
    site.dba("shop", "DROP TABLE quick")
    site.dba("shop", "DROP TABLESPACE fast", "DROP ROLE lost")
    site.use(site.make("another"))

    for options, advice in [
        ([], "Make that tablespace, or leave tablespaces out with --no-tablespaces."),
        (["--no-tablespaces"], "Make that role, or leave owners and grants out with --no-owner."),
    ]:
        ran = db("restore", str(file), *options)
        assert ran.code == 1
        assert ran.err.endswith(f"Nothing was restored. {advice}\n")
    assert db("restore", str(file), "--no-tablespaces", "--no-owner").code == 0
    assert books(sql) == 7


def test_what_only_a_superuser_can_restore_is_named_before_and_after(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    site.dba(
        "shop",
        "CREATE FUNCTION noticed() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "ALTER FUNCTION noticed OWNER TO app",
        "CREATE EVENT TRIGGER noticing ON sql_drop EXECUTE FUNCTION noticed()",
        "ALTER DATABASE shop SET work_mem = '7MB'",
        "ALTER DATABASE shop SET app.password = 'hush'",
    )
    file = tmp_path / "shop.dump"
    assert "Only a superuser can restore event trigger noticing.\n" in db("backup", str(file)).out
    site.use(site.make("another"))

    refused = db("restore", str(file))

    assert refused.code == 1
    assert refused.err.endswith("Restore it as a superuser, for event trigger noticing.\n")
    site.use("another", user="dba")
    ran = db("restore", str(file))
    assert ran.code == 0, ran.err
    assert (
        "A dump has no settings of the database itself. Those of 'shop' were: ALTER DATABASE shop SET "
        "\"app.password\" = …; ALTER DATABASE shop SET work_mem = '7MB';\n"
    ) in ran.out
    assert books(sql) == 7


def dump_of_the_schema_site(site: Site, db: Db, folder: Path) -> Path:
    """Return the backup of a database whose tables are in the schema `site`."""
    site.make("apart")
    site.dba(
        "apart",
        "CREATE SCHEMA site AUTHORIZATION app",
        "ALTER DATABASE apart SET search_path = site",
    )
    site.migrate("apart")
    file = folder / "apart.dump"
    assert db("backup", str(file)).code == 0
    return file


def test_tables_in_a_schema_that_sessions_do_not_look_in_are_named_by_every_verb(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    file = dump_of_the_schema_site(site, db, tmp_path)
    site.use(site.make("another"))
    said = (
        'The tables are in the schema site, and sessions look in "$user", public. {}Let them look '
        "there: ALTER DATABASE another SET search_path = site, public; "
    )

    restored = db("restore", str(file))

    assert restored.code == 0, restored.err
    assert said.format("") in restored.out
    assert "ALTER DATABASE apart SET search_path = site;" in restored.out
    status = db("status")
    assert (status.code, said.format("") in status.out, "pending" in status.out) == (1, True, False)
    assert "Current      not known: the tables are in another schema, see below\n" in status.out
    for verb in (["upgrade"], ["rehearse"], ["stamp", "head"]):
        ran = db(*verb)
        assert ran.code == 1
        assert said.format("Nothing was changed. ") in ran.err
    with pytest.raises(CommandError, match="The tables are in the schema site"):
        call_command("migrate", database=ALIAS, verbosity=0)
    assert said.format("") in db("verify").out
    assert not sql("SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace")

    sql("ALTER DATABASE another SET search_path = site, public")
    site.use("another")
    assert [each["name"] for each in db("rehearse", "--json").json["migrations"]] == ["0002_price"]
    assert db("upgrade").code == 0
    assert db("status", "--json").json["at_head"]


def test_whoever_names_a_schema_in_database_url_may_have_tables_of_their_own_there(
    site: Site, db: Db, sql: Sql
) -> None:
    sql("CREATE SCHEMA second")
    site.use("shop")
    options = connections[ALIAS].settings_dict["OPTIONS"]
    options["options"] = "-csearch_path=second"
    status = db("status")
    assert "2 pending: apply with `manage.py db upgrade`.\n" in status.out
    assert "The tables are in the schema public, and sessions look in second." in status.out
    assert db("upgrade").code == 0
    assert sql("SELECT count(*) FROM second.shop_book") == [(0,)]
    assert sql("SELECT count(*) FROM public.shop_book") == [(7,)]


def test_a_search_path_that_leads_nowhere_is_explained_and_restored_into(
    site: Site, db: Db, sql: Sql, tmp_path: Path
) -> None:
    file = dump_of_the_schema_site(site, db, tmp_path)
    site.make("another")
    site.dba("another", "ALTER DATABASE another SET search_path = site")
    site.use("another")

    refused = db("upgrade")

    assert refused.code == 1
    assert "leads to no schema in which tables can be made" in refused.err
    assert db("restore", str(file)).code == 0
    assert db("upgrade").code == 0
    # The schema is still there for what comes next.
    assert db("wipe", "--yes-really", "another").code == 0
    assert db("restore", str(file)).code == 0
    assert db("status", "--json").json["last_applied"]["name"] == "0001_initial"
