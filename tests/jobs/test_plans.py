"""However long the tables grow, the queue's statements read only the rows that they are about."""

import pytest
from django.db import connection, transaction

from crawler.models import JobChunk
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


STATEMENTS = {name: text for name, text in vars(sql).items() if name.isupper() and name[0] != "_"}


def test_each_statement_has_its_tag():
    for name, text in STATEMENTS.items():
        assert text.startswith(f"/* queue:{name.lower()} */"), name


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_statement_looks_at_few_rows_for_nothing(kind, backlog, name, plans):
    owner, job = backlog
    of_owner = JobChunk.objects.filter(owner=owner)
    ids = list(of_owner.order_by("-pk").values_list("pk", flat=True)[:50])
    params = {
        "limit": 20, "task_id": "t", "lease_seconds": 30, "id": ids[0], "ids": ids, "lease": 1,
        "leases": [1], "permanent": False, "error": "e", "seconds": 1.0, "reason": "r",
        "max_retries": 3, "backoff_seconds": 1.0, "owner": owner.pk, "window": 6, "after": NO_OWNER,
        "skipped": [1], "priority": 7, "held": False, "at": None, "times": [None] * len(ids),
        "statuses": ["failed", "completed"], "status": "failed", "parent": job.pk,
        "worker": "w", "outcome": None, "error_class": None, "details": None, "begun": ids,
        "began": "2026-01-01",
        **window_params(),
    }  # fmt: skip
    if name == "UNREGISTERED":
        params["ids"] = None
    if name == "IDS_OF_PARENT":
        # Of a long job: a batch goes on where the one before ended.
        done = of_owner.filter(status="pending").order_by("pk").values_list("pk", flat=True)[5000]
        params |= {"after": done, "statuses": ["pending", "processing"]}
    statement = STATEMENTS[name].replace("[columns]", "job_id, chunk_index, image_range")
    statement = statement.replace(
        "[rows]",
        "SELECT %(parent)s::int AS job_id, 99999 AS chunk_index, jsonb_build_object() AS image_range",
    )
    # Once for a job, when it gets its first source: no index tells its held items from the others.
    most = WAITING if name == "RESUME_BY_REASON" else MOST_ROWS_FOR_NOTHING
    assert explain(kind.sql(statement), params, plans) <= most


def explain(sql, params, plans):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = {plans}")
        raw = connection.connection.cursor()
        raw.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".encode(), params, prepare=True)
        [[found]] = raw.fetchall()
        transaction.set_rollback(True)
    return rows_for_nothing(found[0]["Plan"])
