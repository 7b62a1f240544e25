"""A connection pooler in transaction mode before PostgreSQL: noticed, left as it is, and refused by
what needs a session of its own.
"""

import io
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections

from jobs.queue.ops import maintenance
from jobs.queue.worker import registry
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from pixsim.core.db.sessions import is_pooled, past_the_pooler
from pixsim.core.db.sql import fetch
from pixsim.schema.connecting import explain
from tests.crawler.test_chaos import IMAGES, answer, assert_all_is_accounted_for
from tests.pooler import Pooler, before, needs_pgbouncer
from tests.scratch import db as db
from tests.site import Site
from tests.world import World, has_redis

pytestmark = needs_pgbouncer

# What PgBouncer itself sets in a session, to what its next client has.
TRACKED = ("application_name", "client_encoding", "DateStyle", "TimeZone")
LEFT_IN_SESSION = """
SELECT name || ' = ' || setting FROM pg_settings
WHERE source IN ('client', 'session') AND name <> ALL(%s) AND NOT starts_with(name, 'transaction_')
UNION ALL SELECT 'prepared ' || statement FROM pg_prepared_statements
UNION ALL SELECT 'lock ' || mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE is_holdable
UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'channel ' || channel FROM pg_listening_channels() AS channel
"""


@pytest.fixture(scope="module")
def pooler(django_db_setup: None) -> Iterator[Pooler]:
    """With a single session, so that whatever stays in it is found by the next client."""
    at = connection.settings_dict
    with Pooler(
        host=at["HOST"], port=at["PORT"], user=at["USER"], password=at["PASSWORD"], size=1
    ) as pooler:
        yield pooler


@contextmanager
def through(pooler: Pooler, alias: str = "default") -> Iterator[None]:
    """Let the connections of this alias go through the pooler inside the block."""
    at = connections.databases[alias]
    usual = dict(at)
    connections[alias].close()
    at.update({"HOST": "127.0.0.1", "PORT": str(pooler.port)})
    try:
        yield
    finally:
        connections[alias].close()
        at.update(usual)


def left_in_session(pooler: Pooler, database: str) -> list[str]:
    """What is found in the sessions of the pool, in a transaction for each of them."""
    found = []
    with ExitStack() as stack:
        for _ in range(pooler.size):
            client = stack.enter_context(psycopg.connect(pooler.url(database)))
            rows = client.execute(LEFT_IN_SESSION, [list(TRACKED)], prepare=False)
            found += [left for (left,) in rows]
    return found


@pytest.mark.django_db(transaction=True)
def test_a_pooler_is_noticed_also_while_it_is_quiet(pooler):
    assert not is_pooled(connection)
    with through(pooler):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            first = cursor.fetchone()
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone() == first, "a quiet pool lends the same session again"
        assert is_pooled(connection)


@pytest.mark.django_db(transaction=True)
def test_statements_are_prepared_in_sessions_of_our_own_alone(pooler, settings):
    prepared = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%ours%%'"

    def how_many() -> int:
        for _ in range(5):
            fetch("SELECT 1 AS ours", {})
        return fetch(prepared, {}, plan_anew=True)[0][0]

    connection.close()
    assert how_many() == 1
    settings.QUEUE_PREPARE = False
    connection.close()
    assert how_many() == 0
    settings.QUEUE_PREPARE = None
    with through(pooler):
        assert how_many() == 0
        settings.QUEUE_PREPARE = True  # as with PgBouncer 1.21 and max_prepared_statements
        connection.close()
        connection.ensure_connection()
        assert connection.connection.prepare_threshold is not None


@pytest.mark.django_db(transaction=True)
def test_workers_and_commands_leave_nothing_in_the_session(pooler):
    sweeper = Sweeper(FallbackWorkers(0))
    chores = ("analyze profiles", "vacuum job_chunks", "trends", "old attempts")
    with through(pooler):
        sweeper._round()
        for chore in maintenance.chores(maintenance_kinds()):
            if chore.name in chores:
                assert chore.run(maintenance.Options(), lambda count: None).problem is None
        for words in (["queue", "status"], ["queue", "check"], ["db", "status"], ["db", "history"]):
            call_command(*words, stdout=io.StringIO())
        call_command("dumpdata", "auth", stdout=io.StringIO())
        database = connection.settings_dict["NAME"]
        registry.leave()

    assert left_in_session(pooler, database) == []


