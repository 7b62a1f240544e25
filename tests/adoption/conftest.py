"""Databases of older systems, adopted."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from pixsim.adoption.systems import PIXCRAWLER_BASE, REVISIONS
from tests.adoption import proof
from tests.adoption.legacy import STATES, State
from tests.scratch import ALIAS, Ran
from tests.scratch import db as db

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
    settings.DATABASE_ROUTERS = ["tests.adoption.conftest.Scratch"]


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


@pytest.fixture(autouse=True)
def _one_head(one_head: None) -> None:
    """What the schema is at the head is asked some forty times."""
