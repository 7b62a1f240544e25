"""What all tests share."""

import sys

import pytest

from jobs.queue import doorbell, workplace


@pytest.fixture(autouse=True)
def _quiet_workplace(monkeypatch):
    """A test's process is no worker: it has no pool, nobody asked it to stop, no bell rings."""
    workplace.open_workplace(pool_size=0)
    monkeypatch.setattr(doorbell, "ring", lambda: None)


@pytest.fixture(autouse=True)
def _fresh_engine():
    """An engine reads the settings when it is made: none survives the test that made it."""
    yield
    if module := sys.modules.get("crawler.fetch.engine"):
        engine = module.Engine._shared
        if engine is not None and engine.is_usable:
            engine.close()
