"""Claiming, ending, retrying and rescuing work items."""

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from crawler.models import Candidate, JobChunk
from jobs.queue import api
from jobs.queue.errors import LeaseLost, Unrecoverable
from jobs.queue.items import MAX_RETRIES
from jobs.queue.kinds import Completed, GiveBack, Wait
from jobs.queue.worker.loop import Pace, run_worker_loop
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


def claim(kind, limit=1):
    return api.claim(kind, limit=limit, task_id="t")


def ready(chunk_ids):
    with edits_by_hand():
        JobChunk.objects.filter(pk__in=chunk_ids).update(ready_at=F("created_at"))


def test_a_plain_row_is_adopted_claimed_and_completed(kind, make_job, make_chunks):
    job = make_job()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO job_chunks (job_id, chunk_index, image_range)"
            ' VALUES (%s, 0, \'{"start": 0, "end": 10}\')',
            [job.pk],
        )
    type(job).objects.filter(pk=job.pk).update(total_chunks=1, active_chunks=1)

    api.register(kind)
    run_worker_loop(task_id="task-1")

    chunk = JobChunk.objects.get(job=job)
    job.refresh_from_db()
    assert (chunk.status, chunk.task_id, chunk.ready_at, chunk.lease_id) == (
        "completed",
        "task-1",
        None,
        None,
    )
    assert chunk.finished_at is not None
    assert (job.status, job.completed_chunks, job.active_chunks) == ("completed", 1, 0)


def test_more_urgent_work_is_claimed_first_then_older(kind, make_job, make_chunks):
    job = make_job()
    low = make_chunks(job, 2, priority=0)
    high = make_chunks(job, 2, priority=10)
    middle = make_chunks(job, 1, priority=5)
    ready(low + high + middle)

    claimed = [work.id for _ in range(5) for work in claim(kind)]

    assert claimed == high + middle + low


def test_two_claims_never_take_the_same_row(kind, make_job, make_chunks):
    ready(make_chunks(make_job(), 10))

    first, second = claim(kind, 6), claim(kind, 6)

    assert len(first) == 6
    assert len(second) == 4
    assert not {work.id for work in first} & {work.id for work in second}
    assert first[0].lease != second[0].lease


def test_a_stale_lease_writes_nothing(kind, make_job, make_chunks):
    job = make_job()
    ready(make_chunks(job, 1))
    [stale] = claim(kind)
    with edits_by_hand():
        JobChunk.objects.update(lease_expires_at=timezone.now() - timezone.timedelta(seconds=1))
    api.rescue(kind)
    with edits_by_hand():
        JobChunk.objects.update(held=False, available_at=None, ready_at=F("created_at"))
    [fresh] = claim(kind)

    assert api.complete([stale]) == set()
    assert api.fail(stale, error="late") is False
    assert api.wait(stale, seconds=1) is False
    assert api.give_back([stale]) == 0
    with pytest.raises(LeaseLost):
        stale.lock_lease()

    chunk = JobChunk.objects.get()
    assert (chunk.status, chunk.lease_id) == ("processing", fresh.lease)
    assert api.complete([fresh]) == {fresh.id}


def test_a_failing_item_is_retried_with_growing_pauses_and_then_fails_for_good(
    kind, make_job, make_chunks, caplog
):
    caplog.set_level("CRITICAL")  # pytest-xdist can't carry half a surrogate pair in what it caught
    job = make_job()
    ready(make_chunks(job, 1))

    def broken(work):
        raise OSError("no route\x00\udcff")

    kind.action = broken
    pauses = []
    for _ in range(MAX_RETRIES):
        run_worker_loop(task_id="t")
        chunk = JobChunk.objects.get()
        assert (chunk.status, chunk.held, chunk.ready_at) == ("pending", True, None)
        assert "no route" in chunk.error_message
        pauses.append((chunk.available_at - chunk.updated_at).total_seconds())
        with edits_by_hand():
            JobChunk.objects.update(available_at=timezone.now())
        api.resume_due(kind)
    run_worker_loop(task_id="t")

    chunk = JobChunk.objects.get()
    job.refresh_from_db()
    assert (chunk.status, chunk.retry_count) == ("failed", MAX_RETRIES)
    assert (job.status, job.failed_chunks) == ("failed", 1)
    for number, pause in enumerate(pauses):
        assert 2 * 2**number * 0.5 <= pause <= 2 * 2**number * 1.5
    assert not JobChunk.objects.retryable().exists()


def test_an_unrecoverable_item_fails_at_once_and_is_not_offered_for_retry(
    kind, make_job, make_chunks
):
    def refuse(work):
        raise Unrecoverable("not a list")

    kind.action = refuse
    ready(make_chunks(make_job(), 1))

    run_worker_loop(task_id="t")

    chunk = JobChunk.objects.get()
    assert (chunk.status, chunk.error_message) == ("failed", "not a list")
    assert not JobChunk.objects.retryable().exists()


