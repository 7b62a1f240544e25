"""Databases of older systems, adopted."""

from collections.abc import Callable
from typing import Any

import pytest

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
