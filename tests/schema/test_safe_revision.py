"""`db revision` writes the safe form itself: ten changes that people write unsafely, and their edges."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.utils import ProgrammingError

from pixsim.schema.catalog import read_schema
from pixsim.schema.destructive_changes import walk
from pixsim.schema.history import load_migrations
from pixsim.schema.lock_retry import LockPolicy, LockRetry
from pixsim.schema.unsafe import review
from tests.schema.changes import CHANGES, INSERT, MODELS, UPDATE, written
from tests.scratch import ALIAS

FILL = """
CREATE SEQUENCE n START 1000;
INSERT INTO toys_toy (name, code, price) SELECT 'toy ' || n, 'c' || n, nullif(n % 3, 0)
FROM generate_series(1, 30) AS n
"""


@pytest.fixture
def toys(packages, database, db, sql):
    """The toy's app with 30 rows, made by a first revision."""
    packages.add("toys", {}, models=MODELS)
    assert db("revision", "-m", "toys", "toys").code == 0
    fine(db("upgrade"))
    sql(FILL)
    return packages


def fine(ran):
    assert ran.code == 0, ran.out + ran.err
    return ran


def change(toys, db, models):
    """Write what leads to the models; the texts of the files."""
    toys.models("toys", models)
    fine(db("revision", "-m", "change", "--yes"))
    return written(toys)


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_written_safely_and_goes_up_and_down(toys, db, sql, name):
    it = CHANGES[name]
    before = read_schema(connections[ALIAS])

    files = change(toys, db, it.after)

    assert tuple(files) == it.files
    text = "".join(files.values())
    for part in it.contains:
        assert part in text
    for each in files.values():
        assert each.startswith('"""Change.\n\n')
        assert "\nLock: " in each
        assert "\nBack: " in each
    if it.waits:
        assert "Breaks: code of the release before" in files[it.files[-1]]
    assert db("revision").out == "Nothing changed in the models.\n"
    fine(db("check"))

    fine(db("upgrade", "toys", it.files[0][:4] if it.waits else "head"))
    for statements in (it.old_code, it.new_code or it.old_code):
        for statement in statements:
            sql(statement, *([1] if "%s" in statement else []))
    fine(db("upgrade"))
    for statement in it.new_code or it.old_code:
        sql(statement, *([2] if "%s" in statement else []))
    assert "Clean: " in fine(db("verify")).out
    fine(db("check"))

    fine(db("downgrade", "toys", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out
    for statement in (INSERT, UPDATE):
        sql(statement, *([1] if "%s" in statement else []))
    assert [columns_of(before, "toys_toy")] == [
        columns_of(read_schema(connections[ALIAS]), "toys_toy")
    ]
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out


def columns_of(schema, table):
    """The columns, constraints and indexes, in any order."""
    found = schema.tables[table]
    return (
        {name: (each.type, each.nullable, each.default) for name, each in found.columns.items()},
        {name: each.definition for name, each in found.constraints.items()},
        set(found.indexes),
        set(found.triggers),
    )


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_that_is_written_blocks(toys, db, name):
    files = change(toys, db, CHANGES[name].after)
    loader = load_migrations(None)
    new = [loader.disk_migrations["toys", each[:-3]] for each in files]
    found = [
        finding
        for migration, state in walk(loader, new)
        for finding in review(migration, state, connections[ALIAS])
    ]
    assert [each for each in found if each.kind == "blocks"] == []


@pytest.mark.parametrize("name", CHANGES)
def test_the_script_says_the_same_as_the_run(toys, db, sql, name, tmp_path):
    """The SQL of what is written, run by psql, makes the same schema."""
    change(toys, db, CHANGES[name].after)
    script = fine(db("sql", "toys", "0001:head")).out
    (tmp_path / "script.sql").write_text(script)
    where = connections[ALIAS].settings_dict
    done = subprocess.run(
        [shutil.which("psql") or "psql", "-q", "-f", tmp_path / "script.sql"],
        env={
            "PGHOST": where["HOST"],
            "PGPORT": str(where["PORT"]),
            "PGUSER": where["USER"],
            "PGPASSWORD": where["PASSWORD"],
            "PGDATABASE": where["NAME"],
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Clean: " in fine(db("verify")).out


STOPS = """
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''a full disk''; END';
CREATE TRIGGER zz_stop BEFORE UPDATE ON toys_toy FOR EACH ROW WHEN (NEW.id = 24)
    EXECUTE FUNCTION stop()
"""


@pytest.mark.parametrize(
    "name", ["a column that becomes required", "a renamed column", "a wider type"]
)
def test_a_run_that_was_stopped_goes_on(toys, db, sql, name):
    change(toys, db, CHANGES[name].after)
    sql(STOPS)
    ran = db("upgrade")
    assert ran.code == 1
    assert "a full disk" in ran.err
    sql("DROP TRIGGER zz_stop ON toys_toy; DROP FUNCTION stop")
    for statement in CHANGES[name].old_code:
        if name != "a column that becomes required" or statement is INSERT:
            sql(statement, *([1] if "%s" in statement else []))
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out


@pytest.mark.parametrize("name", CHANGES)
def test_each_step_may_be_repeated(toys, db, name):
    """As the run after a kill repeats the step that the killed one was in."""
    connection = connections[ALIAS]
    files = change(toys, db, CHANGES[name].after)
    waiting = LockRetry(connection, LockPolicy.from_settings())
    loader = load_migrations(None)
    migrations = [loader.disk_migrations["toys", each[:-3]] for each in files]
    for migration, state in walk(loader, migrations):
        for operation in migration.operations:
            after = state.clone()
            operation.state_forwards("toys", after)
            for _ in range(1 if migration.atomic else 2):
                with (
                    waiting.open(),
                    waiting.replaying(True),
                    connection.schema_editor(atomic=migration.atomic) as editor,
                ):
                    operation.database_forwards("toys", editor, state, after)
            state = after
        MigrationRecorder(connection).record_applied("toys", migration.name)
    assert "Clean: " in fine(db("verify")).out


def test_it_is_formatted_as_the_project_formats(toys, db):
    change(toys, db, CHANGES["a foreign key"].after)
    folder = toys.folder / "toys" / "migrations"
    ruff = Path(sys.executable).parent / "ruff"
    for words in (["format", "--check"], ["check", "--select", "E,F,I", "--ignore", "E501"]):
        done = subprocess.run([ruff, *words, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_code_of_both_releases_runs_while_a_column_has_two_names(toys, db, sql):
    change(toys, db, CHANGES["a renamed column"].after)
    fine(db("upgrade", "toys", "0002"))
    both = "SELECT name, title FROM toys_toy WHERE id = %s"
    assert sql(both, 1) == [("toy 1", "toy 1")]
    sql("UPDATE toys_toy SET name = 'old code' WHERE id = 1")
    assert sql(both, 1) == [("old code", "old code")]
    sql("UPDATE toys_toy SET title = 'new code' WHERE id = 1")
    assert sql(both, 1) == [("new code", "new code")]
    ((old,),) = sql("INSERT INTO toys_toy (name, code) VALUES ('a', 'x') RETURNING id")
    ((new,),) = sql("INSERT INTO toys_toy (title, code) VALUES ('b', 'y') RETURNING id")
    assert sql(both, old) + sql(both, new) == [("a", "a"), ("b", "b")]
    fine(db("upgrade"))
    fine(db("downgrade", "toys", "0001", "--yes"))
    assert sql("SELECT name FROM toys_toy WHERE id = ANY(%s) ORDER BY id", [1, old, new]) == [
        ("new code",),
        ("a",),
        ("b",),
    ]


def test_rows_of_each_kind_have_their_value(toys, db, sql):
    change(toys, db, CHANGES["a column that becomes required"].after)
    fine(db("upgrade"))
    assert sql("SELECT price, count(*) FROM toys_toy GROUP BY 1 ORDER BY 1") == [
        (1, 10),
        (2, 10),
        (7, 10),
    ]
    sql("INSERT INTO toys_toy (name, code) VALUES ('a', 'x')")
    assert sql("SELECT price FROM toys_toy WHERE code = 'x'") == [(7,)]


def test_a_column_becomes_required_only_when_every_row_has_a_value(toys, db, sql):
    change(toys, db, MODELS.replace("IntegerField(null=True)", "IntegerField()"))
    ran = db("upgrade")
    assert ran.code == 1
    assert 'constraint "toys_toy_price_not_null"' in ran.err
    with pytest.raises(Exception, match="toys_toy_price_not_null"):
        sql("INSERT INTO toys_toy (name, code, price) VALUES ('a', 'x', null)")
    sql("UPDATE toys_toy SET price = 0 WHERE price IS NULL")
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out


def test_a_value_for_each_row_is_filled_in_ranges(toys, db, sql):
    files = change(
        toys,
        db,
        f"import uuid\n{MODELS}    key = models.UUIDField(default=uuid.uuid4, unique=True)\n",
    )
    assert list(files) == ["0002_change.py", "0003_change_fill.py"]
    fine(db("upgrade"))
    sql(INSERT)
    assert sql("SELECT count(DISTINCT key), count(*) FROM toys_toy") == [(31, 31)]
    assert db("revision").out == "Nothing changed in the models.\n"
    fine(db("check"))
    fine(db("downgrade", "toys", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out


def test_a_required_column_without_a_default_goes_and_comes_back_when_it_is_filled(toys, db, sql):
    files = change(toys, db, MODELS.replace("    code = models.TextField()\n", ""))
    assert "may be null now" in files["0002_change.py"]
    assert "fails while a row has no value: fill it first" in " ".join(
        files["0002_change.py"].split()
    )
    fine(db("upgrade", "toys", "0002"))
    sql("INSERT INTO toys_toy (name) VALUES ('new code')")
    fine(db("upgrade"))
    fine(db("downgrade", "toys", "0002", "--yes"))
    assert db("downgrade", "toys", "0001", "--yes").code == 1
    sql("UPDATE toys_toy SET code = id")
    fine(db("downgrade", "toys", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out


LINKED = MODELS + "    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True)\n"


def test_a_table_that_goes_keeps_no_row_of_another_one(toys, db, sql):
    """Between the two steps no Django deletes what refers to a shelf, and no foreign key hinders it."""
    change(toys, db, LINKED)
    fine(db("upgrade"))
    ((shelf,),) = sql("INSERT INTO toys_shelf DEFAULT VALUES RETURNING id")
    sql("UPDATE toys_toy SET shelf_id = %s WHERE id = 1", shelf)
    toys.models("toys", "class Shelf" + LINKED.split("class Shelf")[1].split("class Toy")[0])
    fine(db("revision", "-m", "no toys"))
    files = written(toys)
    assert list(files)[2:] == ["0004_no_toys.py", "0005_no_toys_contract.py"]
    fine(db("upgrade", "toys", "0004"))
    sql("DELETE FROM toys_shelf")
    sql("DELETE FROM toys_toy WHERE id = 1")
    fine(db("downgrade", "toys", "0003", "--yes"))
    assert "Clean: " in fine(db("verify")).out
    fine(db("upgrade"))
    fine(db("check"))
    with pytest.raises(ProgrammingError):
        sql("SELECT FROM toys_toy")
    fine(db("downgrade", "toys", "0003", "--yes"))
    assert "Clean: " in fine(db("verify")).out


@pytest.mark.parametrize(
    "field",
    [
        "code = models.TextField(unique=True)",
        "code = models.TextField(db_index=True)",
        "code = models.TextField(db_default='x')",
        "code = models.TextField(null=True)",
    ],
)
def test_other_changes_of_a_field(toys, db, field):
    change(toys, db, MODELS.replace("code = models.TextField()", field))
    loader = load_migrations(None)
    for migration, state in walk(loader, [loader.disk_migrations["toys", "0002_change"]]):
        assert review(migration, state, connections[ALIAS]) == []
    fine(db("check"))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (
            MODELS.replace("code = models.TextField()", "code = models.IntegerField(default=1)"),
            "toy.code changes its type from text to integer: code that still runs cannot read",
        ),
        (
            MODELS.replace(
                "name = models.CharField(max_length=50", "name = models.CharField(max_length=5"
            ),
            "toy.name changes its type from varchar(50) to varchar(5)",
        ),
        (
            MODELS.replace(
                "class Toy(models.Model):\n    id = models.BigAuto",
                "class Toy(models.Model):\n    id = models.Auto",
            ),
            'docs/migrations.md, "A wider key"',
        ),
        (
            f"def f(): return 3\n{MODELS}    stock = models.IntegerField(default=f)\n",
            "its default is a function, which the database cannot call",
        ),
    ],
)
def test_what_has_no_safe_form_is_refused_with_what_to_do(toys, db, models, said):
    toys.models("toys", models)
    ran = db("revision", "-m", "change", "--yes")
    assert ran.code == 1
    assert said in ran.err
    assert "Nothing was written." in ran.err
    assert written(toys) == {}


INDEXED = MODELS + (
    "\n    class Meta:\n        indexes = [models.Index(fields=['{}', 'code'], name='ix')]\n"
)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            "title = models.CharField(max_length=50, default='')",
            "db_column='name', which costs nothing",
        ),
    ],
)
def test_a_column_of_an_index_is_not_renamed(toys, db, field, said):
    change(toys, db, INDEXED.format("name"))
    toys.models(
        "toys",
        INDEXED.format("title").replace(
            'name = models.CharField(max_length=50, default="")', field
        ),
    )
    ran = db("revision", "--yes")
    assert ran.code == 1
    assert said in ran.err


def test_a_name_that_is_given_away_at_once_is_refused(toys, db):
    toys.models(
        "toys",
        MODELS.replace("    price = models.IntegerField(null=True)\n", "")
        + "    cost = models.TextField(null=True, db_column='price')\n",
    )
    ran = db("revision", "-m", "change")
    assert ran.code == 1
    assert ran.err.startswith(
        "toys_toy.price is removed and added again at once. Nothing was written."
    )


def test_several_changes_become_files_of_one_kind_each(toys, db):
    files = change(
        toys,
        db,
        MODELS.replace("name =", "title =").replace(
            "IntegerField(null=True)", "IntegerField(default=0)"
        )
        + "    stock = models.IntegerField(default=3)\n"
        + "    shelf = models.ForeignKey(Shelf, models.CASCADE, null=True)\n"
        + "\n    class Meta:\n        indexes = [models.Index(fields=['stock'], name='ix_stock')]\n",
    )
    assert list(files) == [
        "0002_change.py",
        "0003_change_column.py",
        "0004_change_constraints.py",
        "0005_change_column.py",
        "0006_change_not_null.py",
        "0007_change_contract.py",
    ]
    assert ["atomic = False" in each for each in files.values()] == [
        True,
        False,
        True,
        False,
        True,
        True,
    ]
    fine(db("check"))
    fine(db("upgrade"))
    assert "Clean: " in fine(db("verify")).out
    fine(db("downgrade", "toys", "0001", "--yes"))
    assert "Clean: " in fine(db("verify")).out
    assert apps.get_model("toys", "Toy")._meta.get_field("title")
