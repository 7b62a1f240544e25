"""`queue check` finds every invariant that is broken, and nothing while work goes on rightly."""

import threading
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from accounts.models import Profile
from crawler import chunk_worker, counters, result_writer
from crawler.fetch.tasks import Picture, Refused, Task
from crawler.models import Candidate, CrawlJob, CrawlSource, Image, JobChunk, Outcome
from crawler.services import planning
from crawler.urls import url_key
from jobs.queue import api
from jobs.queue.errors import LeaseLost
from jobs.queue.kinds import all_kinds, kind_named
from jobs.queue.ops.check import check
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _windows(settings):
    settings.DEBUG = False
    settings.TIERS = {"FREE": {"window": 2}, "PRO": {"window": 6}}


@pytest.fixture
def crawl(make_owner, make_job):
    """A job in the middle of its life: chunks completed, processing, ready and waiting."""
    owner = make_owner("FREE")
    job = make_job(owner, max_images=38, chunk_size=10)
    CrawlSource.objects.create(job=job, kind="folder", location="/pictures", owner=owner)
    planning.plan_job(job_id=job.pk)
    [done] = api.claim(kind_named("chunk"), limit=1, task_id="first")
    api.complete([done])
    [work] = api.claim(kind_named("chunk"), limit=1, task_id="second")
    with transaction.atomic(), connection.cursor() as cursor:
        work.lock_lease()
        tasks = add_candidates(cursor, job, work.id)
    results = [
        picture(tasks[0], "a"),
        picture(tasks[1], "b"),
        picture(tasks[2], "a"),
        Refused(task=tasks[3], outcome=Outcome.HTTP_4XX, detail="404 Not Found"),
    ]
    result_writer.write_results(work, chunk=work.item, results=results, free=range(10, 20))
    return job


def add_candidates(cursor, job, chunk_id):
    """Seven, of which the chunk holds the first five."""
    urls = [f"https://pictures.example/{n}.jpg" for n in range(7)]
    Candidate.objects.bulk_create(
        Candidate(
            job=job,
            url=url,
            url_key=url_key(url),
            host="pictures.example",
            chunk_id=chunk_id if n < 5 else None,
        )
        for n, url in enumerate(urls)
    )
    counters.add_images(cursor, job.pk, found=7, outcomes={Outcome.DUPLICATE_URL: 3})
    return [
        Task(one.pk, one.url, one.host, "", None, 0) for one in Candidate.objects.order_by("pk")
    ]


def picture(task, letter):
    sha256 = letter * 64
    return Picture(
        task=task,
        url=task.url,
        sha256=sha256,
        phash=None,
        width=64,
        height=48,
        format="jpeg",
        file_size=1000,
        key=f"{sha256[:2]}/{sha256}.jpg",
        retrieved_at=datetime.now(UTC),
    )


def broken(kinds=None):
    return {finding.name: finding for finding in check(kinds or all_kinds()) if not finding.holds}


def after(*statements):
    """What is broken after these statements, which are undone."""
    with transaction.atomic(), connection.cursor() as cursor:
        with edits_by_hand():
            for statement in statements:
                cursor.execute(statement)
        found = broken()
        transaction.set_rollback(True)
    return found


def test_a_job_in_the_middle_of_its_life_breaks_nothing(crawl):
    states = set(JobChunk.objects.values_list("status", flat=True))
    assert states == {"pending", "processing", "completed"}
    assert Candidate.objects.filter(outcome=None, chunk__isnull=False).count() == 1
    assert Image.objects.count() == 2
    assert broken() == {}


BREAKAGES = [
    ("processing-leased", "UPDATE job_chunks SET lease_id = NULL WHERE status = 'processing'"),
    ("processing-leased", "UPDATE job_chunks SET ready_at = NULL WHERE status = 'processing'"),
    ("pending-unleased", "UPDATE job_chunks SET lease_id = 7 WHERE status = 'pending'"),
    ("ended-holds-nothing", "UPDATE job_chunks SET ready_at = now() WHERE status = 'completed'"),
    ("ended-holds-nothing", "UPDATE job_chunks SET lease_id = 7 WHERE status = 'completed'"),
    ("ends-registered", "UPDATE job_chunks SET finished_at = NULL WHERE status = 'completed'"),
    (
        "held-not-ready",
        "ALTER TABLE job_chunks DROP CONSTRAINT ck_job_chunks_held_not_ready;"
        "UPDATE job_chunks SET held = TRUE WHERE status = 'pending'",
    ),
    (
        "leases-swept",
        "UPDATE job_chunks SET lease_expires_at = now() - interval '1 minute'"
        " WHERE status = 'processing'",
    ),
    (
        "due-resumed",
        "UPDATE job_chunks SET held = TRUE, ready_at = NULL,"
        " available_at = now() - interval '1 minute' WHERE status = 'pending'",
    ),
    (
        "unregistered-rows",
        "UPDATE job_chunks SET owner_id = NULL, ready_at = NULL,"
        " created_at = now() - interval '1 day', updated_at = now() - interval '1 minute'"
        " WHERE status = 'pending'",
    ),
    ("retries-limited", "UPDATE job_chunks SET retry_count = 4 WHERE status = 'pending'"),
    ("chunk-ranges", "DELETE FROM job_chunks WHERE chunk_index = 2"),
    ("chunk-ranges", "DELETE FROM job_chunks WHERE chunk_index = 3"),
    (
        "chunk-ranges",
        """UPDATE job_chunks SET image_range = '{"start": 19, "end": 30}' WHERE chunk_index = 2""",
    ),
    ("chunk-ranges", """UPDATE job_chunks SET image_range = '"ten"' WHERE chunk_index = 2"""),
    ("chunk-ranges", "UPDATE crawl_jobs SET max_images = 40"),
    ("chunk-counters", "UPDATE crawl_jobs SET completed_chunks = completed_chunks + 1"),
    ("chunk-counters", "UPDATE job_chunks SET status = 'failed' WHERE status = 'pending'"),
    ("image-counters", "UPDATE crawl_jobs SET valid_images = 3"),
    ("image-counters", "UPDATE crawl_jobs SET downloaded_images = 2"),
    ("image-counters", "UPDATE crawl_jobs SET total_images = 6"),
    ("outcomes", "UPDATE crawl_jobs SET outcomes = outcomes - 'stored'"),
    ("outcomes", "UPDATE crawl_jobs SET outcomes = '[1]'"),
    ("outcomes", "UPDATE candidates SET outcome = 'dns' WHERE outcome = 'stored'"),
    ("progress", "UPDATE crawl_jobs SET progress = 50"),
    ("ended-job-closed", "UPDATE crawl_jobs SET status = 'completed'"),
    (
        "open-job-open",
        "UPDATE job_chunks SET status = 'completed', ready_at = NULL, lease_id = NULL,"
        " lease_expires_at = NULL, finished_at = now()",
    ),
    (
        "in-flight",
        "UPDATE candidates SET chunk_id = (SELECT id FROM job_chunks WHERE status = 'completed')"
        " WHERE outcome IS NULL",
    ),
    (
        "images-distinct",
        "ALTER TABLE images DROP CONSTRAINT uq_images_job_sha256;"
        "UPDATE images SET sha256 = repeat('c', 64)",
    ),
    (
        "indices-distinct",
        "ALTER TABLE images DROP CONSTRAINT uq_images_job_index; UPDATE images SET image_index = 12",
    ),
    ("index-in-chunk", "UPDATE images SET image_index = image_index + 10"),
]


