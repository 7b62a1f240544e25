"""`db upgrade`: everything or nothing, nobody waits long for it, and a killed run goes on."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connections

from pixsim.schema import files
from pixsim.schema.history import load_migrations
from pixsim.schema.locking import schema_lock
from tests.schema.packages import Packages, adds, creates, migration
from tests.scratch import NAME

QUICK = ("--lock-timeout", "0.2", "--tries", "2")
MANAGE = Path(__file__).parents[2] / "manage.py"


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
    )
    return packages


def add(shop: Packages, name: str, operations: str, *, more: str = "") -> None:
    """Another migration after 0002."""
    shop.write("shop", name, migration(operations, depends=[("shop", "0002_pages")], more=more))


@contextmanager
def session() -> Iterator[psycopg.Connection]:
    """Somebody else's session in the scratch database, in a transaction."""
    parameters = connections["scratch"].get_connection_params()
    del parameters["context"], parameters["cursor_factory"]
    with psycopg.connect(**{**parameters, "application_name": "report"}) as other:
        yield other


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def columns(sql, table="shop_book"):
    rows = sql(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0", table
    )
    return [name for (name,) in rows]


def recorded(sql):
    return [name for (name,) in sql("SELECT name FROM django_migrations ORDER BY id")]


def test_it_applies_what_is_pending_and_says_what_and_how_long(shop, db, sql):
    ran = db("upgrade")

    assert ran.code == 0
    lines = ran.out.splitlines()
    assert re.fullmatch(r"Applied shop 0001_initial in \d+\.\d\d s", lines[0])
    assert re.fullmatch(r"Applied shop 0002_pages in \d+\.\d\d s", lines[1])
    assert re.fullmatch(r"2 migrations in \d+\.\d\d s: head\.", lines[2])
    assert recorded(sql) == ["0001_initial", "0002_pages"]
    assert columns(sql) == ["id", "name", "pages"]

    again = db("upgrade")
    assert (again.code, again.out) == (0, "Nothing to do: head is reached already.\n")


def test_it_goes_to_a_target_and_answers_machines(shop, db, sql):
    ran = db("upgrade", "shop", "0001", "--json")

    assert ran.code == 0
    assert ran.json["target"] == "shop 0001_initial"
    (done,) = ran.json["done"]
    assert (done["app"], done["name"], done["backwards"]) == ("shop", "0001_initial", False)
    assert recorded(sql) == ["0001_initial"]

    ran = db("upgrade", "+1")
    assert ran.out.startswith(
        "Going back may lose what is written from now on: `manage.py db backup`"
    )
    assert recorded(sql) == ["0001_initial", "0002_pages"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("+0",), "+0 goes nowhere"),
        (("shop", "0009"), "shop has no migration 0009"),
        (("nowhere",), "nowhere is no app"),
        (("-1",), "-1 is down: say `downgrade -1`"),
        (("+9",), "+9 goes too far: 2 migrations are waiting"),
    ],
)
def test_words_that_make_no_sense_are_a_usage_error(shop, db, words, message):
    ran = db("upgrade", *words)
    assert ran.code == 2
    assert message in ran.err


def test_a_plan_is_said_and_not_done(shop, db, sql):
    ran = db("upgrade", "--plan")

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "Apply shop 0001_initial",
        "    Create model Book",
        "Apply shop 0002_pages",
        "    Add field pages to Book",
    ]
    assert sql("SELECT to_regclass('django_migrations'), to_regclass('shop_book')") == [
        (None, None)
    ]
    names = [step["name"] for step in db("upgrade", "--plan", "--json").json["plan"]]
    assert names == ["0001_initial", "0002_pages"]


