"""What all tests share."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as project_settings
from django.db import connection, connections
from django.test import TransactionTestCase
from xdist.scheduler import LoadFileScheduling

from jobs.queue.worker import notify, shared_state
from tests import databases, queue_guard
from tests.migrating import Walk, Walker
from tests.scratch import (  # noqa: F401  fixtures that several folders use
    _head,
    _scratch,
    at_head,
    database,
    migrated,
    one_head,
    sql,
)

LONGEST = {
    "accounts/test_schema.py", "crawler/test_bad_days.py", "crawler/test_chaos.py",
    "crawler/test_stale_worker.py", "demo/test_run.py", "jobs/test_brokers.py",
    "jobs/test_interleavings.py", "jobs/test_priority_on_a_broker.py", "jobs/test_schema.py",
    "jobs/test_stopping.py",
    "jobs/generation/test_crashes.py", "jobs/generation/test_life.py",
    "pixsim/test_embedded.py", "pixsim/test_migrations.py", "pixsim/test_plain_path.py",
    "pixsim/test_up.py", "providers/test_account_backfill.py", "providers/test_schema.py",
    "seeds/test_seeds.py",
    "adoption/test_messy.py", "adoption/test_pixcrawler.py",
    "adoption/test_pixsim7.py", "adoption/test_stopping.py",
    "adoption/test_work.py",
}  # fmt: skip


class ByFile(LoadFileScheduling):
    """Give the tests of a file to one process, as they share what they started.

    Each of the long series of schedules goes to the next free process: together they take longer
    than all else.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "two_thousand_schedules" in nodeid else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items):
    """The files that take longest begin first, so that no process ends alone with one."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).as_posix() not in LONGEST)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    """A test's process is no worker: it has no pool, nobody asked it to stop, no message is sent."""
    shared_state.begin_worker(pool_size=0)
    monkeypatch.setattr(notify, "notify", lambda: None)


@pytest.fixture(autouse=True)
def _fresh_engine():
    """An engine reads the settings when it is made: none survives the test that made it."""
    yield
    if module := sys.modules.get("crawler.fetch.engine"):
        engine = module.Engine._shared
        if engine is not None and engine.is_usable:
            engine.close()


@pytest.fixture(scope="session")
def database_server(django_db_blocker: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server of the tests, outside their own database."""
    with django_db_blocker.unblock(), databases.connect_to_server() as server:
        if "postgres" in project_settings.EMBEDDED_SERVICES:
            databases.make_unsafe_and_fast(server)
        databases.drop_what_earlier_runs_left(server)
        yield server


@pytest.fixture(scope="session")
def database_template(database_server: psycopg.Connection[Any], django_db_blocker: Any) -> str:
    """The name of a database at the head of our migrations, to be copied."""
    with django_db_blocker.unblock():
        return databases.migrated_template(database_server)


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    database_server: psycopg.Connection[Any],
    database_template: str,
    django_db_blocker: Any,
) -> Iterator[None]:
    """The tests of this process have a copy of the template, in place of pytest-django's database."""
    name = databases.own_database_name()
    with (
        databases.database(database_server, name, template=database_template),
        databases.default_database(name),
    ):
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(queue_guard.INSTALL)
        yield


@pytest.fixture
def own_database(
    django_db_setup: None, database_server: psycopg.Connection[Any], database_template: str
) -> Iterator[str]:
    """The name of a copy of the template, which the default connection uses during the test."""
    name = f"{databases.own_database_name()}_own"
    with (
        databases.database(database_server, name, template=database_template),
        databases.default_database(name),
    ):
        yield name


@pytest.fixture(autouse=True)
def _own_database_first(request: pytest.FixtureRequest) -> None:
    """Rows that other fixtures write go to the test's own database, too."""
    if "own_database" in request.fixturenames:
        request.getfixturevalue("own_database")


@pytest.fixture
def walk(
    own_database: str,
    transactional_db: None,
    database_server: psycopg.Connection[Any],
    database_template: str,
) -> Walk:
    """Bring an app of the test's own database to a migration (None: to zero)."""
    return Walker(database_server, database_template, own_database)


def _empty_tables(test_case: TransactionTestCase) -> None:
    for alias in test_case._databases_names(include_mirrors=False):
        databases.empty_tables(connections[alias])


TransactionTestCase._fixture_teardown = _empty_tables
