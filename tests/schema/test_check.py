"""`db check`: one line for each thing that must be right before a deployment."""

import pytest
from django.core.management import call_command
from django.db import connections

from tests.schema.packages import creates, migration
from tests.scratch import ALIAS

SAYS_NOTHING = '"""Nothing."""\n'
AFTER_FIRST = [("shop", "0001_initial")]
PEN = """
class Pen(models.Model):
    id = models.AutoField(primary_key=True, serialize=False)
    name = models.TextField(default="")
"""
FINE = "Nothing to find fault with.\n"


@pytest.fixture
def shop(packages, database, db):
    """An app with one migration, applied, and a model that is as it says."""
    packages.add("shop", {"0001_initial": creates("Pen")}, models=PEN)
    call_command("migrate", database=ALIAS, verbosity=0)
    assert db("check").out == FINE
    return packages


def test_nothing_is_wrong_with_a_migrated_database_of_ours(at_head, one_head, db):
    ran = db("check", "--json")
    assert (ran.code, ran.json) == (0, {"fine": True, "problems": []})


def test_a_model_that_changed_without_a_migration(shop, db):
    shop.models("shop", f"{PEN}    ink = models.TextField(null=True)")
    ran = db("check")
    assert (ran.code, ran.out) == (
        1,
        "models: shop changed without a migration (Add field ink to pen): make it with "
        "`manage.py db revision`.\n",
    )
    answer = db("check", "--json").json
    assert (answer["fine"], answer["problems"][0]["kind"]) == (False, "models")


def test_several_heads(shop, db):
    for name in ("0002_red", "0002_blue"):
        shop.write("shop", name, SAYS_NOTHING + migration(depends=AFTER_FIRST))
    ran = db("check")
    assert (ran.code, ran.out) == (
        1,
        "heads: shop has more than one head (0002_blue, 0002_red): join them with `manage.py db "
        "merge shop`, or rebase one (`manage.py db branches`). Models were not compared.\n",
    )


def test_a_file_that_is_missing_and_one_that_was_edited(shop, db):
    shop.write("shop", "0002_more", migration(depends=AFTER_FIRST))
    call_command("migrate", database=ALIAS, verbosity=0)
    shop.remove("shop", "0002_more")
    shop.write("shop", "0001_initial", creates("Pen") + "# edited\n")
    ran = db("check")
    assert (ran.code, ran.out) == (
        1,
        "files: shop 0002_more is applied, but its file is missing: bring it back, or forget the "
        "row with `manage.py db prune`.\n"
        "files: shop 0001_initial was edited after it was applied: restore the file, and make what "
        "it should do now a new migration.\n",
    )


def test_a_file_that_another_needs_and_one_that_cannot_be_read(shop, db, sql):
    sql("SELECT setval('shop_pen_id_seq', 2000000000)")
    shop.write("shop", "0002_lost", migration(depends=[("shop", "0001_gone")]))
    ran = db("check")
    assert ran.code == 1
    assert ran.out.splitlines()[0].startswith(
        "files: The migration files cannot be read: NodeNotFoundError: Migration shop.0002_lost "
    )
    # What does not need the files is looked at all the same.
    assert ran.out.splitlines()[1].startswith("keys: shop_pen.id")
    shop.write("shop", "0002_lost", "import nothing_of_that_name")
    assert "files: The migration files cannot be read: ModuleNotFoundError: " in db("check").out


def test_an_operation_that_blocks_is_named_before_it_is_applied(shop, db):
    index = 'migrations.AddIndex("Pen", models.Index(fields=["name"], name="ix_pen"))'
    shop.models(
        "shop",
        f"{PEN}    class Meta:\n        indexes = [models.Index(fields=['name'], name='ix_pen')]",
    )
    says = '"""An index.\n\nLock: {}\n\nBack: drops it."""\n'
    other = says.format("SHARE on another table.")
    shop.write("shop", "0002_index", other + migration(index, depends=AFTER_FIRST))
    ran = db("check")
    assert ran.code == 1
    assert ran.out.startswith(
        "unsafe: shop 0002_index: shop_pen: Create index ix_pen on field(s) name of model Pen: "
        "nobody writes the table while the index is built. Instead: SaferAddIndexConcurrently"
    )
    assert ran.out.count("\n") == 1
    announced = says.format("SHARE on shop_pen, as long as one read of it.")
    shop.write("shop", "0002_index", announced + migration(index, depends=AFTER_FIRST))
    assert db("check").out == FINE
    shop.write("shop", "0002_index", other + migration(index, depends=AFTER_FIRST))
    of_package = '"""Files that are not edited.\n\n0002_index\nLock: SHARE on shop_pen."""\n'
    shop.write("shop", "__init__", of_package)
    assert db("check").out == FINE
    call_command("migrate", database=ALIAS, verbosity=0)
    assert db("check").out == FINE


