"""What people made beside the migrations and what would go with a column or table is named, not taken."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.schema.packages import Packages, adds, creates, migration
from tests.schema.test_verify import as_guest
from tests.scratch import ALIAS

__all__ = ["as_guest"]

FIRST = [("shop", "0001_initial")]
PAGES = "models.IntegerField(null=True)"


@pytest.fixture
def shop(packages: Packages, database: str, db, sql) -> Packages:
    """A table of books with pages, applied, and a row."""
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_pages": adds("Book", "pages", PAGES, depends=FIRST),
        },
    )
    assert db("upgrade").code == 0
    sql("INSERT INTO shop_book (name, pages) VALUES ('a', 7)")
    return packages


BACK = ("downgrade", "shop", "0001", "--yes")
NAMED = "These were made by no migration, and go with what is dropped:\n"
REFUSED = (
    "Nothing was changed. Keep how they are made (`pg_dump --schema-only`), then drop them yourself, "
    "or let them go with --drop-dependents.\n"
)

OF_A_COLUMN = {
    "a view": ("CREATE VIEW thick AS SELECT id, pages FROM shop_book", "view thick"),
    "a view in another schema": (
        "CREATE SCHEMA reports; CREATE VIEW reports.thick AS SELECT pages FROM shop_book",
        "view reports.thick",
    ),
    "a materialized view": (
        "CREATE MATERIALIZED VIEW thick AS SELECT pages FROM shop_book; CREATE INDEX ON thick (pages)",
        "materialized view thick",
    ),
    "a view of a view": (
        "CREATE VIEW a AS SELECT pages FROM shop_book; CREATE VIEW b AS SELECT pages + 1 FROM a",
        "view a",
        "view b",
    ),
    "a function with a body": (
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql BEGIN ATOMIC "
        "SELECT sum(pages) FROM shop_book; END",
        "function total()",
    ),
    "a generated column": (
        "ALTER TABLE shop_book ADD COLUMN twice integer GENERATED ALWAYS AS (pages * 2) STORED",
        "column shop_book.twice",
    ),
    "a trigger of the column": (
        "CREATE TRIGGER stop BEFORE UPDATE OF pages ON shop_book FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger stop of shop_book",
    ),
    "a policy": (
        "CREATE POLICY few ON shop_book USING (pages < 9)",
        "policy few of shop_book",
    ),
    "a rule": (
        "CREATE RULE log AS ON UPDATE TO shop_book WHERE new.pages > 9 DO ALSO NOTHING",
        "rule log of shop_book",
    ),
    "statistics": (
        "CREATE STATISTICS both_of (ndistinct) ON name, pages FROM shop_book",
        "statistics both_of",
    ),
    "an index with another column": (
        "CREATE INDEX mine ON shop_book (name, pages)",
        "index mine",
    ),
    "a check with another column": (
        "ALTER TABLE shop_book ADD CONSTRAINT mine CHECK (length(name) < pages)",
        "constraint mine of shop_book",
    ),
    "a view of a table that inherits it": (
        "CREATE TABLE old_book () INHERITS (shop_book); CREATE VIEW old AS SELECT pages FROM old_book",
        "column old_book.pages",
        "view old",
    ),
}


@pytest.mark.parametrize("kind", OF_A_COLUMN)
def test_what_depends_on_a_column_is_refused_by_name_and_goes_if_told(shop, db, sql, kind):
    statements, *names = OF_A_COLUMN[kind]
    sql(statements)
    before = objects(sql)

    ran = db(*BACK)

    assert ran.code == 1
    lines = "".join(f"  {name} (depends on column shop_book.pages)\n" for name in names)
    assert ran.err == NAMED + lines + REFUSED
    assert objects(sql) == before

    ran = db(*BACK, "--drop-dependents")
    assert (ran.code, NAMED + lines in ran.out) == (0, True)
    assert len(sql("SELECT FROM pg_attribute WHERE attname = 'pages' AND NOT attisdropped")) == 0


OF_A_TABLE = {
    "a view": ("CREATE VIEW titles AS SELECT name FROM shop_book", "view titles"),
    "a foreign key of another table": (
        "CREATE TABLE loans (id int, book int CONSTRAINT loans_book REFERENCES shop_book)",
        "constraint loans_book of loans",
    ),
    "its row as a column of another table": (
        "CREATE TABLE copies (book shop_book)",
        "column copies.book",
    ),
    "its row as an argument": (
        "CREATE FUNCTION title(shop_book) RETURNS text LANGUAGE sql AS 'SELECT $1.name'",
        "function title(shop_book)",
    ),
    "its sequence as a default elsewhere": (
        "CREATE TABLE loans (id int DEFAULT nextval('shop_book_id_seq'))",
        "default loans.id",
    ),
    "a sequence that is its own": (
        "CREATE SEQUENCE tickets OWNED BY shop_book.name",
        "sequence tickets",
    ),
    "a table that inherits it": ("CREATE TABLE old_book () INHERITS (shop_book)", "table old_book"),
    "a trigger": (
        "CREATE TRIGGER stop BEFORE UPDATE ON shop_book FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "trigger stop of shop_book",
    ),
    "a publication": (
        "CREATE PUBLICATION feed FOR TABLE shop_book",
        "publication feed of shop_book",
    ),
    "a column of the site": (
        "ALTER TABLE shop_book ADD COLUMN site_tag text DEFAULT 'x'",
        "column shop_book.site_tag",
    ),
}


@pytest.mark.parametrize("kind", OF_A_TABLE)
def test_what_depends_on_a_table_is_refused_by_name_and_goes_if_told(shop, db, sql, kind):
    statements, name = OF_A_TABLE[kind]
    sql(statements)
    before = objects(sql)

    ran = db("downgrade", "shop", "zero", "--yes")

    assert ran.code == 1
    assert ran.err == f"{NAMED}  {name} (depends on table shop_book)\n{REFUSED}"
    assert objects(sql) == before

    ran = db("downgrade", "shop", "zero", "--yes", "--drop-dependents")
    assert ran.code == 0, ran.err
    assert sql("SELECT to_regclass('shop_book')") == [(None,)]
    assert sql("SELECT relname FROM pg_class WHERE relname IN ('loans', 'copies')") in (
        [],
        [("loans",)],
        [("copies",)],
    )


def test_the_way_forward_is_refused_as_well_by_upgrade_and_migrate_and_their_plans_name_it(
    shop, db, sql
):
    gone = migration('migrations.RemoveField("Book", "pages")', depends=[("shop", "0002_pages")])
    shop.write("shop", "0003_gone", gone)
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    line = "  view thick (depends on column shop_book.pages)\n"

    plan = db("upgrade", "--plan")
    assert (plan.code, plan.out.endswith(NAMED + line)) == (0, True)
    assert db("upgrade", "--plan", "--json").json["dependents"] == [
        {"kind": "view", "name": "thick", "depends_on": "column shop_book.pages"}
    ]
    out = StringIO()
    call_command("migrate", plan=True, database=ALIAS, stdout=out)
    assert out.getvalue().endswith(NAMED + line)

    assert (db("upgrade").code, db("upgrade").err) == (1, NAMED + line + REFUSED)
    with pytest.raises(CommandError) as refused:
        call_command("migrate", database=ALIAS, verbosity=0)
    assert f"{refused.value}\n" == NAMED + line + REFUSED
    assert db("rehearse").code == 1
    assert sql("SELECT pages FROM thick") == [(7,)]

    assert db("rehearse", "--drop-dependents").code == 0
    call_command("migrate", drop_dependents=True, database=ALIAS, verbosity=0)
    assert sql("SELECT to_regclass('thick')") == [(None,)]


def test_a_plan_back_names_it_beside_what_is_lost(shop, db, sql):
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    ran = db("downgrade", "-1", "--plan", "--json")
    assert (ran.code, ran.json["dependents"]) == (
        0,
        [{"kind": "view", "name": "thick", "depends_on": "column shop_book.pages"}],
    )
    assert db("downgrade", "-1").out.splitlines()[-1] == (
        "  column shop_book.pages: 1 row with a value"
    )
    assert "go with what is dropped:\n  view thick" in db("downgrade", "-1", "--plan").out


def test_a_table_that_goes_on_the_way_forward(shop, db, sql):
    gone = migration('migrations.DeleteModel("Book")', depends=[("shop", "0002_pages")])
    shop.write("shop", "0003_gone", gone)
    sql("CREATE VIEW titles AS SELECT name FROM shop_book")
    assert "view titles (depends on table shop_book)" in db("upgrade").err
    assert db("upgrade", "--drop-dependents").code == 0


def test_what_migrations_made_themselves_goes_with_them(shop, db, sql):
    made = (
        "CREATE VIEW thick AS SELECT pages FROM shop_book; CREATE FUNCTION f() RETURNS trigger "
        "LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; CREATE TRIGGER t BEFORE UPDATE OF pages ON "
        "shop_book FOR EACH ROW EXECUTE FUNCTION f()"
    )
    back = "DROP TRIGGER t ON shop_book; DROP FUNCTION f; DROP VIEW thick"
    text = migration(f"migrations.RunSQL({made!r}, {back!r})", depends=[("shop", "0002_pages")])
    shop.write("shop", "0003_view", text)
    assert db("upgrade").code == 0

    sql("CREATE VIEW mine AS SELECT pages FROM thick")
    assert db(*BACK).err == f"{NAMED}  view mine (depends on column shop_book.pages)\n{REFUSED}"
    sql("DROP VIEW mine")
    assert db("downgrade", "shop", "zero", "--yes").code == 0


def test_who_may_not_build_the_schema_beside_ours_is_told_of_all_that_depends(
    shop, db, sql, as_guest
):
    text = migration(
        "migrations.RunSQL('CREATE VIEW ours AS SELECT pages FROM shop_book', 'DROP VIEW ours')",
        depends=[("shop", "0002_pages")],
    )
    shop.write("shop", "0003_view", text)
    assert db("upgrade").code == 0
    sql("CREATE VIEW mine AS SELECT pages FROM shop_book")
    as_guest(may="CONNECT")
    assert db(*BACK).err == (
        f"{NAMED}  view mine (depends on column shop_book.pages)\n"
        f"  view ours (depends on column shop_book.pages)\n{REFUSED}"
    )


def test_what_statements_of_a_migration_drop_is_known_with_and_without_cascade(shop, db, sql):
    drop = 'ALTER TABLE "shop_book" DROP COLUMN IF EXISTS "pages"'
    step = (
        f"migrations.SeparateDatabaseAndState([migrations.RunSQL({drop!r})], "
        '[migrations.RemoveField("Book", "pages")])'
    )
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    shop.write("shop", "0003_gone", migration(step, depends=[("shop", "0002_pages")]))
    assert (
        db("upgrade").err == f"{NAMED}  view thick (depends on column shop_book.pages)\n{REFUSED}"
    )
    assert db("upgrade", "--drop-dependents").code == 0
    assert sql("SELECT to_regclass('thick')") == [(None,)]


COPIES = "from pixsim.core.db.column_copies import ColumnVersion, CopyColumn, ReplaceColumn\n"
WIDER = (
    'ReplaceColumn(table="shop_book", column="pages", new=ColumnVersion(type="bigint"), '
    'old=ColumnVersion(type="integer"))'
)


def test_a_column_that_a_copy_of_it_replaces_is_known_before_it_is_filled(shop, db, sql):
    text = migration(WIDER, depends=[("shop", "0002_pages")], more="atomic = False")
    shop.write("shop", "0003_wide", COPIES + text)
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    assert (
        db("upgrade").err == f"{NAMED}  view thick (depends on column shop_book.pages)\n{REFUSED}"
    )
    assert sql("SELECT FROM pg_attribute WHERE attname = 'pages_new'") == []

    assert db("upgrade", "--drop-dependents").code == 0
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    ran = db("downgrade", "-1", "--yes")
    assert (ran.code, "is lost" in ran.out) == (1, False)
    assert "view thick (depends on column shop_book.pages)" in ran.err


def test_a_copy_of_a_column_that_goes_again(shop, db, sql):
    copy = 'CopyColumn(table="shop_book", column="pages", copy="leaves", type="integer")'
    text = migration(copy, depends=[("shop", "0002_pages")], more="atomic = False")
    shop.write("shop", "0003_copy", COPIES + text)
    assert db("upgrade").code == 0
    sql("CREATE VIEW thick AS SELECT leaves FROM shop_book")
    assert "view thick (depends on column shop_book.leaves)" in db("downgrade", "-1", "--yes").err
    sql("DROP VIEW thick")
    assert db("downgrade", "-1", "--yes").code == 0


def test_a_field_that_only_the_models_lose_takes_nothing_along(shop, db, sql):
    step = 'migrations.SeparateDatabaseAndState([], [migrations.RemoveField("Book", "pages")])'
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    shop.write("shop", "0003_gone", migration(step, depends=[("shop", "0002_pages")]))
    assert db("upgrade").code == 0
    assert sql("SELECT pages FROM thick") == [(7,)]


def test_a_name_that_the_run_itself_changes_is_followed(shop, db, sql):
    shop.write(
        "shop",
        "0003_renamed",
        migration(
            'migrations.RenameModel("Book", "Tome"), migrations.RenameField("Tome", "pages", "leaves")',
            depends=[("shop", "0002_pages")],
        ),
    )
    assert db("upgrade").code == 0
    sql("CREATE VIEW thick AS SELECT leaves FROM shop_tome")

    ran = db(*BACK)
    assert ran.err == f"{NAMED}  view thick (depends on column shop_tome.leaves)\n{REFUSED}"
    assert "  column shop_tome.leaves: 1 row with a value" in ran.out
    assert "  table shop_tome: 1 row" in db("downgrade", "shop", "zero", "--yes").out
    assert db(*BACK, "--drop-dependents").code == 0
    assert sql("SELECT to_regclass('thick')") == [(None,)]


UNIQUE = (
    'migrations.AddConstraint("Book", models.UniqueConstraint(fields=["name"], name="uq_name"))'
)


def test_a_foreign_key_of_others_that_needs_a_constraint_of_ours(shop, db, sql):
    shop.write("shop", "0003_one", migration(UNIQUE, depends=[("shop", "0002_pages")]))
    assert db("upgrade").code == 0
    sql("CREATE TABLE loans (name text CONSTRAINT loans_name REFERENCES shop_book (name))")

    ran = db("downgrade", "-1", "--yes")
    assert ran.err == (
        f"{NAMED}  constraint loans_name of loans (depends on constraint uq_name of shop_book)\n"
        f"{REFUSED}"
    )
    assert db("downgrade", "-1", "--yes", "--drop-dependents").code == 0


def test_what_is_only_recorded_as_taken_back_takes_nothing_along(shop, db, sql):
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    call_command("migrate", "shop", "0001", fake=True, database=ALIAS, verbosity=0)
    assert sql("SELECT pages FROM thick") == [(7,)]


def test_without_a_transaction_too_and_only_what_was_named_goes(shop, db, sql):
    step = 'migrations.RemoveField("Book", "pages")'
    text = migration(step, depends=[("shop", "0002_pages")], more="atomic = False")
    shop.write("shop", "0003_gone", text)
    sql(
        "CREATE VIEW thick AS SELECT pages FROM shop_book; "
        "CREATE VIEW names AS SELECT name FROM shop_book"
    )
    assert db("upgrade").code == 1
    assert db("upgrade", "--drop-dependents").code == 0
    assert sql("SELECT to_regclass('thick'), to_regclass('names')::text") == [(None, "names")]


def test_a_type_that_a_view_holds_is_refused_by_the_server_with_both_names(shop, db, sql):
    step = 'migrations.AlterField("Book", "pages", models.BigIntegerField(null=True))'
    shop.write("shop", "0003_wide", migration(step, depends=[("shop", "0002_pages")]))
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")

    ran = db("upgrade")

    assert ran.code == 1
    assert "cannot alter type of a column used by a view or rule" in ran.err
    assert 'rule _RETURN on view thick depends on column "pages"' in ran.err


def test_the_script_for_psql_takes_nothing_along(shop, db, sql):
    sql("CREATE VIEW thick AS SELECT pages FROM shop_book")
    script = db("downgrade", "shop", "0002:0001", "--sql").out
    assert "DROP COLUMN" in script
    assert "CASCADE" not in script


def objects(sql) -> list[tuple[object, ...]]:
    """Return all that stands in the catalogue of relations and their parts."""
    return sql(
        "SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_rewrite), "
        "(SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_constraint), "
        "(SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_policy), "
        "(SELECT array_agg(name ORDER BY id) FROM django_migrations)"
    )
