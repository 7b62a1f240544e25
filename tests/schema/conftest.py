"""Databases of their own for the tests of `manage.py db`, on the server that the tests use."""

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

from pixsim.schema.contents import wipe
from tests.schema.packages import packages as packages

ALIAS = "scratch"
NAME = f"pixsim_scratch_{os.getpid()}"
MIGRATED = f"{NAME}_migrated"
TEMPLATE = f"{NAME}_template"
Server = Callable[..., Any]


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
def database(_server: Server, _scratch: str) -> Iterator[str]:
    """The alias of an empty database."""
    # One for all tests of the process: to make a database and to drop it are a checkpoint each.
    _server(f'ALTER DATABASE "{_scratch}" RESET ALL')
    _server(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
        [_scratch],
    )
    with alias_of(_scratch):
        wipe(connections[ALIAS])
        yield ALIAS


@pytest.fixture
def migrated(_server: Server, _template: str) -> Iterator[str]:
    """The alias of a database at the head of our migrations."""
    with made(_server, MIGRATED, template=_template), alias_of(MIGRATED):
        yield ALIAS


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
def _server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Server]:
    """Runs a statement on the server, outside the tests' own database."""
    settings = connections["default"].settings_dict
    parameters = {
        "host": settings["HOST"],
        "port": settings["PORT"] or None,
        "user": settings["USER"],
        "password": settings["PASSWORD"],
        "dbname": "postgres",
    }
    with (
        django_db_blocker.unblock(),
        psycopg.connect(
            **{name: value for name, value in parameters.items() if value}, autocommit=True
        ) as server,
    ):
        yield server.execute


@pytest.fixture(scope="session")
def _scratch(_server: Server) -> Iterator[str]:
    with made(_server, NAME):
        yield NAME


@pytest.fixture(scope="session")
def _template(_server: Server) -> Iterator[str]:
    with made(_server, TEMPLATE):
        with alias_of(TEMPLATE):
            call_command("migrate", database=ALIAS, verbosity=0)
        yield TEMPLATE


@contextmanager
def made(server: Server, name: str, *, template: str = "template1") -> Iterator[None]:
    """A database of this name, while the block lasts."""
    server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    server(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield
    finally:
        server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


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
