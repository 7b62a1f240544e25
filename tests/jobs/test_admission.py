"""Windows: how many items of an owner may be ready or processing at once."""

import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Profile
from crawler.models import CrawlJob, JobChunk
from jobs.queue import api, sql
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.loop import run_worker_loop
from jobs.queue.worker.sweeper import Sweeper
from tests.crawler.in_process import wait_until
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _windows(settings):
    settings.DEBUG = False
    settings.TIERS = {"FREE": {"window": 2}, "PRO": {"window": 6}}


def occupying(owner):
    return JobChunk.objects.filter(owner=owner, ready_at__isnull=False).count()


def claim(kind, limit=1):
    return api.claim(kind, limit=limit, task_id="t")


def sweep():
    Sweeper(FallbackWorkers(0)).sweep()


def test_admission_fills_the_window_with_the_best_items(kind, make_owner, make_job, make_chunks):
    owner = make_owner("FREE")
    job = make_job(owner)
    make_chunks(job, 5, owner=owner, priority=3)
    urgent = make_chunks(job, 1, owner=owner, priority=9)

    assert api.admit(kind, owner.pk) == 2

    ready = list(JobChunk.objects.ready().values_list("pk", flat=True))
    assert ready[0] == urgent[0]
    assert len(ready) == 2


def test_finishing_admits_the_next_in_the_same_statement(kind, make_owner, make_job, make_chunks):
    owner = make_owner("FREE")
    make_chunks(make_job(owner), 5, owner=owner)
    api.admit(kind, owner.pk)

    for left in (4, 3, 2, 1, 0):
        [work] = claim(kind)
        api.complete([work])
        assert occupying(owner) == min(2, left)


def test_an_urgent_arrival_displaces_a_ready_item_of_its_owner(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("FREE")
    job = make_job(owner)
    make_chunks(job, 3, owner=owner, priority=1)
    api.admit(kind, owner.pk)
    urgent = make_chunks(job, 1, owner=owner, priority=5)

    api.admit(kind, owner.pk)

    assert occupying(owner) == 2
    assert [work.id for work in claim(kind)] == urgent


def test_a_claim_between_withdrawing_and_granting_does_not_break_the_window(
    kind, make_owner, make_job, make_chunks
):
    """The race named in the design: the swap must count what was claimed meanwhile."""
    owner = make_owner("FREE")
    job = make_job(owner)
    make_chunks(job, 2, owner=owner, priority=1)
    api.admit(kind, owner.pk)
    make_chunks(job, 4, owner=owner, priority=5)
    params = {"owner": owner.pk, "window": 2}

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.LOCK_OWNER, {"owner": owner.pk})
        claimed = in_thread(lambda: len(claim(kind)))
        cursor.execute(kind.sql(sql.WITHDRAW), params)
        cursor.execute(kind.sql(sql.GRANT), params)

    assert claimed == 1
    assert occupying(owner) == 2
    assert JobChunk.objects.filter(status="processing").count() == 1


