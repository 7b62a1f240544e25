"""`db verify`: a database is what its migrations make, at any point of history, or it is said."""

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema import backfills, drift
from pixsim.schema.reference import reference
from tests.schema.commands import Start, scratch_url, start, wait_until
from tests.schema.packages import adds, creates, migration
from tests.scratch import ALIAS, NAME

__all__ = ["start"]
SCRATCH = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pixsim_reference_%'"
ADD_NOTE = adds("Pen", "note", "models.TextField(null=True)", depends=[("shop", "0001_initial")])


@pytest.fixture
def shop(packages, database):
    """An app with two migrations, applied."""
    packages.add("shop", {"0001_initial": creates("Pen"), "0002_note": ADD_NOTE})
    call_command("migrate", database=ALIAS, verbosity=0)
    return packages


def test_a_fresh_database_is_clean(at_head, db, sql):
    ran = db("verify", "--json")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        0,
        f"Clean: {len(ran.json['migrations'])} migrations compared.",
    )
    assert ran.json["clean"]
    assert ran.json["pending"] == ran.json["invariants"] == ran.json["not_proved"] == []
    assert sql(SCRATCH) == []


@pytest.mark.long
def test_so_is_one_at_an_older_point_where_later_columns_and_invariants_are_not_yet(database, db):
    for app, name in (("accounts", "0004"), ("crawler", "0003"), ("providers", "0003")):
        call_command("migrate", app, name, database=ALIAS, verbosity=0)
    behind = db("verify")
    assert behind.code == 0
    assert "migrations; compared with what is applied.\nClean: " in behind.out


def test_drift_and_unknown_tables_are_told_apart(shop, db, sql):
    sql("ALTER TABLE shop_pen ALTER COLUMN name DROP NOT NULL; CREATE TABLE visitors (id int)")
    sql(backfills.CREATE)  # which is bookkeeping
    ran = db("verify")
    assert (ran.code, ran.out) == (
        1,
        "column shop_pen.name: expected not null, found null\n"
        "Not of any migration, and left alone: visitors.\n",
    )
    answer = db("verify", "--json").json
    assert (answer["clean"], answer["unknown_tables"]) == (False, ["visitors"])
    assert answer["differences"] == [
        {
            "kind": "column",
            "table": "shop_pen",
            "name": "name",
            "expected": "not null",
            "found": "null",
        }
    ]


