"""Workers that die at each step of a submission, and many at once: nothing is paid twice or lost."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from django.db import connection

from accounts import credits
from jobs.generation.dispatcher import Dispatcher
from jobs.generation.kind import GenerationKind
from jobs.models import Job
from jobs.queue.kinds import kind_named
from jobs.queue.ops.check import check
from providers.models import ProviderAccount, ProviderSubmission
from tests.jobs.generation.conftest import (
    PROJECT,
    ask,
    ended,
    hurry,
    work,
    worker_environment,
)
from tests.jobs.generation.worker_steps import STEP_NAMES
from tests.providers.adapters.fake import (
    BROKEN_AFTER,
    DOWN,
    DROPPED_AFTER,
    DROPPED_BEFORE,
    HTML,
    Chaos,
    refuses,
)
from tests.providers.adapters.simple_adapter import SimpleAdapter
from tests.providers.adapters.simple_fake import error
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


def crash(step: str, *, fake, blob_folder, tmp_path) -> int:
    """A worker that dies at `step`; its exit code."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.jobs.generation.worker", step],
        cwd=PROJECT,
        timeout=60,
        capture_output=True,
        env=worker_environment(fake, blob_folder, tmp_path),
    )
    return process.returncode


@pytest.mark.parametrize(
    ("step", "can_find"),
    [*((step, True) for step in STEP_NAMES), ("after intent", False), ("after send", False)],
)
def test_a_worker_that_dies_at_a_step_loses_nothing_and_pays_nothing_twice(
    step, can_find, fake, account, ada, blob_folder, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("SIMPLE_CAN_FIND", "1" if can_find else "0")
    monkeypatch.setattr(SimpleAdapter, "can_find", can_find)
    job = ask(ada)

    assert crash(step, fake=fake, blob_folder=blob_folder, tmp_path=tmp_path) == -signal.SIGKILL
    with edits_by_hand(), connection.cursor() as cursor:  # the lease of the dead passes
        cursor.execute(
            "UPDATE jobs SET lease_expires_at = now() - interval '1 second' "
            "WHERE lease_expires_at IS NOT NULL"
        )
    work(lambda: _hurry_doubts() or ended(job)(), seconds=30)

    job = Job.objects.get(pk=job.pk)
    assert len(fake.generations) <= 1
    # Only who cannot ask gives up what it may have sent.
    given_up = not can_find and step in ("after intent", "after send")
    assert (job.status, job.error_class) == (
        ("failed", "undecided") if given_up else ("completed", None)
    )
    assert not ProviderSubmission.objects.filter(status__in=["pending", "accepted", "unknown"])
    assert credits.balance(ada) == 998
    assert credits.check().rows == []
    assert [one for one in check([kind_named("generation")]) if not one.holds] == []


def test_many_workers_never_exceed_an_account_and_lose_no_slot(
    fake, make_account, ada, settings
) -> None:
    jobs_count = int(os.environ.get("SLOT_TEST_JOBS", "120"))
    workers = int(os.environ.get("SLOT_TEST_WORKERS", "12"))
    for number in range(3):
        make_account(str(number), slots=2)
    fake.at_once = True
    fake.duration = 0.01
    fake.chaos = Chaos(
        0.2,
        {
            "submit": [
                refuses(402, error("no_credit")), refuses(429, error("slow_down"), {"Retry-After": "0.1"}),
                refuses(429, error("too_many")), DOWN, DROPPED_AFTER, DROPPED_BEFORE, BROKEN_AFTER,
                HTML, refuses(400, error("filtered")), refuses(422, error("invalid")),
            ],
        },
    )  # fmt: skip
    jobs = [ask(prompt=f"picture {number}") for number in range(jobs_count)]
    kind = GenerationKind()
    dispatchers = [Dispatcher(kind) for _ in range(workers)]
    stop = threading.Event()

    def keep_driving(dispatcher: Dispatcher) -> None:
        while not stop.wait(0.1):
            dispatcher.drive()
        dispatcher.stop()
        connection.close()

    threads = [
        threading.Thread(target=keep_driving, args=(dispatcher,)) for dispatcher in dispatchers
    ]
    for thread in threads:
        thread.start()
    try:
        work(lambda: bool(hurry(accounts=True)) or ended(*jobs)(), seconds=170 + jobs_count / 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert max(fake.most_live.values()) <= 2
    assert max(fake.accepted_by_reference.values()) == 1
    sent_once = [generation.params["prompt"] for generation in fake.generations.values()]
    assert len(sent_once) == len(set(sent_once))
    statuses = set(Job.objects.values_list("status", flat=True))
    assert statuses <= {"completed", "failed"}
    assert set(Job.objects.filter(status="failed").values_list("error_class", flat=True)) <= {
        "filtered", "invalid_parameter", "quota", "rate_limit", "concurrent_limit", "unavailable",
    }  # fmt: skip
    assert not ProviderSubmission.objects.filter(status__in=["pending", "accepted", "unknown"])
    assert ProviderAccount.objects.count() == 3


def _hurry_doubts() -> bool:
    """Let what is due come at once, and doubts that nobody can resolve end."""
    hurry()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE provider_submissions SET deadline_at = now() WHERE status = 'unknown'"
        )
    return False