def test_on_a_lock_timeout_it_says_who_stands_in_the_way_and_changes_nothing(shop, db, sql):
    db("upgrade", "shop", "0001")
    with session() as other:
        other.execute("LOCK TABLE shop_book IN ACCESS SHARE MODE")
        pid, user = other.info.backend_pid, other.info.user
        ran = db("upgrade", *QUICK)

    assert ran.code == 1
    blocked = f"a lock on shop_book, held by process {pid} (user {user}, report, idle in transaction, since "
    assert f"Gave up try 1 for {blocked}" in ran.out
    assert f"shop.0002_pages stopped. Waited 2 times 0.2 s for {blocked}" in ran.err
    assert "LOCK TABLE shop_book IN ACCESS SHARE MODE" in ran.err
    assert f"To end it: SELECT pg_terminate_backend({pid})." in ran.err
    assert "Nothing of it stays; what was applied before it does." in ran.err
    assert "Traceback" not in ran.err
    assert columns(sql) == ["id", "name"]
    assert recorded(sql) == ["0001_initial"]
    assert sql("SHOW lock_timeout") == [("0",)]


def test_a_lock_that_comes_free_is_taken_at_the_next_try(shop, db, sql):
    db("upgrade", "shop", "0001")
    waiting = (
        "SELECT query_start FROM pg_stat_activity WHERE datname = current_database() "
        "AND wait_event_type = 'Lock' AND query LIKE 'ALTER%%'"
    )
    with session() as other, session() as eyes:
        eyes.autocommit = True
        other.execute("LOCK TABLE shop_book IN ACCESS SHARE MODE")
        seen: set[object] = set()

        def let_go() -> None:
            wait_until(lambda: seen.update(eyes.execute(waiting).fetchall()) or len(seen) == 2)
            other.rollback()

        thread = threading.Thread(target=let_go)
        thread.start()
        ran = db("upgrade", "--lock-timeout", "0.3", "--tries", "5", "--json")
        thread.join()

    assert ran.code == 0
    (done,) = ran.json["done"]
    assert 1 <= len(done["waits"]) <= 2
    assert "held by process" in done["waits"][0]
    assert columns(sql) == ["id", "name", "pages"]


def test_a_migration_in_a_transaction_is_all_or_nothing(shop, db, sql):
    db("upgrade")
    add(
        shop,
        "0003_isbn",
        'migrations.AddField("Book", "isbn", models.CharField(max_length=13, null=True)), '
        'migrations.RunSQL("SELECT 1 / 0")',
    )
    ran = db("upgrade")

    assert ran.code == 1
    assert "shop.0003_isbn failed." in ran.err
    assert "division by zero" in ran.err
    assert "Nothing of it stays" in ran.err
    assert "isbn" not in columns(sql)
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_what_django_does_last_is_in_the_same_transaction(shop, db, sql):
    """The index is made when the migration ends; there it fails."""
    db("upgrade")
    sql("CREATE TABLE shop_book_isbn_like ()")
    add(
        shop,
        "0003_isbn",
        'migrations.AddField("Book", "isbn", models.IntegerField(null=True)), '
        'migrations.AddIndex("Book", models.Index(fields=["isbn"], name="shop_book_isbn_like"))',
    )
    assert db("upgrade").code == 1
    assert "isbn" not in columns(sql)
    assert recorded(sql) == ["0001_initial", "0002_pages"]


def test_without_a_transaction_the_next_run_goes_on_where_the_last_one_failed(shop, db, sql):
    db("upgrade")
    sql("INSERT INTO shop_book (name, pages) VALUES ('a', -1)")
    add(
        shop,
        "0003_checks",
        'migrations.RunSQL("CREATE TABLE once (); CREATE TABLE once_more ()"), '
        'migrations.AddConstraint("Book", models.CheckConstraint(condition=models.Q(pages__gt=0), '
        'name="pages_positive"))',
        more="atomic = False",
    )
    ran = db("upgrade")
    assert ran.code == 1
    assert "1 of its 2 operations are done and stay. The next run goes on there." in ran.err
    assert recorded(sql) == ["0001_initial", "0002_pages"]

    sql("UPDATE shop_book SET pages = 1")
    assert db("upgrade").code == 0
    assert recorded(sql)[-1] == "0003_checks"
    assert sql(f"SELECT count(*) FROM {files.TABLE} WHERE done IS NOT NULL") == [(0,)]