def test_a_claim_that_commits_while_its_item_is_withdrawn_wins(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("FREE")
    job = make_job(owner)
    make_chunks(job, 2, owner=owner, priority=1)
    api.admit(kind, owner.pk)
    make_chunks(job, 4, owner=owner, priority=5)
    has_claimed = threading.Event()

    def claim_slowly():
        with transaction.atomic():
            claim(kind)
            has_claimed.set()
            wait_until(somebody_waits_for_a_lock)

    claiming = threading.Thread(target=run_and_close, args=[claim_slowly])
    claiming.start()
    assert has_claimed.wait(30)
    api.admit(kind, owner.pk)
    claiming.join()

    assert JobChunk.objects.get(status="processing").ready_at is not None
    assert occupying(owner) == 2


def test_items_inserted_during_an_admission_wait_for_the_next(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("FREE")
    job = make_job(owner)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.LOCK_OWNER, {"owner": owner.pk})
        # An insert refers to the owner by a foreign key and must not be blocked by the lock.
        in_thread(lambda: make_chunks(job, 3, owner=owner))
    assert occupying(owner) == 0

    sweep()

    assert occupying(owner) == 2


def test_many_finishers_and_admissions_at_once_keep_the_window(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("PRO")
    make_chunks(make_job(owner), 300, owner=owner)
    api.admit(kind, owner.pk)
    too_many = []
    done = threading.Event()

    def work():
        while works := claim(kind, 2):
            api.complete(works)

    def admit():
        while not done.is_set():
            api.admit(kind, owner.pk)

    def watch():
        while not done.is_set():
            if (count := occupying(owner)) > 6:
                too_many.append(count)

    background = [threading.Thread(target=run_and_close, args=[f]) for f in (admit, watch)]
    workers = [threading.Thread(target=run_and_close, args=[work]) for _ in range(4)]
    for thread in background + workers:
        thread.start()
    for thread in workers:
        thread.join(60)
    run_worker_loop(task_id="rest")
    done.set()
    for thread in background:
        thread.join(60)

    assert too_many == []
    assert JobChunk.objects.filter(status="completed").count() == 300


def test_a_smaller_tier_withdraws_ready_items_and_is_not_refilled(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("PRO")
    make_chunks(make_job(owner), 20, owner=owner)
    api.admit(kind, owner.pk)
    works = claim(kind, 4)
    Profile.objects.filter(pk=owner.pk).update(user_tier="FREE")

    sweep()
    assert occupying(owner) == 4  # what is processed may end

    api.complete(works[:1])
    assert occupying(owner) == 3
    api.complete(works[1:])
    assert occupying(owner) == 2


def test_two_owners_share_in_proportion_to_their_windows(kind, make_owner, make_job, make_chunks):
    large, small = make_owner("PRO", "pro"), make_owner("FREE", "free")
    for owner in (large, small):
        make_chunks(make_job(owner), 200, owner=owner)
        api.admit(kind, owner.pk)

    for _ in range(160):
        api.complete(claim(kind))

    done = JobChunk.objects.filter(status="completed")
    assert abs(done.filter(owner=large).count() - 120) <= 6


def test_hand_made_changes_are_found_by_the_sweeper(kind, make_owner, make_job, make_chunks):
    owner = make_owner("FREE")
    job = make_job(owner)
    owned, orphan = make_chunks(job, 1), make_chunks(make_job(), 1)
    with connection.cursor() as cursor:
        with edits_by_hand():
            cursor.execute("UPDATE job_chunks SET status = 'failed' WHERE id = %s", orphan)
        with edits_by_hand():
            cursor.execute("UPDATE job_chunks SET status = 'pending' WHERE id = %s", orphan)

    sweep()

    assert JobChunk.objects.get(pk=owned[0]).owner == owner
    assert {work.id for work in claim(kind, 5)} == {owned[0], orphan[0]}


def test_waiting_items_that_are_ended_by_hand_make_no_room_in_the_window(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("FREE")
    chunks = make_chunks(make_job(owner), 9, owner=owner)
    api.admit(kind, owner.pk)
    with edits_by_hand():
        JobChunk.objects.filter(pk__in=chunks[-3:]).update(status="failed")

    api.register_ends(kind)

    assert occupying(owner) == 2


def test_items_are_released_when_their_time_has_come_but_not_while_their_job_is_paused(
    kind, make_job, make_chunks
):
    due = make_chunks(make_job(), 1)
    paused = make_chunks(make_job(status="paused"), 1)
    later = make_chunks(make_job(), 1)
    with edits_by_hand():
        JobChunk.objects.update(held=True, available_at=timezone.now())
    with edits_by_hand():
        JobChunk.objects.filter(pk__in=later).update(
            available_at=timezone.now() + timezone.timedelta(hours=1)
        )

    sweep()

    assert [work.id for work in claim(kind, 5)] == due
    assert JobChunk.objects.get(pk=paused[0]).held


def somebody_waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


def in_thread(action):
    """Run on another connection, to the end; its result."""
    result = []
    thread = threading.Thread(target=run_and_close, args=[lambda: result.append(action())])
    thread.start()
    thread.join(30)
    assert result, "the other connection is blocked, or failed"
    return result[0]


def run_and_close(action):
    try:
        action()
    finally:
        connection.close()


def test_a_row_by_hand_whose_job_is_stopped_before_it_is_registered_is_counted_and_has_its_owner(
    kind, make_owner, make_job, make_chunks
):
    owner = make_owner("FREE")
    job = make_job(owner, status="running")
    [by_hand] = make_chunks(job, 1)
    assert api.hold(kind, [by_hand]) == api.stop(kind, parent=job.pk) == 0
    assert api.end(kind, [by_hand], status="failed") == 0
    CrawlJob.objects.filter(pk=job.pk).update(status="paused", active_chunks=0, total_chunks=0)

    sweep()

    chunk, job = JobChunk.objects.get(), CrawlJob.objects.get()
    assert (chunk.held, chunk.ready_at, chunk.owner) == (True, None, owner)
    assert (job.total_chunks, job.active_chunks) == (1, 1)
