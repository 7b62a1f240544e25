"""What a database says it is may be wrong: then nothing is written, and the right words are named."""

import pytest
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from tests.adoption.legacy import STATES
from tests.scratch import ALIAS


@pytest.fixture
def tables(sql):
    """The names of all tables, to see that none was made."""
    return lambda: sql("SELECT schemaname, tablename FROM pg_tables ORDER BY 1, 2")


@pytest.mark.parametrize("how", [(), ("--apply", "--yes")], ids=["report", "apply"])
@pytest.mark.parametrize(
    ("name", "stored", "says", "assume"),
    [
        (
            "pixsim7-2330addema-models",
            ["0f49690850e3"],
            "alembic_version names 0f49690850e3, a revision that nobody has.",
            "2330addema",
        ),
        (
            "pixsim7-7425b92ac62e",
            [],
            "alembic_version is empty.",
            "7425b92ac62e",
        ),
        ("pixsim7-daa977a0bfa9-migrated", None, "alembic_version is missing.", "daa977a0bfa9"),
        (
            "pixcrawler-002",
            ["001", "002"],
            "alembic_version names 2 revisions: 001, 002.",
            "002",
        ),
        # It names one that exists, but the tables are another's.
        ("pixcrawler-002", ["001"], "alembic_version names 001, but its tables are not so.", "002"),
        (
            "pixsim7-7425b92ac62e",
            ["1105simplifylineage"],
            "alembic_version names 1105simplifylineage, but its tables are not so.",
            "7425b92ac62e",
        ),
    ],
)
def test_a_revision_that_cannot_be_right(
    name, stored, says, assume, how, database, sql, db, tables
):
    STATES[name].build(sql)
    sql("DELETE FROM alembic_version" if stored is not None else "DROP TABLE alembic_version")
    for revision in stored or ():
        sql("INSERT INTO alembic_version VALUES (%s)", revision)
    before = tables()

    ran = db("adopt", *how)

    assert ran.code == 1
    assert says in ran.err
    assert "Nothing was written." in ran.err
    assert f"`manage.py db adopt --assume {assume}`" in ran.err
    assert tables() == before


def test_what_is_assumed_is_believed_if_the_tables_agree(database, sql, db):
    STATES["pixsim7-2330addema-models"].build(sql)
    sql("UPDATE alembic_version SET version_num = '0f49690850e3'")

    wrong = db("adopt", "--assume", "7425b92ac62e")
    unknown = db("adopt", "--assume", "7bea168f7920")
    right = db("adopt", "--assume", "2330addema", "--json")

    assert (wrong.code, unknown.code, right.code) == (1, 2, 0)
    assert "is not right. Nothing was written." in wrong.err
    assert "--assume 2330addema" in wrong.err
    assert "7bea168f7920: nobody knows it" in unknown.err
    assert (right.json["revision"], right.json["applied"]) == ("2330addema", False)
    assert ["providers", "0006_generation_time"] in right.json["equals"]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT 1", "This database is empty: there is nothing to adopt."),
        ("CREATE TABLE songs (id uuid PRIMARY KEY)", "those of no system that we know"),
    ],
)
def test_a_database_of_nobody_we_know(statement, says, database, sql, db, tables):
    sql(statement)
    before = tables()

    ran = db("adopt")

    assert ran.code == 1
    assert says in ran.err
    assert tables() == before


def test_a_database_of_ours_is_not_adopted(database, db):
    recorder = MigrationRecorder(connections[ALIAS])
    recorder.ensure_schema()
    recorder.record_applied("crawler", "0001_datasets")

    ran = db("adopt", "--apply", "--yes")

    assert ran.code == 1
    assert "ours already" in ran.err