STEPS = """
def kill(apps, schema_editor):
    import os, pathlib
    schema_editor.execute("CREATE TABLE half_done ()")
    if not pathlib.Path({flag!r}).exists():
        os.kill(os.getpid(), 9)
    schema_editor.execute("CREATE TABLE done ()")
"""


def test_killed_midway_the_next_run_knows_and_goes_on(shop, db, sql):
    db("upgrade")
    flag = shop.folder / "go-on"
    (shop.folder / "shop" / "steps.py").write_text(STEPS.format(flag=str(flag)))
    add(
        shop,
        "0003_tables",
        'migrations.RunSQL("CREATE TABLE first ()"), '
        'migrations.RunPython(__import__("shop.steps").steps.kill), '
        'migrations.RunSQL("CREATE TABLE last ()")',
        more="atomic = False",
    )

    killed = manage(shop, "migrate", "--skip-checks")
    output, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, output
    assert sql("SELECT to_regclass('first'), to_regclass('half_done'), to_regclass('last')") == [
        ("first", "half_done", None)
    ]
    assert recorded(sql)[-1] == "0002_pages"
    stopped = (
        "shop 0003_tables was being applied when it was stopped, after 1 of its operations: finish "
        "it with `manage.py db upgrade`."
    )
    assert db("downgrade", "-1", "--yes").err == f"Nothing was changed, since first {stopped}\n"
    assert f"files: {stopped}" in db("check").out

    flag.touch()
    ran = db("upgrade")
    assert ran.code == 0, ran.err
    assert sql("SELECT to_regclass('done'), to_regclass('last')") == [("done", "last")]
    assert sql(f"SELECT count(*) FROM {files.TABLE} WHERE done IS NOT NULL") == [(0,)]


def manage(shop: Packages, *words: str) -> subprocess.Popen:
    """`manage.py` in a process of its own, with the app of the test."""
    (shop.folder / "settings_of_test.py").write_text(
        "from pixsim.settings import *\n"
        f"DATABASES['default']['NAME'] = {NAME!r}\n"
        "INSTALLED_APPS = ['pixsim.schema', 'shop']\n"
    )
    return subprocess.Popen(
        [sys.executable, str(MANAGE), *words],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "settings_of_test",
            "PYTHONPATH": str(shop.folder),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_an_interrupted_migration_whose_file_was_changed_is_not_guessed_at(shop, db, sql):
    db("upgrade")
    add(
        shop,
        "0003_tables",
        'migrations.RunSQL("CREATE TABLE first ()"), migrations.RunSQL("SELECT 1 / 0")',
        more="atomic = False",
    )
    assert db("upgrade").code == 1
    add(
        shop,
        "0003_tables",
        'migrations.AlterModelTable("Book", "books"), migrations.RunSQL("SELECT 1 / 0")',
        more="atomic = False",
    )
    ran = db("upgrade")
    assert ran.code == 1
    assert "its file was changed since, so that nobody can tell what is done" in ran.err
    assert "Done: 1. Raw SQL operation." in ran.err

    # What is left to do may be mended.
    add(
        shop,
        "0003_tables",
        'migrations.RunSQL("CREATE TABLE first ()"), migrations.RunSQL("SELECT 1")',
        more="atomic = False",
    )
    assert db("upgrade").code == 0


INDEX = "AddIndexConcurrently('Book', models.Index(fields=['pages'], name='ix_book_pages'))"


@pytest.mark.parametrize(
    ("made", "elsewhere"),
    [
        ("ix_plain", False),
        ('"ix_plain"', False),
        ("IX_Plain", False),
        ('"ix-foo"', False),
        ('"ix foo"', False),
        ('"IxFoo"', False),
        ('"ix""foo"', False),
        ('"ix_plain"', True),
    ],
)
def test_an_invalid_index_is_built_anew_whatever_its_name(shop, db, sql, made, elsewhere):
    shop.add(
        "more",
        {
            "0001_initial": creates("Note"),
            "0002_index": migration(
                f"migrations.RunSQL({BUILD.format(made)!r}, 'SELECT 1')",
                depends=[("more", "0001_initial")],
                more="atomic = False",
            ),
        },
    )
    assert db("upgrade", "more", "0001").code == 0
    sql(f"CREATE INDEX {made} ON more_note (name)")
    sql("CREATE SCHEMA other")
    sql("CREATE TABLE other.t (id int)")
    sql("CREATE INDEX ix_plain ON other.t (id)")
    of_table = "indrelid = %s::regclass AND NOT indisprimary"
    sql(
        f"UPDATE pg_index SET indisvalid = false WHERE {of_table}",
        "other.t" if elsewhere else "more_note",
    )
    valid = f"SELECT bool_and(indisvalid) FROM pg_index WHERE {of_table}"

    assert db("upgrade", "more").code == 0

    assert sql(valid, "more_note") == [(True,)]
    assert sql(valid, "other.t") == [(not elsewhere,)]  # not ours to mend


def test_an_invalid_index_called_like_a_column_is_left_alone(shop, db, sql):
    db("upgrade")
    build = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_new ON shop_book (pages)"
    shop.write(
        "shop",
        "0003_index",
        migration(
            f"migrations.RunSQL({build!r}, 'SELECT 1')",
            depends=[("shop", "0002_pages")],
            more="atomic = False",
        ),
    )
    sql("CREATE INDEX pages ON shop_book (name)")
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'pages'::regclass")

    assert db("upgrade").code == 0

    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'pages'::regclass") == [(False,)]


BUILD = "CREATE INDEX CONCURRENTLY IF NOT EXISTS {} ON more_note (name)"


def test_what_an_interrupted_index_build_left_is_built_anew(shop, db, sql):
    db("upgrade")
    text = migration(INDEX, depends=[("shop", "0002_pages")], more="atomic = False")
    shop.write(
        "shop",
        "0003_index",
        "from django.contrib.postgres.operations import AddIndexConcurrently\n" + text,
    )
    sql("CREATE INDEX ix_book_pages ON shop_book (pages)")
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_book_pages'::regclass")

    assert db("upgrade").code == 0
    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_book_pages'::regclass") == [
        (True,)
    ]


