"""The older systems' query for failed chunks with retries left, and the queries that answer instead."""

import re
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from crawler.models import JobChunk
from jobs.queue import api
from jobs.queue.items import MAX_RETRIES, RETRY_COUNT_HELP
from jobs.queue.worker.loop import run_worker_loop
from tests.databases import PROJECT
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)

OLDER = "status = 'failed' AND retry_count < 3"


@pytest.fixture
def attempt(kind):
    """Let every due chunk fail once more."""

    def broken(work):
        raise OSError("no route")

    kind.action = broken

    def run():
        api.register(kind)
        with edits_by_hand():
            JobChunk.objects.filter(available_at__isnull=False).update(available_at=timezone.now())
        api.resume_due(kind)
        run_worker_loop(task_id="t")

    return run


def documented(beginning):
    """The ids that a query of the operations guide finds; its comment begins so."""
    guide = (PROJECT / "docs" / "operations.md").read_text()
    [statement] = re.findall(rf"^-- {beginning}[^\n]*\n(.+?);$", guide, re.DOTALL | re.MULTILINE)
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()]


def test_it_is_empty_while_chunks_stand_failed_and_the_other_queries_answer(
    attempt, make_job, make_chunks
):
    [chunk] = make_chunks(make_job(), 1)

    for _ in range(MAX_RETRIES):
        attempt()
        assert documented("Chunks that failed and are tried again") == [chunk]
        assert [found.pk for found in JobChunk.objects.retrying()] == [chunk]
        assert documented("Chunks that failed for good") == []
        assert documented("Failed with retries left") == []
    attempt()

    assert documented("Chunks that failed and are tried again") == []
    assert documented("Chunks that failed for good") == [chunk]
    assert [found.pk for found in JobChunk.objects.failed()] == [chunk]
    assert documented("Failed with retries left") == []


def test_it_finds_what_something_outside_the_queue_has_failed(make_job, make_chunks):
    [chunk] = make_chunks(make_job(), 1)
    with edits_by_hand():
        JobChunk.objects.update(status="failed", retry_count=1)

    assert documented("Failed with retries left") == [chunk]
    assert documented("Chunks that failed for good") == [chunk]
    assert [found.pk for found in JobChunk.objects.retryable()] == [chunk]


def test_the_status_of_the_queue_says_so_while_something_stands_failed(
    attempt, make_job, make_chunks
):
    def status():
        out = StringIO()
        call_command("queue", "status", "--kind", "chunk", stdout=out)
        return " ".join(out.getvalue().split())

    make_chunks(make_job(), 1)
    attempt()
    assert OLDER not in status()
    for _ in range(MAX_RETRIES):
        attempt()

    assert (
        f'1 failed for good. The queue fails an item with all its retries used, so "{OLDER}"'
        in status()
    )
    [found] = re.findall(r"All that failed: (SELECT .+?)\. What is tried again", status())
    with connection.cursor() as cursor:
        cursor.execute(found)
        assert cursor.fetchall() == [(JobChunk.objects.get().pk, "OSError: no route")]


def test_the_page_of_a_chunk_says_what_its_retries_mean(admin_client, make_job, make_chunks):
    [chunk] = make_chunks(make_job(), 1)

    page = admin_client.get(f"/admin/crawler/jobchunk/{chunk}/change/").content.decode()
    chunks = admin_client.get("/admin/crawler/jobchunk/").content.decode()

    assert RETRY_COUNT_HELP in page
    assert "failed by something outside the queue, with retries left" in chunks
