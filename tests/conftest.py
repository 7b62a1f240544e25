"""What all tests share."""

import pytest

from jobs.queue import doorbell, workplace


@pytest.fixture(autouse=True)
def _quiet_workplace(monkeypatch):
    """A test's process is no worker: it has no pool, nobody asked it to stop, no bell rings."""
    workplace.open_workplace(pool_size=0)
    monkeypatch.setattr(doorbell, "ring", lambda: None)
