"""`manage.py queue`: what it prints, how it exits, and working without Celery."""

import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from crawler.models import CrawlJob, CrawlSource, JobChunk
from crawler.services import planning
from jobs.queue import api
from jobs.queue.kinds import kind_named
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]

SETTINGS = """
from pixsim.settings import *
DEBUG = False
QUEUE_KINDS = ["crawler.work.DiscoveryKind", "slow_kind.SlowChunks"]
"""

SLOW_KIND = """
import os, time
from crawler.work import JOB_IS_OPEN, ChunkKind
from jobs.queue.kinds import Completed, GiveBack

class SlowChunks(ChunkKind):
    runnable_sql = JOB_IS_OPEN

    def perform(self, work):
        ends = time.monotonic() + float(os.environ["SLOW_SECONDS"])
        while time.monotonic() < ends:
            if work.should_stop():
                return GiveBack()
            time.sleep(0.02)
        return Completed()
"""


@pytest.fixture(autouse=True)
def _own_blobs(settings, tmp_path):
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}


def run(*arguments):
    """Run the command here; its exit code and what it printed."""
    out = StringIO()
    try:
        call_command("queue", *arguments, stdout=out)
    except SystemExit as error:
        return error.code, out.getvalue()
    return 0, out.getvalue()


def database_url():
    parts = connection.settings_dict
    login = quote(parts["USER"]) + (":" + quote(parts["PASSWORD"]) if parts["PASSWORD"] else "")
    host = parts["HOST"] or "127.0.0.1"
    if host.startswith("/"):
        return f"postgres://{login}@/{parts['NAME']}?host={quote(host)}"
    return f"postgres://{login}@{host}:{parts['PORT'] or 5432}/{parts['NAME']}"


