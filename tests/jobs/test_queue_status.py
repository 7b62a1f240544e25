"""The figures of the status page and of `queue status`."""

import json

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection

from crawler.models import CrawlSource, JobChunk
from crawler.services import lifecycle
from jobs.queue import api
from jobs.queue.kinds import kind_named
from jobs.queue.ops import status
from jobs.queue.ops.status import Count, snapshot
from jobs.queue.worker.fallback import FallbackWorkers
from jobs.queue.worker.sweeper import Sweeper
from pixsim.core.db.sql import one_moment
from pixsim.core.priority import PRIORITIES
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _windows(settings):
    settings.DEBUG = False
    settings.TIERS = {"FREE": {"window": 2}, "PRO": {"window": 6}}


def sql(statement, *params):
    with edits_by_hand(), connection.cursor() as cursor:
        cursor.execute(statement, params)


def numbers(counts):
    return {name: count.number for name, count in counts.items() if count.number}


def finish(ids, *, ago, seconds=2.0, status="completed", retries=0):
    """Chunks that ended `ago` seconds ago after being processed for so long."""
    sql(
        "UPDATE job_chunks SET status = %s, retry_count = %s, ready_at = NULL,"
        " finished_at = now() - make_interval(secs => %s),"
        " started_at = now() - make_interval(secs => %s) WHERE id = ANY(%s)",
        status,
        retries,
        ago,
        ago + seconds,
        ids,
    )


def test_an_empty_queue_has_figures_too():
    found = snapshot(kind_named("discovery"))
    assert numbers(found.counts) == {}
    assert found.open == Count(0)
    assert found.ages.ready is None
    assert found.recent.failed_percent is None
    assert found.tiers == {}


def test_items_are_counted_by_state_and_tier(make_owner, make_job, make_chunks):
    chunks = kind_named("chunk")
    ada, bob = make_owner("FREE", "ada"), make_owner("PRO", "bob")
    make_chunks(make_job(ada), 5, owner=ada)
    make_chunks(make_job(bob), 2, owner=bob)
    api.admit_owners(chunks, [ada.pk, bob.pk])
    api.claim(chunks, limit=1, task_id="t")
    job = make_job()
    make_chunks(job, 3, held=True)
    scheduled = make_chunks(job, 2, held=True, retry_count=1)
    sql(
        "UPDATE job_chunks SET available_at = now() + interval '1 minute' WHERE id = ANY(%s)",
        scheduled,
    )
    finish(make_chunks(job, 4), ago=10)

    found = snapshot(chunks)

    assert numbers(found.counts) == {
        "ready": 3,
        "waiting": 3,
        "held": 3,
        "scheduled": 2,
        "processing": 1,
        "completed": 4,
    }
    assert found.open == Count(12)
    assert numbers(found.tiers) == {"FREE": 5, "PRO": 2, "system": 5}
    assert found.waiting_owners == 1
    assert found.retrying == {1: 2}


@pytest.mark.parametrize("counted_up_to", [status.EXACT_UP_TO, 2])
def test_what_was_cancelled_is_no_backlog(
    make_owner, make_job, make_chunks, monkeypatch, counted_up_to
):
    monkeypatch.setattr(status, "EXACT_UP_TO", counted_up_to)
    chunks, discovery = kind_named("chunk"), kind_named("discovery")
    ada = make_owner("FREE", "ada")
    job = make_job(ada, max_images=30)
    make_chunks(job, 3, owner=ada)
    CrawlSource.objects.create(job=job, kind="folder", location="/", owner=ada)
    api.admit_owners(chunks, [ada.pk])
    [work] = api.claim(chunks, limit=1, task_id="t")
    lifecycle.cancel_job(job_id=job.pk, actor=ada)

    assert numbers(snapshot(chunks).counts) == {"processing": 1, "cancelled": 2}
    api.wait(work, seconds=None, reason="The job is cancelled.")
    Sweeper(FallbackWorkers(0)).sweep()
    with connection.cursor() as cursor:  # estimates are the planner's, from its latest look
        cursor.execute("ANALYZE job_chunks, crawl_sources, crawl_jobs")

    for kind, count in ((chunks, 3), (discovery, 1)):
        found, cheap = snapshot(kind), status.depth(kind)
        assert numbers(found.counts) == numbers(cheap.counts) == {"cancelled": count}
        assert (found.open.number, found.backlog.items.number, numbers(found.tiers)) == (0, 0, {})
    assert lifecycle.retry_job(job_id=job.pk) == 3
    assert "cancelled" not in numbers(snapshot(chunks).counts)