def test_a_concurrent_build_waits_beyond_the_timeout_since_it_blocks_nobody(shop, db, sql):
    db("upgrade")
    text = migration(INDEX, depends=[("shop", "0002_pages")], more="atomic = False")
    shop.write(
        "shop",
        "0003_index",
        "from django.contrib.postgres.operations import AddIndexConcurrently\n" + text,
    )
    building = "SELECT FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%%'"
    with session() as other, session() as eyes:
        eyes.autocommit = True
        other.execute("INSERT INTO shop_book (name) VALUES ('a')")

        def let_go() -> None:
            wait_until(lambda: eyes.execute(building).fetchone() is not None)
            seen = time.monotonic()
            wait_until(lambda: time.monotonic() > seen + 0.4)
            other.commit()

        thread = threading.Thread(target=let_go)
        thread.start()
        ran = db("upgrade", *QUICK)
        thread.join()
    assert ran.code == 0, ran.err


def large(shop, db, sql) -> None:
    db("upgrade")
    sql("INSERT INTO shop_book (name) SELECT 'x' FROM generate_series(1, 30)")
    add(
        shop,
        "0003_index",
        'migrations.AddIndex("Book", models.Index(fields=["name"], name="ix_book_name"))',
    )


def test_what_blocks_a_large_table_stops_it_with_the_safe_way(shop, db, sql):
    large(shop, db, sql)
    ran = db("upgrade", "--threshold", "29")

    assert ran.code == 1
    assert "shop 0003_index: Create index ix_book_name on field(s) name of model Book" in ran.out
    assert (
        "shop_book has about 30 rows: nobody writes the table while the index is built." in ran.out
    )
    assert "The safe way: SaferAddIndexConcurrently" in ran.out
    assert "Nothing was changed." in ran.out
    assert recorded(sql)[-1] == "0002_pages"

    answer = db("upgrade", "--threshold", "29", "--json").json
    assert [(each["table"], each["rows"]) for each in answer["unsafe"]] == [("shop_book", 30)]
    planned = db("upgrade", "--threshold", "29", "--plan")
    assert planned.code == 1
    assert "Apply shop 0003_index" in planned.out