@pytest.mark.parametrize(("name", "statement"), BREAKAGES)
def test_a_broken_invariant_is_found_with_its_rows(crawl, name, statement):
    found = after(statement)

    assert name in found
    assert found[name].rows
    assert all(len(finding.rows) <= 10 for finding in found.values())


def test_every_invariant_is_broken_by_a_test():
    # Generations are in tests/jobs/generation.
    names = {one.name for one in check(kind for kind in all_kinds() if not kind.is_driven)}
    assert {name for name, _statement in BREAKAGES} | {"window"} == names


def test_at_most_ten_rows_are_shown_and_that_there_are_more_is_said(make_job, make_chunks):
    make_chunks(make_job(), 12, retry_count=9)
    finding = broken()["retries-limited"]
    assert (len(finding.rows), finding.more) == (10, True)


def test_more_ready_items_than_the_window_are_found(crawl):
    found = after(
        "UPDATE profiles SET updated_at = now() - interval '1 hour'",
        "UPDATE job_chunks SET ready_at = now() WHERE status = 'pending'",
    )["window"]
    assert found.rows[0].items() >= {"window": 2, "ready": 2, "processing": 1}.items()


def test_a_window_that_shrank_is_allowed_until_the_work_ends(make_owner, make_job, make_chunks):
    owner = make_owner("PRO")
    make_chunks(make_job(owner), 8, owner=owner)
    chunks = kind_named("chunk")
    api.admit(chunks, owner.pk)
    api.claim(chunks, limit=4, task_id="t")

    owner.user_tier = "FREE"
    owner.save()
    # The sweeper has a moment to withdraw the two that were ready.
    assert "window" not in broken()
    api.admit(chunks, owner.pk)
    Profile.objects.update(updated_at=datetime.now(UTC))
    assert JobChunk.objects.ready().count() == 0
    assert "window" not in broken()

    found = after(
        "UPDATE profiles SET updated_at = now() - interval '1 hour'",
    )["window"]
    assert found.rows[0].items() >= {"window": 2, "ready": 0, "processing": 4}.items()


def test_a_worker_that_lost_its_chunk_unawares_leaves_no_candidate_in_flight(crawl):
    chunks = kind_named("chunk")
    [stale] = api.claim(chunks, limit=1, task_id="stale")
    chunk = stale.item
    with edits_by_hand():
        JobChunk.objects.filter(pk=stale.id).update(lease_expires_at="2020-01-01T00:00Z")
    api.rescue(chunks)

    with pytest.raises(LeaseLost):
        chunk_worker._claim_candidates(stale, chunk, limit=5)

    assert broken() == {}


def test_rows_of_older_systems_are_taken_as_they_came(make_job, make_chunks):
    job = make_job(status="completed")
    make_chunks(job, 2, status="completed", task_id="old")
    CrawlJob.objects.update(total_chunks=9, valid_images=500, progress=3)
    assert broken() == {}


def test_nothing_is_broken_while_workers_and_writers_are_at_it(make_owner, make_job):
    """Everything is read at one moment, so what changes meanwhile cannot look inconsistent."""
    owner = make_owner("PRO")
    job = make_job(owner, max_images=600, chunk_size=2)
    CrawlSource.objects.create(job=job, kind="folder", location="/pictures", owner=owner)
    planning.plan_job(job_id=job.pk)
    chunks = kind_named("chunk")

    def work():
        try:
            while works := api.claim(chunks, limit=2, task_id="t"):
                api.complete(works)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for thread in workers:
        thread.start()
    rounds = []
    while any(thread.is_alive() for thread in workers):
        rounds.append(broken())
    for thread in workers:
        thread.join()

    assert rounds
    assert not any(rounds)
    assert JobChunk.objects.filter(status="completed").count() > 0