def test_waiting_and_giving_back_cost_no_retry(kind, make_job, make_chunks):
    ready(make_chunks(make_job(), 2))
    first, second = claim(kind, 2)

    api.wait(first, seconds=60, reason="for candidates")
    api.give_back([second])

    waiting, given = JobChunk.objects.order_by("pk")
    assert (waiting.held, waiting.ready_at, waiting.retry_count) == (True, None, 0)
    assert waiting.error_message == "for candidates"
    assert (given.status, given.lease_id, given.retry_count) == ("pending", None, 0)
    assert [work.id for work in claim(kind, 5)] == [given.pk]


def test_a_dead_workers_item_is_rescued_and_one_that_kills_workers_ends_as_failed(
    kind, make_job, make_chunks
):
    job = make_job()
    ready(make_chunks(job, 1))
    for _ in range(MAX_RETRIES + 1):
        assert len(claim(kind)) == 1
        with edits_by_hand():
            JobChunk.objects.update(lease_expires_at=timezone.now() - timezone.timedelta(seconds=1))
        assert len(api.rescue(kind)) == 1
        with edits_by_hand():
            JobChunk.objects.filter(held=True).update(available_at=timezone.now())
        api.resume_due(kind)

    chunk = JobChunk.objects.get()
    job.refresh_from_db()
    assert chunk.status == "failed"
    assert "died or stalled" in chunk.error_message
    assert job.status == "failed"


def test_a_job_with_some_failed_chunks_is_completed(kind, make_job, make_chunks):
    job = make_job()
    ready(make_chunks(job, 3))

    def sometimes(work):
        if len(kind.performed) == 1:
            raise Unrecoverable("first")
        return Completed()

    kind.action = sometimes
    run_worker_loop(task_id="t")

    job.refresh_from_db()
    assert (job.status, job.completed_chunks, job.failed_chunks) == ("completed", 2, 1)


def test_endings_of_perform_are_obeyed(kind, make_job, make_chunks):
    ready(make_chunks(make_job(), 3))
    endings = iter([Wait(None, "paused"), Completed(), GiveBack(), Completed()])
    kind.action = lambda work: next(endings)

    run_worker_loop(task_id="t")

    statuses = list(JobChunk.objects.order_by("pk").values_list("status", "held"))
    assert statuses == [("pending", True), ("completed", False), ("completed", False)]


def test_a_job_that_has_nothing_to_do_now_does_not_keep_others_waiting(
    kind, make_job, make_chunks, monkeypatch
):
    monkeypatch.setattr("jobs.queue.worker.loop.pace", Pace())
    dry, other = make_job(), make_job()
    waiting, working = make_chunks(dry, 50), make_chunks(other, 3)
    ready(waiting + working)

    def wait_or_work(work):
        is_dry = work.item.job_id == dry.pk
        return Wait(60, "for candidates", parent=dry.pk) if is_dry else Completed()

    kind.action = wait_or_work
    run_worker_loop(task_id="t", slice_seconds=0.1)

    assert kind.performed == waiting[:1] + working
    run_worker_loop(task_id="t", slice_seconds=0.5)  # it is tried again, but not as fast as can be
    assert waiting[1] in kind.performed
    assert len(kind.performed) < 10


def test_items_ended_by_hand_leave_the_window_and_end_their_job(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner()
    job = make_job(owner)
    first, second = make_chunks(job, 2, owner=owner)
    api.admit(kind, owner.pk)
    with connection.cursor() as cursor, edits_by_hand():
        cursor.execute("UPDATE job_chunks SET status = 'completed' WHERE id = %s", [first])

    api.register_ends(kind)

    job.refresh_from_db()
    assert JobChunk.objects.get(pk=first).ready_at is None
    assert (job.status, job.completed_chunks, job.active_chunks) == ("pending", 1, 1)

    with edits_by_hand():
        JobChunk.objects.filter(pk=second).update(status="failed")
    api.register_ends(kind)

    job.refresh_from_db()
    assert (job.status, job.completed_chunks, job.failed_chunks) == ("completed", 1, 1)


def test_a_chunk_added_to_a_completed_job_opens_it_again(kind, make_job, make_chunks):
    job = make_job()
    ready(make_chunks(job, 1))
    run_worker_loop(task_id="t")
    JobChunk.objects.create(job=job, chunk_index=9, image_range={"start": 90, "end": 100})

    api.register(kind)

    job.refresh_from_db()
    assert (job.status, job.total_chunks, job.active_chunks) == ("running", 2, 1)
    run_worker_loop(task_id="t")
    job.refresh_from_db()
    assert (job.status, job.completed_chunks) == ("completed", 2)


def test_what_a_chunk_held_is_let_go_when_it_is_given_back(kind, make_job, make_chunks):
    job = make_job()
    ready(make_chunks(job, 1))
    [work] = claim(kind)
    Candidate.objects.create(
        job=job, chunk_id=work.id, url="http://a.example/", url_key=b"1", host="a.example"
    )

    api.give_back([work])

    assert Candidate.objects.get().chunk_id is None
