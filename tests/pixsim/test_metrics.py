"""/metrics: what it shows, and to whom."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from jobs.models import Worker
from jobs.queue.ops import trends
from pixsim import metrics
from providers.models import ProviderAccount
from tests.jobs.conftest import make_chunks, make_job  # noqa: F401  fixtures
from tests.jobs.test_trends import row, this_hour

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    metrics.exposition.forget()
    yield
    metrics.exposition.forget()


@pytest.fixture
def here() -> Client:
    """A program on the machine of the site."""
    return Client(REMOTE_ADDR="127.0.0.1", HTTP_HOST="127.0.0.1:8000")


def figures(client: Client, **extra: Any) -> dict[tuple[str, ...], float]:
    """The samples, by name and the values of their labels."""
    answer = client.get("/metrics", **extra)
    assert answer.status_code == 200, answer.content
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_sample_is_there_while_nothing_has_happened(here: Client) -> None:
    found = figures(here)
    assert found["pixsim_items", "chunk", "ready"] == 0
    assert found["pixsim_attempts_total", "discovery", "lost"] == 0
    assert found["pixsim_attempt_seconds_bucket", "generation", "+Inf"] == 0
    assert found["pixsim_sweeper_active",] == 0
    assert found["pixsim_backlog_seconds", "chunk"] == 0


def test_figures_of_the_queue_are_those_of_its_status(
    here: Client,
    make_job: Any,  # noqa: F811
    make_chunks: Any,  # noqa: F811
) -> None:
    make_chunks(make_job(), 3, ready_at=timezone.now() - timedelta(minutes=10))
    make_chunks(make_job(), 2, held=True)
    row(this_hour() - timedelta(hours=3), 7)
    Worker.objects.create(name="w@h", host="h", pid=1, processes=4, version="1")
    Worker.objects.create(name="v@h", host="h", pid=2, processes=2, version="1", is_draining=True)

    found = figures(here)

    assert found["pixsim_items", "chunk", "ready"] == 3
    assert found["pixsim_items", "chunk", "held"] == 2
    assert found["pixsim_oldest_item_age_seconds", "chunk", "ready"] == pytest.approx(600, abs=30)
    assert found["pixsim_attempts_total", "chunk", "completed"] == 7
    assert found["pixsim_attempts_total", "chunk", "retry"] == 2
    assert found["pixsim_attempt_seconds_count", "chunk"] == 8
    assert found["pixsim_attempt_seconds_sum", "chunk"] == 10
    assert found["pixsim_workers", "working"] == found["pixsim_workers", "draining"] == 1
    assert found["pixsim_processes", "working"] == 4
    assert 0 < found["pixsim_backlog_seconds", "chunk"] < 3 * 3600


def test_figures_of_the_providers(here: Client) -> None:
    ProviderAccount.objects.create(provider_id="p", email="a@b", max_concurrent_jobs=3)
    ProviderAccount.objects.create(
        provider_id="p",
        email="c@d",
        max_concurrent_jobs=2,
        status="exhausted",
        cooldown_until=timezone.now() + timedelta(minutes=1),
    )
    ProviderAccount.objects.create(
        provider_id="p", email="e@f", max_concurrent_jobs=9, status="disabled"
    )
    found = figures(here)
    assert found["pixsim_provider_accounts", "p", "active"] == 1
    assert found["pixsim_provider_accounts", "p", "disabled"] == 1
    assert found["pixsim_provider_accounts_cooling", "p"] == 1
    assert found["pixsim_provider_slots", "p"] == 5
    assert found["pixsim_provider_slots_used", "p"] == 0


def test_counters_do_not_decrease_when_old_hours_are_forgotten(here: Client) -> None:
    row(this_hour() - timedelta(days=800), 7)
    before = figures(here)
    trends.fold_old()
    metrics.exposition.forget()
    after = figures(here)
    counters = [key for key in before if re.match(r"pixsim_attempt(s_total|_seconds)", key[0])]
    assert {key: after[key] for key in counters} == {key: before[key] for key in counters}


def test_all_scrapes_within_seconds_get_one_computation(
    here: Client, django_assert_num_queries: Any
) -> None:
    figures(here)
    with django_assert_num_queries(0):
        figures(here)


# To whom


def codes(*clients: Client) -> list[int]:
    return [client.get("/metrics").status_code for client in clients]


@pytest.mark.parametrize(
    "extra",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"HTTP_HOST": "pixsim.example"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"HTTP_AUTHORIZATION": "Bearer "},
        {"HTTP_AUTHORIZATION": "Bearer guess"},
    ],
)
def test_without_a_token_only_a_program_of_this_machine_may_ask(
    here: Client, settings: Any, extra: dict[str, str]
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert here.get("/metrics").status_code == 200
    refused = here.get("/metrics", **extra)
    assert refused.status_code in (401, 403)
    assert b"METRICS_TOKEN" in refused.content


def test_with_a_token_all_who_have_it_may_ask_and_this_machine_has_no_privilege(
    here: Client, settings: Any
) -> None:
    settings.METRICS_TOKEN = "correct"
    settings.ALLOWED_HOSTS = ["pixsim.example"]
    far = Client(REMOTE_ADDR="192.0.2.7", HTTP_HOST="10.0.0.5:8000")
    assert far.get("/metrics", HTTP_AUTHORIZATION="Bearer correct").status_code == 200
    for given in ("Bearer wrong", "Bearer correct2", "correct", "Basic correct", "Bearer é"):
        assert far.get("/metrics", HTTP_AUTHORIZATION=given).status_code == 401
    settings.ALLOWED_HOSTS = ["*"]
    assert codes(far, here) == [403, 403]


def test_a_member_of_staff_may_look_with_a_browser(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "correct"
    assert codes(client) == [403]
    client.force_login(User.objects.create_user("eve"))
    assert codes(client) == [403]
    client.force_login(User.objects.create_user("sam", is_staff=True))
    assert codes(client) == [200]


def test_without_the_database_a_scrape_fails_visibly(here: Client) -> None:
    def refuse(*args: Any) -> None:
        raise DatabaseError

    with connection.execute_wrapper(refuse):
        answer = here.get("/metrics")
    assert (answer.status_code, answer.content) == (503, b"The database does not answer.\n")
