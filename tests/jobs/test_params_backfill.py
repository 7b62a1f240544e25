"""Jobs without params get what was first sent for them, and say so; and back."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from jobs.backfills import PARAMS_FROM_PAYLOADS, PARAMS_FROM_PAYLOADS_UNDO
from jobs.models import Job
from providers.models import ProviderAccount
from tests.providers.conftest import Migrate, account, execute, migrate, user

__all__ = ["account", "migrate", "user"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def made(user: User, account: ProviderAccount) -> Any:
    """Makes a job with `params` and submissions of these payloads, the first one the latest."""

    def make(*payloads: Any, params: dict[str, Any] | None = None) -> int:
        job = Job.objects.create(
            user=user, operation_type="fusion", provider_id="local", params=params or {}
        )
        for hours, payload in enumerate(payloads):
            execute(
                "INSERT INTO provider_submissions (job_id, account_id, provider_id, payload, "
                "submitted_at) VALUES (%s, %s, 'local', %s, now() - %s * interval '1 hour')",
                job.pk,
                account.pk,
                None if payload is None else json.dumps(payload),
                hours,
            )
        return job.pk

    return make


def params(job: int) -> tuple[Any, str | None]:
    return Job.objects.values_list("params", "params_source").get(pk=job)


def test_the_earliest_payload_becomes_the_params_and_is_marked(made: Any) -> None:
    job = made({"prompt": "safer"}, {"prompt": "first", "seed": 7})
    assert PARAMS_FROM_PAYLOADS.run(connection) == 1
    assert params(job) == ({"prompt": "first", "seed": 7}, "payload")
    assert PARAMS_FROM_PAYLOADS.run(connection) == 0


def test_params_that_came_with_the_job_and_jobs_without_a_payload_stay(made: Any) -> None:
    recorded = made({"prompt": "sent"}, params={"prompt": "asked"})
    never_sent = made()
    odd = made(None, {}, ["a list"], "text", 5)
    assert PARAMS_FROM_PAYLOADS.run(connection) == 0
    assert params(recorded) == ({"prompt": "asked"}, None)
    assert params(never_sent) == params(odd) == ({}, None)


def test_an_empty_payload_before_a_full_one_says_nothing(made: Any) -> None:
    job = made({"prompt": "second"}, {})
    PARAMS_FROM_PAYLOADS.run(connection)
    assert params(job) == ({"prompt": "second"}, "payload")


def test_the_undo_empties_exactly_what_was_filled(made: Any) -> None:
    recorded = made({"prompt": "sent"}, params={"prompt": "asked"})
    filled = made({"prompt": "sent"})
    PARAMS_FROM_PAYLOADS.run(connection)
    assert PARAMS_FROM_PAYLOADS_UNDO.run(connection) == 1
    assert params(recorded) == ({"prompt": "asked"}, None)
    assert params(filled) == ({}, None)


@pytest.mark.long
def test_going_back_drops_the_mark_and_keeps_the_params(made: Any, migrate: Migrate) -> None:
    job = made({"prompt": "sent"})
    PARAMS_FROM_PAYLOADS.run(connection)
    migrate("jobs", "0002_params")
    assert execute("SELECT params ->> 'prompt' FROM jobs WHERE id = %s", job) == [("sent",)]
