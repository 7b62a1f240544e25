"""Why an item is not running; pauses of a kind, an owner and a host; retrying by class of error."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError
from django.urls import reverse
from django.utils import timezone

from crawler.models import CrawlJob, CrawlSource, JobChunk
from crawler.work import ChunkKind
from jobs.models import QueuePause, Worker
from jobs.queue import api, pauses
from jobs.queue.errors import Unrecoverable
from jobs.queue.ops import check
from jobs.queue.ops.why import why
from jobs.queue.worker.loop import run_worker_loop
from pixsim.core.cli import UsageError
from tests.crawler.pictures import jpeg
from tests.queue_guard import edits_by_hand
from tests.site import Site
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    """Pauses are read at once."""
    monkeypatch.setattr(pauses, "CACHE_SECONDS", 0)


def reason(kind, item):
    return why(kind, JobChunk.objects.select_related("owner").get(pk=item))


def alive(**values):
    return Worker.objects.create(
        name="celery@h", host="h", pid=1, processes=2, version="1", **values
    )


def perform():
    run_worker_loop(task_id="t", slice_seconds=0.2)


def test_each_state_has_its_reason(kind, make_owner, make_job, make_chunks):
    ada = make_owner("FREE")
    job = make_job(ada)
    first, second, third, *_ = items = make_chunks(job, 4)
    assert "registers it within a second. No worker is alive" in reason(kind, first)

    api.register(kind)
    api.admit(kind, ada.pk)
    alive()
    ready = list(JobChunk.objects.filter(ready_at__isnull=False).order_by("id"))
    window = len(ready)
    assert reason(kind, first) == "It is next. 1 workers are alive, with 0 items in hand."
    last = items[-1]
    assert f"{ada}'s window is full: {window} of {window} (FREE) are ready" in reason(kind, last)
    assert f"{len(items) - window - 1} of theirs are before it" in reason(kind, last)

    [work] = api.claim(kind, limit=1, task_id="t")
    assert reason(kind, first).startswith("It runs: attempt 1, begun ")
    with edits_by_hand():
        JobChunk.objects.filter(pk=first).update(
            lease_expires_at=timezone.now() - timedelta(minutes=3)
        )
    assert "has died or stalled: its lease ended 3" in reason(kind, first)

    api.fail(work, error="The host hung up.")
    assert "after attempt 1: The host hung up." in reason(kind, first)
    assert "It is tried again at 20" in reason(kind, first)

    api.hold(kind, [last])
    assert reason(kind, last) == "Somebody holds it. It goes on when it is requeued or resumed."
    api.resume(kind, [last])
    CrawlSource.objects.create(job=job, kind="urls", location="none", status="completed")
    with edits_by_hand():
        CrawlJob.objects.filter(pk=job.pk).update(status="paused")
    api.hold(kind, [second])
    assert "Its job is paused or has ended" in reason(kind, second)
    api.end(kind, [third], status="failed", error="Of no use.")
    assert "It is failed since 20" in reason(kind, third)
    assert ": Of no use. It runs again when it is retried." in reason(kind, third)


def test_the_command_says_it_for_every_kind_of_that_number(kind, make_job, make_chunks, capsys):
    [item] = make_chunks(make_job(), 1)
    call_command("queue", "why", str(item))
    assert capsys.readouterr().out.startswith(f"chunk {item}: It was inserted")
    call_command("queue", "why", str(item), "--json", "--kind", "chunk")
    assert "chunk" in json.loads(capsys.readouterr().out)
    with pytest.raises(UsageError, match="There is no item 987654"):
        call_command("queue", "why", "987654")


def test_a_paused_kind_is_not_claimed(kind, make_job, make_chunks, capsys):
    [item] = make_chunks(make_job(), 1)
    api.register(kind)
    call_command("queue", "pause", "--kind", "chunk", "--reason", "the disk is full")
    perform()
    assert kind.performed == []
    assert "All work of the kind chunk is paused" in reason(kind, item)
    call_command("queue", "pauses")
    assert "the disk is full" in capsys.readouterr().out
    with pytest.raises(UsageError, match="paused already"):
        call_command("queue", "pause", "--kind", "chunk")
    call_command("queue", "resume", "--kind", "chunk")
    perform()
    assert kind.performed == [item]
    with pytest.raises(UsageError, match="is not paused"):
        call_command("queue", "resume", "--kind", "chunk")
    with pytest.raises(UsageError, match="--kind: There is no kind"):
        call_command("queue", "pause", "--kind", "chunks")


def test_a_paused_owner_begins_nothing_and_others_go_on(kind, make_owner, make_job, make_chunks):
    ada, ben = make_owner("PRO", "ada"), make_owner("PRO", "ben")
    hers, his = (make_chunks(make_job(owner), 3) for owner in (ada, ben))
    api.register(kind)
    api.admit_owners(kind, [ada.pk, ben.pk])
    works = api.claim(kind, limit=100, task_id="t")
    [held] = [work for work in works if work.id == hers[0]]
    api.give_back([work for work in works if work is not held])
    call_command("queue", "pause", "--owner", ada.email)
    for state in api.next_owners(kind, after=api.NO_OWNER, limit=10):
        if state.needs_admission:
            api.admit(kind, state.owner)
    assert set(JobChunk.objects.filter(ready_at__isnull=False).values_list("id", flat=True)) == {
        hers[0], *his,
    }  # fmt: skip
    api.complete([held])
    perform()
    assert sorted(kind.performed) == sorted(his)
    assert "work is paused" in reason(kind, hers[1])
    assert not [str(one) for one in check.check([kind]) if not one.holds]
    call_command("queue", "resume", "--owner", ada.email)
    api.admit(kind, ada.pk)
    perform()
    assert sorted(kind.performed) == sorted([*his, *hers[1:]])


def test_a_pause_written_by_sql_names_an_owner_by_their_id():
    with pytest.raises(IntegrityError, match="ck_queue_pauses_owner_is_id"):
        QueuePause.objects.create(scope="owner", key="ada@example.org")


def test_a_limit_of_one_owner_stops_nobody_elses_retry(make_owner, make_job, make_chunks):
    chunk = ChunkKind()
    ada = make_owner("FREE")
    hers, others = (make_chunks(make_job(owner), 1) for owner in (ada, None))
    for _ in range(50):  # more than her tier allows
        make_job(ada, status="running")
    api.register(chunk)
    with edits_by_hand():
        JobChunk.objects.update(status="failed", finished_at=timezone.now(), retry_count=3)
    CrawlJob.objects.filter(chunks__in=[*hers, *others]).update(status="failed")
    assert chunk.retry([*hers, *others]) == 1
    assert list(JobChunk.objects.filter(status="failed").values_list("pk", flat=True)) == hers


def test_all_that_failed_for_one_reason_is_retried(
    kind, make_job, make_chunks, capsys, monkeypatch
):
    monkeypatch.setattr("jobs.management.commands.queue.all_kinds", lambda: (kind,))
    items = make_chunks(make_job(), 3)
    api.register(kind)

    def action(work):
        try:
            raise ConnectionResetError if work.id != items[2] else ValueError
        except (ConnectionResetError, ValueError) as error:
            raise Unrecoverable("It broke.") from error

    kind.action = action
    perform()
    call_command("queue", "failures", "--json")
    found = json.loads(capsys.readouterr().out)["failures"]
    assert [(one["error_class"], one["failed"]) for one in found] == [
        ("ConnectionResetError", 2), ("ValueError", 1),
    ]  # fmt: skip
    call_command("queue", "retry", "--error-class", "ConnectionResetError")
    assert capsys.readouterr().out == "chunk: 2 of 2 started anew.\n"
    states = dict(JobChunk.objects.values_list("id", "status"))
    assert [states[item] for item in items] == ["pending", "pending", "failed"]
    with pytest.raises(UsageError, match="queue failures"):
        call_command("queue", "retry", "--error-class", "ConnectionResetError")


def test_the_admin_pauses_and_retries(kind, make_owner, make_job, make_chunks, client):
    client.force_login(User.objects.create_superuser("root"))
    add = reverse("admin:jobs_queuepause_add")
    wrong = client.post(add, {"scope": "owner", "key": "nobody@x", "reason": ""})
    assert "Nobody has this e-mail." in wrong.content.decode()
    wrong = client.post(add, {"scope": "kind", "key": "chunks", "reason": ""})
    assert "There is no such kind of work." in wrong.content.decode()
    ada = make_owner("FREE")
    client.post(add, {"scope": "owner", "key": ada.email, "reason": "asked"})
    [pause] = QueuePause.objects.all()
    assert (pause.scope, pause.key, pause.reason) == ("owner", str(ada.pk), "asked")
    assert str(ada) in client.get(reverse("admin:jobs_queuepause_changelist")).content.decode()
    client.post(reverse("admin:jobs_queuepause_delete", args=[pause.pk]), {"post": "yes"})
    assert not QueuePause.objects.exists()

    [item] = make_chunks(make_job(), 1)
    api.register(kind)
    kind.action = lambda work: (_ for _ in ()).throw(Unrecoverable("no"))
    perform()
    attempt = JobChunk.objects.get(pk=item)
    page = reverse("admin:jobs_workattempt_changelist")
    from jobs.models import WorkAttempt

    chosen = WorkAttempt.objects.get(item_id=item, number=attempt.attempt_count).pk
    client.post(page, {"action": "retry", "_selected_action": [chosen]})
    assert JobChunk.objects.get(pk=item).status == "pending"


def test_a_real_kind_knows_how_to_start_its_items_anew(make_job, make_chunks):
    [item] = make_chunks(make_job(), 1)
    chunk = ChunkKind()
    api.register(chunk)
    with edits_by_hand():
        JobChunk.objects.update(status="failed", finished_at=timezone.now(), retry_count=3)
    assert chunk.retry([item]) == 1


@pytest.mark.workers
def test_no_candidate_of_a_paused_host_is_fetched(tmp_path):
    with World() as world, Site(lambda path, n: (200, "image/jpeg", jpeg(80, 60, seed=n))) as site:
        tmp_path.chmod(0o755)
        host = "127.0.0.1"
        world.manage("queue", "pause", "--host", host)
        listed = tmp_path / "list.txt"
        listed.write_text(f"{site.url}/a.jpg")
        world.start_worker(concurrency=1)
        job = world.crawl("--source", "urls", "--from", str(listed), "--max-images", "1")
        world.wait_until(
            lambda: world.sql("SELECT 1 FROM job_chunks WHERE held AND error_message ~ 'candidates'"),
            seconds=40, what="a chunk that waits",
        )  # fmt: skip
        assert not site.asked
        world.manage("queue", "resume", "--host", host)
        world.wait_until(
            lambda: world.sql("SELECT 1 FROM crawl_jobs WHERE id = %s AND status = 'completed'", job),
            seconds=40, what="the end",
        )  # fmt: skip
        assert site.asked["/a.jpg"] == 1
