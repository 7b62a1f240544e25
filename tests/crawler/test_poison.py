"""Pictures that end their decoder cost their own seconds, and then their host is not asked any more."""

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from crawler.fetch import decoder
from crawler.fetch.engine import Engine
from crawler.models import Candidate, CrawlJob, CrawlSource
from crawler.services import accepting, chunks, ending, lifecycle
from crawler.services.accepting import SourceSpec
from jobs.queue.kinds import all_kinds
from jobs.queue.ops.check import check
from tests.crawler.in_process import wait_until, working
from tests.crawler.pictures import jpeg, progressive_bomb

pytestmark = pytest.mark.django_db(transaction=True)
POISON = progressive_bomb(4000, 70)


@pytest.fixture
def sites():
    """Two hosts at one port: a path that begins with /bad is poison, any other a new picture."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            if name == "robots.txt":
                self.send_error(404)
                return
            number = int("".join(filter(str.isdigit, name)))
            data = POISON if name.startswith("bad") else jpeg(96, 72, seed=number)
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.{number}:{server.server_port}" for number in (1, 2)]
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _limits(settings, monkeypatch):
    settings.CRAWL_ALLOWED_PRIVATE = ["127.0.0.0/8"]
    settings.CRAWL_FOLDER_ROOTS = ["/"]
    monkeypatch.setattr(decoder, "CPU_SECONDS", 0.3)
    monkeypatch.setattr(Engine, "_shared", None)
    yield
    if Engine._shared is not None:
        Engine._shared.close()


def crawl(tmp_path, urls):
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(urls))
    job = accepting.create_crawl_job(
        owner=None, name="t", max_images=100, source_specs=[SourceSpec("urls", str(listed))]
    )
    run(job)
    return job


def run(job):
    with working():
        wait_until(lambda: not CrawlJob.objects.get(pk=job.pk).is_open, seconds=60)


def outcomes(job, host):
    rows = Candidate.objects.filter(job=job, host__startswith=host).values_list("outcome", "tries")
    return sorted(rows)


def test_a_host_that_ends_three_decoders_is_refused_in_that_job_and_no_other_host_is(
    sites, tmp_path
):
    bad, good = sites
    urls = [f"{bad}/bad{number}.jpg" for number in range(40)]
    urls += [f"{good}/{number}.jpg" for number in range(12)]
    job = crawl(tmp_path, urls)

    assert outcomes(job, "127.0.0.2") == [("stored", 1)] * 12
    found = outcomes(job, "127.0.0.1")
    assert found == [("decoder_crash", 1)] * 3 + [("host_refused", 0)] * 37
    detail = Candidate.objects.filter(outcome="host_refused").first().detail
    assert f"{bad}/bad" in detail
    assert "retry" in detail
    assert job.candidates.count() == 52
    job.refresh_from_db()
    assert job.outcomes == {"stored": 12, "decoder_crash": 3, "host_refused": 37}
    assert not [finding for finding in check(all_kinds()) if finding.rows]


def test_what_is_found_later_at_a_refused_host_is_refused_and_a_retry_opens_it(sites, tmp_path):
    bad, _ = sites
    job = crawl(tmp_path, [f"{bad}/bad{number}.jpg" for number in range(5)])
    assert [outcome for outcome, _ in outcomes(job, "127.0.0.1")].count("host_refused") == 2

    more = tmp_path / "more.txt"
    bad, good = sites
    urls = [f"{bad}/{number}.jpg" for number in range(30, 34)]
    urls += [f"{good}/{number}.jpg" for number in range(40, 44)]
    more.write_text("\n".join(urls))
    CrawlSource.objects.create(job=job, kind="urls", location=str(more))
    lifecycle.retry_job(job_id=job.pk)
    assert not Candidate.objects.filter(outcome="host_refused").exists()
    assert set(Candidate.objects.filter(outcome=None).values_list("tries", flat=True)) == {0}
    run(job)

    job.refresh_from_db()
    assert outcomes(job, "127.0.0.2") == [("stored", 1)] * 4
    crashed = [outcome for outcome, _ in outcomes(job, "127.0.0.1")].count("decoder_crash")
    assert crashed >= 4
    assert not [finding for finding in check(all_kinds()) if finding.rows]


def retry_job(job):
    call_command("crawl_job", job.pk, "retry")


def reopen_a_chunk(job):
    chunk = job.chunks.earliest("chunk_index")
    chunks.change_chunk(chunk_id=chunk.pk, changes={"status": "pending"}, shown={})


@pytest.mark.parametrize("again", [retry_job, reopen_a_chunk])
def test_a_retry_opens_what_failed_for_a_reason_that_may_have_passed(
    sites, tmp_path, again, capsys
):
    _, good = sites
    ended = [(outcome, "x") for outcome in ending.PASSING]
    ended += [
        ("robots", "robots.txt does not answer: http_5xx: HTTP 502"),
        ("robots", "robots.txt cannot be read: its body cannot be decoded"),
    ]
    final = [("robots", "robots.txt disallows pixsim"), ("http_4xx", "HTTP 404"), ("corrupt", "x")]
    job = crawl(tmp_path, [f"{good}/{number}.jpg" for number in range(len(ended + final))])
    counted = Counter(outcome for outcome, _ in ended + final)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM images")
        ids = Candidate.objects.order_by("id").values_list("id", flat=True)
        for id, (outcome, detail) in zip(ids, ended + final, strict=True):
            row = {"outcome": outcome, "detail": detail, "tries": 3, "waiting_since": Now()}
            Candidate.objects.filter(pk=id).update(**row)
        cursor.execute(
            "UPDATE crawl_jobs SET outcomes = %s::jsonb, downloaded_images = 0, valid_images = 0,"
            " progress = 0",
            [json.dumps(counted)],
        )
    call_command("crawl_job", job.pk, "status")
    hint = f"{len(ended)} addresses failed for reasons that may have passed; try them again with: "
    assert f"{hint}manage.py crawl_job {job.pk} retry" in capsys.readouterr().out

    again(job)
    run(job)

    job.refresh_from_db()
    assert job.outcomes == {"stored": len(ended), **Counter(outcome for outcome, _ in final)}
    call_command("crawl_job", job.pk, "status")
    assert "may have passed" not in capsys.readouterr().out
    assert not [finding for finding in check(all_kinds()) if finding.rows]
