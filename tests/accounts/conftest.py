from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

Migrate = Callable[[str | None], Any]


@pytest.fixture
def migrate(transactional_db: None) -> Iterator[Migrate]:
    """Bring this app to a migration (None: to zero) and return its models there.

    Afterwards everything goes to the head again.
    """

    def to(name: str | None) -> Any:
        executor = MigrationExecutor(connection)
        targets = [("accounts", name)]
        executor.migrate(targets)
        return executor.loader.project_state(targets).apps if name else None

    yield to
    to_head()


def to_head() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
