from collections.abc import Callable
from typing import Any

import pytest

from tests.migrating import Walk
from tests.migrating import to_head as to_head

Migrate = Callable[[str | None], Any]


@pytest.fixture
def migrate(walk: Walk) -> Migrate:
    """Bring this app to a migration (None: to zero) and return its models there."""
    return lambda name: walk("accounts", name)
