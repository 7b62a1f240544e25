"""Databases of older systems, adopted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pixsim.schema.adoption import surveying
from pixsim.schema.history import load_migrations
from pixsim.schema.reference import Reference, reference
from tests.schema.adoption import proof
from tests.schema.conftest import Ran
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


@pytest.fixture(autouse=True)
def _one_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every adoption asks what the schema is at the head; here it is built once for all of them."""
    heads = load_migrations(None).graph.leaf_nodes()

    @contextmanager
    def once(connection: Any, *, at: Any = None) -> Iterator[Reference]:
        if at != heads:
            with reference(connection, at=at) as built:
                yield built
            return
        if not _HEAD:
            with reference(connection, at=at) as built:
                _HEAD.append(built)
        yield _HEAD[0]

    monkeypatch.setattr(surveying, "reference", once)


_HEAD: list[Reference] = []
