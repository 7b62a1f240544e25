"""Plain `manage.py migrate`: Django's, with the guarantees of `db upgrade`."""

import io
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from pixsim.schema import files
from pixsim.schema.locking import KEY, schema_lock
from tests.schema.packages import Packages, adds, creates, migration
from tests.schema.test_upgrade import session


@pytest.fixture
def shop(packages: Packages, database: str) -> Packages:
    packages.add(
        "shop",
        {
            "0001_initial": creates("Book"),
            "0002_pages": adds(
                "Book",
                "pages",
                "models.IntegerField(null=True)",
                depends=[("shop", "0001_initial")],
            ),
        },
        models='class Book(models.Model):\n    name = models.TextField(default="")\n'
        "    pages = models.IntegerField(null=True)\n    class Meta:\n        app_label = 'shop'\n",
    )
    return packages


@pytest.fixture
def migrate():
    def run(*words: str, **options) -> str:
        out = io.StringIO()
        call_command("migrate", *words, database="scratch", stdout=out, **options)
        return out.getvalue()

    return run


def recorded(sql):
    return [name for (name,) in sql("SELECT name FROM django_migrations ORDER BY id")]


def test_it_says_what_django_says_and_keeps_the_hashes(shop, migrate, sql):
    out = migrate()

    assert "Running migrations:" in out
    assert "  Applying shop.0001_initial... OK" in out
    assert recorded(sql) == ["0001_initial", "0002_pages"]
    assert sql(f"SELECT name FROM {files.TABLE} ORDER BY 1") == [("0001_initial",), ("0002_pages",)]

    assert "  Unapplying shop.0002_pages... OK" in migrate("shop", "0001")
    assert recorded(sql) == ["0001_initial"]
    assert sql(f"SELECT name FROM {files.TABLE}") == [("0001_initial",)]
    assert "No migrations to apply." in migrate("shop", "0001")


def test_the_options_of_django_go_on_working(shop, migrate, sql):
    assert "shop.0001_initial\n    Create model Book\n" in migrate(plan=True)
    with pytest.raises(SystemExit):
        migrate(check_unapplied=True)
    assert sql("SELECT to_regclass('django_migrations')") == [(None,)]

    assert "FAKED" in migrate("shop", "0001", fake=True)
    assert sql("SELECT to_regclass('shop_book')") == [(None,)]
    migrate("shop", "zero", fake=True)
    assert recorded(sql) == []

    sql("CREATE TABLE shop_book (id int PRIMARY KEY, name text)")
    out = migrate(fake_initial=True)
    assert "Applying shop.0001_initial... FAKED" in out
    assert "Applying shop.0002_pages... OK" in out
    assert migrate(check_unapplied=True) == ""

    shop.remove("shop", "0002_pages")
    assert "Pruning shop.0002_pages OK" in migrate("shop", prune=True)
    # The column that the pruned migration made is nobody's now.
    assert "Unapply all migrations: shop" in migrate("shop", "zero", drop_dependents=True)
    assert sql("SELECT to_regclass('shop_book')") == [(None,)]


def test_apps_without_migrations_are_synchronised(shop, migrate, sql):
    bare = "class Thing(models.Model):\n    class Meta:\n        app_label = 'bare'\n"
    folder = shop.add("bare", {}, models=bare)
    (folder / "migrations" / "__init__.py").unlink()
    (folder / "migrations").rmdir()
    shop.models("bare", bare)
    migrate(run_syncdb=True)
    assert sql("SELECT to_regclass('bare_thing'), to_regclass('shop_book')") == [
        ("bare_thing", "shop_book")
    ]


def test_who_stands_in_the_way_is_said(shop, migrate, sql):
    migrate("shop", "0001")
    with session() as other:
        other.execute("LOCK TABLE shop_book IN ACCESS SHARE MODE")
        with pytest.raises(CommandError) as refused:
            migrate(lock_timeout=0.2, tries=2)
        pid = other.info.backend_pid

    assert refused.value.returncode == 1
    assert f"a lock on shop_book, held by process {pid}" in str(refused.value)
    assert "LOCK TABLE shop_book" in str(refused.value)
    assert recorded(sql) == ["0001_initial"]