ADDS = 'migrations.AddField("Pen", "ink", models.TextField(null=True))'
MAKES = (
    'migrations.CreateModel("Ink", [("id", models.AutoField(primary_key=True, serialize=False))])'
)
IN_PYTHON = "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)"


@pytest.mark.parametrize(
    ("docstring", "operations", "lacks"),
    [
        ("", ADDS, "a docstring"),
        ("", "", "a docstring"),
        ("Ink.", ADDS, "Lock: and Back:"),
        ("Ink.\n\nBack: drops it.", ADDS, "Lock:"),
        ("Ink.\n\nLock: an instant.", ADDS, "Back:"),
        ("Ink.\n\nLock: an instant.\n\nBack: drops it.", ADDS, None),
        ("Ink.", MAKES, None),
        ("Ink.", "", None),
        ("Ink.", IN_PYTHON, "Back:"),
    ],
)
def test_a_docstring_that_does_not_say_enough(shop, db, docstring, operations, lacks):
    shop.models(
        "shop",
        PEN
        + ("    ink = models.TextField(null=True)\n" if operations == ADDS else "")
        + (
            "class Ink(models.Model):\n    id = models.AutoField(primary_key=True)\n"
            * (operations == MAKES)
        ),
    )
    text = f'"""{docstring}"""\n' + migration(operations, depends=AFTER_FIRST)
    shop.write("shop", "0002_ink", text)
    ran = db("check")
    if lacks is None:
        assert ran.out == FINE
    else:
        assert (ran.code, ran.out.count("\n")) == (1, 1)
        assert ran.out.startswith(f"docstring: shop 0002_ink lacks {lacks}: a docstring says what ")


def test_drift(shop, db, sql):
    sql("ALTER TABLE shop_pen ALTER COLUMN name DROP NOT NULL")
    ran = db("check")
    assert (ran.code, ran.out) == (
        1,
        "drift: column shop_pen.name: expected not null, found null\n",
    )


def test_a_narrow_key_past_half_of_its_range_with_what_refers_to_it(shop, db, sql):
    sql("CREATE TABLE visitors (pen int REFERENCES shop_pen (id))")
    sql("SELECT setval('shop_pen_id_seq', 1073741823)")
    assert db("check").out == FINE
    sql("SELECT setval('shop_pen_id_seq', 1503238553)")
    ran = db("check")
    assert ran.code == 1
    first, *guide = ran.out.splitlines()
    assert first == (
        "keys: shop_pen.id: expected at most half of 2,147,483,647 used, found 1,503,238,553 "
        "(70 %). Widen it to bigint and, before it, visitors.pen: see docs/migrations.md, "
        '"A wider key".'
    )
    assert guide == []
    sql(
        "ALTER TABLE shop_pen ALTER COLUMN id TYPE bigint; ALTER TABLE visitors ALTER pen TYPE bigint"
    )
    assert "keys:" not in db("check").out


def test_a_reference_that_cannot_be_built_hides_nothing_of_the_rest(shop, db):
    broken = migration('migrations.RunSQL("SELECT nothing")', depends=AFTER_FIRST)
    shop.write("shop", "0002_broken", broken)
    call_command("migrate", fake=True, database=ALIAS, verbosity=0)
    shop.write("shop", "0002_broken", f"{broken}# edited\n")
    edited, database = db("check").out.splitlines()
    assert edited.startswith("files: shop 0002_broken was edited after it was applied")
    assert database.startswith("database: The migrations cannot be applied from nothing: ")


def test_a_serial_of_16_bits_counts_too(shop, db, sql):
    sql("CREATE TABLE small (id smallserial); SELECT setval('small_id_seq', 30000)")
    assert "keys: small.id: expected at most half of 32,767 used, found 30,000 (91 %)" in (
        db("check").out
    )


def test_without_a_database_the_files_are_checked_and_that_is_said(shop, db):
    shop.models("shop", f"{PEN}    ink = models.TextField(null=True)")
    connections[ALIAS].close()
    connections[ALIAS].settings_dict |= {"HOST": "127.0.0.1", "PORT": "9"}
    ran = db("check")
    assert ran.code == 1
    models, database = ran.out.splitlines()
    assert models.startswith("models: shop changed without a migration")
    assert database.startswith("database: It was not looked at. No PostgreSQL answers at ")
    assert db("check", "--files").out == f"{models}\n"


def test_a_database_that_alembic_made(shop, db, sql):
    sql("DROP TABLE django_migrations; CREATE TABLE alembic_version (version_num text)")
    sql("INSERT INTO alembic_version VALUES ('daa977a0bfa9')")
    ran = db("check")
    assert (ran.code, ran.out) == (
        1,
        "database: Alembic made this database (it is at revision daa977a0bfa9): take it over with "
        "`manage.py db adopt`.\n",
    )