@pytest.fixture
def start(tmp_path):
    """Start `queue` as a process whose chunks take `seconds` each."""
    (tmp_path / "slow_settings.py").write_text(SETTINGS)
    (tmp_path / "slow_kind.py").write_text(SLOW_KIND)
    processes = []

    def start(*arguments, seconds=0.0, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "django", "queue", *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
                "DJANGO_SETTINGS_MODULE": "slow_settings",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
                "SLOW_SECONDS": str(seconds),
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def processing():
    return JobChunk.objects.filter(status="processing").exists()


# Status


def test_status_prints_tables_for_people_and_one_object_for_programs(make_job, make_chunks):
    make_chunks(make_job(), 3)

    code, text = run("status")
    assert code == 0
    for words in ("chunk, 20", "discovery, 20", "waiting", "ix_job_chunks_claim", "dead rows"):
        assert words in text

    code, text = run("status", "--json", "--kind", "chunk")
    assert code == 0
    found = json.loads(text)["kinds"]
    assert list(found) == ["chunk"]
    assert found["chunk"]["counts"]["waiting"] == {"number": 3, "exact": True}


def test_a_kind_that_does_not_exist_is_named(make_job):
    with pytest.raises(CommandError, match=r"--kind: .*'chunks'.*discovery, chunk") as caught:
        run("status", "--kind", "chunks")
    assert caught.value.returncode == 2


def test_ended_leases_are_shown_with_their_tasks(make_job, make_chunks):
    make_chunks(make_job(), 1)
    with edits_by_hand():
        JobChunk.objects.update(ready_at="2030-01-01T00:00Z")
    api.claim(kind_named("chunk"), limit=1, task_id="celery-task-7")
    with edits_by_hand():
        JobChunk.objects.update(lease_expires_at="2020-01-01T00:00Z")
    assert "celery-task-7" in run("status")[1]


# Check


def test_check_says_ok_for_each_invariant():
    code, text = run("check")
    assert code == 0
    lines = text.splitlines()
    assert len(lines) > 20
    assert all(line.startswith("ok ") for line in lines)


def test_check_ends_with_1_and_the_rows_that_break_an_invariant(make_job, make_chunks):
    chunks = make_chunks(make_job(), 12, retry_count=9)

    code, text = run("check")
    assert code == 1
    assert "BROKEN chunk: retries-limited" in text
    assert f"id={chunks[0]}, status=pending, retry_count=9" in text
    assert "… and more" in text

    code, text = run("check", "--json", "--kind", "chunk")
    assert code == 1
    found = json.loads(text)
    assert found["ok"] is False
    [broken] = [one for one in found["invariants"] if not one["holds"]]
    assert (broken["name"], len(broken["rows"]), broken["more"]) == ("retries-limited", 10, True)


# Maintain


def test_maintain_prints_a_line_for_each_chore():
    code, text = run("maintain", "--dry-run")
    assert code == 0
    for words in ("vacuum job_chunks", "analyze profiles", "orphan blobs", "expired leases"):
        assert words in text


def test_a_grace_in_which_a_worker_could_store_and_record_is_refused():
    with pytest.raises(CommandError, match="--grace: must be at least 150 s") as caught:
        run("maintain", "--grace", "100")
    assert caught.value.returncode == 2


def test_maintain_ends_with_1_when_something_was_left_undone(make_job, make_chunks):
    make_chunks(make_job(), 1)
    with edits_by_hand():
        JobChunk.objects.update(ready_at="2030-01-01T00:00Z")
    api.claim(kind_named("chunk"), limit=1, task_id="celery-task-7")
    with edits_by_hand():
        JobChunk.objects.update(lease_expires_at="2020-01-01T00:00Z")
    assert run("maintain", "--dry-run")[0] == 1


# Wrong use


@pytest.mark.parametrize(
    "arguments", [[], ["work", "--for", "-1"], ["work", "--for", "soon"], ["sweep"]]
)
def test_wrong_use_ends_with_2(start, arguments):
    process = start(*arguments)
    _out, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "error:" in errors


def test_an_unreachable_database_is_one_clear_message(start):
    process = start("status", DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    _out, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "The database does not answer" in errors
    assert len(errors.splitlines()) == 1


# Work


def test_work_goes_on_until_everything_is_done(start, make_owner, make_job, make_chunks):
    """With a window, a row inserted by hand and a retry: what a worker's sweeper does, it does."""
    owner = make_owner("FREE")
    job = make_job(owner, max_images=200, chunk_size=10)
    CrawlSource.objects.create(
        job=job, kind="folder", location="/pictures", owner=owner, status="completed"
    )
    planning.plan_job(job_id=job.pk)
    [by_hand] = make_chunks(make_job(), 1)
    retried = JobChunk.objects.filter(job=job).last()
    with edits_by_hand():
        JobChunk.objects.filter(pk=retried.pk).update(
            retry_count=1, held=True, ready_at=None, available_at="2020-01-01T00:00Z"
        )

    process = start("work", "--until-idle")
    out, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert "21 items were worked on." in out
    assert set(JobChunk.objects.values_list("status", flat=True)) == {"completed"}
    assert CrawlJob.objects.get(pk=job.pk).status == "completed"
    assert JobChunk.objects.get(pk=by_hand).finished_at is not None
    assert run("check")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_gives_back_what_is_in_hand(start, make_job, make_chunks, number):
    [chunk] = make_chunks(make_job(), 1)
    process = start("work", seconds=60)
    wait_until(processing)

    process.send_signal(number)
    _out, errors = process.communicate(timeout=10)

    assert process.returncode == 0, errors
    found = JobChunk.objects.get(pk=chunk)
    assert (found.status, found.retry_count, found.lease_id) == ("pending", 0, None)
    assert found.ready_at is not None


def test_the_end_of_standard_input_gives_back_what_is_in_hand(start, make_job, make_chunks):
    [chunk] = make_chunks(make_job(), 1)
    with edits_by_hand():
        JobChunk.objects.update(ready_at="2030-01-01T00:00Z")
    process = start("work", "--while-stdin-open", seconds=60)
    wait_until(processing)

    process.stdin.close()
    process.wait(timeout=10)

    assert process.returncode == 0
    assert JobChunk.objects.get(pk=chunk).status == "pending"


def test_beside_a_worker_it_ends_when_nothing_was_ready_for_a_while(start, make_job, make_chunks):
    make_chunks(make_job(), 2)
    with edits_by_hand():
        JobChunk.objects.update(ready_at="2030-01-01T00:00Z")
    process = start("work", "--while-stdin-open")
    process.wait(timeout=30)
    assert process.returncode == 0
    assert set(JobChunk.objects.values_list("status", flat=True)) == {"completed"}


def test_work_ends_after_the_time_it_was_given(start, make_job, make_chunks):
    began = time.monotonic()
    process = start("work", "--for", "1")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert time.monotonic() - began < 15