def test_it_goes_on_when_told_or_when_the_table_is_small(shop, db, sql):
    large(shop, db, sql)
    assert db("upgrade", "--threshold", "30", "--plan").code == 0
    ran = db("upgrade", "--threshold", "29", "--allow-unsafe")
    assert ran.code == 0
    assert "These block a large table:" in ran.out
    assert recorded(sql)[-1] == "0003_index"


def test_the_hash_of_each_file_is_kept_and_an_edited_one_found(shop, db, sql):
    db("upgrade")
    connection = connections["scratch"]
    kept = sql(
        f"SELECT app, name, length(sha256), applied_at IS NOT NULL FROM {files.TABLE} ORDER BY 2"
    )
    assert kept == [("shop", "0001_initial", 64, True), ("shop", "0002_pages", 64, True)]
    assert files.edited(connection, load_migrations(connection)) == []

    home = shop.folder / "shop" / "migrations" / "0002_pages.py"
    shop.write("shop", "0002_pages", home.read_text().replace("\n", "\r\n"))
    assert files.edited(connection, load_migrations(connection)) == []
    shop.write("shop", "0002_pages", home.read_text() + "# changed\n")
    assert files.edited(connection, load_migrations(connection)) == [("shop", "0002_pages")]


@pytest.fixture
def other_run(shop, db):
    """Another run that holds the lock, in a session of its own."""
    db("status")
    own = connections["scratch"].copy()
    with schema_lock(own):
        yield own
    own.close()


def test_of_two_runs_the_second_says_who_is_at_it(other_run, db, sql):
    ran = db("upgrade")
    assert ran.code == 1
    info = other_run.connection.info
    assert re.search(
        rf"Another run \(process {info.backend_pid} of {info.user}, pixsim, since [\d:]+\) is changing this "
        r"database\. Nothing was changed",
        ran.err,
    )
    assert sql("SELECT to_regclass('shop_book')") == [(None,)]


def test_or_it_waits(shop, db, sql):
    held, let_go = threading.Event(), threading.Event()

    def first_run() -> None:
        own = connections["scratch"].copy()
        with schema_lock(own):
            held.set()
            let_go.wait(30)
        own.close()

    db("status")
    thread = threading.Thread(target=first_run)
    thread.start()
    assert held.wait(30)
    timer = threading.Timer(0.3, let_go.set)
    timer.start()
    ran = db("upgrade", "--wait")
    thread.join()

    assert ran.code == 0
    assert "is changing this database; waiting until it has ended." in ran.out
    assert recorded(sql) == ["0001_initial", "0002_pages"]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT pg_terminate_backend(pg_backend_pid())", "The connection was lost"),
        (
            "DO $$ BEGIN RAISE 'No space left' USING ERRCODE = '53100'; END $$",
            "The disk of the server is full",
        ),
        ("SELECT FROM nowhere", "is not as the code expects it"),
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_what_goes_wrong_is_one_message(shop, db, sql, statement, message, atomic):
    db("upgrade")
    add(shop, "0003_trouble", f'migrations.RunSQL("{statement}")', more=f"atomic = {atomic}")
    ran = db("upgrade")

    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("shop.0003_trouble failed. ")
    assert message in ran.err
    connections["scratch"].close()
    assert recorded(sql)[-1] == "0002_pages"


def test_a_database_that_alembic_made_is_left_alone(shop, db, sql):
    sql("CREATE TABLE alembic_version (version_num varchar(32) NOT NULL)")
    sql("INSERT INTO alembic_version VALUES ('002')")
    ran = db("upgrade")

    assert ran.code == 1
    assert "Alembic made this database (it is at revision 002)" in ran.err
    assert "manage.py db adopt" in ran.err
    assert sql("SELECT to_regclass('django_migrations')") == [(None,)]
