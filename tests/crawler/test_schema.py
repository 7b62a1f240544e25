"""The crawler's tables: the contract with the older system, and what the database promises."""

import json

import pytest
from django.db import connection

from crawler.models import CrawlJob, JobChunk, Project
from tests.adoption.legacy.pixcrawler import DATASET_TABLES
from tests.tables import describe_table


@pytest.fixture
def migrate(walk):
    return lambda name: walk("crawler", name)


def test_migration_0002_has_exactly_what_the_older_system_has_at_001(migrate):
    migrate("0002_job_chunks")

    for name, expected in DATASET_TABLES.items():
        table = describe_table(connection, name)
        assert table.columns == expected.columns
        assert table.indexes == expected.indexes
        assert table.constraints == expected.constraints


def test_a_job_of_the_older_system_passes_to_head_with_its_rows(migrate):
    migrate("0002_job_chunks")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO profiles (id, email, role) VALUES (gen_random_uuid(), 'a@x', 'user')"
        )
        cursor.execute(
            "INSERT INTO projects (name, user_id, status) SELECT 'old', id, 'active' FROM profiles"
        )
        cursor.execute(
            """INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress,
                   total_images, downloaded_images, valid_images, total_chunks, active_chunks,
                   completed_chunks, failed_chunks, task_ids)
               SELECT id, 'old', '["cat"]', 20, 'running', 0, 0, 0, 0, 1, 0, 0, 0, '[]' FROM projects"""
        )
        cursor.execute(
            "INSERT INTO job_chunks (job_id, chunk_index, image_range)"
            ' SELECT id, 0, \'{"start": 0, "end": 20}\' FROM crawl_jobs'
        )
        cursor.execute(
            "INSERT INTO images (crawl_job_id, original_url, filename, file_size)"
            " SELECT id, 'http://a.example/1.jpg', '1.jpg', 2000000000 FROM crawl_jobs"
        )

    migrate("0011_upright_images")

    job = CrawlJob.objects.get()
    chunk = job.chunks.get()
    assert (job.project.owner.email, job.keywords, job.outcomes) == ("a@x", ["cat"], {})
    assert (chunk.start, chunk.end, chunk.held, chunk.ready_at) == (0, 20, False, None)
    assert job.images.get().file_size == 2_000_000_000


@pytest.mark.django_db
def test_deleting_a_job_by_plain_sql_deletes_everything_under_it():
    project = Project.objects.create(name="p")
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH job AS (
                 INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress,
                   total_images, downloaded_images, valid_images, total_chunks, active_chunks,
                   completed_chunks, failed_chunks, task_ids)
                 VALUES (%s, 'j', '[]', 1, 'pending', 0, 0, 0, 0, 0, 0, 0, 0, '[]') RETURNING id
               ), chunk AS (
                 INSERT INTO job_chunks (job_id, chunk_index, image_range)
                 SELECT id, 0, '{}' FROM job RETURNING id
               ), candidate AS (
                 INSERT INTO candidates (job_id, chunk_id, url, url_key, host)
                 SELECT job.id, chunk.id, 'u', 'k', 'h' FROM job, chunk
               ), source AS (
                 INSERT INTO crawl_sources (job_id, kind, location) SELECT id, 'urls', 'l' FROM job
               )
               INSERT INTO images (crawl_job_id, chunk_id, original_url, filename)
               SELECT job.id, chunk.id, 'u', 'f' FROM job, chunk""",
            [project.pk],
        )
        cursor.execute("DELETE FROM crawl_jobs")
        for table in ("job_chunks", "candidates", "crawl_sources", "images"):
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert cursor.fetchone() == (0,), table


@pytest.fixture
def many_chunks(db):
    """20,000 chunks of 40 jobs, most of them completed, with statistics."""
    project = Project.objects.create(name="p")
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO crawl_jobs (project_id, name, keywords, max_images, status, progress,
                   total_images, downloaded_images, valid_images, total_chunks, active_chunks,
                   completed_chunks, failed_chunks, task_ids)
               SELECT %s, 'j', '[]', 1, 'pending', 0, 0, 0, 0, 0, 0, 0, 0, '[]'
               FROM generate_series(1, 40)""",
            [project.pk],
        )
        cursor.execute(
            """INSERT INTO job_chunks (job_id, chunk_index, image_range, priority, status,
                   retry_count, created_at)
               SELECT job.id, i, '{"start": 0, "end": 1}', i % 11,
                   CASE WHEN i % 100 = 0 THEN 'failed' WHEN i % 10 = 0 THEN 'pending'
                        ELSE 'completed' END, i % 5, now() - i * interval '1 second'
               FROM crawl_jobs job, generate_series(1, 500) i"""
        )
        cursor.execute("ANALYZE job_chunks")
    return CrawlJob.objects.order_by("pk").first()


def indexes_of(queryset):
    plan = json.loads(queryset.explain(format="json"))
    names = []

    def walk(node):
        assert node["Node Type"] != "Seq Scan", plan
        names.append(node.get("Index Name"))
        for child in node.get("Plans", []):
            walk(child)

    walk(plan[0]["Plan"])
    return {name for name in names if name}


def test_pending_chunks_of_a_job_come_by_priority_then_age_from_an_index(many_chunks):
    found = JobChunk.objects.pending_of_job(many_chunks.pk)

    order = [(-chunk.priority, chunk.created_at) for chunk in found]
    assert order == sorted(order)
    assert {chunk.status for chunk in found} == {"pending"}
    assert indexes_of(found) <= {"ix_job_chunks_job_status", "ix_job_chunks_job_id"}


def test_the_most_urgent_chunks_come_from_an_index(many_chunks):
    found = JobChunk.objects.most_urgent()[:20]

    order = [(-chunk.priority, chunk.created_at) for chunk in found]
    assert order == sorted(order)
    assert indexes_of(found)


def test_failed_chunks_with_retries_left_come_from_an_index(many_chunks):
    found = JobChunk.objects.retryable()

    assert {(chunk.status, chunk.retry_count < 3) for chunk in found} == {("failed", True)}
    assert "ix_job_chunks_status" in indexes_of(found)
