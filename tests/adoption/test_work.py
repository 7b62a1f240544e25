"""Adopted work is safe: one worker goes through all of it, spends nothing, and waits for no-one."""

from django.core.management import call_command

from tests.adoption.legacy import messy
from tests.crawler.pictures import jpeg
from tests.schema.commands import manage as manage
from tests.scratch import ALIAS


def test_one_worker_runs_adopted_chunks_once_their_job_has_a_source(
    adopted, sql, manage, tmp_path, db
):
    adopted("pixcrawler-002", jobs=20)
    job = 10  # pending, with ten chunks
    call_command("migrate", database=ALIAS, verbosity=0)
    left = sql("SELECT count(*) FROM job_chunks WHERE status IN ('pending', 'processing')")[0][0]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(12):
        (pictures / f"{seed}.jpg").write_bytes(jpeg(96, 64, seed=seed))

    said = manage("queue work --until-idle", f"crawl_job {job} status", "queue status --kind chunk")

    waits = "status = 'pending' AND held AND lease_id IS NULL"
    assert sql(f"SELECT count(*) FROM job_chunks WHERE {waits}") == [(left,)]
    assert "It waits for a source." in said
    assert "have no source and wait for one" in said

    sql(
        "INSERT INTO crawl_sources (job_id, kind, location) VALUES (%s, 'folder', %s)",
        *[job, str(pictures)],
    )
    manage("queue work --until-idle", "queue check")

    assert sql(
        "SELECT status, valid_images, completed_chunks FROM crawl_jobs WHERE id = %s", job
    ) == [("completed", 12, 10)]
    assert sql(f"SELECT count(*) FROM job_chunks WHERE {waits}") == [(left - 10,)]
    assert db("verify").code == 0


def test_no_row_that_a_site_may_have_stops_the_worker(older, sql, manage, db):
    older("pixcrawler-001", jobs=20)
    messy.odd_ranges(sql)
    messy.duplicate_chunks(sql)
    messy.dangling_projects(sql)
    sql("UPDATE job_chunks SET retry_count = 9 WHERE id = 1")
    sql("UPDATE crawl_jobs SET status = 'archived' WHERE id = 10")
    sql("UPDATE crawl_jobs SET keywords = 'null', max_images = 0 WHERE id = 20")
    assert db("adopt", "--apply", "--yes").code == 0
    call_command("migrate", database=ALIAS, verbosity=0)
    sql(
        "INSERT INTO crawl_sources (job_id, kind, location)"
        " SELECT id, 'folder', '/nowhere' FROM crawl_jobs WHERE status IN ('pending', 'running')"
    )

    manage("queue work --until-idle")

    assert sql("SELECT count(*) FROM crawl_jobs WHERE status IN ('pending', 'running')") == [(0,)]
    assert sql("SELECT count(*) FROM job_chunks WHERE status = 'processing'") == [(0,)]