def maintenance_kinds():
    from jobs.queue.kinds import all_kinds

    return all_kinds()


@pytest.mark.django_db(transaction=True)
def test_a_session_of_our_own_ends_idle_transactions_and_keeps_the_limit_of_its_role():
    def limit() -> str:
        connection.close()
        return fetch("SHOW idle_in_transaction_session_timeout", {})[0][0]

    assert limit() == "2min"
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    fetch(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '30s'", {})
    try:
        assert limit() == "30s"
    finally:
        fetch(f"ALTER DATABASE {name} RESET ALL", {})
        connection.close()


VERBS = (
    ["upgrade"],
    ["downgrade", "jobs", "-1", "--yes"],
    ["stamp", "head"],
    ["wipe", "--yes"],
    ["prune", "--yes"],
    ["backfill", "run", "upright-assets"],
    ["rehearse"],
    ["verify"],
    ["backup", "/nowhere/x.dump"],
    ["restore", "/nowhere/x.dump"],
    ["adopt", "--apply", "--yes"],
)


def test_what_needs_a_session_is_refused_through_a_pooler_before_anything_is_taken(
    migrated, db, pooler, django_db_blocker
):
    with django_db_blocker.unblock(), through(pooler, migrated):
        name = connections[migrated].settings_dict["NAME"]
        for words in VERBS:
            ran = db(*words)
            assert ran.code == 1, (words, ran.out, ran.err)
            assert "is a connection pooler" in ran.err, (words, ran.err)
            assert "settings.DATABASES['scratch']" in ran.err
            assert left_in_session(pooler, name) == [], words
        with pytest.raises(CommandError, match="is a connection pooler"):
            call_command("migrate", database=migrated, verbosity=0, skip_checks=True)
        assert left_in_session(pooler, name) == []


@pytest.mark.django_db(transaction=True)
def test_with_a_direct_url_they_go_past_the_pooler_by_themselves(pooler, settings, own_database):
    direct = dict(connection.settings_dict)
    where = {name: direct[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")}
    with through(pooler):
        with pytest.raises(CommandError, match="Set DATABASE_DIRECT_URL"):
            call_command("migrate", verbosity=0)

        settings.DATABASE_DIRECT = where
        call_command("migrate", verbosity=0)
        call_command("db", "upgrade")
        assert is_pooled(connection)
        with past_the_pooler():
            assert not is_pooled(connection)

        settings.DATABASE_DIRECT = {**where, "HOST": "127.0.0.1", "PORT": str(pooler.port)}
        with pytest.raises(CommandError, match="Let DATABASE_DIRECT_URL name PostgreSQL itself"):
            call_command("migrate", verbosity=0)

        settings.DATABASE_DIRECT = {**where, "NAME": "postgres"}
        with pytest.raises(CommandError, match="another database than"):
            call_command("migrate", verbosity=0)
        assert left_in_session(pooler, direct["NAME"]) == []


@pytest.mark.django_db(transaction=True)
def test_heartbeats_and_sweepers_go_past_the_pooler_where_they_can(
    pooler, settings, monkeypatch, own_database
):
    seen = threading.Event()

    def look(sweeper: Sweeper) -> None:
        if not is_pooled(connection):
            seen.set()

    settings.DATABASE_DIRECT = dict(connection.settings_dict)
    monkeypatch.setattr(Sweeper, "_round", look)
    with through(pooler):
        sweeper = Sweeper(FallbackWorkers(0))
        sweeper.start()
        try:
            assert seen.wait(30)
        finally:
            sweeper.stop()


def found() -> list[str]:
    """What `manage.py check --database default` says of it."""
    about = ("pooler", "DATABASE_DIRECT_URL")
    messages = run_checks(databases=["default"])
    return [str(each.id) for each in messages if any(word in each.msg for word in about)]


@pytest.mark.django_db(transaction=True)
def test_check_says_what_does_not_fit_a_pooler(pooler, settings, monkeypatch):
    settings.QUEUE_PREPARE = True
    options = {**connection.settings_dict["OPTIONS"], "options": "-c jit=off"}
    direct = {**connection.settings_dict, "NAME": "postgres"}
    assert found() == []
    with through(pooler):
        settings.DATABASE_DIRECT = {**direct, "HOST": "127.0.0.1", "PORT": str(pooler.port)}
        assert found() == ["pixsim.W001", "pixsim.E002", "pixsim.E003"]
        settings.DATABASE_DIRECT = direct
        assert found() == ["pixsim.W001", "pixsim.E002", "pixsim.E003"]
        settings.QUEUE_PREPARE = settings.DATABASE_DIRECT = None
        assert found() == ["pixsim.W001"]
        assert left_in_session(pooler, connection.settings_dict["NAME"]) == []
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        with pytest.raises(OperationalError) as refused:
            connection.ensure_connection()
        assert "Take it out of DATABASE_URL" in explain(refused.value, connection)


@pytest.mark.django_db(transaction=True)
def test_check_says_that_the_role_has_no_limit(pooler):
    assert found() == []
    with through(pooler):
        assert found() == ["pixsim.W001"]
        name = connection.settings_dict["NAME"]
        fetch(f"ALTER DATABASE \"{name}\" SET idle_in_transaction_session_timeout = '60s'", {})
        try:
            pooler.console("RECONNECT")
            assert found() == []
        finally:
            fetch(f'ALTER DATABASE "{name}" RESET ALL', {})
            pooler.console("RECONNECT")


GENERATIONS = 500
ASK = f"""
from jobs import services
for seed in range({GENERATIONS}):
    services.create_job(
        owner=None, provider="local", operation="text_to_image",
        params={{"prompt": "dunes", "width": 32, "height": 32, "seed": seed}},
    )
"""


@pytest.mark.long
@pytest.mark.workers
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_redis(), reason="no redis-server on this machine")
def test_crawls_and_generations_through_a_small_pool_are_exact(tmp_path: Path):
    with (
        Site(answer) as site,
        World(LOCAL_SLOTS="8") as world,
        before(world) as pooler,
    ):
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(f"{site.url}/{number}.jpg" for number in range(2400)))
        tmp_path.chmod(0o755)
        job = world.crawl(
            "--source", "urls", "--from", str(listed), "--max-images", str(IMAGES),
            "--chunk-size", "50",
        )  # fmt: skip
        with world.python(ASK) as asking:
            assert asking.wait(timeout=120) == 0
        first = world.start_worker("-n", "first@%h", concurrency=2)
        world.start_worker("-n", "second@%h", concurrency=2)
        world.wait_until(
            lambda: world.sql("SELECT valid_images > 200 FROM crawl_jobs") == [(True,)],
            seconds=120,
            what="the first images",
        )
        world.kill(first)  # the one that sweeps
        world.start_worker("-n", "third@%h", concurrency=2)
        open_work = (
            "SELECT (SELECT count(*) FROM crawl_jobs WHERE status NOT IN ('completed', 'failed'))"
            " + (SELECT count(*) FROM jobs WHERE status IN ('pending', 'processing'))"
        )
        world.wait_until(lambda: world.sql(open_work) == [(0,)], seconds=400, what="the end of all")

        assert_all_is_accounted_for(world, job)
        assert world.sql("SELECT status, count(*) FROM jobs GROUP BY 1") == [
            ("completed", GENERATIONS)
        ]
        assert world.sql("SELECT count(*), count(DISTINCT sha256) FROM assets") == [
            (GENERATIONS, GENERATIONS)
        ]
        assert world.sql(
            "SELECT count(*), count(DISTINCT job_id) FROM provider_submissions"
            " WHERE status = 'succeeded'"
        ) == [(GENERATIONS, GENERATIONS)]
        assert "prepared statement" not in world.log()
        assert left_in_session(pooler, "pixsim") == []

        assert "DATABASE_DIRECT_URL" in world.manage("migrate", check=False).stderr
        world.environment["DATABASE_DIRECT_URL"] = world.database_url
        world.manage("migrate")
        world.manage("db", "backup", str(world.home))
