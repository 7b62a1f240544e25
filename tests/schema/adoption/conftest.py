"""Databases of older systems, adopted."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from pixsim.schema.adoption import surveying
from pixsim.schema.adoption.revisions import PIXCRAWLER_BASE, REVISIONS
from pixsim.schema.catalog import read_schema
from pixsim.schema.history import load_migrations
from pixsim.schema.reference import Reference, reference
from pixsim.schema.verbs import verify
from tests.schema.adoption import proof
from tests.schema.conftest import ALIAS, Ran, Server, made
from tests.schema.legacy import STATES, State

Sql = Callable[..., list[tuple[Any, ...]]]


class Scratch:
    """Sends Django's models to the scratch database: what a web process on it would see."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "scratch"

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True


@pytest.fixture
def older(database: str, sql: Sql) -> Callable[..., State]:
    """Makes the scratch database one of an older system."""

    def make(name: str, *, jobs: int = 40) -> State:
        state = STATES[name]
        state.build(sql)
        if jobs:
            state.fill(sql, jobs=jobs)
        return state

    return make


@pytest.fixture
def adopted(older: Any, sql: Sql, db: Callable[..., Ran]) -> Callable[..., State]:
    """The same, remembered by `proof` and then adopted."""

    def make(name: str, *, jobs: int = 40) -> State:
        state = older(name, jobs=jobs)
        proof.remember(sql, state)
        ran = db("adopt", "--apply", "--yes")
        assert ran.code == 0, ran.out + ran.err
        return state

    return make


@pytest.fixture
def models(settings: Any) -> None:
    """Models are read and written in the scratch database."""
    settings.DATABASE_ROUTERS = ["tests.schema.adoption.conftest.Scratch"]


@pytest.fixture
def taken_over(adopted: Any, sql: Sql, db: Callable[..., Ran]) -> Callable[..., State]:
    """The same, proved to be whole where adoption left it, and again at the head."""

    def make(name: str, *, jobs: int = 40) -> State:
        state = adopted(name, jobs=jobs)
        assert proof.lost(sql, state) == []
        applied = sql("SELECT app, max(name) FROM django_migrations GROUP BY app")
        equals = REVISIONS[state.revision] if state.revision else PIXCRAWLER_BASE
        assert set(applied) >= set(equals)
        assert db("verify").code == 0
        if name not in TWINS:
            call_command("migrate", database=ALIAS, verbosity=0)
            assert proof.lost(sql, state) == []
            verified = db("verify")
            assert verified.code == 0, verified.out
            assert db("status").code == 0
        return state

    return make


TWINS = (
    "pixsim7-daa977a0bfa9-migrated",
    "pixsim7-2330addema-models",
    "pixsim7-2330addema-migrated",
    "pixsim7-1105simplifylineage-models",
)
"""They become the same tables as another state, so its way to the head is theirs."""


@pytest.fixture(scope="session")
def _head(_server: Server, _template: str) -> Iterator[Reference]:
    """The schema at the head, as plain `migrate` makes it.

    A copy: nobody can copy the template while somebody is connected to it.
    """
    with made(_server, HEAD_NAME, template=_template):
        settings = connections["default"].settings_dict
        connections.databases[HEAD] = {**settings, "NAME": HEAD_NAME}
        loader = load_migrations(None)
        leaves = loader.graph.leaf_nodes()
        plan = [key for leaf in leaves for key in loader.graph.forwards_plan(leaf)]
        head = read_schema(connections[HEAD])
        yield Reference(head, connections[HEAD], tuple(dict.fromkeys(plan)))
        connections[HEAD].close()
        del connections[HEAD]
        del connections.databases[HEAD]


@pytest.fixture(autouse=True)
def _one_head(monkeypatch: pytest.MonkeyPatch, _head: Reference) -> None:
    """Who asks what the schema is at the head gets it from there: it is asked some forty times."""

    @contextmanager
    def once(connection: Any, *, at: Any = None) -> Iterator[Reference]:
        loader = load_migrations(connection)
        if at == loader.graph.leaf_nodes() or set(loader.applied_migrations) == set(_head.made):
            yield _head
        else:
            with reference(connection, at=at) as built:
                yield built

    for module in (surveying, verify):
        monkeypatch.setattr(module, "reference", once)


HEAD = "head"
HEAD_NAME = f"pixsim_head_{os.getpid()}"
