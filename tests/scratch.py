"""Databases of their own for the tests of `manage.py db`, on the server that the tests use.

The fixture `db` replaces that of pytest-django, so only the folders that want it import it.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from pixsim.schema.catalog import read_schema
from pixsim.schema.contents import wipe
from pixsim.schema.history import load_migrations
from pixsim.schema.reference import Reference, reference
from tests import databases

ALIAS = "scratch"
NAME = f"pixsim_scratch_{os.getpid()}"
MIGRATED = f"{NAME}_migrated"
HEAD = f"{NAME}_head"
Server = psycopg.Connection[Any]


@dataclass(frozen=True)
class Ran:
    """What `manage.py db` did: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def database(database_server: Server, _scratch: str) -> Iterator[str]:
    """The alias of an empty database."""
    # One for all tests of the process: to make a database and to drop it are a checkpoint each.
    database_server.execute(f'ALTER DATABASE "{_scratch}" RESET ALL')
    database_server.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
        [_scratch],
    )
    with alias_of(_scratch):
        wipe(connections[ALIAS])
        yield ALIAS


@pytest.fixture
def migrated(database_server: Server, database_template: str) -> Iterator[str]:
    """The alias of a database at the head of our migrations."""
    with (
        databases.database(database_server, MIGRATED, template=database_template),
        alias_of(MIGRATED),
    ):
        yield ALIAS


@pytest.fixture
def at_head(_head: Reference) -> Iterator[str]:
    """The alias of a database at the head that all tests of the process share, to be read only."""
    with alias_of(HEAD):
        yield ALIAS


@pytest.fixture
def one_head(monkeypatch: pytest.MonkeyPatch, _head: Reference) -> None:
    """Who asks what the schema is at the head gets it from there: to build it takes seconds."""

    @contextmanager
    def once(
        connection: BaseDatabaseWrapper, *, at: Any = None, loader: Any = None
    ) -> Iterator[Reference]:
        loader = loader or load_migrations(connection)
        applied = loader.applied_migrations.keys() & loader.graph.nodes.keys()
        asked = applied if at is None else at
        if asked == loader.graph.leaf_nodes() or set(asked) == set(_head.made):
            yield _head
        else:
            with reference(connection, at=at, loader=loader) as built:
                yield built

    for module in (
        "adoption.surveying",
        "schema.drift",
        "schema.stamping",
        "schema.verbs.schema",
        "schema.verbs.verify",
    ):
        monkeypatch.setattr(f"pixsim.{module}.reference", once)


@pytest.fixture
def db() -> Callable[..., Ran]:
    """Runs `manage.py db <words> --database scratch` in this process."""

    def run(*words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("db", *words, "--database", ALIAS, stdout=out, stderr=err)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """Runs a statement in the scratch database; its rows."""

    def run(statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture(scope="session")
def _scratch(database_server: Server) -> Iterator[str]:
    with databases.database(database_server, NAME):
        yield NAME


@pytest.fixture(scope="session")
def _head(database_server: Server, database_template: str) -> Iterator[Reference]:
    """The schema at the head, as plain `migrate` makes it.

    A copy: nobody can copy the template while somebody is connected to it.
    """
    with databases.database(database_server, HEAD, template=database_template):
        connections.databases[HEAD] = connections["default"].settings_dict | {"NAME": HEAD}
        loader = load_migrations(None)
        leaves = loader.graph.leaf_nodes()
        plan = [key for leaf in leaves for key in loader.graph.forwards_plan(leaf)]
        head = read_schema(connections[HEAD])
        yield Reference(head, connections[HEAD], tuple(dict.fromkeys(plan)))
        connections[HEAD].close()
        del connections[HEAD]
        del connections.databases[HEAD]


@contextmanager
def alias_of(name: str) -> Iterator[None]:
    # A copy to the ground: a test may change what it holds.
    connections.databases[ALIAS] = deepcopy(connections["default"].settings_dict) | {"NAME": name}
    try:
        yield
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]
