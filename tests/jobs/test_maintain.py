"""The regular work: dead rows, statistics, orphan blobs, unfinished files."""

import hashlib
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from crawler import maintenance as crawler_maintain
from crawler.models import Image
from jobs.models import Asset
from jobs.queue import api
from jobs.queue.kinds import Options, all_kinds, kind_named
from jobs.queue.ops import maintenance
from pixsim.core import blobs
from tests.queue_guard import edits_by_hand

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    backend = {
        "BACKEND": "pixsim.core.blobs.local.BlobStorage",
        "OPTIONS": {"location": str(tmp_path / "blobs")},
    }
    settings.STORAGES = {**settings.STORAGES, "blobs": backend}
    return tmp_path / "blobs"


def put(data, *, hours=2.0):
    """A blob that was stored so many hours ago."""
    key = blobs.put(data, suffix=".jpg")
    make_older(blobs.local_path(key), hours)
    return key


def make_older(path, hours):
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def refer(job, data):
    return Image.objects.create(crawl_job=job, original_url="x", filename="x", sha256=sha256(data))


def sweep(**options):
    return crawler_maintain.sweep_orphans(Options(**options), lambda count: None)


def everything():
    """All chores, by name."""
    return {
        chore.name: chore.run(Options(), lambda count: None)
        for chore in maintenance.chores(all_kinds())
    }


# Orphan blobs


def test_only_old_blobs_that_no_row_refers_to_are_removed(make_job):
    job = make_job()
    kept, young, orphan = put(b"kept"), put(b"young", hours=0.5), put(b"orphan")
    refer(job, b"kept")

    result = sweep()

    assert (result.count, result.problem) == (1, None)
    assert "1 of 2 old blobs removed, 6 bytes" in result.summary
    assert [blobs.exists(key) for key in (kept, young, orphan)] == [True, True, False]


def test_a_blob_that_an_asset_refers_to_stays():
    key = put(b"generated")
    Asset.objects.create(
        user=User.objects.create_user("ada"),
        sha256=sha256(b"generated"),
        media_type="image",
        provider_id="local",
        provider_asset_id="1",
        remote_url="",
    )
    assert sweep().count == 0
    assert blobs.exists(key)


def test_a_dry_run_counts_and_removes_nothing():
    key = put(b"orphan")
    assert sweep(dry_run=True).count == 1
    assert blobs.exists(key)


def test_a_blob_that_became_young_again_after_it_was_listed_stays():
    key = put(b"stored anew")
    before = datetime.now(UTC) - HOUR
    assert crawler_maintain.find_orphans([key]) == [key]
    make_older(blobs.local_path(key), 0)

    assert crawler_maintain.remove_orphan(key, before=before) is None
    assert blobs.exists(key)


def test_a_blob_that_is_gone_already_is_no_error():
    key = put(b"gone")
    blobs.delete(key)
    assert crawler_maintain.remove_orphan(key, before=datetime.now(UTC)) is None


def test_another_databases_storage_is_not_emptied(make_job):
    keys = [put(b"%d" % number) for number in range(30)]
    job = make_job()
    for number in range(10):
        refer(job, b"%d" % number)

    result = sweep()

    assert result.count == 0
    assert "no row refers to 20" in result.problem
    assert "--force" in result.problem
    assert all(map(blobs.exists, keys))

    assert sweep(force=True).count == 20
    assert sum(map(blobs.exists, keys)) == 10


def test_blobs_are_looked_up_in_batches(monkeypatch, make_job):
    monkeypatch.setattr(crawler_maintain, "BATCH", 7)
    job = make_job()
    for number in range(25):
        put(b"%d" % number)
        if number % 5:
            refer(job, b"%d" % number)
    seen = []

    result = crawler_maintain.sweep_orphans(Options(), seen.append)

    assert result.count == 5
    assert seen == [7, 14, 21, 25]


def test_old_unfinished_files_are_removed(folder):
    put(b"whole", hours=0)
    old, young = folder / "aa" / ".x.1.tmp", folder / "aa" / ".y.2.tmp"
    old.parent.mkdir(exist_ok=True)
    for path in (old, young):
        path.write_bytes(b"half")
    make_older(old, 2)

    dry = crawler_maintain.sweep_temporaries(Options(dry_run=True), lambda count: None)
    assert (dry.count, old.exists()) == (1, True)
    assert crawler_maintain.sweep_temporaries(Options(), lambda count: None).count == 1
    assert (old.exists(), young.exists()) == (False, True)


# Tables


def test_dead_rows_go_and_statistics_are_renewed(make_job, make_chunks):
    make_chunks(make_job(), 200)
    with connection.cursor() as cursor:
        with edits_by_hand():
            cursor.execute("UPDATE job_chunks SET priority = 1")
        cursor.execute("DELETE FROM job_chunks")

        done = everything()

        cursor.execute("SELECT pg_relation_size('job_chunks')")
        assert cursor.fetchone()[0] == 0
        cursor.execute(
            "SELECT relname FROM pg_stat_user_tables"
            " WHERE last_vacuum IS NOT NULL AND last_analyze IS NOT NULL"
        )
        vacuumed = {row[0] for row in cursor.fetchall()}
    assert {"job_chunks", "crawl_sources", "candidates", "images", "crawl_jobs"} <= vacuumed
    assert not any(result.problem for result in done.values())


def test_a_table_that_is_locked_is_left_with_a_word_about_it(monkeypatch):
    monkeypatch.setattr(maintenance, "LOCK_SECONDS", 0.1)
    locked, done = threading.Event(), threading.Event()

    def lock():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE candidates IN SHARE UPDATE EXCLUSIVE MODE")
                locked.set()
                done.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert locked.wait(10)
    try:
        results = everything()
    finally:
        done.set()
        thread.join()

    assert "candidates" in results["vacuum candidates"].problem
    assert [name for name, result in results.items() if result.problem] == ["vacuum candidates"]
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "0"


def test_ended_leases_are_told(make_job, make_chunks):
    [chunk] = make_chunks(make_job(), 1)
    with connection.cursor() as cursor:
        with edits_by_hand():
            cursor.execute("UPDATE job_chunks SET ready_at = now()")
        api.claim(kind_named("chunk"), limit=1, task_id="celery-task-7")
        with edits_by_hand():
            cursor.execute("UPDATE job_chunks SET lease_expires_at = now() - interval '1 hour'")

    result = everything()["expired leases of chunk"]

    assert result.count == 1
    assert f"{chunk} (task celery-task-7)" in result.summary
    assert "is one running?" in result.problem