def test_a_source_that_a_complete_job_did_not_need_is_no_backlog(make_job):
    job = make_job(status="completed")
    CrawlSource.objects.create(job=job, kind="folder", location="/", held=True)
    found = snapshot(kind_named("discovery"))
    assert (numbers(found.counts), found.open) == ({"cancelled": 1}, Count(0))


def test_ages_are_those_of_the_oldest(make_owner, make_job, make_chunks):
    owner = make_owner("FREE")
    [old] = make_chunks(make_job(), 1, priority=2)
    [young] = make_chunks(make_job(), 1, priority=9)
    for chunk, seconds in ((old, 500), (young, 20)):
        sql(
            "UPDATE job_chunks SET ready_at = now() - make_interval(secs => %s) WHERE id = %s",
            seconds,
            chunk,
        )
    make_chunks(make_job(owner), 4, owner=owner)
    sql(
        "UPDATE job_chunks SET created_at = now() - interval '300 seconds' WHERE owner_id = %s",
        owner.pk,
    )
    [busy] = make_chunks(make_job(), 1)
    sql(
        "UPDATE job_chunks SET status = 'processing', ready_at = now(),"
        " started_at = now() - interval '40 seconds', lease_id = 1,"
        " lease_expires_at = now() + interval '20 seconds' WHERE id = %s",
        busy,
    )

    ages = snapshot(kind_named("chunk")).ages

    assert ages.ready == pytest.approx(500, abs=5)
    assert list(ages.ready_by_priority) == [9, 2]
    assert ages.ready_by_priority[9] == pytest.approx(20, abs=5)
    assert ages.waiting == pytest.approx(300, abs=5)
    assert ages.processing == pytest.approx(40, abs=5)


def test_rates_times_failures_and_retries_are_of_the_last_hour(make_job, make_chunks):
    job = make_job()
    finish(make_chunks(job, 10), ago=30, seconds=1)
    finish(make_chunks(job, 8), ago=200, seconds=3, retries=1)
    finish(make_chunks(job, 2), ago=2000, seconds=100, status="failed", retries=3)
    finish(make_chunks(job, 50), ago=4000, status="failed", retries=3)

    recent = snapshot(kind_named("chunk")).recent

    assert recent.finished == 20
    assert recent.per_minute == {1: 10.0, 5: 18 / 5, 60: 20 / 60}
    assert recent.failed_percent == 10
    assert recent.seconds_p50 == pytest.approx(2)
    assert 3 < recent.seconds_p95 <= 100
    assert recent.seconds_max == pytest.approx(100)
    assert recent.retries == {0: 10, 1: 8, 3: 2}


def test_of_very_many_only_the_latest_count_and_the_rate_is_theirs(
    monkeypatch, make_job, make_chunks
):
    monkeypatch.setattr(status, "SAMPLE_SIZE", 30)
    job = make_job()
    finish(make_chunks(job, 30), ago=20)
    finish(make_chunks(job, 30), ago=100)

    recent = snapshot(kind_named("chunk")).recent

    assert recent.finished == 30
    assert recent.per_minute[60] == pytest.approx(30 * 60 / 20, rel=0.2)