def test_a_database_that_alembic_made_is_stopped_before_the_first_statement(shop, migrate, sql):
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    sql("INSERT INTO alembic_version VALUES ('daa977a0bfa9')")
    for options in ({}, {"fake": True}, {"plan": True}):
        with pytest.raises(CommandError) as refused:
            migrate(**options)
        assert refused.value.returncode == 1
        assert "it is at revision daa977a0bfa9" in str(refused.value)
        assert "`manage.py db adopt`" in str(refused.value)
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert sql(tables) == [("alembic_version",)]


def test_an_empty_table_of_alembic_stops_nothing(shop, migrate, sql):
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    migrate()
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_beside_another_program_that_uses_alembic_one_says_so(shop, migrate, db, sql):
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    sql("INSERT INTO alembic_version VALUES ('5b0e1cafe000')")
    sql("CREATE TABLE theirs (id int)")
    with pytest.raises(CommandError) as refused:
        migrate()
    said = str(refused.value)
    assert "Another program's Alembic keeps its history in this database" in said
    assert "5b0e1cafe000" in said
    assert "--ignore-alembic" in said
    assert "adopt" not in said
    ran = db("upgrade", "--plan")
    assert ran.code == 1
    assert "--ignore-alembic" in ran.err

    assert db("upgrade", "shop", "0001", "--ignore-alembic").code == 0
    migrate()  # from the first migration on the database is ours, too

    assert recorded(sql) == ["0001_initial", "0002_pages"]
    assert sql("SELECT * FROM alembic_version") == [("5b0e1cafe000",)]


def test_one_that_can_be_adopted_is_never_worked_beside(shop, migrate, sql):
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    sql("INSERT INTO alembic_version VALUES ('daa977a0bfa9')")
    with pytest.raises(CommandError, match=r"manage\.py db adopt"):
        migrate(ignore_alembic=True)


def test_one_that_was_adopted_or_only_has_such_a_table_goes_on(shop, migrate, sql):
    migrate("shop", "0001")
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    migrate()
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_a_second_run_is_refused_and_a_plan_is_not(shop, migrate, sql):
    migrate("shop", "0001")
    own = connections["scratch"].copy()
    with schema_lock(own):
        assert "shop.0002_pages" in migrate(plan=True)
        with pytest.raises(CommandError, match=r"Another run .* is changing this database"):
            migrate()
    own.close()
    assert recorded(sql) == ["0001_initial"]


def test_a_second_run_waits_if_it_is_told_to(shop, migrate, sql):
    own = connections["scratch"].copy()
    with own.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_lock({KEY})")
    ending = threading.Timer(1.0, own.connection.close)  # Django's is of one thread
    ending.start()
    assert "is changing this database; waiting until it has ended." in migrate(wait=True)
    ending.join()
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_in_a_transaction_of_a_test_it_works_and_is_undone_with_it(shop, migrate, sql):
    with transaction.atomic(using="scratch"):
        migrate()
        assert recorded(sql) == ["0001_initial", "0002_pages"]
        transaction.set_rollback(True, using="scratch")
    assert sql("SELECT to_regclass('shop_book')") == [(None,)]


def test_what_goes_wrong_is_one_message(shop, migrate, sql):
    shop.write(
        "shop",
        "0003_trouble",
        migration('migrations.RunSQL("SELECT 1 / 0")', depends=[("shop", "0002_pages")]),
    )
    with pytest.raises(CommandError, match=r"^shop\.0003_trouble failed\. .*division by zero"):
        migrate()
    shop.write("shop", "0003_trouble", "import nothing_of_this_name\n")
    with pytest.raises(CommandError, match="The migration files cannot be read"):
        migrate()
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_a_database_that_is_down_is_one_message(shop, migrate):
    connection = connections["scratch"]
    connection.close()
    before = dict(connection.settings_dict)
    connection.settings_dict.update(HOST="127.0.0.1", PORT="1")
    try:
        with pytest.raises(CommandError, match="No PostgreSQL answers at"):
            migrate()
    finally:
        connection.close()
        connection.settings_dict.update(before)