def test_other_kinds_of_objects_are_looked_for_too(packages, database, db, sql):
    collation = "CREATE COLLATION plain (locale = 'C')"
    total = "CREATE AGGREGATE total(shop_pen) (sfunc = pair, stype = bigint)"
    pair = "CREATE FUNCTION pair(bigint, shop_pen) RETURNS bigint LANGUAGE sql AS 'SELECT 1'"
    steps = [f'migrations.RunSQL("""{text}""", "")' for text in (collation, pair, total)]
    packages.add(
        "shop",
        {
            "0001_initial": creates("Pen"),
            "0002_more": migration(", ".join(steps), depends=[("shop", "0001_initial")]),
        },
    )
    call_command("migrate", database=ALIAS, verbosity=0)
    sql("CREATE TEXT SEARCH CONFIGURATION mine (copy = simple); CREATE VIEW ours AS SELECT 1")
    sql("CREATE FUNCTION twice(shop_pen) RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    others = "function twice(shop_pen), text search configuration mine"
    said = f"Not of any migration, and left alone: view ours, {others}.\n"
    assert db("verify").out == f"{said}Clean: 2 migrations compared.\n"
    assert ", ".join(db("verify", "--json").json["unknown_objects"]) == others

    sql("DROP COLLATION plain; DROP AGGREGATE total(shop_pen)")

    ran = db("verify")
    assert (ran.code, ran.out) == (
        1,
        "aggregate total(shop_pen): expected an aggregate, found nothing\n"
        f"collation plain: expected a collation, found nothing\n{said}",
    )


def test_rows_are_proved_unless_one_asks_not_to(packages, database, db, sql):
    key = 'models.ForeignKey("shop.Pen", models.CASCADE, null=True, db_constraint=True)'
    packages.add(
        "shop",
        {
            "0001_initial": creates("Pen"),
            "0002_cap": adds("Pen", "lid", key, depends=[("shop", "0001_initial")]),
        },
    )
    call_command("migrate", database=ALIAS, verbosity=0)
    sql(
        "SET session_replication_role = replica; INSERT INTO shop_pen (name, lid_id) VALUES ('', 9)"
    )
    ran = db("verify")
    assert (ran.code, ran.out) == (
        1,
        "shop_pen.lid_id: expected: It names a row of shop_pen, or nothing. "
        "Found 1 rows where not: id=1, lid_id=9\n",
    )
    assert db("verify", "--no-rows").out == "Clean: 2 migrations compared.\n"


def test_what_is_recorded_but_not_there_is_a_difference(shop, db, sql):
    sql("ALTER TABLE shop_pen DROP COLUMN note")
    assert (
        db("verify").out == "column shop_pen.note: expected text, null, no default, found nothing\n"
    )
    sql("DELETE FROM django_migrations WHERE name = '0002_note'")
    ran = db("verify")
    assert (ran.code, ran.out) == (
        0,
        "Behind head by 1 migration; compared with what is applied.\n"
        "Clean: 1 migrations compared.\n",
    )
    # Before a row is recorded: whether the schema is where it would say.
    there = [
        str(each) for each in drift.differences(connections[ALIAS], at=[("shop", "0002_note")])
    ]
    assert there == ["column shop_pen.note: expected text, null, no default, found nothing"]


MADE = """
CREATE VIEW names AS SELECT count(*) AS n FROM shop_pen;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM shop_pen;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER kept BEFORE UPDATE ON shop_pen FOR EACH ROW EXECUTE FUNCTION keep();
CREATE RULE stays AS ON DELETE TO shop_pen DO INSTEAD NOTHING;
CREATE POLICY all_of_it ON shop_pen USING (id > 0);
"""


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("SELECT", "Clean: 3 migrations compared."),
        (
            "DROP VIEW names",
            "view names: expected SELECT count(*) AS n FROM shop_pen, found nothing",
        ),
        (
            "CREATE OR REPLACE VIEW names AS SELECT count(*) + 1 AS n FROM shop_pen",
            "view names: expected SELECT count(*) AS n FROM shop_pen, found SELECT count(*) + 1 AS n "
            "FROM shop_pen",
        ),
        (
            "DROP MATERIALIZED VIEW counted",
            "materialized view counted: expected SELECT count(*) AS count FROM shop_pen, found nothing",
        ),
        (
            "DROP TRIGGER kept ON shop_pen",
            "trigger kept of shop_pen: expected CREATE TRIGGER kept BEFORE UPDATE ON shop_pen FOR "
            "EACH ROW EXECUTE FUNCTION keep(), found nothing",
        ),
        (
            "DROP FUNCTION keep CASCADE",
            "function keep(): expected RETURNS trigger LANGUAGE plpgsql AS BEGIN RETURN new; END, "
            "found nothing",
        ),
        (
            "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN "
            "old; END'",
            "found RETURNS trigger LANGUAGE plpgsql AS BEGIN RETURN old; END",
        ),
        (
            "DROP RULE stays ON shop_pen",
            "rule stays of shop_pen: expected CREATE RULE stays AS ON DELETE TO shop_pen DO INSTEAD "
            "NOTHING;, found nothing",
        ),
        (
            "DROP POLICY all_of_it ON shop_pen",
            "policy all_of_it of shop_pen: expected PERMISSIVE FOR ALL TO PUBLIC USING ((id > 0)), "
            "found nothing",
        ),
    ],
)
def test_what_migrations_made_beside_tables_is_compared(shop, db, sql, statement, sentence):
    text = migration(f"migrations.RunSQL({MADE!r})", depends=[("shop", "0002_note")])
    shop.write("shop", "0003_beside", text)
    call_command("migrate", database=ALIAS, verbosity=0)

    sql(statement)
    ran = db("verify")

    assert sentence in ran.out
    assert ran.code == (0 if statement == "SELECT" else 1)


def test_views_of_others_are_named_and_left_alone(shop, db, sql):
    sql("CREATE TABLE visitors (id int); CREATE VIEW titles AS SELECT name FROM shop_pen")
    ran = db("verify")
    assert (ran.code, ran.out) == (
        0,
        "Not of any migration, and left alone: visitors, view titles.\n"
        "Clean: 2 migrations compared.\n",
    )
    assert db("verify", "--json").json["unknown_views"] == ["view titles"]


def test_what_a_row_without_a_file_did_is_not_proved_and_another_projects_is_let_be(shop, db, sql):
    shop.remove("shop", "0002_note")
    sql("INSERT INTO django_migrations (app, name, applied) VALUES ('old', '0001_it', now())")
    gone = (
        "Applied, but its file is gone, so that nobody knows what it did: shop 0002_note. Bring the "
        "file back, or see to what it did and forget the row with `manage.py db prune`.\n"
    )
    foreign = "Applied by an app that is not installed here, and left alone: old 0001_it.\n"
    ran = db("verify")
    assert ran.code == 1
    assert ran.out == (
        f"{gone}{foreign}column shop_pen.note: expected nothing, found text, null, no default\n"
    )
    sql("ALTER TABLE shop_pen DROP COLUMN note")
    ran = db("verify")
    assert (ran.code, ran.out) == (1, f"{gone}{foreign}")
    db("prune", "--yes")
    ran = db("verify")
    assert (ran.code, ran.out) == (0, f"{foreign}Clean: 1 migrations compared.\n")