def test_big_numbers_are_estimated_and_say_so(monkeypatch, make_owner, make_job, make_chunks):
    monkeypatch.setattr(status, "EXACT_UP_TO", 900)  # a sample of some 25 pages
    owner = make_owner("FREE")
    job = make_job()
    finish(make_chunks(job, 2000), ago=10)
    finish(make_chunks(job, 40), ago=10, status="failed")
    ids = make_chunks(job, 1000)
    sql("UPDATE job_chunks SET ready_at = created_at WHERE id = ANY(%s)", ids)
    make_chunks(make_job(owner), 1000, owner=owner)
    sql("VACUUM ANALYZE job_chunks")

    found = snapshot(kind_named("chunk"))

    assert found.counts["failed"] == Count(40)
    for state, number in (("completed", 2000), ("ready", 1000), ("waiting", 1000)):
        assert not found.counts[state].exact
        assert found.counts[state].number == pytest.approx(number, rel=0.15)
        assert str(found.counts[state]).startswith("about ")
    assert found.counts["held"].number < 100
    assert not found.tiers["system"].exact
    assert sum(numbers(found.tiers).values()) == pytest.approx(found.open.number, abs=2)


def test_counting_and_ages_never_read_the_whole_table(make_owner, make_job, make_chunks):
    owner = make_owner("FREE")
    finish(make_chunks(make_job(), 3000), ago=10)
    make_chunks(make_job(owner), 20, owner=owner)
    sql("VACUUM ANALYZE job_chunks")
    chunks = kind_named("chunk")
    conditions = [status.READY, status.WAITING, status.SCHEDULED] + [
        status.OF_STATUS.format(status=name) for name in ("pending", "processing", "failed")
    ]
    statements = [status.COUNT.replace("[condition]", one) for one in conditions]
    statements += [status.READY_AGES, status.WAITING_AGE, status.PROCESSING_AGE, status.STUCK]
    with one_moment() as cursor, status._by_index(cursor):
        for statement in [*statements, status.RETRYING]:
            params = {"limit": 51, "owners": 9, "seconds": 9, "priorities": list(PRIORITIES)}
            cursor.execute("EXPLAIN " + chunks.sql(statement), params)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert "Seq Scan on job_chunks" not in plan, plan


def test_ended_leases_are_named_with_their_tasks(make_job, make_chunks):
    make_chunks(make_job(), 25)
    chunks = kind_named("chunk")
    sql("UPDATE job_chunks SET ready_at = created_at")
    api.claim(chunks, limit=24, task_id="celery-task-7")
    JobChunk.objects.filter(status="processing").update(retry_count=2)
    sql(
        "UPDATE job_chunks SET lease_expires_at = now() - make_interval(secs => 60 + id %% 9)"
        " WHERE status = 'processing'"
    )

    found = snapshot(chunks)

    assert (len(found.stuck), found.stuck_count) == (20, 24)
    assert {one.task_id for one in found.stuck} == {"celery-task-7"}
    assert found.stuck[0].overdue_seconds >= found.stuck[-1].overdue_seconds >= 60
    assert found.stuck[0].retry_count == 2


def test_indexes_and_table_are_described(make_job, make_chunks):
    make_chunks(make_job(), 5)
    sql("VACUUM ANALYZE job_chunks")

    found = snapshot(kind_named("chunk"))

    assert {"ix_job_chunks_claim", "job_chunks_pkey"} <= {index.name for index in found.indexes}
    assert all(index.bytes > 0 for index in found.indexes if index.name == "job_chunks_pkey")
    assert found.table.table_bytes > 0
    assert found.table.vacuumed_at is not None


def test_a_snapshot_is_json_and_leaves_the_connection_as_it_was(make_job, make_chunks):
    make_chunks(make_job(), 2)

    found = snapshot(kind_named("chunk")).as_dict()

    assert json.loads(json.dumps(found, cls=DjangoJSONEncoder))["counts"]["waiting"] == {
        "number": 2,
        "exact": True,
    }
    sql("UPDATE job_chunks SET priority = 1")  # not read-only any more
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_seqscan")
        assert cursor.fetchone()[0] == "on"
