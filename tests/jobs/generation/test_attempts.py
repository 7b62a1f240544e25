"""An attempt in a worker's hands: one work item, and what it knows of its job."""

import pytest
from django.db import connection

from jobs.generation import allocation
from jobs.generation.attempts import Attempt
from jobs.queue.errors import LeaseLost
from jobs.queue.kinds import kind_named
from jobs.queue.worker.heartbeat import Heartbeat
from providers import submissions
from providers.models import ProviderSubmission
from tests.jobs.generation.conftest import ask
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db


@pytest.fixture
def attempt(fake, account) -> Attempt:
    ask()
    (candidate,) = allocation.open_accounts()
    (attempt,) = allocation.allocate(kind_named("generation"), candidate, limit=1, task_id="test")
    return attempt


def test_the_heartbeat_drops_the_work_that_it_was_given(attempt: Attempt) -> None:
    heartbeat = Heartbeat()
    heartbeat.hold([attempt.work])
    heartbeat.drop([attempt.work])
    assert not heartbeat._alive()


def test_an_attempt_remembers_that_its_lease_is_lost(attempt: Attempt) -> None:
    with connection.cursor() as cursor, edits_by_hand():
        cursor.execute("UPDATE jobs SET lease_id = lease_id + 1")
    with pytest.raises(LeaseLost):
        attempt.work.lock_lease()
    assert attempt.work.lost


def test_submissions_are_claimed_without_loading_their_jobs(attempt: Attempt) -> None:
    ProviderSubmission.objects.update(next_poll_at=attempt.submission.submitted_at)
    (claimed,) = submissions.claim_due(limit=1)
    assert "job" not in claimed._state.fields_cache
    assert claimed.account == attempt.submission.account
