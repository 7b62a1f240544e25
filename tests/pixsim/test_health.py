"""/health/live and /health/ready, asked of a real server whose services are stopped one by one."""

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.test import Client

from pixsim import health
from pixsim.core.caching import CachedFor
from tests.pixsim.serving import answers, ask_json, production_server
from tests.world import World


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    health.readiness.forget()
    yield
    health.readiness.forget()


def ready(port: int) -> tuple[int, str, list[str]]:
    """The HTTP status, the word, and the checks that failed."""
    status, said = ask_json(port, "/health/ready")
    failed = [name for name, check in said["checks"].items() if not check["ok"]]
    return status, said["status"], failed


@pytest.mark.workers
def test_a_server_says_which_of_its_services_is_gone_and_lives_without_them() -> None:
    with World() as world, production_server(world, workers=1) as port:
        world.wait_until(lambda: answers(port), seconds=60, what="the server")
        assert ready(port) == (200, "ready", [])

        world.redis.stop()
        without_broker = (200, "degraded", ["broker"])
        world.wait_until(lambda: ready(port) == without_broker, seconds=20, what="no broker")

        world.postgres.stop()
        nothing = (503, "not ready", ["database", "migrations", "broker"])
        world.wait_until(lambda: ready(port) == nothing, seconds=30, what="no database")
        assert ask_json(port, "/health/live") == (200, {"status": "live"})

        world.postgres.start()
        world.redis.start()
        world.wait_until(lambda: ready(port)[1] == "ready", seconds=30, what="all back")


@pytest.mark.django_db(transaction=True)
def test_missing_migrations_are_named(own_database: str, client: Client) -> None:
    call_command("migrate", "jobs", "0005", verbosity=0)

    answer = client.get("/health/ready")

    check = answer.json()["checks"]["migrations"]
    assert answer.status_code == 503
    assert check["ok"] is False
    assert "jobs.0006_attempts" in check["missing"]
    assert "manage.py migrate" in check["message"]


@pytest.mark.django_db
def test_only_reading_is_allowed_and_nobody_keeps_an_answer(client: Client) -> None:
    assert client.post("/health/live").status_code == 405
    assert client.head("/health/ready").status_code == 200
    assert client.get("/health/live")["Cache-Control"] == "no-store"
    assert client.get("/health/other").status_code == 404


def test_liveness_asks_the_database_nothing(client: Client) -> None:
    # pytest-django refuses the database to a test that does not ask for it.
    assert client.get("/health/live").json() == {"status": "live"}


def test_a_kept_result_is_computed_anew_after_its_time_and_an_error_is_not_kept() -> None:
    asked: list[int] = []

    def compute() -> int:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError
        return len(asked)

    kept = CachedFor(3600, compute)
    with pytest.raises(ValueError):
        kept()
    assert [kept(), kept()] == [2, 2]
    kept.forget()
    assert kept() == 3
    always = CachedFor(0, compute)
    assert [always(), always()] == [4, 5]
