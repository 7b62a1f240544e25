"""Migrations in tests: a database of the test's own, walked to any point of the history and back."""

from collections.abc import Callable
from typing import Any

import psycopg
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests import databases

Walk = Callable[[str, str | None], Any]


def migrate_to(app: str, name: str | None) -> Any:
    """Bring `app` to a migration (None: to zero) and return the models' registry there."""
    executor = MigrationExecutor(connection)
    targets = [(app, name)]
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps if name else None


def to_head() -> None:
    """Apply what is pending."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def migrate_up_to(app: str, name: str) -> None:
    """From zero, apply all that the head has without what depends on a later migration of `app`."""
    executor = MigrationExecutor(connection)
    graph = executor.loader.graph
    later = {
        dependent
        for child in graph.node_map[(app, name)].children
        if child.key[0] == app
        for dependent in graph.backwards_plan(child.key)
    }
    leaves = [
        key
        for key in graph.nodes.keys() - later
        if all(child.key in later for child in graph.node_map[key].children)
    ]
    executor.migrate(leaves)


class Walker:
    """Brings a test's own database to a migration.

    An empty database at the head is replaced by a copy of one that never had the later migrations:
    to go back from the head takes seconds. A database with rows is really migrated.
    """

    def __init__(self, server: psycopg.Connection[Any], template: str, name: str) -> None:
        self._server = server
        self._template = template
        self._name = name
        self._is_at_head = True

    def __call__(self, app: str, name: str | None) -> Any:
        if self._is_at_head and name and databases.is_empty(connection):
            stage = self._stage(app, name)
            connection.close()
            databases.copy_database(self._server, stage, self._name)
        self._is_at_head = False
        return migrate_to(app, name)

    def _stage(self, app: str, name: str) -> str:
        number = name.partition("_")[0]
        stage = f"{self._template}_{app}_{number}"
        return databases.template(self._server, stage, lambda: migrate_up_to(app, name))
