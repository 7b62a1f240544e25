"""However much a job has done, its statements read only what they are about."""

import pytest
from django.db import connection, transaction

from crawler import chunk_worker, result_writer
from crawler.models import CrawlJob, JobChunk, Project
from crawler.services.ending import CLOSE_SURPLUS

pytestmark = pytest.mark.django_db

ENDED, OPEN, OTHERS, IN_FLIGHT = 20_000, 300, 10_000, 50
ROUNDS = 10

FILL = """
INSERT INTO candidates (job_id, chunk_id, url, url_key, host, outcome)
SELECT %(job)s, %(chunk)s, 'http://a.example/' || place, sha256(place::text::bytea), 'a.example',
    %(outcome)s
FROM generate_series(%(first)s::int, %(last)s::int) AS place
"""


@pytest.fixture
def chunk():
    project = Project.objects.create(name="Test")
    job, other = (
        CrawlJob.objects.create(project=project, name="t", max_images=9) for _ in range(2)
    )
    chunk = JobChunk.objects.create(job=job, chunk_index=0, image_range={"start": 0, "end": 9})
    kinds = (
        (job, ENDED, chunk.pk, "stored"),
        (job, OPEN, None, None),
        (other, ENDED, None, "surplus"),
        (other, OTHERS, None, None),
        (job, IN_FLIGHT, chunk.pk, None),
    )
    at = 0
    with connection.cursor() as cursor:
        for of, count, holder, outcome in kinds * ROUNDS:
            params = {"job": of.pk, "chunk": holder, "outcome": outcome}
            cursor.execute(FILL, {**params, "first": at, "last": at + count // ROUNDS - 1})
            at += count // ROUNDS
        cursor.execute("ANALYZE candidates")
    return chunk


@pytest.mark.parametrize(
    "statement",
    [
        chunk_worker.CLAIM_CANDIDATES,
        chunk_worker.OPEN_HOSTS,
        chunk_worker.NEXT_CANDIDATE,
        CLOSE_SURPLUS,
        result_writer.REST,
        result_writer.WAKE,
    ],
    ids=["CLAIM_CANDIDATES", "OPEN_HOSTS", "NEXT_CANDIDATE", "CLOSE_SURPLUS", "REST", "WAKE"],
)
def test_only_the_candidates_that_are_open_are_read(chunk, statement):
    params = {"job": chunk.job_id, "chunk": chunk.pk, "limit": 50, "caps": "{}", "cap": 1000}
    params["paused"] = []
    params |= {"host": "a.example", "scheme": "http", "seconds": 5, "patience": 600}
    params |= {"may_pass": True, "outcome": "host_down", "detail": "refused"}
    assert rows_read(statement, params) < 4 * (OPEN + IN_FLIGHT)


FILL_IMAGES = """
INSERT INTO images (crawl_job_id, image_index, original_url, filename, sha256, phash)
SELECT %(job)s, place, 'http://a.example/' || place, place || '.jpg', md5(place::text),
    ('x' || left(md5(place::text), 16))::bit(64)::bigint
FROM generate_series(1, 5000) AS place
"""


def test_similar_images_are_found_in_their_bands_though_the_statistics_are_of_an_empty_table(chunk):
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE images")
        cursor.execute(FILL_IMAGES, {"job": chunk.job_id})
    probed = [hash(str(number)) >> 1 for number in range(100)]
    params = {"job": chunk.job_id, "places": [*range(100)], "phashes": probed, "masks": [0]}
    assert rows_read(result_writer.SIMILAR, {**params, "distance": 3}) < 500


def rows_read(sql, params):
    with transaction.atomic(), connection.cursor():
        raw = connection.connection.cursor()
        raw.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".encode(), params, prepare=True)
        [[found]] = raw.fetchall()
        transaction.set_rollback(True)
    return read_from_tables(found[0]["Plan"])


def read_from_tables(plan):
    below = sum(map(read_from_tables, plan.get("Plans", ())))
    if "Relation Name" not in plan or plan["Node Type"] == "ModifyTable":
        return below
    rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return below + rows * plan["Actual Loops"]
