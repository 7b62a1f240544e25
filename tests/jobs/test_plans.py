"""However long the tables grow, the queue's statements read only the rows that they are about."""

import pytest
from django.db import connection, transaction

from crawler.models import JobChunk
from crawler.services import lifecycle
from jobs.queue import sql
from jobs.queue.api import NO_OWNER, window_params

pytestmark = pytest.mark.django_db

WAITING, READY, ENDED, OTHERS = 12_000, 8_000, 20_000, 100
MOST_ROWS_FOR_NOTHING = 500

# Rows as they are after years: one owner's long backlog, the system's, what has ended.
FILL = """
INSERT INTO job_chunks
    (job_id, chunk_index, image_range, priority, owner_id, status, ready_at, finished_at)
SELECT %(job)s, place, '{"start": 0, "end": 10}', place %% 11, %(owner)s,
    %(status)s, %(ready_at)s::timestamptz + place * interval '1 ms', %(finished_at)s
FROM generate_series(%(first)s::int, %(last)s::int) AS place
"""


@pytest.fixture
def backlog(make_owner, make_job):
    """(owner, their job, whose first 2,000 chunks of 5,000 are held)."""
    large, small = make_owner("PRO", "large"), make_owner("FREE", "small")
    jobs = {owner: make_job(owner) for owner in (large, small, None)}

    def fill(owner, first, count, *, status="pending", ready_at=None, finished_at=None):
        params = {
            "job": jobs[owner].pk,
            "owner": owner and owner.pk,
            "status": status,
            "ready_at": ready_at,
            "finished_at": finished_at,
            "first": first,
            "last": first + count - 1,
        }
        with connection.cursor() as cursor:
            cursor.execute(FILL, params)

    fill(large, 0, WAITING)
    fill(large, WAITING, ENDED, status="completed", finished_at="2026-01-01")
    fill(small, 0, OTHERS)
    fill(None, 0, READY, ready_at="2026-01-01")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE job_chunks")
    return large, jobs[large]


def rows_for_nothing(plan):
    """How many rows the plan's nodes looked at and threw away."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return removed * plan["Actual Loops"] + sum(map(rows_for_nothing, plan.get("Plans", ())))


@pytest.mark.parametrize(
    "name",
    [
        "CLAIM",
        "CLAIM_ONE",
        "RENEW",
        "LOCK_LEASE",
        "LOCK_LEASES",
        "GIVE_BACK",
        "COMPLETE",
        "FAIL",
        "RESCUE",
        "WAIT",
        "RELEASE",
        "STRANGERS",
        "ADOPT",
        "SETTLE",
        "WITHDRAW",
        "GRANT",
        "OWNERS",
        "ANY_READY",
    ],
)
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_statement_looks_at_few_rows_for_nothing(kind, backlog, name, plans):
    owner, _job = backlog
    ids = list(
        JobChunk.objects.filter(owner=owner).order_by("-pk").values_list("pk", flat=True)[:50]
    )
    params = {
        "limit": 20, "task_id": "t", "lease_seconds": 30, "id": ids[0], "ids": ids, "lease": 1,
        "leases": [1], "permanent": False, "error": "e", "seconds": 1.0, "reason": "r",
        "max_retries": 3, "backoff_seconds": 1.0, "owner": owner.pk, "window": 6, "after": NO_OWNER,
        "resting": [1],
        **window_params(),
    }  # fmt: skip
    if name == "STRANGERS":
        params["id"] = None
    assert explain(kind.sql(getattr(sql, name)), params, plans) <= MOST_ROWS_FOR_NOTHING


@pytest.mark.parametrize("name", ["HOLD", "REPRIORITISE"])
def test_a_batch_of_a_long_job_goes_on_where_the_one_before_ended(kind, backlog, name):
    _owner, job = backlog
    done = JobChunk.objects.filter(job=job).order_by("pk").values_list("pk", flat=True)[5000]
    JobChunk.objects.filter(job=job, pk__lte=done).update(held=True, priority=9)
    params = {"job": job.pk, "after": done, "limit": 1000, "priority": 9}
    sql = getattr(lifecycle, name).format(table=kind.table)
    assert explain(sql, params, "force_custom_plan") <= MOST_ROWS_FOR_NOTHING


def explain(sql, params, plans):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = {plans}")
        raw = connection.connection.cursor()
        raw.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".encode(), params, prepare=True)
        [[found]] = raw.fetchall()
        transaction.set_rollback(True)
    return rows_for_nothing(found[0]["Plan"])