def test_squashed_migrations_stand_for_what_they_replace(shop, db, sql):
    squashed = migration(
        'migrations.CreateModel("Pen", [("id", models.AutoField(primary_key=True)), '
        '("name", models.TextField(default="")), ("note", models.TextField(null=True))])',
        more="replaces = [('shop', '0001_initial'), ('shop', '0002_note')]",
    )
    shop.write("shop", "0001_squashed", squashed)
    assert db("verify").out == "Clean: 1 migrations compared.\n"

    # While only some of them are applied, they stand for themselves.
    sql("ALTER TABLE shop_pen DROP COLUMN note")
    sql("DELETE FROM django_migrations WHERE name <> '0001_initial'")
    assert db("verify").out == (
        "Behind head by 1 migration; compared with what is applied.\n"
        "Clean: 1 migrations compared.\n"
    )


def test_an_empty_database_and_one_of_alembic_are_not_called_clean(packages, database, db, sql):
    packages.add("shop", {"0001_initial": creates("Pen")})
    ran = db("verify")
    assert (ran.code, ran.out) == (
        1,
        "Nothing is recorded as applied, so there is nothing to compare with.\n",
    )
    sql(
        "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('002')"
    )
    ran = db("verify")
    assert (ran.code, ran.out.splitlines()[0]) == (
        1,
        "Alembic made this database (it is at revision 002): take it over with `manage.py db adopt`.",
    )


def test_migrations_that_cannot_be_applied_from_nothing_are_one_message(shop, db, sql):
    broken = migration('migrations.RunSQL("SELECT nothing")', depends=[("shop", "0002_note")])
    shop.write("shop", "0003_broken", broken)
    call_command("migrate", fake=True, database=ALIAS, verbosity=0)
    ran = db("verify")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("The migrations cannot be applied from nothing: ProgrammingError: ")
    assert ran.err.endswith("The database itself was not touched.\n")
    assert sql(SCRATCH) == []


def test_a_data_step_that_forgets_its_database_does_not_reach_the_live_one(shop, db):
    step = (
        "from django.db import connections\n"
        "def step(apps, editor):\n"
        f"    connections[{ALIAS!r}].cursor().execute('DELETE FROM shop_pen')\n"
    )
    text = migration("migrations.RunPython(step)", depends=[("shop", "0002_note")])
    shop.write("shop", "0003_step", step + text)
    call_command("migrate", fake=True, database=ALIAS, verbosity=0)
    ran = db("verify")
    assert ran.code == 1
    assert f"A migration used the database {ALIAS!r} instead of the one it is applied to" in ran.err


def test_it_works_without_createdb_and_says_what_it_needs(shop, db, sql, as_guest):
    as_guest(may="CREATE")
    assert sql("SELECT rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user") == [
        (False, False)
    ]
    assert db("verify").out == "Clean: 2 migrations compared.\n"
    as_guest(may="CONNECT")
    ran = db("verify")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("There is no place to build the reference schema in 'pixsim_scratch_")
    assert "permission denied for database" in ran.err
    assert "The user needs CREATE on this database" in ran.err


@pytest.fixture
def as_guest(shop, sql):
    """Go on as a role that may read, and one more thing."""
    connection = connections[ALIAS]
    before = dict(connection.settings_dict)
    guest = f"{NAME}_guest"

    def become(*, may: str) -> None:
        go_back()
        sql(f'REVOKE ALL ON DATABASE "{NAME}" FROM {guest}')
        sql(f'GRANT {may} ON DATABASE "{NAME}" TO {guest}')
        connection.close()
        connection.settings_dict |= {"USER": guest, "PASSWORD": guest}

    def go_back() -> None:
        connection.close()
        connection.settings_dict |= before

    sql(f"CREATE ROLE {guest} LOGIN PASSWORD '{guest}'; GRANT pg_read_all_data TO {guest}")
    yield become
    go_back()
    sql(f"DROP OWNED BY {guest}; DROP ROLE {guest}")


def test_a_killed_run_leaves_a_place_that_the_next_one_clears(database, sql, start: Start):
    call_command("migrate", "accounts", database=ALIAS, verbosity=0)
    process = start("verify")
    wait_until(lambda: sql(SCRATCH))
    process.kill()
    process.wait()
    [(left,)] = sql(SCRATCH)
    session = "SELECT FROM pg_stat_activity WHERE application_name = %s"
    wait_until(lambda: not sql(session, left))

    with reference(connections[ALIAS], at=[]) as built:
        assert sql(SCRATCH) == [(built.schema.name,)]
    assert sql(SCRATCH) == []


def test_the_place_of_a_run_that_lives_stays(shop, db, sql):
    name = "pixsim_reference_1_1"
    sql(f"CREATE SCHEMA {name}")
    with psycopg.connect(scratch_url(), application_name=name):
        assert db("verify").code == 0
        assert sql(SCRATCH) == [(name,)]
