"""One schema read from `pg_catalog`: everything in it, nothing beside it, and nothing changed."""

import pytest
from django.db import connections, transaction

from pixsim.schema.catalog import read_schema
from tests.scratch import ALIAS

THINGS = """
CREATE TABLE pens (id serial PRIMARY KEY, ink int NOT NULL, cap int GENERATED ALWAYS AS IDENTITY,
    caps int[] DEFAULT '{}', price numeric(10, 2) DEFAULT 0.5, CHECK (price > 0));
CREATE TABLE "Lids" (pen int REFERENCES pens, n int, CONSTRAINT n_there NOT NULL n NO INHERIT);
CREATE VIEW dear AS SELECT * FROM pens WHERE price > 9;
CREATE SEQUENCE tickets;
CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.pens (id int);
"""


@pytest.fixture
def things(database, sql):
    # Only PostgreSQL 18 can name a NOT NULL constraint in a table of one's own.
    named = sql("SELECT current_setting('server_version_num')::int >= 180000")[0][0]
    sql(THINGS if named else THINGS.replace(", CONSTRAINT n_there NOT NULL n NO INHERIT", ""))
    return connections[ALIAS]


def test_columns_say_type_null_default_and_how_they_count(things):
    schema = read_schema(things)
    assert list(schema.tables) == ["Lids", "pens"]
    columns = schema.tables["pens"].columns
    assert list(columns) == ["id", "ink", "cap", "caps", "price"]
    assert [(each.type, each.nullable) for each in columns.values()] == [
        ("integer", False),
        ("integer", False),
        ("integer", False),
        ("integer[]", True),
        ("numeric(10,2)", True),
    ]
    assert [(each.default, each.counter) for each in columns.values()] == [
        (None, "by default"),
        (None, ""),
        (None, "always"),
        ("'{}'::integer[]", ""),
        ("0.5", ""),
    ]
    assert {name: each.owner for name, each in schema.sequences.items()} == {
        "pens_cap_seq": "pens.cap",
        "pens_id_seq": "pens.id",
        "tickets": "",
    }


def test_not_null_is_never_taken_for_a_constraint_of_its_own(things):
    schema = read_schema(things)
    kinds = [each.kind for table in schema.tables.values() for each in table.constraints.values()]
    assert sorted(kinds) == ["check", "foreign key", "primary key"]
    (key,) = schema.tables["Lids"].constraints.values()
    assert (key.columns, key.to_table, key.to_columns) == (("pen",), "pens", ("id",))


def test_the_last_number_of_a_sequence(things, sql):
    assert read_schema(things).sequences["tickets"].last is None
    sql("SELECT nextval('tickets'), nextval('tickets')")
    assert read_schema(things).sequences["tickets"].last == 2


def test_another_schema_by_name_and_the_search_path_as_before(things, sql):
    sql("SET search_path = public, elsewhere")
    assert list(read_schema(things, "elsewhere").tables["pens"].columns) == ["id"]
    assert sql("SHOW search_path") == [("public, elsewhere",)]


def test_it_sees_what_its_own_transaction_did(things, sql):
    with transaction.atomic(using=ALIAS):
        sql("DROP TABLE pens CASCADE")
        assert list(read_schema(things).tables) == ["Lids"]
        transaction.set_rollback(True, using=ALIAS)
    assert list(read_schema(things).tables) == ["Lids", "pens"]
