"""What all tests share."""

import sys
from pathlib import Path

import pytest

from jobs.queue.worker import notify, shared_state
from tests.scratch import (  # noqa: F401  fixtures that several folders use
    _head,
    _scratch,
    _server,
    _template,
    at_head,
    database,
    migrated,
    one_head,
    sql,
)

LONGEST = {
    "accounts/test_schema.py", "crawler/test_bad_days.py", "crawler/test_chaos.py",
    "crawler/test_stale_worker.py", "demo/test_run.py", "jobs/test_brokers.py",
    "jobs/test_priority_on_a_broker.py", "jobs/test_schema.py", "jobs/test_stopping.py",
    "jobs/generation/test_crashes.py", "jobs/generation/test_life.py",
    "pixsim/test_embedded.py", "pixsim/test_migrations.py", "pixsim/test_plain_path.py",
    "pixsim/test_up.py", "providers/test_account_backfill.py", "providers/test_schema.py",
    "adoption/test_messy.py", "adoption/test_pixcrawler.py",
    "adoption/test_pixsim7.py", "adoption/test_stopping.py",
    "adoption/test_work.py",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """The files that take longest begin first, so that no process ends alone with one."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(here).as_posix() not in LONGEST)


@pytest.fixture(autouse=True)
def _quiet_workplace(monkeypatch):
    """A test's process is no worker: it has no pool, nobody asked it to stop, no bell rings."""
    shared_state.open_workplace(pool_size=0)
    monkeypatch.setattr(notify, "ring", lambda: None)


@pytest.fixture(autouse=True)
def _fresh_engine():
    """An engine reads the settings when it is made: none survives the test that made it."""
    yield
    if module := sys.modules.get("crawler.fetch.engine"):
        engine = module.Engine._shared
        if engine is not None and engine.is_usable:
            engine.close()
